//! Memory of one kind: allocations, frees, bytes in use.
//!
//! Enters: allocations and frees, as the address table pairs them. Leaves: three points a kind. Refuses: to go below 0, and to
//! call the use 0 where no allocation had an address.

use super::super::builder::Builder;
use super::super::limits::Budget;
use super::super::scope::Scope;
use super::super::snapshot::{Attributes, Value};
use crate::event::MemoryKind;
use crate::semconv::{attribute, instruments};

/// The series of one kind of memory.
#[derive(Debug)]
pub(crate) struct MemoryUse {
    pub(super) kind: MemoryKind,
    allocations: u64,
    frees: u64,
    used_bytes: u64,
    is_tracked: bool,
    /// Of allocations, of frees, of the use.
    labels: [Attributes; 3],
}

impl MemoryUse {
    /// A kind at 0. There are eight of them, so no limit applies.
    pub(super) fn new(kind: MemoryKind, scope: &Scope, budget: &mut Budget) -> Self {
        budget.take_fixed(3);
        let labels = std::array::from_fn(|_| Attributes::from([]));
        let mut series = Self { kind, allocations: 0, frees: 0, used_bytes: 0, is_tracked: false, labels };
        series.label(scope);
        series
    }

    pub(super) fn label(&mut self, scope: &Scope) {
        let kind = (attribute::MEMORY_KIND, self.kind.name());
        let operation =
            |name| scope.attributes(&instruments::MEMORY_OPERATIONS, &[kind, (attribute::OPERATION, name)]);
        let used = scope.attributes(&instruments::MEMORY_USAGE, &[kind]);
        self.labels = [operation("alloc"), operation("free"), used];
    }

    pub(in super::super) fn allocated(&mut self) {
        self.allocations += 1;
    }

    pub(in super::super) fn freed(&mut self) {
        self.frees += 1;
    }

    pub(in super::super) fn take(&mut self, size_bytes: u64) {
        self.is_tracked = true;
        self.used_bytes = self.used_bytes.saturating_add(size_bytes);
    }

    pub(in super::super) fn give_back(&mut self, size_bytes: u64) {
        self.used_bytes = self.used_bytes.saturating_sub(size_bytes);
    }

    pub(super) fn release(&mut self) {
        self.used_bytes = 0;
    }

    pub(super) fn collect(&self, builder: &mut Builder) {
        let [allocations, frees, used] = &self.labels;
        builder.push(&instruments::MEMORY_OPERATIONS, allocations, Value::Counter(self.allocations));
        builder.push(&instruments::MEMORY_OPERATIONS, frees, Value::Counter(self.frees));
        if self.is_tracked {
            builder.push(&instruments::MEMORY_USAGE, used, Value::Gauge(self.used_bytes as f64));
        }
    }
}
