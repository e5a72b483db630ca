//! Prometheus names from OpenTelemetry names.
//!
//! Enters: an instrument. Leaves: a metric name without the suffixes its type adds, and a unit. Refuses: to touch
//! names people's dashboards already use.
//!
//! Rules: OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility" (metric metadata): every character
//! that is not allowed becomes `_`, runs of `_` become one, the unit is appended unless the name ends with it,
//! `1` is `ratio` for gauges, `{annotations}` are no units. A name without a dot is one of the exact names (see
//! [`crate::semconv`]) and keeps its own unit. One unit is ours: `GBy/s` is `gb_per_second`.

use std::borrow::Cow;

use crate::semconv::{Instrument, InstrumentKind};

/// A metric's name in Prometheus, `_total` and histogram suffixes left to the encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricName {
    /// Without the unit.
    pub base: String,
    /// What is appended after `_`.
    pub unit: Option<String>,
}

impl MetricName {
    /// By the rules above.
    #[must_use]
    pub fn of(instrument: &Instrument) -> Self {
        if !instrument.name.contains('.') {
            return Self { base: instrument.name.to_owned(), unit: None };
        }
        let mut base = sanitized(instrument.name);
        let unit = unit(instrument.unit, instrument.kind);
        if instrument.kind == InstrumentKind::Counter {
            trim_suffix(&mut base, "total");
        }
        if let Some(unit) = &unit {
            trim_suffix(&mut base, unit);
        }
        Self { base, unit }
    }

    /// The name of a counter's samples, a gauge's, or a histogram's family.
    #[must_use]
    pub fn full(&self, kind: InstrumentKind) -> String {
        let mut name = self.base.clone();
        if let Some(unit) = &self.unit {
            name.push('_');
            name.push_str(unit);
        }
        if kind == InstrumentKind::Counter {
            name.push_str("_total");
        }
        name
    }
}

fn trim_suffix(name: &mut String, suffix: &str) {
    if let Some(rest) = name.strip_suffix(suffix).and_then(|rest| rest.strip_suffix('_')) {
        name.truncate(rest.len());
    }
}

fn sanitized(name: &str) -> String {
    let mut result = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | ':' => result.push(letter),
            _ if result.ends_with('_') => {}
            _ => result.push('_'),
        }
    }
    result
}

/// A label's name: dots and whatever else is not allowed become `_`.
#[must_use]
pub fn label(key: &str) -> Cow<'_, str> {
    if key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        Cow::Borrowed(key)
    } else {
        Cow::Owned(sanitized(key))
    }
}

fn unit(ucum: &str, kind: InstrumentKind) -> Option<String> {
    match ucum {
        "" => None,
        "1" => (kind == InstrumentKind::Gauge).then(|| "ratio".to_owned()),
        "GBy/s" => Some("gb_per_second".to_owned()),
        _ => match ucum.split_once('/') {
            Some((of, per)) => {
                let per = singular(per)?;
                Some(plural(of).map_or_else(|| format!("per_{per}"), |of| format!("{of}_per_{per}")))
            }
            None => plural(ucum),
        },
    }
}

fn plural(ucum: &str) -> Option<String> {
    let word = match ucum {
        _ if ucum.starts_with('{') => return None,
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "KBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "%" => "percent",
        other => return Some(sanitized(other)),
    };
    Some(word.to_owned())
}

fn singular(ucum: &str) -> Option<String> {
    let word = match ucum {
        _ if ucum.starts_with('{') => return None,
        "s" => "second",
        "m" | "min" => "minute",
        "h" => "hour",
        "d" => "day",
        other => return Some(sanitized(other)),
    };
    Some(word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(name: &'static str, unit: &'static str, kind: InstrumentKind) -> String {
        let instrument = Instrument { name, kind, unit, description: "", attributes: &[], bounds: &[] };
        MetricName::of(&instrument).full(kind)
    }

    #[test]
    fn exact_names_stay_and_only_counters_get_total() {
        use InstrumentKind::{Counter, Gauge, Histogram};
        for (name, unit, kind, expected) in [
            ("paged_attention_calls", "", Counter, "paged_attention_calls_total"),
            ("paged_attention_duration_ms", "ms", Histogram, "paged_attention_duration_ms"),
            ("tensor_size_bytes", "By", Histogram, "tensor_size_bytes"),
            ("gpu.kernel.executions", "", Counter, "gpu_kernel_executions_total"),
            ("gpu.kernel.executions", "{execution}", Counter, "gpu_kernel_executions_total"),
            ("gpu.kernel.execution.duration", "s", Histogram, "gpu_kernel_execution_duration_seconds"),
            ("gpu.memory.transfer.bytes", "By", Counter, "gpu_memory_transfer_bytes_total"),
            ("gpu.memory.usage", "By", Gauge, "gpu_memory_usage_bytes"),
            ("gpu.memory.bandwidth", "GBy/s", Gauge, "gpu_memory_bandwidth_gb_per_second"),
            ("gpu.kernel.occupancy.theoretical", "1", Gauge, "gpu_kernel_occupancy_theoretical_ratio"),
            ("hw.gpu.energy", "J", Counter, "hw_gpu_energy_joules_total"),
            ("hw.gpu.io", "By/s", Gauge, "hw_gpu_io_bytes_per_second"),
            ("a.b.total", "1", Counter, "a_b_total"),
            ("a..b-c", "{x}/s", Gauge, "a_b_c_per_second"),
        ] {
            assert_eq!(full(name, unit, kind), expected, "{name} [{unit}]");
        }
    }

    #[test]
    fn label_names_lose_their_dots() {
        assert_eq!(label("use_v1"), "use_v1");
        assert_eq!(label("process.executable.name"), "process_executable_name");
    }
}
