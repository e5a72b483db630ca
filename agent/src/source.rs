//! Where records come from.
//!
//! Enters: processes. Leaves: raw records, with exact counts of what was lost on the way. Refuses: to interpret them;
//! that is [`crate::decode`]'s.

pub mod cupti;
pub mod ebpf;
