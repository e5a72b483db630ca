//! What the kernels should compute. Enter: tensors on the host; leave: `f64` results, or cache contents exactly.
//!
//! Written from the definition of each operation, one scalar at a time, sums in `f64`: the yardstick for the
//! numerical error of the kernels, so it shares no code with [`crate::device`]. It indexes by shape and panics,
//! as slices do, where a shape does not fit its tensor.
#![allow(
    clippy::indexing_slicing,
    reason = "a reference reads like the definition; a wrong shape must stop it"
)]

mod attention;
mod cache;
mod dense;
mod error;

pub use attention::{Attention, paged_attention};
pub use cache::{CacheShape, copy_blocks, gather_kv_cache, reshape_and_cache};
pub use dense::{Activation, gemm, rms_norm};
pub use error::{NumericalError, tolerance};
