//! Probe specifications: which entry points of which engines are probed, where their arguments lie, what they mean.
//!
//! Enters: specifications (TOML), symbols of a process's files. Leaves: [`plan::Plan`]s for `source::ebpf` to attach, and
//! readers that make tensors and fields of a record's payload. Refuses: I/O on processes; a specification that does not
//! type-check.

pub mod plan;
