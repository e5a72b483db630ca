//! Calls of CUDA's own functions: API calls, and what they did to memory.
//!
//! Enters: which function, its interval, and its values by name: `status` (what it returned), `size_bytes`, `address` (of what
//! is freed; where an allocation lies is told through a pointer, which a probe cannot follow after the call). Leaves: an [`Api`] event; a [`Memory`] event where memory was taken or given back. Refuses: a call whose return was not seen (its
//! status and duration are not known), and to count an allocation twice: the runtime's functions call the driver's.

use std::sync::Arc;

use cupti_sys::{DriverCbid, RuntimeCbid};

use crate::event::{
    Api, ApiFunction, CorrelationId, DeviceId, Event, FieldValue, Interval, Memory, MemoryKind, OpEnd, Place,
    ThreadId,
};
use crate::semconv::field;

/// What a function does to memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Allocates(MemoryKind),
    Frees(MemoryKind),
}

/// When a thread's driver calls changed memory last: the runtime call around it did the same.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LatestChange {
    ktime_ns: u64,
}

/// Hands the events of a call to `sink`.
pub(super) fn events(
    function: ApiFunction,
    interval: Interval,
    end: OpEnd,
    thread: ThreadId,
    fields: &[(Arc<str>, FieldValue)],
    latest: &mut LatestChange,
    mut sink: impl FnMut(&Event),
) {
    if end != OpEnd::Returned {
        return;
    }
    // CUresult and cudaError_t are C enums: 32 bits.
    let status = number(fields, field::STATUS).unwrap_or(0) as u32;
    if let Some(memory) = memory(function, interval, status, fields)
        && !(function.is_runtime && latest.is_within(interval))
    {
        if !function.is_runtime {
            latest.ktime_ns = interval.end_ktime_ns;
        }
        sink(&Event::Memory(memory));
    }
    sink(&Event::Api(Api {
        interval,
        correlation: CorrelationId(0),
        is_runtime: function.is_runtime,
        cbid: function.cbid,
        thread,
        status,
    }));
}

impl LatestChange {
    fn is_within(&self, interval: Interval) -> bool {
        (interval.start_ktime_ns..=interval.end_ktime_ns).contains(&self.ktime_ns)
    }
}

fn memory(
    function: ApiFunction,
    interval: Interval,
    status: u32,
    fields: &[(Arc<str>, FieldValue)],
) -> Option<Memory> {
    if status != 0 {
        return None;
    }
    let address = number(fields, field::ADDRESS).unwrap_or(Memory::NO_ADDRESS);
    let (is_allocation, memory, size_bytes) = match effect(function)? {
        Effect::Allocates(kind) => (true, kind, number(fields, field::SIZE_BYTES)?),
        // Freeing nothing is allowed, and does nothing.
        Effect::Frees(_) if address == Memory::NO_ADDRESS => return None,
        Effect::Frees(kind) => (false, kind, 0),
    };
    Some(Memory {
        ktime_ns: interval.end_ktime_ns,
        place: Place { device: DeviceId::UNKNOWN, ..Place::default() },
        correlation: CorrelationId(0),
        is_allocation,
        memory,
        address,
        size_bytes,
    })
}

fn number(fields: &[(Arc<str>, FieldValue)], name: &str) -> Option<u64> {
    fields.iter().find(|(known, _)| **known == *name).and_then(|(_, value)| value.bits())
}

fn effect(ApiFunction { is_runtime, cbid }: ApiFunction) -> Option<Effect> {
    if is_runtime { runtime_effect(RuntimeCbid(cbid)) } else { driver_effect(DriverCbid(cbid)) }
}

fn driver_effect(function: DriverCbid) -> Option<Effect> {
    use DriverCbid as F;
    Some(match function {
        F::cuMemAlloc | F::cuMemAlloc_v2 => Effect::Allocates(MemoryKind::Device),
        F::cuMemAllocHost | F::cuMemAllocHost_v2 | F::cuMemHostAlloc | F::cuMemHostAlloc_v2 => {
            Effect::Allocates(MemoryKind::Pinned)
        }
        F::cuMemAllocManaged => Effect::Allocates(MemoryKind::Managed),
        F::cuMemAllocAsync
        | F::cuMemAllocAsync_ptsz
        | F::cuMemAllocFromPoolAsync
        | F::cuMemAllocFromPoolAsync_ptsz => Effect::Allocates(MemoryKind::Pool),
        F::cuMemFree | F::cuMemFree_v2 => Effect::Frees(MemoryKind::Device),
        F::cuMemFreeHost => Effect::Frees(MemoryKind::Pinned),
        F::cuMemFreeAsync | F::cuMemFreeAsync_ptsz => Effect::Frees(MemoryKind::Pool),
        _ => return None,
    })
}

fn runtime_effect(function: RuntimeCbid) -> Option<Effect> {
    use RuntimeCbid as F;
    Some(match function {
        F::cudaMalloc_v3020 => Effect::Allocates(MemoryKind::Device),
        F::cudaMallocHost_v3020 | F::cudaHostAlloc_v3020 => Effect::Allocates(MemoryKind::Pinned),
        F::cudaMallocManaged_v6000 => Effect::Allocates(MemoryKind::Managed),
        F::cudaMallocAsync_v11020
        | F::cudaMallocAsync_ptsz_v11020
        | F::cudaMallocFromPoolAsync_v11020
        | F::cudaMallocFromPoolAsync_ptsz_v11020 => Effect::Allocates(MemoryKind::Pool),
        F::cudaFree_v3020 => Effect::Frees(MemoryKind::Device),
        F::cudaFreeHost_v3020 => Effect::Frees(MemoryKind::Pinned),
        F::cudaFreeAsync_v11020 | F::cudaFreeAsync_ptsz_v11020 => Effect::Frees(MemoryKind::Pool),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cupti_sys::{DriverCbid, RuntimeCbid};

    use super::{LatestChange, events};
    use crate::event::{ApiFunction, Event, FieldValue, Interval, MemoryKind, OpEnd, ThreadId};

    const DRIVER: ApiFunction = ApiFunction { is_runtime: false, cbid: DriverCbid::cuMemAlloc_v2.0 };
    const RUNTIME: ApiFunction = ApiFunction { is_runtime: true, cbid: RuntimeCbid::cudaMalloc_v3020.0 };

    fn call(
        function: ApiFunction,
        times: (u64, u64),
        status: i64,
        address: u64,
        latest: &mut LatestChange,
    ) -> Vec<Event> {
        let fields: Vec<(Arc<str>, FieldValue)> = vec![
            ("status".into(), FieldValue::Integer(status)),
            ("address".into(), FieldValue::Unsigned(address)),
            ("size_bytes".into(), FieldValue::Unsigned(100)),
        ];
        let interval = Interval { start_ktime_ns: times.0, end_ktime_ns: times.1 };
        let mut found = Vec::new();
        events(function, interval, OpEnd::Returned, ThreadId(1), &fields, latest, |event| {
            found.push(event.clone());
        });
        found
    }

    #[test]
    fn an_allocation_is_an_api_call_and_memory() {
        let found = call(DRIVER, (10, 20), 0, 4096, &mut LatestChange::default());
        let [Event::Memory(memory), Event::Api(api)] = &found[..] else { panic!("{found:?}") };
        assert_eq!((memory.is_allocation, memory.memory, memory.address), (true, MemoryKind::Device, 4096));
        assert_eq!((memory.size_bytes, memory.ktime_ns), (100, 20));
        assert_eq!((api.is_runtime, api.status, api.interval.duration_ns()), (false, 0, 10));
    }

    #[test]
    fn an_allocation_that_failed_took_no_memory() {
        let found = call(DRIVER, (10, 20), 2, 4096, &mut LatestChange::default());
        let [Event::Api(api)] = &found[..] else { panic!("{found:?}") };
        assert_eq!(api.status, 2);
    }

    #[test]
    fn the_driver_call_inside_a_runtime_call_is_the_one_that_takes_the_memory() {
        let mut latest = LatestChange::default();
        assert_eq!(call(DRIVER, (12, 18), 0, 4096, &mut latest).len(), 2);
        assert_eq!(call(RUNTIME, (10, 20), 0, 4096, &mut latest).len(), 1, "an API call alone");
        assert_eq!(call(RUNTIME, (30, 40), 0, 4096, &mut latest).len(), 2, "the driver is not probed");
    }
}
