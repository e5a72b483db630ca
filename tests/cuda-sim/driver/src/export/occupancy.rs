//! Occupancy.

use crate::call::exports;
use crate::device::{MULTIPROCESSORS, SHARED_PER_MULTIPROCESSOR, THREADS_PER_BLOCK, WARP};
use crate::error::{Error, Outcome};
use crate::ffi::{Handle, Out};
use crate::module::Function;
use crate::occupancy::blocks_per_multiprocessor;

/// `CUoccupancyB2DSize`: dynamic shared memory of a block of a size.
type SharedOf = Option<unsafe extern "C" fn(i32) -> usize>;

fn blocks(count: &Out<i32>, function: Handle, threads: i32, shared_bytes: usize) -> Outcome {
    let threads = u32::try_from(threads).ok().filter(|threads| *threads > 0).ok_or(Error::INVALID_VALUE)?;
    let shared_bytes = u32::try_from(shared_bytes).unwrap_or(u32::MAX);
    count.put(blocks_per_multiprocessor(Function::find(function)?, threads, shared_bytes) as i32)
}

/// The largest block size among those that keep most threads resident.
fn best(
    grid: &Out<i32>,
    block: &Out<i32>,
    function: Handle,
    shared_of: SharedOf,
    shared_bytes: usize,
    limit: i32,
) -> Outcome {
    let function = Function::find(function)?;
    let limit = u32::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(THREADS_PER_BLOCK);
    let mut found = (0, WARP, 0);
    for threads in (WARP..=limit.min(THREADS_PER_BLOCK)).step_by(WARP as usize) {
        let shared = match shared_of {
            #[allow(unsafe_code, reason = "calls a C function pointer of the program")]
            // SAFETY: the program passed a function of this prototype.
            Some(shared_of) => unsafe { shared_of(threads as i32) },
            None => shared_bytes,
        };
        let blocks = blocks_per_multiprocessor(function, threads, u32::try_from(shared).unwrap_or(u32::MAX));
        if blocks * threads >= found.0 && blocks > 0 {
            found = (blocks * threads, threads, blocks);
        }
    }
    grid.put((found.2 * MULTIPROCESSORS) as i32)?;
    block.put(found.1 as i32)
}

exports! {
    ready fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
        count: Out<i32>, function: Handle, threads: i32, shared_bytes: usize,
    ) {
        blocks(&count, function, threads, shared_bytes)
    }

    ready fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        count: Out<i32>, function: Handle, threads: i32, shared_bytes: usize, _flags: u32,
    ) {
        blocks(&count, function, threads, shared_bytes)
    }

    ready fn cuOccupancyMaxPotentialBlockSize(
        grid: Out<i32>, block: Out<i32>, function: Handle, shared_of: SharedOf, shared_bytes: usize, limit: i32,
    ) {
        best(&grid, &block, function, shared_of, shared_bytes, limit)
    }

    ready fn cuOccupancyMaxPotentialBlockSizeWithFlags(
        grid: Out<i32>, block: Out<i32>, function: Handle, shared_of: SharedOf, shared_bytes: usize, limit: i32,
        _flags: u32,
    ) {
        best(&grid, &block, function, shared_of, shared_bytes, limit)
    }

    ready fn cuOccupancyAvailableDynamicSMemPerBlock(
        bytes: Out<usize>, function: Handle, blocks: i32, _threads: i32,
    ) {
        let blocks = u32::try_from(blocks).ok().filter(|blocks| *blocks > 0).ok_or(Error::INVALID_VALUE)?;
        let share = SHARED_PER_MULTIPROCESSOR / blocks;
        bytes.put(share.saturating_sub(Function::find(function)?.static_shared_bytes) as usize)
    }
}
