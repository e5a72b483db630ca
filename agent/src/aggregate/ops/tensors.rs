//! Sizes of tensors, by name, element type and class of operation.
//!
//! Enters: tensors whose size is known. Leaves: one distribution a kind. Refuses: kinds past the series limit: those share one
//! series a class.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::builder::Builder;
use super::super::histogram::Histogram;
use super::super::limits::Budget;
use super::super::scope::Scope;
use super::super::snapshot::{Attributes, Value};
use super::super::units::Units;
use crate::event::{OpClass, Tensor};
use crate::semconv::{attribute, instruments};

/// All sizes.
#[derive(Debug, Default)]
pub(super) struct Tensors {
    sizes: HashMap<Key, Sizes, foldhash::fast::RandomState>,
    overflow: u64,
}

type Key = (Arc<str>, Option<&'static str>, OpClass);

#[derive(Debug)]
struct Sizes {
    attributes: Attributes,
    distribution: Histogram,
}

impl Tensors {
    pub(super) fn observe(
        &mut self,
        tensor: &Tensor,
        class: OpClass,
        scope: &Scope,
        units: &Units,
        budget: &mut Budget,
    ) {
        let Some(size_bytes) = tensor.size_bytes else { return };
        let mut key = (Arc::clone(&tensor.name), tensor.dtype, class);
        if !self.sizes.contains_key(&key) && !budget.take(1) {
            self.overflow += 1;
            key = (attribute::OTHER.into(), None, class);
            if !self.sizes.contains_key(&key) {
                budget.take_fixed(1);
            }
        }
        let sizes = self.sizes.entry(key).or_insert_with_key(|key| Sizes::new(key, scope));
        sizes.distribution.observe(&units.bytes, size_bytes);
    }

    pub(super) fn overflow(&self) -> u64 {
        self.overflow
    }

    pub(super) fn collect(&self, units: &Units, builder: &mut Builder) {
        for sizes in self.sizes.values() {
            let distribution = Value::Histogram(sizes.distribution.snapshot(&units.bytes));
            builder.push(&instruments::TENSOR_SIZE, &sizes.attributes, distribution);
        }
    }
}

impl Sizes {
    fn new((name, dtype, class): &Key, scope: &Scope) -> Self {
        let mut own = vec![(attribute::TENSOR_NAME, &**name), (attribute::OP, class.name())];
        own.extend(dtype.map(|dtype| (attribute::DTYPE, dtype)));
        let attributes = scope.attributes(&instruments::TENSOR_SIZE, &own);
        Self { attributes, distribution: Histogram::default() }
    }
}
