//! In: a record of kind `MEMORY2` (49). Out: one allocation or release. Not for kind `MEMORY` (45), another struct.

use super::codes::{MemoryKind, MemoryOperation, MemoryPoolType};
use super::view::view;

view! {
    /// `CUpti_ActivityMemory3` and `4`: one allocation or release of memory, as the host asked for it.
    pub struct Memory: "CUpti_ActivityMemory", at least 120 bytes;
    always {
        /// Whether memory was taken or given back.
        operation: u32 => MemoryOperation = "memoryOperationType" @ 4,
        /// Sort of memory.
        memory_kind: u32 => MemoryKind = "memoryKind" @ 8,
        /// Ties the operation to the driver or runtime call that asked for it.
        correlation_id: u32 = "correlationId" @ 12,
        /// Virtual address.
        address: u64 = "address" @ 16,
        /// Bytes taken or given back.
        size_bytes: u64 = "bytes" @ 24,
        /// When the operation happened, in ns.
        timestamp_ns: u64 = "timestamp" @ 32,
        /// Address of the calling instruction.
        pc: u64 = "PC" @ 40,
        /// Process, as it sees its own id.
        process_id: u32 = "processId" @ 48,
        /// Device.
        device_id: u32 = "deviceId" @ 52,
        /// Context.
        context_id: u32 = "contextId" @ 56,
        /// Stream; meaningful for asynchronous operations only.
        stream_id: u32 = "streamId" @ 60,
        /// Address of the NUL-terminated variable name; 0 unless the memory is a static variable.
        name_address: u64 = "name" @ 64,
        /// Whether the operation was ordered by a stream.
        is_async: u32 => bool = "isAsync" @ 72,
        /// Whose pool the memory belongs to; `INVALID` outside pools.
        pool_type: u32 => MemoryPoolType = "memoryPoolConfig.memoryPoolType" @ 80,
        /// Address of the pool.
        pool_address: u64 = "memoryPoolConfig.address" @ 88,
        /// Bytes that the pool keeps before it gives memory back to the system.
        pool_release_threshold_bytes: u64 = "memoryPoolConfig.releaseThreshold" @ 96,
        /// Size of a local pool in bytes; for an imported pool the process id of its owner.
        pool_size_or_process: u64 = "memoryPoolConfig.pool.size" @ 104,
        /// Bytes of the pool in use; for local pools.
        pool_utilized_bytes: u64 = "memoryPoolConfig.utilizedSize" @ 112,
    }
    late {
        /// Address of the NUL-terminated path of the library that allocated (12.6, where it was asked for).
        source_address: u64 = "source" @ 120,
    }
    since {}
}
