//! From a slot of the CUPTI ring to an event.
//!
//! Enters: payloads as [`gpu_agent_ring::Reader`] hands them out, and a look-up for the names they refer to. Leaves: an
//! [`Event`], or a [`DecodeError`] that is counted. Refuses: an end before its start, numbers of kinds that mean nothing,
//! and time that nobody measured: a record without its times is incomplete, and says so.
//!
//! Numbers of enums: `cupti_activity.h`, CUPTI 11.8 to 13.5.

use gpu_agent_ring::control::ShimState;
use gpu_agent_ring::record::{self, Payload, Record, flag, kind};

use crate::event::{
    Api, Context, ContextId, CorrelationId, Device, DeviceId, DeviceUuid, Direction, Dropped, Event, GraphId,
    GraphMade, GraphNodeId, GraphTrace, Interval, Kernel, Memcpy, Memory, MemoryKind, Memset, NameId,
    Overhead, Place, Session, StreamId, Synchronization, ThreadId,
};

/// Names that records refer to by their id in the ring.
pub trait Names {
    /// The index of a kernel name in the target's table. Total: an id that leads nowhere has an index too.
    fn kernel(&mut self, ring_id: u32) -> NameId;
    /// Any other text; empty if the id leads nowhere.
    fn text(&mut self, ring_id: u32) -> String;
}

/// Why a record is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Its kind is none of this version.
    #[error("record of unknown kind {kind}")]
    Unknown {
        /// The kind.
        kind: u16,
    },
    /// It contradicts itself.
    #[error("malformed record of kind {kind}: {what}")]
    Malformed {
        /// The kind.
        kind: u16,
        /// What is wrong.
        what: &'static str,
    },
}

/// Decodes one payload.
pub fn decode(payload: &Payload, names: &mut impl Names) -> Result<Event, DecodeError> {
    // Little-endian: the first two bytes of the first word.
    let kind = payload.first().map_or(0, |word| *word as u16);
    match kind {
        kind::KERNEL => kernel(&view(payload)?, names).map(Event::Kernel),
        kind::MEMCPY => memcpy(&view(payload)?).map(Event::Memcpy),
        kind::MEMSET => memset(&view(payload)?).map(Event::Memset),
        kind::MEMORY => memory(&view(payload)?).map(Event::Memory),
        kind::API => api(&view(payload)?).map(Event::Api),
        kind::SYNCHRONIZATION => synchronization(&view(payload)?).map(Event::Synchronization),
        kind::OVERHEAD => overhead(&view(payload)?).map(Event::Overhead),
        kind::GRAPH_TRACE => graph_trace(&view(payload)?).map(Event::GraphTrace),
        kind::DEVICE => Ok(Event::Device(device(&view(payload)?, names))),
        kind::CONTEXT => Ok(Event::Context(context(&view(payload)?))),
        kind::SESSION => session(&view(payload)?).map(Event::Session),
        kind::DROPPED => Ok(Event::Dropped(dropped(&view(payload)?))),
        _ => Err(DecodeError::Unknown { kind }),
    }
}

/// The payload as one record type. Every bit pattern is legal, so this fails for no payload.
#[inline]
fn view<R: Record>(payload: &Payload) -> Result<R, DecodeError> {
    R::from_payload(payload).ok_or(DecodeError::Malformed { kind: R::KIND, what: "too short" })
}

/// The interval, and whether it is incomplete: flagged so, or never stamped (CUPTI writes 0 and 0 then).
#[inline]
fn interval(kind: u16, flags: u16, start: u64, end: u64) -> Result<(Interval, bool), DecodeError> {
    let incomplete = flags & flag::INCOMPLETE != 0 || (start == 0 && end == 0);
    if incomplete {
        return Ok((Interval { start_ktime_ns: start, end_ktime_ns: start }, true));
    }
    if start == 0 || end < start {
        return Err(DecodeError::Malformed { kind, what: "it ends before it starts" });
    }
    Ok((Interval { start_ktime_ns: start, end_ktime_ns: end }, false))
}

#[inline]
fn graph_made(flags: u16) -> GraphMade {
    if flags & flag::EARLIER_GRAPH != 0 {
        GraphMade::Before
    } else if flags & flag::UNDATED_GRAPH != 0 {
        GraphMade::Unknown
    } else {
        GraphMade::Attached
    }
}

/// An interval of the host, which is always complete.
fn host_interval(kind: u16, start: u64, end: u64) -> Result<Interval, DecodeError> {
    match interval(kind, 0, start, end)? {
        (interval, false) => Ok(interval),
        (_, true) => Err(DecodeError::Malformed { kind, what: "it has no times" }),
    }
}

#[inline]
fn kernel(record: &record::Kernel, names: &mut impl Names) -> Result<Kernel, DecodeError> {
    let (interval, incomplete) = interval(record.kind, record.flags, record.start_ns, record.end_ns)?;
    Ok(Kernel {
        interval,
        place: Place {
            device: DeviceId(record.device_id),
            context: ContextId(record.context_id),
            stream: StreamId(record.stream_id),
            graph: GraphId(record.graph_id),
            graph_node: GraphNodeId(record.graph_node_id),
            graph_made: graph_made(record.flags),
        },
        correlation: CorrelationId(record.correlation_id),
        name: names.kernel(record.name_id),
        grid: record.grid,
        block: record.block,
        registers: record.registers,
        shared_bytes: record.static_shared_bytes.saturating_add(record.dynamic_shared_bytes),
        incomplete,
    })
}

fn memcpy(record: &record::Memcpy) -> Result<Memcpy, DecodeError> {
    let (interval, incomplete) = interval(record.kind, record.flags, record.start_ns, record.end_ns)?;
    let direction = if record.flags & flag::PEER != 0 {
        Direction::PeerToPeer
    } else {
        match record.copy_kind {
            1 | 3 => Direction::HostToDevice,
            2 | 4 => Direction::DeviceToHost,
            5..=8 => Direction::DeviceToDevice,
            9 => Direction::HostToHost,
            10 => Direction::PeerToPeer,
            _ => Direction::Unknown,
        }
    };
    Ok(Memcpy {
        interval,
        place: Place {
            device: DeviceId(record.device_id),
            context: ContextId(record.context_id),
            stream: StreamId(record.stream_id),
            graph: GraphId(record.graph_id),
            graph_node: GraphNodeId(record.graph_node_id),
            graph_made: graph_made(record.flags),
        },
        correlation: CorrelationId(record.correlation_id),
        direction,
        source: memory_kind(record.source_kind.into()),
        destination: memory_kind(record.destination_kind.into()),
        destination_device: DeviceId(record.destination_device_id),
        size_bytes: record.bytes,
        copies: record.copy_count.max(1),
        is_async: record.flags & flag::ASYNC != 0,
        incomplete,
    })
}

fn memset(record: &record::Memset) -> Result<Memset, DecodeError> {
    let (interval, incomplete) = interval(record.kind, record.flags, record.start_ns, record.end_ns)?;
    Ok(Memset {
        interval,
        place: Place {
            device: DeviceId(record.device_id),
            context: ContextId(record.context_id),
            stream: StreamId(record.stream_id),
            graph: GraphId(record.graph_id),
            graph_node: GraphNodeId(record.graph_node_id),
            graph_made: graph_made(record.flags),
        },
        correlation: CorrelationId(record.correlation_id),
        memory: memory_kind(record.memory_kind),
        size_bytes: record.bytes,
        incomplete,
    })
}

fn memory(record: &record::Memory) -> Result<Memory, DecodeError> {
    let is_allocation = match record.operation {
        1 => true,
        2 => false,
        _ => {
            return Err(DecodeError::Malformed {
                kind: record.kind,
                what: "it is neither allocation nor release",
            });
        }
    };
    let memory = if record.pool_type != 0 { MemoryKind::Pool } else { memory_kind(record.memory_kind) };
    Ok(Memory {
        ktime_ns: record.timestamp_ns,
        place: Place {
            device: DeviceId(record.device_id),
            context: ContextId(record.context_id),
            stream: StreamId(record.stream_id),
            ..Place::default()
        },
        correlation: CorrelationId(record.correlation_id),
        is_allocation,
        memory,
        address: record.address,
        size_bytes: record.bytes,
    })
}

fn api(record: &record::Api) -> Result<Api, DecodeError> {
    Ok(Api {
        interval: host_interval(record.kind, record.start_ns, record.end_ns)?,
        correlation: CorrelationId(record.correlation_id),
        is_runtime: record.flags & flag::RUNTIME != 0,
        cbid: record.cbid,
        thread: ThreadId(record.thread_id),
        status: record.return_value,
    })
}

fn synchronization(record: &record::Synchronization) -> Result<Synchronization, DecodeError> {
    Ok(Synchronization {
        interval: host_interval(record.kind, record.start_ns, record.end_ns)?,
        correlation: CorrelationId(record.correlation_id),
        context: ContextId(record.context_id),
        stream: StreamId(record.stream_id),
        what: match record.sync_type {
            1 => "event",
            2 => "stream_wait_event",
            3 => "stream",
            4 => "context",
            _ => "unknown",
        },
    })
}

fn overhead(record: &record::Overhead) -> Result<Overhead, DecodeError> {
    const CUPTI: u32 = 1 << 16;
    Ok(Overhead {
        interval: host_interval(record.kind, record.start_ns, record.end_ns)?,
        what: match record.overhead_kind {
            1 => "driver_compiler",
            CUPTI => "buffer_flush",
            kind if kind == 2 * CUPTI => "instrumentation",
            kind if kind == 3 * CUPTI => "resource",
            kind if kind == 4 * CUPTI => "module_loading",
            kind if kind == 5 * CUPTI => "lazy_function_loading",
            kind if kind == 6 * CUPTI => "command_buffer_full",
            kind if kind == 7 * CUPTI => "buffer_request",
            kind if kind == 8 * CUPTI => "uvm_init",
            _ => "unknown",
        },
    })
}

fn graph_trace(record: &record::GraphTrace) -> Result<GraphTrace, DecodeError> {
    let (interval, incomplete) = interval(record.kind, record.flags, record.start_ns, record.end_ns)?;
    if incomplete {
        return Err(DecodeError::Malformed { kind: record.kind, what: "it has no times" });
    }
    Ok(GraphTrace {
        interval,
        place: Place {
            device: DeviceId(record.device_id),
            context: ContextId(record.context_id),
            stream: StreamId(record.stream_id),
            graph: GraphId(record.graph_id),
            graph_node: GraphNodeId(0),
            graph_made: graph_made(record.flags),
        },
        correlation: CorrelationId(record.correlation_id),
    })
}

fn device(record: &record::Device, names: &mut impl Names) -> Device {
    Device {
        id: DeviceId(record.device_id),
        name: names.text(record.name_id),
        uuid: DeviceUuid(record.uuid),
        memory_bytes: record.memory_bytes,
        bandwidth_bytes_per_s: record.bandwidth_kb_s.saturating_mul(1000),
        multiprocessors: record.multiprocessors,
        registers_per_multiprocessor: record.registers_per_multiprocessor,
        shared_bytes_per_multiprocessor: record.shared_bytes_per_multiprocessor,
        warps_per_multiprocessor: record.warps_per_multiprocessor.into(),
        blocks_per_multiprocessor: record.blocks_per_multiprocessor.into(),
        compute_capability: (record.compute_major, record.compute_minor),
        mig: (record.flags & flag::MIG != 0).then_some((record.gpu_instance_id, record.compute_instance_id)),
    }
}

fn context(record: &record::Context) -> Context {
    Context { id: ContextId(record.context_id), device: DeviceId(record.device_id) }
}

fn session(record: &record::Session) -> Result<Session, DecodeError> {
    let state = ShimState::from_number(record.state)
        .ok_or(DecodeError::Malformed { kind: record.kind, what: "its state is none of a shim" })?;
    Ok(Session {
        ktime_ns: record.timestamp_ns,
        armed: state == ShimState::Armed,
        cupti_version: record.cupti_version,
        driver_version: record.driver_version,
    })
}

fn dropped(record: &record::Dropped) -> Dropped {
    Dropped { ktime_ns: record.timestamp_ns, count: record.count }
}

fn memory_kind(number: u32) -> MemoryKind {
    match number {
        1 => MemoryKind::Pageable,
        2 => MemoryKind::Pinned,
        3 => MemoryKind::Device,
        4 => MemoryKind::Array,
        5 => MemoryKind::Managed,
        6 | 7 => MemoryKind::Static,
        _ => MemoryKind::Unknown,
    }
}

#[cfg(test)]
mod tests;
