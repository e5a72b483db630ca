//! Series by kernel name: executions, GPU time, theoretical occupancy.
//!
//! Enters: kernel executions and their names. Leaves: three points a name. Refuses: names past the series limit: those
//! share one series a class, `_other`.

use std::sync::Arc;

use super::super::builder::Builder;
use super::super::histogram::Histogram;
use super::super::limits::Budget;
use super::super::occupancy;
use super::super::scope::Scope;
use super::super::snapshot::{Attributes, Value};
use super::super::units::Units;
use crate::classes::{Class, KernelName};
use crate::event::{Device, Kernel};
use crate::semconv::{attribute, instruments};

/// Points of one name.
const POINTS: usize = 3;

/// All names of one device of one target.
#[derive(Debug, Default)]
pub(crate) struct Kernels {
    /// By name: index into `series`, plus one.
    by_name: Vec<u32>,
    series: Vec<Series>,
}

#[derive(Debug)]
struct Series {
    /// What is shown; `None` for the class's names past the limit.
    display: Option<Arc<str>>,
    class: Class,
    plain: Attributes,
    timed: Attributes,
    executions: u64,
    durations: Histogram,
    /// The launch configuration that `occupancy` was computed for.
    launch: ([u16; 3], u16, u32),
    occupancy: Option<f64>,
}

impl Kernels {
    #[inline]
    pub(super) fn observe(
        &mut self,
        kernel: &Kernel,
        name: &Arc<KernelName>,
        device: Option<&Device>,
        scope: &Scope,
        units: &Units,
        budget: &mut Budget,
    ) {
        let known = self.by_name.get(kernel.name.0 as usize).copied().unwrap_or(0);
        let index = if known == 0 { self.admit(kernel, name, scope, budget) } else { known };
        let Some(series) = self.series.get_mut(index as usize - 1) else { return };
        series.executions += 1;
        if !kernel.incomplete {
            series.durations.observe(&units.gpu, kernel.interval.duration_ns());
        }
        let launch = (kernel.block, kernel.registers, kernel.shared_bytes);
        if series.launch != launch || series.occupancy.is_none() {
            series.launch = launch;
            series.occupancy = device.and_then(|device| occupancy::theoretical(kernel, device));
        }
    }

    /// Finds or makes the series of a name that is new here; returns its index plus one.
    #[cold]
    fn admit(&mut self, kernel: &Kernel, name: &Arc<KernelName>, scope: &Scope, budget: &mut Budget) -> u32 {
        // Two names can have one display form (a name that was interned anew by a later ring).
        let same =
            |series: &Series| series.class == name.class && series.display.as_deref() == Some(&*name.display);
        let mut index = self.series.iter().position(same);
        if index.is_none() {
            let display = budget.take(POINTS).then(|| Arc::clone(&name.display));
            if display.is_none() {
                index = self
                    .series
                    .iter()
                    .position(|series| series.display.is_none() && series.class == name.class);
            }
            if index.is_none() {
                if display.is_none() {
                    budget.take_fixed(POINTS);
                }
                self.series.push(Series::new(display, name.class, scope));
                index = Some(self.series.len() - 1);
            }
        }
        let index = index.and_then(|index| u32::try_from(index + 1).ok()).unwrap_or(0);
        let at = kernel.name.0 as usize;
        if self.by_name.len() <= at {
            self.by_name.resize(at + 1, 0);
        }
        if let Some(known) = self.by_name.get_mut(at) {
            *known = index;
        }
        index
    }

    pub(super) fn forget_names(&mut self) {
        self.by_name.clear();
    }

    pub(super) fn label(&mut self, scope: &Scope) {
        for series in &mut self.series {
            series.label(scope);
        }
    }

    pub(super) fn overflow(&self) -> u64 {
        self.series.iter().filter(|series| series.display.is_none()).map(|series| series.executions).sum()
    }

    pub(super) fn collect(&self, units: &Units, builder: &mut Builder) {
        for series in &self.series {
            let executions = Value::Counter(series.executions);
            builder.push(&instruments::KERNEL_EXECUTIONS, &series.plain, executions);
            let durations = Value::Histogram(series.durations.snapshot(&units.gpu));
            builder.push(&instruments::KERNEL_DURATION, &series.timed, durations);
            if let Some(occupancy) = series.occupancy {
                builder.push(&instruments::KERNEL_OCCUPANCY, &series.plain, Value::Gauge(occupancy));
            }
        }
    }
}

impl Series {
    fn new(display: Option<Arc<str>>, class: Class, scope: &Scope) -> Self {
        let none = Attributes::from([]);
        let mut series = Self {
            display,
            class,
            plain: Attributes::clone(&none),
            timed: none,
            executions: 0,
            durations: Histogram::default(),
            launch: Default::default(),
            occupancy: None,
        };
        series.label(scope);
        series
    }

    fn label(&mut self, scope: &Scope) {
        let own = [
            (attribute::KERNEL_CLASS, self.class.name()),
            (attribute::KERNEL_NAME, self.display.as_deref().unwrap_or(attribute::OTHER)),
            (attribute::TIMING, attribute::timing::GPU),
        ];
        self.plain = scope.attributes(&instruments::KERNEL_EXECUTIONS, &own);
        self.timed = scope.attributes(&instruments::KERNEL_DURATION, &own);
    }
}
