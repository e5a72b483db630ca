//! In: a record of kind `DEVICE` (8). Out: what a device is and how large its multiprocessors are.

use super::view::view;

view! {
    /// `CUpti_ActivityDevice4` to `6`: one device.
    pub struct Device: "CUpti_ActivityDevice", at least 176 bytes;
    always {
        /// Peak bandwidth of the device's memory, in kB/s.
        global_memory_bandwidth_kb_per_second: u64 = "globalMemoryBandwidth" @ 8,
        /// Device memory, in bytes.
        global_memory_bytes: u64 = "globalMemorySize" @ 16,
        /// L2 cache, in bytes.
        l2_cache_bytes: u32 = "l2CacheSize" @ 28,
        /// Threads in a warp.
        threads_per_warp: u32 = "numThreadsPerWarp" @ 32,
        /// Core clock, in kHz.
        core_clock_khz: u32 = "coreClockRate" @ 36,
        /// Copy engines.
        memcpy_engines: u32 = "numMemcpyEngines" @ 40,
        /// Multiprocessors.
        multiprocessors: u32 = "numMultiprocessors" @ 44,
        /// Warps that a multiprocessor holds at most.
        max_warps_per_multiprocessor: u32 = "maxWarpsPerMultiprocessor" @ 52,
        /// Blocks that a multiprocessor holds at most.
        max_blocks_per_multiprocessor: u32 = "maxBlocksPerMultiprocessor" @ 56,
        /// Shared memory of a multiprocessor, in bytes.
        max_shared_memory_per_multiprocessor_bytes: u32 = "maxSharedMemoryPerMultiprocessor" @ 60,
        /// 32-bit registers of a multiprocessor.
        max_registers_per_multiprocessor: u32 = "maxRegistersPerMultiprocessor" @ 64,
        /// 32-bit registers that a block can have.
        max_registers_per_block: u32 = "maxRegistersPerBlock" @ 68,
        /// Shared memory that a block can have, in bytes.
        max_shared_memory_per_block_bytes: u32 = "maxSharedMemoryPerBlock" @ 72,
        /// Threads that a block can have.
        max_threads_per_block: u32 = "maxThreadsPerBlock" @ 76,
        /// Compute capability, before the dot.
        compute_capability_major: u32 = "computeCapabilityMajor" @ 104,
        /// Compute capability, after the dot.
        compute_capability_minor: u32 = "computeCapabilityMinor" @ 108,
        /// Device id, as other records name it.
        device_id: u32 = "id" @ 112,
        /// UUID of the device.
        uuid: [u8; 16] = "uuid" @ 120,
        /// Address of the NUL-terminated name, shared by all records of this device. Copy it, never change it.
        name_address: u64 = "name" @ 136,
        /// Whether the process sees the device.
        is_cuda_visible: u8 => bool = "isCudaVisible" @ 144,
        /// Whether the device is in MIG mode.
        is_mig_enabled: u8 => bool = "isMigEnabled" @ 145,
        /// GPU instance; `u32::MAX` outside MIG.
        gpu_instance_id: u32 = "gpuInstanceId" @ 152,
        /// Compute instance; `u32::MAX` outside MIG.
        compute_instance_id: u32 = "computeInstanceId" @ 156,
        /// UUID of the MIG device; meaningful in MIG mode only.
        mig_uuid: [u8; 16] = "migUuid" @ 160,
    }
    late {
        /// NUMA node of the device's memory; read it with `is_numa_node` (12.2).
        numa_id: u32 = "numaId" @ 180,
        /// Whether the device's memory is a NUMA node (12.2).
        is_numa_node: u32 => bool = "isNumaNode" @ 176,
        /// Texture processing clusters (13.2).
        tpcs: u32 = "numTpcs" @ 184,
    }
    since {}
}
