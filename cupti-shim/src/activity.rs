//! From CUPTI's activity records to the ring's.
//!
//! Enters: the valid part of a completed buffer. Leaves: ring records, names, and a [`Tally`] in which every record of
//! the buffer has its place. Refuses: to look further into a buffer that CUPTI cannot walk; to spend more time than the
//! budget allows (the rest is counted, not copied).
//!
//! *seen = emitted + unknown + malformed + over budget.* Two sorts of records are not in `seen`: devices and contexts,
//! which are [`Counter::Metadata`], and API calls that nobody asked for. Before CUPTI 12.5 single functions cannot be
//! chosen, so all calls come; those outside the groups that later versions are asked for are passed over here as if
//! they had not come, and every version gives the same picture.

mod budget;
mod cbid_set;
mod convert;
mod recent;

use cupti_sys::record as cupti;
use cupti_sys::{ActivityKind, ApiVersion, CallError, Cupti, RecordSizes};
use gpu_agent_ring::Writer;
use gpu_agent_ring::layout::Counter;
use gpu_agent_ring::record::{Context, Device, Dropped, Record, Session};

pub use self::budget::Budget;
use self::cbid_set::{ASKED_DRIVER, ASKED_RUNTIME};
pub(crate) use self::cbid_set::{DRIVER, RUNTIME};
use self::convert::ToRing;
use self::recent::Recent;
use crate::graphs::Graphs;

/// The CUPTI that fills the buffers.
#[derive(Debug)]
pub struct Source {
    /// Its functions.
    pub cupti: Cupti,
    /// What `cuptiGetVersion` says.
    pub version: ApiVersion,
    /// How long its records surely are.
    pub sizes: RecordSizes,
    /// What `cuDriverGetVersion` says of the driver below it.
    pub driver_version: u32,
    /// The graphs that it has told of.
    pub graphs: &'static Graphs,
}

/// What is done with the records of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Copied into the ring.
    Copy,
    /// Counted as over budget; devices and contexts are copied all the same, since all other records name them.
    Count,
}

/// What became of the records of one buffer. Fields as in [`Counter`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records that were asked for.
    pub seen: u64,
    /// Written to the ring.
    pub emitted: u64,
    /// Of a kind that the shim does not know.
    pub unknown: u64,
    /// Too short, or where the walk broke off.
    pub malformed: u64,
    /// Left out.
    pub over_budget: u64,
    /// Emitted although they had no end yet.
    pub incomplete: u64,
    /// Names that no longer fitted.
    pub names_full: u64,
    /// Devices and contexts written.
    pub metadata: u64,
}

impl Tally {
    /// The counters to add to.
    #[must_use]
    pub fn counters(&self) -> [(Counter, u64); 8] {
        [
            (Counter::Seen, self.seen),
            (Counter::Emitted, self.emitted),
            (Counter::Unknown, self.unknown),
            (Counter::Malformed, self.malformed),
            (Counter::OverBudget, self.over_budget),
            (Counter::Incomplete, self.incomplete),
            (Counter::NamesFull, self.names_full),
            (Counter::Metadata, self.metadata),
        ]
    }
}

/// The writing end of the ring, and what has to be told to each new agent.
#[derive(Debug)]
pub struct Copier {
    writer: Writer,
    devices: Recent<Device, 64>,
    contexts: Recent<Context, 256>,
}

impl Copier {
    /// Copies into the ring of `writer`.
    #[must_use]
    pub fn new(writer: Writer) -> Self {
        Self { writer, devices: Recent::new(), contexts: Recent::new() }
    }

    /// Makes the ring's memory real, so that no thread of the program pays for that while it gives a buffer back.
    pub fn populate(&self) {
        // Without it (before Linux 5.14) all is the same, only slower the first time around.
        let _ = self.writer.populate();
    }

    /// Takes the records of a completed buffer.
    ///
    /// # Errors
    /// CUPTI could not walk the buffer to its end; the tally says what became of the records before that, and counts
    /// the unreadable rest as one malformed record.
    pub fn copy(&mut self, source: &Source, valid: &[u8], mode: Mode) -> (Tally, Result<(), CallError>) {
        let mut tally = Tally::default();
        let outcome = self.walk(source, valid, mode, &mut tally);
        if outcome.is_err() {
            tally.seen += 1;
            tally.malformed += 1;
        }
        (tally, outcome)
    }

    fn walk(
        &mut self,
        source: &Source,
        valid: &[u8],
        mode: Mode,
        tally: &mut Tally,
    ) -> Result<(), CallError> {
        for record in source.cupti.records(valid)? {
            let record = record?;
            let bytes = source.sizes.cut(record.kind, record.rest);
            match record.kind {
                ActivityKind::DEVICE => self.device(source, bytes, tally),
                ActivityKind::CONTEXT => self.context(source, bytes, tally),
                kind if mode == Mode::Count => count(kind, bytes, tally),
                ActivityKind::CONCURRENT_KERNEL | ActivityKind::KERNEL => {
                    self.emit(source, cupti::Kernel::new(bytes), tally);
                }
                ActivityKind::MEMCPY => self.emit(source, cupti::Memcpy::new(bytes), tally),
                ActivityKind::MEMCPY2 => self.emit(source, cupti::MemcpyPtoP::new(bytes), tally),
                ActivityKind::MEMSET => self.emit(source, cupti::Memset::new(bytes), tally),
                ActivityKind::MEMORY2 => self.emit(source, cupti::Memory::new(bytes), tally),
                kind @ (ActivityKind::DRIVER | ActivityKind::RUNTIME) => {
                    let view = cupti::Api::new(bytes);
                    if view.is_none_or(|call| was_asked_for(kind, call.cbid())) {
                        self.emit(source, view.map(|call| (call, kind)), tally);
                    }
                }
                ActivityKind::SYNCHRONIZATION => self.emit(source, cupti::Synchronization::new(bytes), tally),
                ActivityKind::OVERHEAD => self.emit(source, cupti::Overhead::new(bytes), tally),
                ActivityKind::GRAPH_TRACE => self.emit(source, cupti::GraphTrace::new(bytes), tally),
                _ => {
                    tally.seen += 1;
                    tally.unknown += 1;
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn emit(&mut self, source: &Source, view: Option<impl ToRing>, tally: &mut Tally) {
        tally.seen += 1;
        match view {
            Some(view) => {
                let record = view.to_ring(source, &mut self.writer, tally);
                self.writer.push(&record);
                tally.emitted += 1;
            }
            None => tally.malformed += 1,
        }
    }

    fn device(&mut self, source: &Source, bytes: &[u8], tally: &mut Tally) {
        if let Some(view) = cupti::Device::new(bytes) {
            let device = view.to_ring(source, &mut self.writer, tally);
            self.devices.remember(device, |known| known.device_id == device.device_id);
            self.writer.push(&device);
            tally.metadata += 1;
        }
    }

    fn context(&mut self, source: &Source, bytes: &[u8], tally: &mut Tally) {
        if let Some(view) = cupti::Context::new(bytes) {
            let context = view.to_ring(source, &mut self.writer, tally);
            self.contexts.remember(context, |known| known.context_id == context.context_id);
            self.writer.push(&context);
            tally.metadata += 1;
        }
    }

    /// Writes that the shim was armed or disarmed; when armed, also the devices and contexts seen so far, for an agent
    /// that was not there then. Returns the number of records.
    pub fn session(&mut self, session: Session, with_devices: bool) -> u64 {
        self.writer.set_versions(session.cupti_version, session.driver_version);
        self.writer.push(&session);
        let mut written = 1;
        if with_devices {
            for device in self.devices.iter() {
                self.writer.push(device);
                written += 1;
            }
            for context in self.contexts.iter() {
                self.writer.push(context);
                written += 1;
            }
        }
        written
    }

    /// Writes that CUPTI dropped `count` records.
    pub fn dropped(&mut self, timestamp_ns: u64, count: u64) {
        self.writer.push(&Dropped { kind: Dropped::KIND, timestamp_ns, count, ..Dropped::default() });
    }

    /// Records written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.writer.written()
    }

    /// Id of `text` in the names region.
    pub fn intern_text(&mut self, text: &str) -> u32 {
        self.writer.intern_text(text)
    }
}

/// Counts a record that is left out, as [`Copier::walk`] would have judged it.
fn count(kind: ActivityKind, bytes: &[u8], tally: &mut Tally) {
    if matches!(kind, ActivityKind::DRIVER | ActivityKind::RUNTIME)
        && cupti::Api::new(bytes).is_some_and(|call| !was_asked_for(kind, call.cbid()))
    {
        return;
    }
    tally.seen += 1;
    tally.over_budget += 1;
}

#[inline]
fn was_asked_for(kind: ActivityKind, cbid: u32) -> bool {
    if kind == ActivityKind::RUNTIME { ASKED_RUNTIME.contains(cbid) } else { ASKED_DRIVER.contains(cbid) }
}

#[cfg(test)]
pub(crate) mod tests;
