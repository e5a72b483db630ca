//! Probe specifications: which entry points of which engines are probed, where their arguments lie, what they mean.
//!
//! Enters: specifications (TOML), symbols of a process's files. Leaves: [`plan::Plan`]s for `source::ebpf` to attach, and
//! readers that make tensors and fields of a record's payload. Refuses: I/O on processes; a specification that does not
//! type-check.

mod abi;
pub mod catalog;
mod compile;
mod document;
mod dtype;
mod explain;
mod expression;
mod fetch;
pub mod plan;
mod reader;
pub mod resolve;
mod scan;
mod signature;
#[cfg(test)]
mod simulate;
mod source;
mod specification;
mod types;

pub use abi::Arch;
pub use explain::{Argument, Explanation, Places, Step};
pub use source::SpecError;
pub use specification::{Files, Probe, Specification};
