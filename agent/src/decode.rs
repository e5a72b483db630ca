//! From a source's bytes to events: pure, total, without I/O.
//!
//! Enters: private copies of records. Leaves: events, or the reason why there is none; of probes' records their parts, which
//! [`crate::correlate`] makes events of. Refuses: to panic, whatever the bytes; they were written by a process that may be
//! hostile, or read from one.

pub mod cupti;
pub mod ebpf;
