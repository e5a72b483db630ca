//! The series of one target.
//!
//! Enters: its events. Leaves: points. Refuses: more devices than [`MAX_DEVICES`]; the rest share one, `_other`.

use std::sync::Arc;

use super::allocations::{Added, Allocation};
use super::builder::Builder;
use super::device::{DeviceSeries, TransferKind};
use super::host::HostSeries;
use super::ops::{Latest, OpSeries};
use super::scope::{Process, Scope};
use super::snapshot::{Attributes, Value};
use super::units::Units;
use super::{Shared, limits};
use crate::classes::KernelName;
use crate::event::{DeviceId, Event, Memcpy, Memory, Memset, NameId, TargetId};
use crate::semconv::{attribute, instruments};

/// Devices of one process; CUDA's own limit is lower.
const MAX_DEVICES: usize = 64;

/// Records without their other half, by what was missing.
#[derive(Debug, Default)]
struct Orphans {
    /// A free whose allocation was never seen.
    free: u64,
    /// An allocation whose free was never seen: its address was given out again.
    allocation: u64,
}

/// One target's series.
#[derive(Debug)]
pub(super) struct TargetSeries {
    id: TargetId,
    process: Process,
    scope: Scope,
    start_unix_ns: u64,
    ended_ktime_ns: Option<u64>,
    names: Vec<Arc<KernelName>>,
    devices: Vec<DeviceSeries>,
    host: HostSeries,
    ops: OpSeries,
    /// Whether CUPTI's records count executions.
    gpu_records: bool,
    orphans: Orphans,
    incomplete: u64,
    /// Points counted against the budget on behalf of this target.
    points: usize,
}

impl TargetSeries {
    pub(super) fn new(id: TargetId, process: &Process, start_unix_ns: u64) -> Self {
        Self {
            id,
            process: process.clone(),
            scope: Scope::process(process),
            start_unix_ns,
            ended_ktime_ns: None,
            names: Vec::new(),
            devices: Vec::new(),
            host: HostSeries::default(),
            ops: OpSeries::default(),
            gpu_records: false,
            orphans: Orphans::default(),
            incomplete: 0,
            points: 0,
        }
    }

    pub(super) fn add_name(&mut self, id: NameId, name: Arc<KernelName>) {
        if id.0 as usize == self.names.len() {
            self.names.push(name);
        }
    }

    pub(super) fn set_gpu_records(&mut self, flow: bool) {
        self.gpu_records = flow;
    }

    pub(super) fn set_simulated(&mut self, simulated: bool) {
        self.process.simulated = simulated;
    }

    pub(super) fn latest_tensors(&self) -> impl Iterator<Item = Latest> {
        self.ops.latest()
    }

    /// Whether this is the ended series of such a process.
    pub(super) fn is_ended(&self, process: &Process) -> bool {
        self.ended_ktime_ns.is_some() && self.process == *process
    }

    pub(super) fn is_past(&self, now_ktime_ns: u64, grace_ns: u64) -> bool {
        self.ended_ktime_ns.is_some_and(|ended| now_ktime_ns.saturating_sub(ended) >= grace_ns)
    }

    pub(super) fn points(&self) -> usize {
        self.points
    }

    pub(super) fn overflow(&self) -> u64 {
        self.devices.iter().map(DeviceSeries::overflow).sum::<u64>()
            + self.host.overflow()
            + self.ops.overflow()
    }

    #[inline]
    pub(super) fn observe(&mut self, event: &Event, units: &Units, shared: &mut Shared) {
        let before = shared.budget.used();
        match event {
            Event::Kernel(kernel) => {
                self.incomplete += u64::from(kernel.incomplete);
                // Names are told before the events that mean them.
                let Some(name) = self.names.get(kernel.name.0 as usize).map(Arc::clone) else { return };
                let device = self.device(kernel.place.device);
                device.kernel(kernel, &name, units, &mut shared.budget);
            }
            Event::Memcpy(copy) => self.memcpy(copy, units, &mut shared.budget),
            Event::Memset(set) => self.memset(set, units, &mut shared.budget),
            Event::Memory(memory) => self.memory(memory, shared),
            Event::Api(api) => self.host.api(api, &self.scope, units, &mut shared.budget),
            Event::Synchronization(event) => {
                self.host.synchronization(event, &self.scope, units, &mut shared.budget);
            }
            Event::Overhead(event) => self.host.overhead(event, &self.scope, units, &mut shared.budget),
            Event::GraphTrace(graph) => {
                self.device(graph.place.device).graph(graph, units, &mut shared.budget);
            }
            Event::Device(device) => {
                let scope = self.scope.clone();
                self.device(device.id).describe(&scope, device);
            }
            // Contexts and sessions make no series; drops are counted from the shim's own counters.
            Event::Context(_) | Event::Session(_) | Event::Dropped(_) => {}
            Event::Op(op) => self.ops.op(op, self.gpu_records, &self.scope, units, &mut shared.budget),
        }
        self.points += shared.budget.used() - before;
    }

    fn memcpy(&mut self, copy: &Memcpy, units: &Units, budget: &mut limits::Budget) {
        self.incomplete += u64::from(copy.incomplete);
        let duration = (!copy.incomplete).then(|| copy.interval.duration_ns());
        self.device(copy.place.device).transfer(TransferKind::Copy(copy.direction), budget).observe(
            units,
            copy.copies,
            copy.size_bytes,
            duration,
        );
    }

    fn memset(&mut self, set: &Memset, units: &Units, budget: &mut limits::Budget) {
        self.incomplete += u64::from(set.incomplete);
        let duration = (!set.incomplete).then(|| set.interval.duration_ns());
        let series = self.device(set.place.device).transfer(TransferKind::Set, budget);
        series.observe(units, 1, set.size_bytes, duration);
    }

    fn memory(&mut self, memory: &Memory, shared: &mut Shared) {
        let Shared { budget, allocations, .. } = shared;
        if !memory.is_allocation {
            let known = allocations.remove(self.id, memory.address);
            let place =
                known.map_or((memory.place.device, memory.memory), |known| (known.device, known.memory));
            let series = self.device(place.0).memory(place.1, budget);
            series.freed();
            match known {
                Some(known) => series.give_back(known.size_bytes),
                // A probe does not see where an allocation lies, so none of its frees has one.
                None => self.orphans.free += u64::from(memory.place.device != DeviceId::UNKNOWN),
            }
            return;
        }
        let device = memory.place.device;
        if memory.address == Memory::NO_ADDRESS {
            self.device(device).memory(memory.memory, budget).allocated();
            return;
        }
        let allocation = Allocation { device, memory: memory.memory, size_bytes: memory.size_bytes };
        let added = allocations.add(self.id, memory.address, allocation);
        let series = self.device(device).memory(memory.memory, budget);
        series.allocated();
        if added != Added::Untracked {
            series.take(memory.size_bytes);
        }
        if let Added::Replaced(old) = added {
            self.orphans.allocation += 1;
            self.device(old.device).memory(old.memory, budget).give_back(old.size_bytes);
        }
    }

    /// The series of a device, made when it is new.
    #[inline]
    fn device(&mut self, id: DeviceId) -> &mut DeviceSeries {
        let known = self.devices.iter().position(|device| device.id == Some(id));
        let index = known.unwrap_or_else(|| self.add_device(id));
        // The index was found or made right above.
        #[expect(clippy::indexing_slicing, reason = "in bounds by construction")]
        &mut self.devices[index]
    }

    #[cold]
    fn add_device(&mut self, id: DeviceId) -> usize {
        let id = (self.devices.len() < MAX_DEVICES).then_some(id);
        if id.is_none()
            && let Some(index) = self.devices.iter().position(|device| device.id.is_none())
        {
            return index;
        }
        self.devices.push(DeviceSeries::new(id, &self.scope, self.process.simulated));
        self.devices.len() - 1
    }

    /// Nothing comes any more. A process that has exited holds no memory.
    pub(super) fn end(&mut self, now_ktime_ns: u64, has_exited: bool, units: &Units, shared: &mut Shared) {
        self.ended_ktime_ns = Some(now_ktime_ns);
        self.tick(u64::MAX, units, shared);
        shared.allocations.forget(self.id);
        if has_exited {
            self.devices.iter_mut().for_each(DeviceSeries::release_memory);
        }
    }

    /// The same process, or one that looks the same in every attribute, comes again under another id: its series go on.
    pub(super) fn resume(&mut self, id: TargetId) {
        self.id = id;
        self.ended_ktime_ns = None;
        self.names.clear();
        for device in &mut self.devices {
            device.forget_names();
            device.release_memory();
        }
    }

    pub(super) fn tick(&mut self, now_ktime_ns: u64, units: &Units, shared: &mut Shared) {
        let before = shared.budget.used();
        for device in &mut self.devices {
            device.tick(now_ktime_ns, units, &mut shared.budget);
        }
        self.points += shared.budget.used() - before;
    }

    pub(super) fn collect(&self, units: &Units, builder: &mut Builder) {
        builder.starting(self.start_unix_ns);
        for device in &self.devices {
            device.collect(units, builder);
        }
        self.host.collect(units, builder);
        self.ops.collect(units, builder);
        let incomplete = self.scope.attributes(&instruments::OWN_INCOMPLETE, &[]);
        builder.push(&instruments::OWN_INCOMPLETE, &incomplete, Value::Counter(self.incomplete));
        for (orphan, count) in [
            ("free", self.orphans.free),
            ("allocation", self.orphans.allocation),
            ("reduce_kernel", self.devices.iter().map(DeviceSeries::orphan_reduces).sum()),
        ] {
            let attributes: Attributes =
                self.scope.attributes(&instruments::OWN_ORPHANS, &[(attribute::ORPHAN, orphan)]);
            builder.push(&instruments::OWN_ORPHANS, &attributes, Value::Counter(count));
        }
    }
}
