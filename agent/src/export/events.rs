//! The bounded queue between the pipeline and the event sink.
//!
//! Enters: events, in the order of the pipeline, from one thread per [`EventSender`]. Leaves: batches, to the sink's
//! thread. Refuses: to wait. A batch that does not fit is dropped whole and counted; an event nobody wants never
//! enters.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use super::ExportStats;
use crate::aggregate::snapshot::Snapshot;
use crate::clock::Anchor;
use crate::event::{Event, TargetId};

/// Events to a message: large enough that the channel's cost vanishes, small enough to be dropped whole.
const BATCH_EVENTS: usize = 256;

/// What the sink's thread receives.
#[derive(Debug)]
pub(super) enum Message {
    /// Events of one drain, in order, and the anchor that stood when they were read.
    Events(Anchor, Vec<(TargetId, Event)>),
    /// The interval's series.
    Snapshot(Arc<Snapshot>),
    /// Write everything, then end.
    Finish,
}

/// Which kinds of events the sink's filter lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted(u32);

impl Wanted {
    /// With the kind of `event`.
    #[must_use]
    pub(super) fn with(self, kind: EventKind) -> Self {
        Self(self.0 | 1 << kind as u32)
    }

    /// Whether events of this kind pass.
    #[must_use]
    pub fn contains(self, kind: EventKind) -> bool {
        self.0 & 1 << kind as u32 != 0
    }
}

/// [`Event`] without its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the variants are those of Event")]
pub enum EventKind {
    Kernel,
    Memcpy,
    Memset,
    Memory,
    Api,
    Synchronization,
    Overhead,
    GraphTrace,
    Device,
    Context,
    Session,
    Dropped,
    Op,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::Kernel,
        Self::Memcpy,
        Self::Memset,
        Self::Memory,
        Self::Api,
        Self::Synchronization,
        Self::Overhead,
        Self::GraphTrace,
        Self::Device,
        Self::Context,
        Self::Session,
        Self::Dropped,
        Self::Op,
    ];

    /// The kind of `event`.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        match event {
            Event::Kernel(_) => Self::Kernel,
            Event::Memcpy(_) => Self::Memcpy,
            Event::Memset(_) => Self::Memset,
            Event::Memory(_) => Self::Memory,
            Event::Api(_) => Self::Api,
            Event::Synchronization(_) => Self::Synchronization,
            Event::Overhead(_) => Self::Overhead,
            Event::GraphTrace(_) => Self::GraphTrace,
            Event::Device(_) => Self::Device,
            Event::Context(_) => Self::Context,
            Event::Session(_) => Self::Session,
            Event::Dropped(_) => Self::Dropped,
            Event::Op(_) => Self::Op,
        }
    }
}

/// Makes a queue for at most `capacity` events.
pub(super) fn queue(
    capacity: usize,
    wanted: Wanted,
    stats: Arc<ExportStats>,
) -> (QueueSender, QueueReceiver) {
    let (messages, receiver) = mpsc::channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    stats.queue_capacity.store(capacity as u64, Ordering::Relaxed);
    (
        QueueSender { messages, waiting: Arc::clone(&waiting), capacity, wanted, stats: Arc::clone(&stats) },
        QueueReceiver { messages: receiver, waiting, stats },
    )
}

/// The pipeline's end. The channel itself is unbounded; `waiting` bounds it, in events, so that many small batches
/// count as little as they are.
#[derive(Debug, Clone)]
pub(super) struct QueueSender {
    messages: mpsc::Sender<Message>,
    waiting: Arc<AtomicUsize>,
    capacity: usize,
    wanted: Wanted,
    stats: Arc<ExportStats>,
}

impl QueueSender {
    /// Passes a control message; `false` when the sink's thread has ended.
    pub(super) fn send(&self, message: Message) -> bool {
        self.messages.send(message).is_ok()
    }

    fn send_events(&self, anchor: Anchor, batch: Vec<(TargetId, Event)>) {
        let count = batch.len();
        let before = self.waiting.fetch_add(count, Ordering::AcqRel);
        let fits = before.saturating_add(count) <= self.capacity;
        if fits && self.messages.send(Message::Events(anchor, batch)).is_ok() {
            self.stats.queue_length.store((before + count) as u64, Ordering::Relaxed);
        } else {
            self.waiting.fetch_sub(count, Ordering::AcqRel);
            self.stats.dropped.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}

/// The sink's end.
#[derive(Debug)]
pub(super) struct QueueReceiver {
    messages: mpsc::Receiver<Message>,
    waiting: Arc<AtomicUsize>,
    stats: Arc<ExportStats>,
}

impl QueueReceiver {
    /// The next message, `Ok(None)` after `limit` without one, `Err` when every sender is gone.
    pub(super) fn next(&self, limit: std::time::Duration) -> Result<Option<Message>, mpsc::RecvError> {
        match self.messages.recv_timeout(limit) {
            Ok(message) => {
                if let Message::Events(_, batch) = &message {
                    let before = self.waiting.fetch_sub(batch.len(), Ordering::AcqRel);
                    self.stats.queue_length.store((before - batch.len()) as u64, Ordering::Relaxed);
                }
                Ok(Some(message))
            }
            Err(mpsc::RecvTimeoutError::Timeout) => Ok(None),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(mpsc::RecvError),
        }
    }
}

/// Where the pipeline offers events. One per thread; it collects a batch before it touches shared memory.
#[derive(Debug)]
pub struct EventSender {
    queue: Option<QueueSender>,
    anchor: Anchor,
    batch: Vec<(TargetId, Event)>,
}

impl EventSender {
    /// A sender that wants nothing.
    #[must_use]
    pub fn disabled() -> Self {
        Self { queue: None, anchor: Anchor::now(), batch: Vec::new() }
    }

    pub(super) fn new(queue: QueueSender) -> Self {
        Self { queue: Some(queue), anchor: Anchor::now(), batch: Vec::with_capacity(BATCH_EVENTS) }
    }

    /// Whether an event of this kind would be taken; constant while the agent runs.
    #[must_use]
    pub fn wants(&self, kind: EventKind) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.wanted.contains(kind))
    }

    /// Events offered from now on are converted to Unix time by `anchor`; those before keep theirs.
    pub fn set_anchor(&mut self, anchor: Anchor) {
        self.flush();
        self.anchor = anchor;
    }

    /// Takes a copy of the event if the sink wants its kind. Never waits.
    pub fn offer(&mut self, target: TargetId, event: &Event) {
        if !self.wants(EventKind::of(event)) {
            return;
        }
        self.batch.push((target, event.clone()));
        if self.batch.len() >= BATCH_EVENTS {
            self.flush();
        }
    }

    /// Hands on what was collected: at the end of each drain.
    pub fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH_EVENTS));
        if let Some(queue) = &self.queue {
            queue.send_events(self.anchor, batch);
        }
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event::{Dropped, Kernel};

    fn kernel() -> Event {
        Event::Kernel(Kernel::default())
    }

    fn sender(capacity: usize) -> (EventSender, QueueReceiver, Arc<ExportStats>) {
        let stats = Arc::new(ExportStats::new("json_log"));
        let (queue, receiver) =
            queue(capacity, Wanted::default().with(EventKind::Kernel), Arc::clone(&stats));
        (EventSender::new(queue), receiver, stats)
    }

    fn received(receiver: &QueueReceiver) -> usize {
        let mut total = 0;
        while let Ok(Some(Message::Events(_, batch))) = receiver.next(Duration::ZERO) {
            total += batch.len();
        }
        total
    }

    #[test]
    fn an_unwanted_kind_never_enters() {
        let (mut sender, receiver, stats) = sender(100);
        sender.offer(TargetId(0), &Event::Dropped(Dropped { ktime_ns: 0, count: 1 }));
        sender.flush();
        assert_eq!(received(&receiver), 0);
        assert_eq!(stats.dropped.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn offered_is_received_plus_dropped_when_the_queue_is_full() {
        let (mut sender, receiver, stats) = sender(1000);
        for _ in 0..5000 {
            sender.offer(TargetId(0), &kernel());
        }
        sender.flush();
        let dropped = stats.dropped.load(Ordering::Relaxed);
        assert_eq!(stats.queue_length.load(Ordering::Relaxed), 3 * 256 + 5000 % 256);
        assert_eq!(received(&receiver) as u64 + dropped, 5000);
        assert!(dropped > 0);
        sender.offer(TargetId(0), &kernel());
        sender.flush();
        assert_eq!(received(&receiver), 1, "an emptied queue takes events again");
    }

    #[test]
    fn events_offered_after_the_sink_ended_are_counted_as_dropped() {
        let (mut sender, receiver, stats) = sender(1000);
        drop(receiver);
        sender.offer(TargetId(0), &kernel());
        sender.flush();
        assert_eq!(stats.dropped.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn events_offered_before_a_new_anchor_keep_theirs() {
        let (mut sender, receiver, _) = sender(1000);
        let anchors = [1_000, 9_000].map(|unix_ns| Anchor { ktime_ns: 0, unix_ns, error_ns: 0 });
        for anchor in anchors {
            sender.set_anchor(anchor);
            sender.offer(TargetId(0), &kernel());
        }
        sender.flush();
        for anchor in anchors {
            let Ok(Some(Message::Events(by, batch))) = receiver.next(Duration::ZERO) else {
                panic!("no batch")
            };
            assert_eq!((by, batch.len()), (anchor, 1));
        }
    }

    #[test]
    fn every_kind_has_its_own_bit() {
        let all = EventKind::ALL.into_iter().fold(Wanted::default(), Wanted::with);
        assert_eq!(all.0.count_ones() as usize, EventKind::ALL.len());
    }
}
