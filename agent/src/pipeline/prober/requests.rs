//! What the rings' thread asks the prober for.
//!
//! Enters: wishes, notices. Leaves: requests, of which no more wait than there are processes. Refuses: to ask twice at once for
//! the same look: a process may load libraries as often as it likes.

use std::collections::HashMap;
use std::sync::mpsc::Sender;

use crate::event::Pid;

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Request {
    /// Probe this target.
    Add {
        /// Which.
        pid: Pid,
        /// CUDA's own functions too.
        wants_cuda: bool,
    },
    /// Probe this process and its descendants, and say so where there is something to probe.
    Follow {
        /// Which.
        pid: Pid,
    },
    /// Probe CUDA's own functions in this target, or stop that.
    Cuda {
        /// Which.
        pid: Pid,
        /// Whether.
        wants_cuda: bool,
    },
    /// Its libraries have changed.
    Look {
        /// Which.
        pid: Pid,
    },
    /// Leave this target alone.
    Remove {
        /// Which.
        pid: Pid,
    },
}

impl Request {
    pub(super) fn pid(self) -> Pid {
        match self {
            Self::Add { pid, .. }
            | Self::Follow { pid }
            | Self::Cuda { pid, .. }
            | Self::Look { pid }
            | Self::Remove { pid } => pid,
        }
    }
}

/// The way to the prober.
#[derive(Debug)]
pub(in super::super) struct Requests {
    prober: Sender<Request>,
    /// Requests that are not done, by process.
    pending: HashMap<Pid, Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    requests: u32,
    /// A look among them that was not begun may be all that is needed; one more is asked for when they are done.
    look_again: bool,
}

impl Requests {
    pub(in super::super) fn new(prober: Sender<Request>) -> Self {
        Self { prober, pending: HashMap::new() }
    }

    /// Asks for something.
    pub(in super::super) fn ask(&mut self, request: Request) {
        // A prober that is gone has said so; what it had attached went with it.
        if self.prober.send(request).is_ok() {
            self.pending.entry(request.pid()).or_default().requests += 1;
        }
    }

    /// Asks for a look at a process, as soon as what was asked for before is done.
    pub(in super::super) fn look(&mut self, pid: Pid) {
        match self.pending.get_mut(&pid) {
            Some(pending) => pending.look_again = true,
            None => self.ask(Request::Look { pid }),
        }
    }

    /// One request for `pid` is done.
    pub(in super::super) fn done(&mut self, pid: Pid) {
        let Some(pending) = self.pending.get_mut(&pid) else { return };
        pending.requests = pending.requests.saturating_sub(1);
        if pending.requests == 0 {
            let look_again = pending.look_again;
            self.pending.remove(&pid);
            if look_again {
                self.ask(Request::Look { pid });
            }
        }
    }

    /// Whether the prober may have attached something that it has not told yet.
    pub(in super::super) fn are_pending(&self) -> bool {
        !self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::{Request, Requests};
    use crate::event::Pid;

    const PID: Pid = Pid(7);

    #[test]
    fn any_number_of_notices_makes_one_look_now_and_one_after_it() {
        let (sender, receiver) = channel();
        let mut requests = Requests::new(sender);
        for _ in 0..1000 {
            requests.look(PID);
        }
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [Request::Look { pid: PID }]);
        requests.done(PID);
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [Request::Look { pid: PID }]);
        assert!(requests.are_pending());
        requests.done(PID);
        assert_eq!(receiver.try_iter().count(), 0);
        assert!(!requests.are_pending());
    }

    #[test]
    fn a_prober_that_is_gone_leaves_nothing_pending() {
        let (sender, receiver) = channel();
        drop(receiver);
        let mut requests = Requests::new(sender);
        requests.ask(Request::Remove { pid: PID });
        assert!(!requests.are_pending());
    }
}
