//! The benchmark of the kernels.
//!
//! ```text
//! case      which kernels at which sizes, and what each iteration moves and computes
//! attention, cache, dense   a case's buffers, its launch, its error against the reference
//! measure   a prepared case, timed: host time of the launches, device time between two events
//! protocol  the program: one process, one configuration; lines of JSON, or a table
//! ```
//!
//! One process measures one configuration of the machine around it: no shim, a dormant one, an armed one. Who
//! compares them starts several and interleaves (`--interactive`).

mod attention;
mod cache;
mod case;
mod dense;
mod measure;
mod protocol;

pub use case::{Case, Cost, Operation, Size, cases};
pub use measure::{Measurement, Prepared, Summary};
pub use protocol::main;
