//! The series of one device of one target: kernels, operations, copies, memory, graphs.
//!
//! Enters: GPU events of that device. Leaves: points. Refuses: time of incomplete records; they count, and last nothing.

use std::sync::Arc;

use super::builder::Builder;
use super::calls::{Calls, Paired};
use super::limits::Budget;
use super::scope::Scope;
use super::snapshot::{Attributes, Value};
use super::timed::{self, CACHE_UPDATE, PAGED_ATTENTION, Timed, USE_V1, attention_labels};
use super::units::Units;
use crate::classes::{KernelName, Operation};
use crate::event::{Device, DeviceId, GraphTrace, Kernel, MemoryKind};
use crate::semconv::attribute::timing;
use crate::semconv::instruments;

mod kernels;
mod memory;
mod transfer;

use kernels::Kernels;
use memory::MemoryUse;
use transfer::Transfer;

/// One device's series.
#[derive(Debug)]
pub(super) struct DeviceSeries {
    /// `None`: all devices past the limit.
    pub(super) id: Option<DeviceId>,
    description: Option<Device>,
    scope: Scope,
    info: Attributes,
    kernels: Kernels,
    calls: Calls,
    orphan_reduces: u64,
    attention: [Option<Timed>; USE_V1.len()],
    cache_update: Option<Timed>,
    graphs: Option<Timed>,
    transfers: Vec<Transfer>,
    memory: Vec<MemoryUse>,
}

impl DeviceSeries {
    pub(super) fn new(id: Option<DeviceId>, process: &Scope, simulated: bool) -> Self {
        let scope = process.with_device(id, None, simulated);
        Self {
            id,
            description: None,
            info: scope.attributes(&instruments::DEVICE_INFO, &[]),
            scope,
            kernels: Kernels::default(),
            calls: Calls::default(),
            orphan_reduces: 0,
            attention: [None, None, None],
            cache_update: None,
            graphs: None,
            transfers: Vec::new(),
            memory: Vec::new(),
        }
    }

    /// Takes the first description; it names the series that were there before. A later one changes nothing: a series
    /// that gets another name is a new one to whoever counts deltas, and would be sent whole once more.
    pub(super) fn describe(&mut self, process: &Scope, device: &Device) {
        if self.description.is_some() {
            return;
        }
        self.description = Some(device.clone());
        let scope = process.with_device(self.id, self.description.as_ref(), false);
        self.info = scope.attributes(&instruments::DEVICE_INFO, &[]);
        self.kernels.label(&scope);
        for (series, use_v1) in self.attention.iter_mut().zip(USE_V1) {
            if let Some(series) = series {
                series.label(&scope, &attention_labels(use_v1));
            }
        }
        for series in self.cache_update.iter_mut().chain(&mut self.graphs) {
            series.label(&scope, &[]);
        }
        for transfer in &mut self.transfers {
            transfer.label(&scope);
        }
        for memory in &mut self.memory {
            memory.label(&scope);
        }
        self.scope = scope;
    }

    /// One execution.
    #[inline]
    pub(super) fn kernel(
        &mut self,
        kernel: &Kernel,
        name: &Arc<KernelName>,
        units: &Units,
        budget: &mut Budget,
    ) {
        self.kernels.observe(kernel, name, self.description.as_ref(), &self.scope, units, budget);
        if let Some(operation) = name.operation {
            self.operation(operation, kernel, units, budget);
        }
    }

    fn operation(&mut self, operation: Operation, kernel: &Kernel, units: &Units, budget: &mut Budget) {
        let duration = (!kernel.incomplete).then(|| kernel.interval.duration_ns());
        match operation {
            Operation::CacheUpdate => {
                let series = self
                    .cache_update
                    .get_or_insert_with(|| Timed::new(CACHE_UPDATE, timing::GPU, &self.scope, &[], budget));
                series.count();
                series.observe_some(&units.call_ms, duration);
            }
            Operation::PagedAttention { use_v1: Some(false) } => {
                self.attention(Some(false), budget).count();
                self.second(kernel, true, units, budget);
            }
            Operation::PagedAttention { use_v1 } => {
                let series = self.attention(use_v1, budget);
                series.count();
                series.observe_some(&units.call_ms, duration);
            }
            Operation::PagedAttentionReduce => self.second(kernel, false, units, budget),
        }
    }

    /// A kernel of a v2 call: its time is known once both kernels are.
    fn second(&mut self, kernel: &Kernel, is_main: bool, units: &Units, budget: &mut Budget) {
        if kernel.incomplete {
            return;
        }
        let mut calls = std::mem::take(&mut self.calls);
        calls.push(kernel, is_main, |paired| self.paired(paired, units, budget));
        self.calls = calls;
    }

    fn paired(&mut self, paired: Paired, units: &Units, budget: &mut Budget) {
        match paired {
            Paired::Call(duration) => {
                self.attention(Some(false), budget).observe_some(&units.call_ms, Some(duration));
            }
            Paired::OrphanReduce => self.orphan_reduces += 1,
        }
    }

    fn attention(&mut self, use_v1: Option<bool>, budget: &mut Budget) -> &mut Timed {
        let slot = timed::slot(&mut self.attention, use_v1);
        slot.get_or_insert_with(|| {
            Timed::new(PAGED_ATTENTION, timing::GPU, &self.scope, &attention_labels(use_v1), budget)
        })
    }

    /// One graph launch.
    pub(super) fn graph(&mut self, graph: &GraphTrace, units: &Units, budget: &mut Budget) {
        let series = self.graphs.get_or_insert_with(|| {
            let pair = (&instruments::GRAPH_LAUNCHES, &instruments::GRAPH_DURATION);
            Timed::new(pair, timing::GPU, &self.scope, &[], budget)
        });
        series.count();
        series.observe_some(&units.gpu, Some(graph.interval.duration_ns()));
    }

    /// The series of one kind of copy or memset.
    pub(super) fn transfer(&mut self, kind: transfer::Kind, budget: &mut Budget) -> &mut Transfer {
        let found = self.transfers.iter().position(|transfer| transfer.kind == kind);
        let index = found.unwrap_or_else(|| {
            self.transfers.push(Transfer::new(kind, &self.scope, budget));
            self.transfers.len() - 1
        });
        // The index was found or made right above.
        #[expect(clippy::indexing_slicing, reason = "in bounds by construction")]
        &mut self.transfers[index]
    }

    /// The series of one kind of memory.
    pub(super) fn memory(&mut self, kind: MemoryKind, budget: &mut Budget) -> &mut MemoryUse {
        let found = self.memory.iter().position(|memory| memory.kind == kind);
        let index = found.unwrap_or_else(|| {
            self.memory.push(MemoryUse::new(kind, &self.scope, budget));
            self.memory.len() - 1
        });
        // The index was found or made right above.
        #[expect(clippy::indexing_slicing, reason = "in bounds by construction")]
        &mut self.memory[index]
    }

    /// Every second or so: bandwidths, and calls that waited long enough. `u64::MAX` finishes all calls.
    pub(super) fn tick(&mut self, now_ktime_ns: u64, units: &Units, budget: &mut Budget) {
        for transfer in &mut self.transfers {
            transfer.tick();
        }
        let mut calls = std::mem::take(&mut self.calls);
        calls.settle(now_ktime_ns, |paired| self.paired(paired, units, budget));
        self.calls = calls;
    }

    /// The process has exited, or runs another program: it holds no memory any more.
    pub(super) fn release_memory(&mut self) {
        self.memory.iter_mut().for_each(MemoryUse::release);
    }

    /// Names will be told anew, with other indexes.
    pub(super) fn forget_names(&mut self) {
        self.kernels.forget_names();
    }

    /// Reduce kernels whose main kernel was never seen.
    pub(super) fn orphan_reduces(&self) -> u64 {
        self.orphan_reduces
    }

    /// Records counted under `_other`.
    pub(super) fn overflow(&self) -> u64 {
        self.kernels.overflow()
    }

    pub(super) fn collect(&self, units: &Units, builder: &mut Builder) {
        for series in self.attention.iter().flatten().chain(&self.cache_update) {
            series.collect(&units.call_ms, builder);
        }
        self.kernels.collect(units, builder);
        for transfer in &self.transfers {
            transfer.collect(units, builder);
        }
        for memory in &self.memory {
            memory.collect(builder);
        }
        if let Some(series) = &self.graphs {
            series.collect(&units.gpu, builder);
        }
        if let Some(device) = &self.description {
            builder.push(&instruments::DEVICE_INFO, &self.info, Value::Gauge(1.0));
            for (instrument, value) in [
                (&instruments::DEVICE_MEMORY, device.memory_bytes),
                (&instruments::DEVICE_BANDWIDTH, device.bandwidth_bytes_per_s),
            ] {
                if value > 0 {
                    let attributes = self.scope.attributes(instrument, &[]);
                    builder.push(instrument, &attributes, Value::Gauge(value as f64));
                }
            }
        }
    }
}

pub(super) use transfer::Kind as TransferKind;
