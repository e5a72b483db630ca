//! The simulated devices. Enters: the configuration. Leaves: properties and attributes of a device, modelled on an
//! A100 but for its memory. Refuses: ordinals out of range; a name without the word "Simulated".

use std::ffi::CString;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use cuda_sim_abi::DeviceInfo;

use crate::context::Primary;
use crate::error::{Error, Outcome};
use crate::state::config;

/// One simulated device.
pub(crate) struct Device {
    /// Ordinal, from 0.
    pub(crate) ordinal: u32,
    /// Name, with the word "Simulated".
    pub(crate) name: CString,
    /// Derived from the ordinal alone.
    pub(crate) uuid: [u8; 16],
    /// Memory, bytes.
    pub(crate) memory_bytes: u64,
    /// Memory allocated, bytes.
    pub(crate) used_bytes: AtomicU64,
    /// Its primary context.
    pub(crate) primary: Primary,
}

/// Streaming multiprocessors.
pub(crate) const MULTIPROCESSORS: u32 = 108;
/// Threads that fit on one multiprocessor.
pub(crate) const THREADS_PER_MULTIPROCESSOR: u32 = 2048;
/// Threads per warp.
pub(crate) const WARP: u32 = 32;
/// Blocks that fit on one multiprocessor.
pub(crate) const BLOCKS_PER_MULTIPROCESSOR: u32 = 32;
/// Registers of one multiprocessor, and of one block at most.
pub(crate) const REGISTERS: u32 = 65536;
/// Threads of a block at most.
pub(crate) const THREADS_PER_BLOCK: u32 = 1024;
/// Shared memory of a block without opting in, bytes.
pub(crate) const SHARED_PER_BLOCK: u32 = 48 << 10;
/// Shared memory of a block at most, bytes.
pub(crate) const SHARED_OPT_IN: u32 = 163 << 10;
/// Shared memory of a multiprocessor, bytes.
pub(crate) const SHARED_PER_MULTIPROCESSOR: u32 = 164 << 10;

const MEMORY_CLOCK_KHZ: u32 = 1_215_000;
const MEMORY_BUS_BITS: u32 = 5120;
const CORE_CLOCK_KHZ: u32 = 1_410_000;
const L2_BYTES: u32 = 40 << 20;

/// All devices, made from the configuration when first asked for.
pub(crate) fn all() -> &'static [Device] {
    static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
    DEVICES.get_or_init(|| (0..config().devices).map(Device::new).collect())
}

/// The device of this ordinal.
pub(crate) fn by_ordinal(ordinal: i32) -> Outcome<&'static Device> {
    let index = usize::try_from(ordinal).ok();
    index.and_then(|index| all().get(index)).ok_or(Error::INVALID_DEVICE)
}

impl Device {
    fn new(ordinal: u32) -> Self {
        let mut uuid = *b"GPUAGENTSIMULAT0";
        if let Some(last) = uuid.last_mut() {
            *last = ordinal as u8;
        }
        let name = CString::new(format!("Simulated GPU {ordinal}")).unwrap_or_default();
        Self {
            ordinal,
            name,
            uuid,
            memory_bytes: config().memory_gib << 30,
            used_bytes: AtomicU64::new(0),
            primary: Primary::default(),
        }
    }

    /// Takes `bytes` of its memory.
    pub(crate) fn take(&self, bytes: u64) -> Outcome {
        let fits = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.memory_bytes);
        match self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(()),
            Err(_used) => Err(Error::OUT_OF_MEMORY),
        }
    }

    /// Gives `bytes` back.
    pub(crate) fn give(&self, bytes: u64) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// PCI bus id in the form that `cuDeviceGetPCIBusId` writes.
    pub(crate) fn pci_bus_id(&self) -> String {
        format!("0000:{:02X}:00.0", self.ordinal + 1)
    }

    /// What CUPTI's device record shows.
    pub(crate) fn describe(&self) -> DeviceInfo {
        let (compute_major, compute_minor) = config().compute_capability;
        DeviceInfo {
            name: self.name.as_ptr(),
            uuid: self.uuid,
            total_memory_bytes: self.memory_bytes,
            memory_bandwidth_kb_s: u64::from(MEMORY_CLOCK_KHZ) * 2 * u64::from(MEMORY_BUS_BITS / 8),
            compute_major,
            compute_minor,
            multiprocessors: MULTIPROCESSORS,
            max_warps_per_multiprocessor: THREADS_PER_MULTIPROCESSOR / WARP,
            max_blocks_per_multiprocessor: BLOCKS_PER_MULTIPROCESSOR,
            registers_per_multiprocessor: REGISTERS,
            shared_bytes_per_multiprocessor: SHARED_PER_MULTIPROCESSOR,
            max_threads_per_block: THREADS_PER_BLOCK,
            core_clock_khz: CORE_CLOCK_KHZ,
            l2_cache_bytes: L2_BYTES,
        }
    }

    /// `cuDeviceGetAttribute`; numbers of `CUdevice_attribute` in CUDA 12.9's `cuda.h`. Attributes of features that
    /// the simulator does not have are 0.
    pub(crate) fn attribute(&self, attribute: i32) -> Outcome<i32> {
        let (major, minor) = config().compute_capability;
        let value = match attribute {
            1 => THREADS_PER_BLOCK,
            2 | 3 => 1024,
            4 => 64,
            5 => i32::MAX.unsigned_abs(),
            6 | 7 => 65535,
            8 => SHARED_PER_BLOCK,
            9 => 64 << 10,
            10 => WARP,
            11 => i32::MAX.unsigned_abs(),
            12 | 82 => REGISTERS,
            13 => CORE_CLOCK_KHZ,
            14 => 512,
            16 => MULTIPROCESSORS,
            33 => self.ordinal + 1,
            36 => MEMORY_CLOCK_KHZ,
            37 => MEMORY_BUS_BITS,
            38 => L2_BYTES,
            39 => THREADS_PER_MULTIPROCESSOR,
            40 => 3,
            75 => major,
            76 => minor,
            81 => SHARED_PER_MULTIPROCESSOR,
            97 => SHARED_OPT_IN,
            106 => BLOCKS_PER_MULTIPROCESSOR,
            111 => 1 << 10,
            // Overlap, mapped host memory, concurrent kernels, unified addressing, stream priorities, L1 caching,
            // managed memory, cooperative launch, host registration, memory pools.
            15 | 19 | 31 | 41 | 78 | 79 | 80 | 83 | 89 | 91 | 95 | 99 | 115 => 1,
            _ if (1..=150).contains(&attribute) => 0,
            _ => return Err(Error::INVALID_VALUE),
        };
        Ok(value as i32)
    }
}
