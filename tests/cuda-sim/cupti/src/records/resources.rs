//! Records of devices, contexts and streams.
//!
//! Enters: the driver's descriptions of them. Leaves: records. Refuses: nothing; what the simulated device does not
//! know (PCI, NUMA, MIG) stays zero.

use super::family;
use crate::kind;
use crate::layout::Record;
use cuda_sim_abi::{ContextInfo, DeviceInfo};

/// `CUPTI_ACTIVITY_FLAG_DEVICE_CONCURRENT_KERNELS`
const CONCURRENT_KERNELS: u32 = 1;

family! {
    /// `CUpti_ActivityDevice4` and later.
    Device = "Device", kind kind::DEVICE;
    fields {
        flags: u32 = "flags",
        bandwidth: u64 = "globalMemoryBandwidth",
        memory: u64 = "globalMemorySize",
        l2: u32 = "l2CacheSize",
        warp: u32 = "numThreadsPerWarp",
        clock: u32 = "coreClockRate",
        multiprocessors: u32 = "numMultiprocessors",
        warps: u32 = "maxWarpsPerMultiprocessor",
        blocks: u32 = "maxBlocksPerMultiprocessor",
        shared: u32 = "maxSharedMemoryPerMultiprocessor",
        registers: u32 = "maxRegistersPerMultiprocessor",
        threads: u32 = "maxThreadsPerBlock",
        major: u32 = "computeCapabilityMajor",
        minor: u32 = "computeCapabilityMinor",
        id: u32 = "id",
        uuid: [u8; 16] = "uuid",
        name: u64 = "name",
        visible: u8 = "isCudaVisible",
    }
}

impl Device {
    pub(crate) fn write(&self, ordinal: u32, device: &DeviceInfo) -> Record {
        let mut record = self.template().record();
        record.put(self.flags, CONCURRENT_KERNELS);
        record.put(self.bandwidth, device.memory_bandwidth_kb_s);
        record.put(self.memory, device.total_memory_bytes);
        record.put(self.l2, device.l2_cache_bytes);
        record.put(self.warp, 32);
        record.put(self.clock, device.core_clock_khz);
        record.put(self.multiprocessors, device.multiprocessors);
        record.put(self.warps, device.max_warps_per_multiprocessor);
        record.put(self.blocks, device.max_blocks_per_multiprocessor);
        record.put(self.shared, device.shared_bytes_per_multiprocessor);
        record.put(self.registers, device.registers_per_multiprocessor);
        record.put(self.threads, device.max_threads_per_block);
        record.put(self.major, device.compute_major);
        record.put(self.minor, device.compute_minor);
        record.put(self.id, ordinal);
        record.put(self.uuid, device.uuid);
        record.put(self.name, device.name.expose_provenance() as u64);
        record.put(self.visible, 1);
        record
    }
}

family! {
    /// `CUpti_ActivityContext` and later.
    Context = "Context", kind kind::CONTEXT;
    fields {
        id: u32 = "contextId",
        device: u32 = "deviceId",
        api: u16 = "computeApiKind",
        null_stream: u16 = "nullStreamId",
    }
    later {
        process: u64 = "processId",
    }
}

impl Context {
    pub(crate) fn write(&self, context: &ContextInfo, process: u32) -> Record {
        let mut record = self.template().record();
        record.put(self.id, context.context_id);
        record.put(self.device, context.device_id);
        record.put(self.api, kind::COMPUTE_API_CUDA);
        record.put(self.null_stream, u16::try_from(context.null_stream_id).unwrap_or(u16::MAX));
        record.put(self.process, u64::from(process));
        record
    }
}

family! {
    /// `CUpti_ActivityStream`.
    Stream = "Stream", kind kind::STREAM;
    fields {
        context: u32 = "contextId",
        id: u32 = "streamId",
        flag: u32 = "flag",
    }
}

impl Stream {
    pub(crate) fn write(&self, context_id: u32, stream_id: u32, flag: u32) -> Record {
        let mut record = self.template().record();
        record.put(self.context, context_id);
        record.put(self.id, stream_id);
        record.put(self.flag, flag);
        record
    }
}
