//! From a source's bytes to events: pure, total, without I/O.
//!
//! Enters: private copies of records. Leaves: events, or the reason why there is none. Refuses: to panic, whatever the
//! bytes; they were written by a process that may be hostile.

pub mod cupti;
