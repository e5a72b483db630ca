//! A snapshot as Prometheus text, OpenMetrics text, or Prometheus protobuf with native histograms.
//!
//! Enters: a finished snapshot. Leaves: a body. Refuses: state: nothing is registered, nothing is kept.
//!
//! The crate prometheus-client writes OpenMetrics and protobuf. Text format 0.0.4 is made from OpenMetrics: the two
//! differ in their metadata lines only (counter families are named with `_total`, there is no UNIT and no EOF).

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelKey, EncodeLabelSet, LabelKeyEncoder, LabelSetEncoder, MetricEncoder,
    NativeHistogram, NativeHistogramBuckets, NoLabelSet, prometheus_protobuf, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::name::{self, MetricName};
use crate::aggregate::snapshot::{Attributes, Exponential, Family, Histogram, Snapshot, Value};
use crate::export::exponential::downscale;
use crate::export::resource::Resource;
use crate::semconv::InstrumentKind;

/// Formats of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `text/plain; version=0.0.4`
    Text,
    /// `application/openmetrics-text; version=1.0.0`
    OpenMetrics,
    /// `application/vnd.google.protobuf`, delimited `io.prometheus.client.MetricFamily`
    Protobuf,
}

impl Format {
    /// For the `Content-Type` header.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }
}

/// A snapshot that could not be written: prometheus-client says no more than this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot encode the metrics as {0:?}")]
pub struct EncodeError(Format);

/// Writes the snapshot, and `target_info` with the resource's attributes.
pub fn encode(
    snapshot: Arc<Snapshot>,
    resource: Arc<Resource>,
    format: Format,
) -> Result<Vec<u8>, EncodeError> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Exposition { snapshot, resource }));
    match format {
        Format::Protobuf => prometheus_protobuf::encode_to_vec(&registry).map_err(|_fmt| EncodeError(format)),
        Format::OpenMetrics | Format::Text => {
            let mut body = String::new();
            text::encode(&mut body, &registry).map_err(|_fmt| EncodeError(format))?;
            Ok(if format == Format::Text { classic(&body) } else { body }.into_bytes())
        }
    }
}

/// OpenMetrics to text format 0.0.4.
fn classic(open_metrics: &str) -> String {
    let mut body = String::with_capacity(open_metrics.len());
    let mut help = "";
    for line in open_metrics.split_inclusive('\n') {
        if line.starts_with("# HELP ") {
            help = line;
        } else if let Some(declaration) = line.strip_prefix("# TYPE ") {
            let (family, kind) = declaration.trim_end().split_once(' ').unwrap_or((declaration, "untyped"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            let sentence =
                help.strip_prefix("# HELP ").and_then(|help| help.strip_prefix(family)).unwrap_or("\n");
            for part in ["# HELP ", family, suffix, sentence, "# TYPE ", family, suffix, " ", kind, "\n"] {
                body.push_str(part);
            }
        } else if !line.starts_with("# ") {
            body.push_str(line);
        }
    }
    body
}

#[derive(Debug)]
struct Exposition {
    snapshot: Arc<Snapshot>,
    resource: Arc<Resource>,
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Attributes of the agent as an OpenTelemetry resource.";
        encoder
            .encode_descriptor("target", help, None, MetricType::Info)?
            .encode_info(&ResourceLabels(&self.resource))?;
        for family in &self.snapshot.families {
            encode_family(&mut encoder, family)?;
        }
        Ok(())
    }
}

fn encode_family(encoder: &mut DescriptorEncoder<'_>, family: &Family) -> Result<(), fmt::Error> {
    let instrument = family.instrument;
    let name = MetricName::of(instrument);
    let unit = name.unit.map(Unit::Other);
    let kind = match instrument.kind {
        InstrumentKind::Counter => MetricType::Counter,
        InstrumentKind::Gauge => MetricType::Gauge,
        InstrumentKind::Histogram => MetricType::Histogram,
    };
    let mut metric = encoder.encode_descriptor(&name.base, instrument.description, unit.as_ref(), kind)?;
    for point in &family.points {
        if point.attributes.is_empty() {
            encode_value(&mut metric, &point.value, instrument.bounds)?;
        } else {
            let labels = PointLabels(&point.attributes);
            encode_value(&mut metric.encode_family(&labels)?, &point.value, instrument.bounds)?;
        }
    }
    Ok(())
}

fn encode_value(series: &mut MetricEncoder<'_>, value: &Value, bounds: &[f64]) -> Result<(), fmt::Error> {
    match value {
        Value::Counter(total) => series.encode_counter::<NoLabelSet, _, f64>(total, None),
        Value::CounterF64(total) => series.encode_counter::<NoLabelSet, _, f64>(total, None),
        Value::Gauge(value) => series.encode_gauge(value),
        Value::Histogram(histogram) => encode_histogram(series, histogram, bounds),
    }
}

fn encode_histogram(
    series: &mut MetricEncoder<'_>,
    histogram: &Histogram,
    bounds: &[f64],
) -> Result<(), fmt::Error> {
    let bounds = bounds.iter().copied().chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(histogram.explicit.iter().copied()).collect();
    let (sum, count) = (histogram.sum, histogram.count);
    let Some(native) = Native::of(&histogram.exponential) else {
        return series.encode_histogram::<NoLabelSet>(sum, count, &buckets, None);
    };
    series.encode_histogram_with_native::<NoLabelSet>(sum, count, &buckets, None, native.view())
}

/// Exponential buckets as Prometheus wants them: runs of buckets (gap to the run before, length) and the counts as
/// differences.
struct Native {
    schema: i32,
    zero_count: u64,
    spans: Vec<(i32, u32)>,
    deltas: Vec<i64>,
}

/// Schemas that Prometheus knows for exponential buckets.
const SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;
/// Zeros in a row that are cheaper to write than a new span.
const LONGEST_GAP_WRITTEN: usize = 2;

impl Native {
    /// `None` where the scale is below any schema.
    fn of(buckets: &Exponential) -> Option<Self> {
        if buckets.scale < *SCHEMAS.start() {
            return None;
        }
        let buckets = downscale(buckets, buckets.scale.min(*SCHEMAS.end()));
        let mut native = Self {
            schema: buckets.scale,
            zero_count: buckets.zero_count,
            spans: Vec::new(),
            deltas: Vec::new(),
        };
        // Bucket i of Prometheus ends where OpenTelemetry's bucket i begins.
        let mut gap = buckets.offset.saturating_add(1);
        let mut before = 0;
        for run in buckets.counts.chunk_by(|a, b| (*a == 0) == (*b == 0)) {
            let length = u32::try_from(run.len()).ok()?;
            let empty = run.first() == Some(&0);
            if empty && (native.spans.is_empty() || run.len() > LONGEST_GAP_WRITTEN) {
                gap = gap.saturating_add_unsigned(length);
                continue;
            }
            match native.spans.last_mut() {
                Some((_, span)) if gap == 0 => *span += length,
                _ => native.spans.push((std::mem::take(&mut gap), length)),
            }
            for count in run {
                let count = i64::try_from(*count).ok()?;
                native.deltas.push(count - before);
                before = count;
            }
        }
        if native.spans.is_empty() {
            // What marks a histogram without observations as native.
            native.spans.push((0, 0));
        }
        Some(native)
    }

    fn view(&self) -> NativeHistogram<'_> {
        NativeHistogram {
            schema: self.schema,
            zero_threshold: 0.0,
            zero_count: self.zero_count,
            negative: NativeHistogramBuckets { spans: &[], deltas: &[] },
            positive: NativeHistogramBuckets { spans: &self.spans, deltas: &self.deltas },
            created: None,
        }
    }
}

#[derive(Debug)]
struct PointLabels<'a>(&'a Attributes);

impl EncodeLabelSet for PointLabels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        for (key, value) in self.0.iter() {
            encode_label(encoder, key, value)?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct ResourceLabels<'a>(&'a Resource);

impl EncodeLabelSet for ResourceLabels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        for (key, value) in self.0.attributes() {
            encode_label(encoder, key, value)?;
        }
        Ok(())
    }
}

fn encode_label(encoder: &mut LabelSetEncoder<'_>, key: &str, value: &str) -> Result<(), fmt::Error> {
    let mut label = encoder.encode_label();
    let mut key_encoder: LabelKeyEncoder<'_> = label.encode_label_key()?;
    EncodeLabelKey::encode(&&*name::label(key), &mut key_encoder)?;
    let mut value_encoder = key_encoder.encode_label_value()?;
    fmt::Write::write_str(&mut value_encoder, value)?;
    value_encoder.finish()
}

#[cfg(test)]
mod tests;
