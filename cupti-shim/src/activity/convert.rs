//! One function for each sort of record: from the view of CUPTI's bytes to the ring's record.
//!
//! Enters: views, which have checked their length. Leaves: ring records; their names are interned. Refuses: nothing;
//! a number too large for the ring's field becomes the largest that fits.
#![allow(unsafe_code, reason = "names are C strings that CUPTI points to")]

use core::ffi::c_char;

use cupti_sys::ActivityKind;
use cupti_sys::record as cupti;
use gpu_agent_ring::Writer;
use gpu_agent_ring::record::{
    Api, Context, Device, GraphTrace, Kernel, Memcpy, Memory, Memset, Overhead, Record, Synchronization, flag,
};

use super::{Source, Tally};

/// A view that becomes a ring record.
pub(super) trait ToRing {
    type Record: Record;

    /// The ring's record; notes in `tally` what is incomplete or did not fit.
    fn to_ring(&self, source: &Source, writer: &mut Writer, tally: &mut Tally) -> Self::Record;
}

impl ToRing for cupti::Kernel<'_> {
    type Record = Kernel;

    #[inline]
    fn to_ring(&self, source: &Source, writer: &mut Writer, tally: &mut Tally) -> Kernel {
        let cooperative = self.launch_type() != cupti::LaunchType::REGULAR
            && self.launch_type() != cupti::LaunchType::CBL_COMMANDLIST;
        let flags = incomplete(self.end_ns(), tally)
            | when(cooperative, flag::COOPERATIVE)
            | when(self.is_device_launched() == Some(true), flag::DEVICE_LAUNCHED)
            | source.graphs.flag(self.graph_id().unwrap_or(0));
        Kernel {
            kind: Kernel::KIND,
            flags,
            correlation_id: self.correlation_id(),
            start_ns: self.start_ns(),
            end_ns: self.end_ns(),
            device_id: self.device_id(),
            context_id: self.context_id(),
            stream_id: self.stream_id(),
            name_id: intern(writer, self.name_address(), tally),
            graph_node_id: self.graph_node_id().unwrap_or(0),
            graph_id: self.graph_id().unwrap_or(0),
            grid: [self.grid_x(), self.grid_y(), self.grid_z()],
            block: [self.block_x(), self.block_y(), self.block_z()].map(short),
            registers: self.registers_per_thread(),
            static_shared_bytes: self.static_shared_memory_bytes(),
            dynamic_shared_bytes: self.dynamic_shared_memory_bytes(),
            local_bytes_per_thread: self.local_memory_per_thread_bytes(),
            shared_executed_bytes: self.shared_memory_executed_bytes(),
        }
    }
}

impl ToRing for cupti::Memcpy<'_> {
    type Record = Memcpy;

    fn to_ring(&self, source: &Source, _writer: &mut Writer, tally: &mut Tally) -> Memcpy {
        let device_launched = self.is_device_launched(source.version) == Some(true);
        Memcpy {
            kind: Memcpy::KIND,
            flags: incomplete(self.end_ns(), tally)
                | when(self.is_async(), flag::ASYNC)
                | when(device_launched, flag::DEVICE_LAUNCHED)
                | source.graphs.flag(self.graph_id()),
            correlation_id: self.correlation_id(),
            start_ns: self.start_ns(),
            end_ns: self.end_ns(),
            device_id: self.device_id(),
            context_id: self.context_id(),
            stream_id: self.stream_id(),
            copy_kind: byte(self.copy_kind().0),
            source_kind: byte(self.src_kind().0),
            destination_kind: byte(self.dst_kind().0),
            graph_node_id: self.graph_node_id(),
            graph_id: self.graph_id(),
            destination_device_id: self.device_id(),
            destination_context_id: self.context_id(),
            copy_count: self.copy_count().map_or(1, |count| u32::try_from(count).unwrap_or(u32::MAX)),
            bytes: self.size_bytes(),
            ..Memcpy::default()
        }
    }
}

impl ToRing for cupti::MemcpyPtoP<'_> {
    type Record = Memcpy;

    fn to_ring(&self, source: &Source, _writer: &mut Writer, tally: &mut Tally) -> Memcpy {
        Memcpy {
            kind: Memcpy::KIND,
            flags: flag::PEER
                | incomplete(self.end_ns(), tally)
                | when(self.is_async(), flag::ASYNC)
                | source.graphs.flag(self.graph_id()),
            correlation_id: self.correlation_id(),
            start_ns: self.start_ns(),
            end_ns: self.end_ns(),
            device_id: self.src_device_id(),
            context_id: self.src_context_id(),
            stream_id: self.stream_id(),
            copy_kind: byte(self.copy_kind().0),
            source_kind: byte(self.src_kind().0),
            destination_kind: byte(self.dst_kind().0),
            graph_node_id: self.graph_node_id(),
            graph_id: self.graph_id(),
            destination_device_id: self.dst_device_id(),
            destination_context_id: self.dst_context_id(),
            copy_count: 1,
            bytes: self.size_bytes(),
            ..Memcpy::default()
        }
    }
}

impl ToRing for cupti::Memset<'_> {
    type Record = Memset;

    fn to_ring(&self, source: &Source, _writer: &mut Writer, tally: &mut Tally) -> Memset {
        let device_launched = self.is_device_launched(source.version) == Some(true);
        Memset {
            kind: Memset::KIND,
            flags: incomplete(self.end_ns(), tally)
                | when(self.is_async(), flag::ASYNC)
                | when(device_launched, flag::DEVICE_LAUNCHED)
                | source.graphs.flag(self.graph_id()),
            correlation_id: self.correlation_id(),
            start_ns: self.start_ns(),
            end_ns: self.end_ns(),
            device_id: self.device_id(),
            context_id: self.context_id(),
            stream_id: self.stream_id(),
            memory_kind: self.memory_kind().0,
            graph_node_id: self.graph_node_id(),
            graph_id: self.graph_id(),
            value: self.value(),
            bytes: self.size_bytes(),
            ..Memset::default()
        }
    }
}

impl ToRing for cupti::Memory<'_> {
    type Record = Memory;

    fn to_ring(&self, _source: &Source, _writer: &mut Writer, _tally: &mut Tally) -> Memory {
        let pooled = self.pool_type() != cupti::MemoryPoolType::INVALID;
        Memory {
            kind: Memory::KIND,
            flags: when(self.is_async(), flag::ASYNC),
            correlation_id: self.correlation_id(),
            timestamp_ns: self.timestamp_ns(),
            address: self.address(),
            bytes: self.size_bytes(),
            operation: self.operation().0,
            memory_kind: self.memory_kind().0,
            device_id: self.device_id(),
            context_id: self.context_id(),
            stream_id: self.stream_id(),
            pool_type: self.pool_type().0,
            pool_address: if pooled { self.pool_address() } else { 0 },
            ..Memory::default()
        }
    }
}

impl ToRing for (cupti::Api<'_>, ActivityKind) {
    type Record = Api;

    fn to_ring(&self, _source: &Source, _writer: &mut Writer, tally: &mut Tally) -> Api {
        let (call, kind) = self;
        Api {
            kind: Api::KIND,
            flags: incomplete(call.end_ns(), tally) | when(*kind == ActivityKind::RUNTIME, flag::RUNTIME),
            correlation_id: call.correlation_id(),
            start_ns: call.start_ns(),
            end_ns: call.end_ns(),
            cbid: call.cbid(),
            thread_id: call.thread_id(),
            return_value: call.return_value(),
            ..Api::default()
        }
    }
}

impl ToRing for cupti::Synchronization<'_> {
    type Record = Synchronization;

    fn to_ring(&self, _source: &Source, _writer: &mut Writer, tally: &mut Tally) -> Synchronization {
        Synchronization {
            kind: Synchronization::KIND,
            flags: incomplete(self.end_ns(), tally),
            correlation_id: self.correlation_id(),
            start_ns: self.start_ns(),
            end_ns: self.end_ns(),
            sync_type: self.sync_type().0,
            context_id: self.context_id(),
            stream_id: self.stream_id(),
            event_id: self.cuda_event_id(),
            return_value: self.return_value().unwrap_or(0),
            ..Synchronization::default()
        }
    }
}

impl ToRing for cupti::Overhead<'_> {
    type Record = Overhead;

    fn to_ring(&self, _source: &Source, _writer: &mut Writer, tally: &mut Tally) -> Overhead {
        Overhead {
            kind: Overhead::KIND,
            flags: incomplete(self.end_ns(), tally),
            correlation_id: self.correlation_id().unwrap_or(0),
            start_ns: self.start_ns(),
            end_ns: self.end_ns(),
            overhead_kind: self.overhead_kind().0,
            object_kind: self.object_kind(),
            ..Overhead::default()
        }
    }
}

impl ToRing for cupti::GraphTrace<'_> {
    type Record = GraphTrace;

    fn to_ring(&self, source: &Source, _writer: &mut Writer, tally: &mut Tally) -> GraphTrace {
        GraphTrace {
            kind: GraphTrace::KIND,
            flags: incomplete(self.end_ns(), tally) | source.graphs.flag(self.graph_id()),
            correlation_id: self.correlation_id(),
            start_ns: self.start_ns(),
            end_ns: self.end_ns(),
            device_id: self.device_id(),
            context_id: self.context_id(),
            stream_id: self.stream_id(),
            graph_id: self.graph_id(),
            ..GraphTrace::default()
        }
    }
}

impl ToRing for cupti::Device<'_> {
    type Record = Device;

    /// In MIG mode the UUID is the instance's: the one by which Kubernetes hands it out.
    fn to_ring(&self, _source: &Source, writer: &mut Writer, tally: &mut Tally) -> Device {
        let mig = self.is_mig_enabled();
        Device {
            kind: Device::KIND,
            flags: when(mig, flag::MIG),
            device_id: self.device_id(),
            name_id: intern(writer, self.name_address(), tally),
            uuid: if mig { self.mig_uuid() } else { self.uuid() },
            memory_bytes: self.global_memory_bytes(),
            bandwidth_kb_s: self.global_memory_bandwidth_kb_per_second(),
            multiprocessors: self.multiprocessors(),
            registers_per_multiprocessor: self.max_registers_per_multiprocessor(),
            shared_bytes_per_multiprocessor: self.max_shared_memory_per_multiprocessor_bytes(),
            core_clock_khz: self.core_clock_khz(),
            warps_per_multiprocessor: short(self.max_warps_per_multiprocessor()),
            blocks_per_multiprocessor: short(self.max_blocks_per_multiprocessor()),
            compute_major: short(self.compute_capability_major()),
            compute_minor: short(self.compute_capability_minor()),
            gpu_instance_id: self.gpu_instance_id(),
            compute_instance_id: self.compute_instance_id(),
            ..Device::default()
        }
    }
}

impl ToRing for cupti::Context<'_> {
    type Record = Context;

    fn to_ring(&self, _source: &Source, _writer: &mut Writer, _tally: &mut Tally) -> Context {
        Context {
            kind: Context::KIND,
            context_id: self.context_id(),
            device_id: self.device_id(),
            null_stream_id: self.null_stream_id().into(),
            ..Context::default()
        }
    }
}

#[inline]
fn intern(writer: &mut Writer, address: u64, tally: &mut Tally) -> u32 {
    let name = core::ptr::with_exposed_provenance::<c_char>(address as usize);
    // SAFETY: CUPTI says of its name pointers that they are null or lead to a NUL-terminated string that lives as
    // long as the module or the device does, and a record is read right after it was completed.
    let id = unsafe { writer.intern(name) };
    tally.names_full += u64::from(id == 0 && !name.is_null());
    id
}

#[inline]
fn incomplete(end_ns: u64, tally: &mut Tally) -> u16 {
    tally.incomplete += u64::from(end_ns == 0);
    when(end_ns == 0, flag::INCOMPLETE)
}

#[inline]
fn when(condition: bool, bit: u16) -> u16 {
    if condition { bit } else { 0 }
}

#[inline]
fn short(value: u32) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

fn byte(value: u32) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}
