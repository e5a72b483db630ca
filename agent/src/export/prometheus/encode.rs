//! A snapshot as Prometheus text, OpenMetrics text, or Prometheus protobuf with native histograms.
//!
//! Enters: a finished snapshot. Leaves: a body. Refuses: state: nothing is registered, nothing is kept.
//!
//! The crate prometheus-client writes OpenMetrics and protobuf. Text format 0.0.4 is made from OpenMetrics: the two
//! differ in their metadata lines only (counter families are named with `_total`, there is no UNIT and no EOF).

use std::ops::Range;
use std::sync::Arc;
use std::{fmt, io};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::MetricFamily;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelKey, EncodeLabelSet, LabelKeyEncoder, LabelSetEncoder, MetricEncoder,
    NoLabelSet, prometheus_protobuf, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use prost::Message;

mod native;
mod pieces;

use native::Native;
use pieces::Pieces;

use super::name::{self, MetricName};
use crate::aggregate::snapshot::{Attributes, Family, Histogram, Point, Snapshot, Value};
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

/// A snapshot that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// prometheus-client would not; it says no more than this.
    #[error("cannot encode the metrics as {0:?}")]
    Format(Format),
    /// The output would not.
    #[error("cannot write the metrics: {0}")]
    Output(#[from] io::Error),
}

/// Points that protobuf messages are made of at a time.
const CHUNK_POINTS: usize = 256;

/// Writes the snapshot, and `target_info` with the resource's attributes. Of the body, at most one family in protobuf,
/// and one line in text, is held at a time.
pub fn encode(
    snapshot: &Arc<Snapshot>,
    resource: &Arc<Resource>,
    format: Format,
    output: &mut dyn io::Write,
) -> Result<(), EncodeError> {
    let whole = Part { snapshot: Arc::clone(snapshot), resource: Some(Arc::clone(resource)), points: None };
    match format {
        Format::Protobuf => protobuf(snapshot, resource, output),
        Format::OpenMetrics | Format::Text => {
            let mut pieces = Pieces::new(output, format == Format::Text);
            let encoded = text::encode(&mut pieces, &whole.registry());
            pieces.finish()?;
            encoded.map_err(|_fmt| EncodeError::Format(format))
        }
    }
}

/// Messages with their lengths before them. A message of many points is put together from messages of few: in
/// protobuf, bytes one after the other are one message with the fields of both.
fn protobuf(
    snapshot: &Arc<Snapshot>,
    resource: &Arc<Resource>,
    output: &mut dyn io::Write,
) -> Result<(), EncodeError> {
    let broken = || EncodeError::Format(Format::Protobuf);
    let mut put = |message: &[u8]| -> io::Result<()> {
        let mut length = Vec::with_capacity(10);
        prost::encoding::encode_varint(message.len() as u64, &mut length);
        output.write_all(&length)?;
        output.write_all(message)
    };
    let info = Part { snapshot: Arc::default(), resource: Some(Arc::clone(resource)), points: None };
    for family in prometheus_protobuf::encode(&info.registry()).map_err(|_fmt| broken())? {
        put(&family.encode_to_vec())?;
    }
    let mut message = Vec::new();
    for (index, family) in snapshot.families.iter().enumerate() {
        message.clear();
        for start in (0..family.points.len().max(1)).step_by(CHUNK_POINTS) {
            let points = Some((index, start..start + CHUNK_POINTS));
            let part = Part { snapshot: Arc::clone(snapshot), resource: None, points };
            for chunk in prometheus_protobuf::encode(&part.registry()).map_err(|_fmt| broken())? {
                let chunk = if start == 0 {
                    chunk
                } else {
                    MetricFamily { metric: chunk.metric, ..MetricFamily::default() }
                };
                chunk.encode(&mut message).map_err(io::Error::other)?;
            }
        }
        put(&message)?;
    }
    Ok(())
}

/// What one call of prometheus-client encodes.
#[derive(Debug)]
struct Part {
    snapshot: Arc<Snapshot>,
    /// `target_info`, where it is part of this.
    resource: Option<Arc<Resource>>,
    /// A family, by its index, and which of its points; everything where there is none.
    points: Option<(usize, Range<usize>)>,
}

impl Part {
    fn registry(self) -> Registry {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        registry
    }
}

impl Collector for Part {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some(resource) = &self.resource {
            let help = "Attributes of the agent as an OpenTelemetry resource.";
            encoder
                .encode_descriptor("target", help, None, MetricType::Info)?
                .encode_info(&ResourceLabels(resource))?;
        }
        let Some((family, points)) = &self.points else {
            let mut families = self.snapshot.families.iter();
            return families.try_for_each(|family| encode_family(&mut encoder, family, &family.points));
        };
        let Some(family) = self.snapshot.families.get(*family) else { return Ok(()) };
        let end = points.end.min(family.points.len());
        encode_family(&mut encoder, family, family.points.get(points.start..end).unwrap_or_default())
    }
}

fn encode_family(
    encoder: &mut DescriptorEncoder<'_>,
    family: &Family,
    points: &[Point],
) -> Result<(), fmt::Error> {
    let instrument = family.instrument;
    let name = MetricName::of(instrument);
    let unit = name.unit.map(Unit::Other);
    let kind = match instrument.kind {
        InstrumentKind::Counter => MetricType::Counter,
        InstrumentKind::Gauge => MetricType::Gauge,
        InstrumentKind::Histogram => MetricType::Histogram,
    };
    let mut metric = encoder.encode_descriptor(&name.base, instrument.description, unit.as_ref(), kind)?;
    for point in points {
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
