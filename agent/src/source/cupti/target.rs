//! One attached target: its lease, its ring, its names, and the count of everything on the way.
//!
//! Enters: an [`Opened`] pair. Leaves: names and events, in the order of the ring, and [`Hops`]. Refuses: to arm without the
//! lease. A target that ends is drained to the last record: the mapping outlives the process.

use std::sync::Arc;

use gpu_agent_ring::control::{HandOver, Report};
use gpu_agent_ring::layout::Counter;
use gpu_agent_ring::record::Payload;
use gpu_agent_ring::{AgentControl, LeaseError, Reader};

use super::graphs::Graphs;
use super::names::LookUp;
use super::{AttachError, Finalization, Hops, Lease, NameTable, NewName, Opened};
use crate::classes::Classifier;
use crate::decode::cupti::{DecodeError, decode};
use crate::event::Event;
use crate::identity::Process;

/// Records copied out of the ring at a time: 88 KiB, which stays in the second-level cache.
const BATCH: u64 = 1024;

/// What became of a target's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It runs.
    Running,
    /// It has ended.
    Ended,
    /// It runs another program now (`exec`): the ring is gone from its memory.
    Replaced,
}

/// What [`Target::drain`] hands out.
#[derive(Debug)]
pub enum Item<'a> {
    /// A kernel name that the events after it mean by its index.
    Name(&'a NewName),
    /// An event.
    Event(&'a Event),
}

/// An attached process.
#[derive(Debug)]
pub struct Target {
    process: Process,
    reader: Reader,
    control: AgentControl,
    range: Option<String>,
    lease: Lease,
    /// Bits of [`gpu_agent_ring::layout::ending`], besides those of the lease.
    ending: u32,
    names: NameTable,
    /// The shim's counters when this agent came.
    before: Report,
    hops: Hops,
    graphs: Graphs,
    batch: Vec<Payload>,
    held: bool,
}

impl Target {
    /// Takes the lease and arms the shim. `from_start` reads the ring from its first record, which is right for a process
    /// that this agent started; else what an earlier agent had armed the shim for is passed over.
    pub fn attach(
        opened: Opened,
        lease: Lease,
        classifier: Arc<Classifier>,
        from_start: bool,
    ) -> Result<Self, AttachError> {
        let ending = opened.ending();
        let Opened { process, mut reader, control, range, takes_back, .. } = opened;
        let before = if from_start { nothing(control.report()) } else { go_to_head(&mut reader, &control) };
        let pid = process.pid;
        control.acquire(&lease.request(ending)).map_err(|source| AttachError::Lease { pid, source })?;
        if takes_back {
            control.hand_over(HandOver::None, 0);
        }
        Ok(Self {
            process,
            reader,
            control,
            range,
            lease,
            ending,
            names: NameTable::new(classifier),
            before,
            hops: Hops::default(),
            graphs: Graphs::default(),
            batch: Vec::with_capacity(BATCH as usize),
            held: true,
        })
    }

    /// Whose.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Whether `opened` is this very ring, found once more: one by its announcement, say, and one by its mapping.
    #[must_use]
    pub fn reads(&self, opened: &Opened) -> bool {
        self.reader.writer().ring_id == opened.reader.writer().ring_id
    }

    /// What `opened`, the same ring, was to do at its attachment, where this target is attached already.
    pub fn take_over(&self, opened: &Opened) {
        if opened.takes_back && self.held {
            self.control.hand_over(HandOver::None, 0);
        }
    }

    /// Whether the device is simulated.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.reader.writer().simulated
    }

    /// `(cuptiGetVersion, cuDriverGetVersion)`, 0 while unknown.
    #[must_use]
    pub fn versions(&self) -> (u32, u32) {
        self.reader.versions()
    }

    /// What the shim says of itself now.
    #[must_use]
    pub fn report(&self) -> Report {
        self.control.report()
    }

    /// Name of the CUPTI function that failed, where one did.
    #[must_use]
    pub fn failed_function(&self, report: &Report) -> Option<String> {
        self.reader.name(report.function)
    }

    /// What came of the wish to finalise CUPTI, if it was wished.
    #[must_use]
    pub fn finalization(&self) -> Option<Finalization> {
        self.lease.finalize.then(|| Finalization::of(&self.report(), self.versions().0))
    }

    /// Records that the ring holds.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.reader.capacity()
    }

    /// Number of the next record to read.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.reader.position()
    }

    /// Renews the lease; one that was lost is taken again as soon as it is free.
    pub fn renew(&mut self) -> Result<(), LeaseError> {
        let renewed = if self.held { self.control.renew(self.lease.duration) } else { Ok(()) };
        let result = match renewed {
            Ok(()) if self.held => Ok(()),
            // Never held again by itself: another agent may have changed the wishes in between.
            Ok(()) | Err(LeaseError::Lost { .. }) => self.control.acquire(&self.lease.request(self.ending)),
            Err(error) => Err(error),
        };
        self.held = result.is_ok();
        result
    }

    /// Ends the lease: the shim flushes once more and goes dormant.
    pub fn release(&mut self) {
        self.control.release();
        self.held = false;
    }

    /// Whether the shim has acted on the newest request.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.control.report().generation == self.control.generation()
    }

    /// What became of the process.
    #[must_use]
    pub fn fate(&self) -> Fate {
        if self.process.has_ended() {
            return Fate::Ended;
        }
        let entry = self.range.as_ref().map(|range| self.process.path(&format!("map_files/{range}")));
        let gone = entry.is_some_and(|path| {
            std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        });
        if gone { Fate::Replaced } else { Fate::Running }
    }

    /// Hands out up to about `max` records. Returns how many are known to wait still.
    pub fn drain(&mut self, max: u64, mut sink: impl FnMut(Item<'_>)) -> u64 {
        let mut left = max;
        loop {
            self.batch.clear();
            let batch = &mut self.batch;
            let progress = self.reader.poll(left.min(BATCH), |_, payload| batch.push(*payload));
            self.hops.read += progress.read;
            // A lying head makes any number of records "lost".
            self.hops.lost = self.hops.lost.saturating_add(progress.lost);
            self.decode(&mut sink);
            left = left.saturating_sub(progress.read.saturating_add(progress.lost));
            if progress.pending == 0 || left == 0 || progress.read + progress.lost == 0 {
                return progress.pending;
            }
        }
    }

    fn decode(&mut self, sink: &mut impl FnMut(Item<'_>)) {
        let mut names = LookUp { table: &mut self.names, reader: &self.reader };
        for payload in &self.batch {
            match decode(payload, &mut names) {
                Ok(event) => {
                    if names.table.has_new() {
                        for name in names.table.take_new() {
                            sink(Item::Name(&name));
                        }
                    }
                    self.hops.decoded += 1;
                    self.graphs.count(&event);
                    sink(Item::Event(&event));
                }
                Err(DecodeError::Unknown { .. }) => self.hops.unknown += 1,
                Err(DecodeError::Malformed { .. }) => self.hops.malformed += 1,
            }
        }
    }

    /// The counts, the shim's brought up to date.
    pub fn hops(&mut self) -> Hops {
        let report = self.control.report();
        let since = |counter| report.counter(counter).saturating_sub(self.before.counter(counter));
        let hops = &mut self.hops;
        // A shim's counter that went backwards lies; ours do not.
        for (count, counter) in [
            (&mut hops.seen, Counter::Seen),
            (&mut hops.cupti_dropped, Counter::CuptiDropped),
            (&mut hops.emitted, Counter::Emitted),
            (&mut hops.shim_unknown, Counter::Unknown),
            (&mut hops.shim_malformed, Counter::Malformed),
            (&mut hops.over_budget, Counter::OverBudget),
            (&mut hops.metadata, Counter::Metadata),
            (&mut hops.names_full, Counter::NamesFull),
            (&mut hops.shim_copy_ns, Counter::CopyNs),
            (&mut hops.cupti_errors, Counter::CuptiErrors),
        ] {
            *count = since(counter).max(*count);
        }
        hops.graphs = self.graphs.counts();
        *hops
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.release();
    }
}

/// A report with all counters at 0.
fn nothing(report: Report) -> Report {
    Report { counters: [0; Counter::COUNT], ..report }
}

/// Passes over what is in the ring. The counters are read at a moment at which nothing was written, if there is one.
fn go_to_head(reader: &mut Reader, control: &AgentControl) -> Report {
    const TRIES: u32 = 100;
    let mut report = control.report();
    for _ in 0..TRIES {
        let head = reader.head();
        report = control.report();
        reader.seek(head);
        if reader.head() == head {
            break;
        }
    }
    report
}

#[cfg(test)]
mod tests;
