//! Lines for calls of engines' entry points.
//!
//! Enters: a call. Leaves: a line on the target of its class, one for its start where that is asked for, one for each tensor.
//! Refuses: a duration that was not measured, and to let a specification's names for values hide our own fields.

use tracing::Level;

use super::super::line::Line;
use super::{
    PAGED_ATTENTION, PAGED_ATTENTION_CACHE, PAGED_ATTENTION_CALL, PAGED_ATTENTION_RESHAPE, Renderer,
    host_time,
};
use crate::event::{FieldValue, Op, OpClass, OpEnd, TargetId, Tensor};

/// Calls of no class with a target of its own.
pub(super) const OP: &str = "op";
/// Tensors.
pub(super) const TENSOR_METRICS: &str = "tensor_metrics";

/// Our own fields of these lines, which a specification's value of the same name must not repeat.
const OWN: [&str; 19] = [
    "timestamp",
    "level",
    "target",
    "pid",
    "executable",
    "simulated",
    "op",
    "probe",
    "engine",
    "phase",
    "thread",
    "use_v1",
    "duration_ms",
    "timing",
    "tensor_name",
    "shape",
    "dtype",
    "gpu",
    "event",
];

/// The log target of a class's calls.
fn log_target(class: OpClass) -> &'static str {
    match class {
        OpClass::PagedAttention => PAGED_ATTENTION,
        OpClass::CacheUpdate => PAGED_ATTENTION_RESHAPE,
        OpClass::CacheCopy => PAGED_ATTENTION_CACHE,
        _ => OP,
    }
}

/// How the call ended, in the words of the field `phase`.
fn phase(end: OpEnd) -> &'static str {
    match end {
        OpEnd::Returned => "stop",
        OpEnd::Unwound => "exception",
        OpEnd::EntryOnly => "start",
    }
}

impl Renderer {
    pub(super) fn op(&mut self, buffer: &mut Vec<u8>, target: TargetId, op: &Op) {
        if op.probe.class == OpClass::PagedAttention
            && self.filter.enabled(PAGED_ATTENTION_CALL, Level::DEBUG)
        {
            let mut line = self.begin(buffer, op.interval.start_ktime_ns, PAGED_ATTENTION_CALL, target);
            head(&mut line, op, "start");
            values(&mut line, op);
            line.end();
        }
        let log_target = log_target(op.probe.class);
        if self.filter.enabled(log_target, Level::DEBUG) {
            let mut line = self.begin(buffer, op.interval.end_ktime_ns, log_target, target);
            head(&mut line, op, phase(op.end));
            if op.end == OpEnd::Returned {
                host_time(&mut line, op.interval);
            }
            values(&mut line, op);
            line.end();
        }
        if self.filter.enabled(TENSOR_METRICS, Level::DEBUG) {
            for tensor in &op.tensors {
                let mut line = self.begin(buffer, op.interval.end_ktime_ns, TENSOR_METRICS, target);
                head(&mut line, op, phase(op.end));
                describe(&mut line, tensor);
                line.end();
            }
        }
    }
}

fn head(line: &mut Line<'_>, op: &Op, phase: &str) {
    line.text("op", op.probe.class.name())
        .text("probe", &op.probe.name)
        .text("engine", &op.probe.engine)
        .text("phase", phase)
        .whole("thread", op.thread.0);
    if let Some(use_v1) = op.probe.use_v1 {
        line.boolean("use_v1", use_v1);
    }
}

fn values(line: &mut Line<'_>, op: &Op) {
    for (name, value) in &op.fields {
        if OWN.contains(&&**name) {
            continue;
        }
        match value {
            FieldValue::Integer(number) => line.whole(name, *number),
            FieldValue::Unsigned(number) => line.whole(name, *number),
            FieldValue::Number(number) => line.number(name, *number),
            FieldValue::Boolean(value) => line.boolean(name, *value),
            FieldValue::Text(text) => line.text(name, text),
        };
    }
}

fn describe(line: &mut Line<'_>, tensor: &Tensor) {
    line.text("tensor_name", &tensor.name).list("shape", &tensor.shape);
    if let Some(dtype) = tensor.dtype {
        line.text("dtype", dtype);
    }
    if let Some(size_bytes) = tensor.size_bytes {
        line.whole("size_bytes", size_bytes);
    }
}
