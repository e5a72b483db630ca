//! Theoretical occupancy. Enters: a function, its block size and shared memory. Leaves: blocks that fit on one
//! multiprocessor. Refuses: nothing; what does not fit at all is 0.

use crate::device::{
    BLOCKS_PER_MULTIPROCESSOR, REGISTERS, SHARED_PER_MULTIPROCESSOR, THREADS_PER_BLOCK,
    THREADS_PER_MULTIPROCESSOR, WARP,
};
use crate::module::Function;

/// Blocks of `threads` threads that fit on one multiprocessor, by threads, registers and shared memory.
pub(crate) fn blocks_per_multiprocessor(function: &Function, threads: u32, dynamic_shared_bytes: u32) -> u32 {
    if threads == 0 || threads > THREADS_PER_BLOCK {
        return 0;
    }
    let threads = threads.next_multiple_of(WARP);
    let by_registers = REGISTERS / (function.registers.max(1) * threads);
    let shared_bytes = function.static_shared_bytes.saturating_add(dynamic_shared_bytes);
    let by_shared = SHARED_PER_MULTIPROCESSOR.checked_div(shared_bytes).unwrap_or(u32::MAX);
    (THREADS_PER_MULTIPROCESSOR / threads).min(by_registers).min(by_shared).min(BLOCKS_PER_MULTIPROCESSOR)
}
