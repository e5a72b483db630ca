//! The signals that end a command in an orderly way.
//!
//! Enters: nothing. Leaves: which one came. Refuses: to catch a hangup that is ignored, as under `nohup`.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Error;

/// Caught from its making on: one that comes before [`Self::next`] waits there.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    pub(super) fn catch() -> Result<Self, Error> {
        let caught = |kind| signal(kind).map_err(Error::system("catch signals"));
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let hangup = (!ignores_hangup(&status)).then(|| caught(SignalKind::hangup())).transpose()?;
        Ok(Self {
            interrupt: caught(SignalKind::interrupt())?,
            terminate: caught(SignalKind::terminate())?,
            hangup,
        })
    }

    /// Waits for the next; says which.
    pub(super) async fn next(&mut self) -> &'static str {
        let hung_up = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => "interrupted",
            _ = self.terminate.recv() => "terminated",
            _ = hung_up => "hung up",
        }
    }
}

/// By `SigIgn` of `/proc/self/status`, whose lowest bit is signal 1's.
fn ignores_hangup(status: &str) -> bool {
    let digits = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = digits.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0);
    ignored & 1 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hangup_that_is_ignored_is_told_apart() {
        assert!(ignores_hangup("Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000000\n"));
        assert!(!ignores_hangup("Name:\tx\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000000001\n"));
        assert!(!ignores_hangup(""));
    }

    #[tokio::test]
    async fn a_signal_that_comes_before_it_is_waited_for_is_not_lost() {
        let mut signals = Signals::catch().unwrap();
        let own = rustix::process::getpid();
        rustix::process::kill_process(own, rustix::process::Signal::TERM).unwrap();
        assert_eq!(signals.next().await, "terminated");
    }
}
