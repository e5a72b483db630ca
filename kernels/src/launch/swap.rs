//! `swap_blocks`: cache blocks between a device and the host, one copy per block, as mistral.rs and vLLM do it.
//! Enter: a cache, a pinned buffer, pairs of block numbers (from, to); leave: copies on the buffer's stream.
//! Refuses blocks that are not in their buffer, before anything is copied past its end.

use super::buffer::{PinnedBuffer, View};
use super::error::LaunchError;
use crate::element::Plain;

/// Copies blocks of `cache` (device) to blocks of `host`.
///
/// # Errors
/// [`LaunchError::Shape`] for a block past the end of either, or what the driver returned.
pub fn swap_blocks_out<T: Plain>(
    cache: View<'_, T>,
    host: &mut PinnedBuffer<T>,
    pairs: &[(usize, usize)],
    block_numel: usize,
) -> Result<(), LaunchError> {
    pairs.iter().try_for_each(|&(from, to)| {
        let block = cache.slice(from.saturating_mul(block_numel), block_numel, "swap_blocks_out: cache")?;
        host.download(to.saturating_mul(block_numel), block)
    })
}

/// Copies blocks of `host` to blocks of `cache` (device).
///
/// # Errors
/// As [`swap_blocks_out`].
pub fn swap_blocks_in<T: Plain>(
    host: &PinnedBuffer<T>,
    cache: View<'_, T>,
    pairs: &[(usize, usize)],
    block_numel: usize,
) -> Result<(), LaunchError> {
    pairs.iter().try_for_each(|&(from, to)| {
        let block = cache.slice(to.saturating_mul(block_numel), block_numel, "swap_blocks_in: cache")?;
        host.upload(from.saturating_mul(block_numel), block)
    })
}
