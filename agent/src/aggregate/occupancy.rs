//! Theoretical occupancy: how many of a multiprocessor's warps a kernel's launch configuration can keep resident.
//!
//! Enters: a kernel record and its device's description. Leaves: a share between 0 and 1. Refuses: an answer where the
//! device did not say enough. It is a bound from resources, not a measurement.
//!
//! Rules of the CUDA C++ Programming Guide, "Hardware Multithreading", and the granularities of the occupancy
//! calculator: registers are given out per warp in units of 256, shared memory in units of 128 bytes (256 before compute
//! capability 8.0), and from 8.0 on the system takes 1 KiB of shared memory a block.

use crate::event::{Device, Kernel};

const WARP_THREADS: u32 = 32;
const REGISTER_UNIT: u32 = 256;

/// Resident warps over the most possible.
#[must_use]
pub fn theoretical(kernel: &Kernel, device: &Device) -> Option<f64> {
    let most_warps = device.warps_per_multiprocessor;
    let threads = kernel.block.iter().map(|&side| u64::from(side)).product::<u64>();
    if threads == 0 || most_warps == 0 || device.blocks_per_multiprocessor == 0 {
        return None;
    }
    let warps = u32::try_from(threads.div_ceil(u64::from(WARP_THREADS))).ok()?;
    let by_warps = most_warps / warps;
    let by_registers = if kernel.registers == 0 {
        u32::MAX
    } else {
        let each = (u32::from(kernel.registers) * WARP_THREADS).next_multiple_of(REGISTER_UNIT);
        device.registers_per_multiprocessor / each / warps
    };
    let (unit, reserved) = if device.compute_capability.0 >= 8 { (128, 1024) } else { (256, 0) };
    let shared = kernel.shared_bytes.checked_add(reserved)?.checked_next_multiple_of(unit)?;
    let by_shared = device.shared_bytes_per_multiprocessor.checked_div(shared).unwrap_or(u32::MAX);
    let blocks = by_warps.min(by_registers).min(by_shared).min(device.blocks_per_multiprocessor);
    Some((f64::from(blocks) * f64::from(warps) / f64::from(most_warps)).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::theoretical;
    use crate::event::{Device, Kernel};

    /// Values of an A100 (compute capability 8.0).
    fn a100() -> Device {
        Device {
            registers_per_multiprocessor: 65_536,
            shared_bytes_per_multiprocessor: 167_936,
            warps_per_multiprocessor: 64,
            blocks_per_multiprocessor: 32,
            compute_capability: (8, 0),
            ..Device::default()
        }
    }

    fn kernel(threads: u16, registers: u16, shared_bytes: u32) -> Kernel {
        Kernel { block: [threads, 1, 1], registers, shared_bytes, ..Kernel::default() }
    }

    /// Expected values from the occupancy calculator's formulas, by hand.
    #[test]
    fn each_resource_limits_in_its_turn() {
        let of = |kernel: Kernel| theoretical(&kernel, &a100());
        assert_eq!(of(kernel(256, 32, 0)), Some(1.0), "8 blocks of 8 warps");
        assert_eq!(of(kernel(32, 16, 0)), Some(0.5), "32 blocks of 1 warp");
        assert_eq!(of(kernel(256, 128, 0)), Some(0.25), "4096 registers a warp: 16 warps");
        assert_eq!(of(kernel(128, 32, 48 * 1024)), Some(0.1875), "49 KiB a block: 3 blocks of 4 warps");
        assert_eq!(of(kernel(1024, 255, 0)), Some(0.0), "such a block does not fit at all");
    }

    #[test]
    fn a_device_that_said_nothing_has_no_answer() {
        assert_eq!(theoretical(&kernel(256, 32, 0), &Device::default()), None);
        assert_eq!(theoretical(&kernel(0, 32, 0), &a100()), None);
    }

    #[test]
    fn absurd_numbers_overflow_nothing() {
        let kernel =
            Kernel { block: [u16::MAX; 3], registers: u16::MAX, shared_bytes: u32::MAX, ..Kernel::default() };
        let _ = theoretical(&kernel, &a100());
        assert_eq!(theoretical(&kernel, &a100()), None);
    }
}
