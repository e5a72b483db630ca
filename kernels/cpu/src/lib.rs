//! The reference kernels on a CPU, twice: as what the simulated device runs ([`device`]: the order of operations and
//! the roundings of the CUDA sources), and as the definition that everything is measured against
//! ([`mod@reference`]: f64).
//!
//! Enters: raw kernel parameters, or slices. Leaves: results. Refuses: to know of any driver; the simulated one links
//! this crate. [`kernel`] is the closed list of what exists and how it is named.

pub mod device;
pub mod element;
pub mod kernel;
pub mod reference;
