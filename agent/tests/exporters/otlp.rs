//! What an independent receiver decodes is what the snapshot says, exactly: over each transport, with each
//! temporality, with each kind of histogram, compressed or not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gpu_agent::aggregate::snapshot::{Histogram, Snapshot, Value};
use gpu_agent::export::otlp::{Compression, Exporter, Histograms, Options, Protocol, Temporality};
use gpu_agent::export::push::PushExporter;
use gpu_agent::export::resource;
use gpu_agent::semconv::{Instrument, InstrumentKind};
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::rig::{Receiver, START_NS, Series, python, series, snapshot};

pub(super) fn exporter(options: Options) -> Exporter {
    let attributes = Some("service.namespace=test".parse().unwrap());
    let resource = resource::Options { service_name: None, attributes }.resolve();
    options.resolve().unwrap().unwrap().build(&resource).unwrap()
}

pub(super) async fn push(exporter: &mut Exporter, snapshot: Arc<Snapshot>) {
    exporter.export(snapshot, Instant::now() + Duration::from_secs(20)).await.unwrap();
}

fn endpoint(receiver: &Receiver, protocol: Protocol) -> Options {
    let address = if protocol == Protocol::Grpc { &receiver.grpc } else { &receiver.http };
    Options { endpoint: Some(format!("http://{address}")), protocol: Some(protocol), ..Options::default() }
}

/// Points of requests, by series; asserts what they have in common.
fn points(requests: &[Json], temporality: &str) -> BTreeMap<Series, Json> {
    let mut found = BTreeMap::new();
    for request in requests {
        assert_eq!(request["resource"]["service.name"], "gpu-agent");
        assert_eq!(request["resource"]["service.namespace"], "test");
        assert_eq!(request["scope"]["name"], "gpu-agent");
        for metric in request["metrics"].as_array().unwrap() {
            if metric["kind"] != "gauge" {
                assert_eq!(metric["temporality"], temporality);
            }
            for point in metric["points"].as_array().unwrap() {
                let mut point = point.clone();
                point["unit"] = metric["unit"].clone();
                point["kind"] = metric["kind"].clone();
                let before =
                    found.insert(series(metric["name"].as_str().unwrap(), &point["attributes"]), point);
                assert!(before.is_none(), "a series comes twice");
            }
        }
    }
    found
}

fn expected(snapshot: &Snapshot, histograms: Histograms) -> BTreeMap<Series, Json> {
    let mut expected = BTreeMap::new();
    for family in &snapshot.families {
        for point in &family.points {
            let attributes: serde_json::Map<String, Json> = point
                .attributes
                .iter()
                .map(|(key, value)| {
                    let number = (*key == "process.pid").then(|| value.parse::<i64>().unwrap().into());
                    ((*key).to_owned(), number.unwrap_or_else(|| Json::from(&**value)))
                })
                .collect();
            let mut json = match &point.value {
                Value::Counter(total) => json!({"kind": "sum", "value": total}),
                Value::CounterF64(total) => json!({"kind": "sum", "value": total}),
                Value::Gauge(value) => json!({"kind": "gauge", "value": value}),
                Value::Histogram(histogram) => distribution(histogram, family.instrument, histograms),
            };
            json["unit"] = family.instrument.unit.into();
            json["attributes"] = attributes.into();
            json["start_unix_ns"] = START_NS.into();
            json["unix_ns"] = snapshot.unix_ns.into();
            expected.insert(series(family.instrument.name, &json["attributes"]), json);
        }
    }
    expected
}

fn distribution(histogram: &Histogram, instrument: &Instrument, histograms: Histograms) -> Json {
    let mut json = json!({
        "count": histogram.count, "sum": histogram.sum, "min": histogram.min, "max": histogram.max,
    });
    if histograms == Histograms::Explicit {
        json["kind"] = "histogram".into();
        json["bounds"] = instrument.bounds.into();
        json["bucket_counts"] = histogram.explicit.clone().into();
    } else {
        json["kind"] = "exponential_histogram".into();
        json["scale"] = histogram.exponential.scale.into();
        json["zero_count"] = histogram.exponential.zero_count.into();
        json["offset"] = histogram.exponential.offset.into();
        json["bucket_counts"] = histogram.exponential.counts.clone().into();
    }
    json
}

#[tokio::test]
async fn every_point_arrives_as_it_was_over_each_transport() {
    let Some(python) = python() else { return };
    let mut receiver = Receiver::start(&python, &[]);
    let snapshot = snapshot(3, 10);
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        for compression in [Compression::None, Compression::Gzip] {
            for histograms in [Histograms::Explicit, Histograms::Exponential] {
                let mut exporter = exporter(Options {
                    compression: Some(compression),
                    histograms: Some(histograms),
                    headers: Some("x-tenant=a%2Cb".parse().unwrap()),
                    ..endpoint(&receiver, protocol)
                });
                push(&mut exporter, Arc::clone(&snapshot)).await;
                let request = receiver.next();
                assert_eq!(request["headers"]["x-tenant"], "a,b");
                assert!(request["headers"]["user-agent"].as_str().unwrap().contains("gpu-agent/"));
                if protocol == Protocol::HttpProtobuf {
                    let encoding = if compression == Compression::Gzip { "gzip" } else { "identity" };
                    assert_eq!(request["encoding"], encoding);
                    assert_eq!(request["bytes"], exporter.stats().bytes.load(Ordering::Relaxed));
                }
                assert_eq!(points(&[request], "cumulative"), expected(&snapshot, histograms));
            }
        }
    }
}

#[tokio::test]
async fn deltas_add_up_to_the_totals_and_series_at_rest_are_not_sent() {
    let Some(python) = python() else { return };
    let mut receiver = Receiver::start(&python, &[]);
    for temporality in [Temporality::Delta, Temporality::LowMemory] {
        for histograms in [Histograms::Explicit, Histograms::Exponential] {
            let mut exporter = exporter(Options {
                temporality: Some(temporality),
                histograms: Some(histograms),
                ..endpoint(&receiver, Protocol::HttpProtobuf)
            });
            push(&mut exporter, snapshot(2, 10)).await;
            let first = points(&[receiver.next()], "delta");
            push(&mut exporter, snapshot(2, 35)).await;
            let second = points(&[receiver.next()], "delta");
            assert_eq!(first.len(), second.len());
            for (series, point) in expected(&snapshot(2, 35), histograms) {
                let (first, second) = (&first[&series], &second[&series]);
                if point["kind"] == "gauge" {
                    assert_eq!(second["value"], point["value"], "{series:?}");
                    continue;
                }
                for field in ["value", "count", "sum"] {
                    let number = |json: &Json| json[field].as_f64();
                    let sum = number(first).zip(number(second)).map(|(a, b)| a + b);
                    assert_eq!(sum, number(&point), "{series:?} {field}");
                }
                assert_eq!(first["start_unix_ns"], START_NS);
                assert_eq!(
                    second["start_unix_ns"], first["unix_ns"],
                    "the second delta begins where the first ends"
                );
                if point["kind"] == "histogram" {
                    let buckets = |json: &Json| -> Vec<u64> {
                        json["bucket_counts"]
                            .as_array()
                            .unwrap()
                            .iter()
                            .map(|count| count.as_u64().unwrap())
                            .collect()
                    };
                    let sums: Vec<u64> =
                        buckets(first).iter().zip(buckets(second)).map(|(a, b)| a + b).collect();
                    assert_eq!(sums, buckets(&point), "{series:?}");
                    assert!(second["min"].is_null(), "the extremes of a difference are not known");
                }
            }
            push(&mut exporter, snapshot(2, 35)).await;
            let third = points(&[receiver.next()], "delta");
            assert!(third.values().all(|point| point["kind"] == "gauge"), "only gauges at rest");
        }
    }
}

#[tokio::test]
async fn ten_thousand_series_come_in_requests_that_receivers_take() {
    let Some(python) = python() else { return };
    let mut receiver = Receiver::start(&python, &[]);
    let snapshot = snapshot(300, 7);
    let total: usize = snapshot.families.iter().map(|family| family.points.len()).sum();
    assert!(total >= 10_000, "{total} points");
    for histograms in [Histograms::Explicit, Histograms::Exponential] {
        let mut exporter =
            exporter(Options { histograms: Some(histograms), ..endpoint(&receiver, Protocol::Grpc) });
        push(&mut exporter, Arc::clone(&snapshot)).await;
        let requests: Vec<Json> = (0..total.div_ceil(2000)).map(|_| receiver.next()).collect();
        for request in &requests {
            assert!(request["bytes"].as_u64().unwrap() < 4 << 20, "{} bytes", request["bytes"]);
        }
        assert_eq!(points(&requests, "cumulative"), expected(&snapshot, histograms));
        assert_eq!(exporter.stats().exported.load(Ordering::Relaxed), total as u64);
    }
}

#[tokio::test]
async fn a_receiver_that_takes_a_part_is_believed() {
    let Some(python) = python() else { return };
    let receiver = Receiver::start(&python, &["--reject", "5"]);
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let mut exporter = exporter(endpoint(&receiver, protocol));
        let snapshot = snapshot(1, 1);
        let total: usize = snapshot.families.iter().map(|family| family.points.len()).sum();
        push(&mut exporter, snapshot).await;
        assert_eq!(exporter.stats().rejected.load(Ordering::Relaxed), 5);
        assert_eq!(exporter.stats().exported.load(Ordering::Relaxed), total as u64 - 5);
    }
}

#[test]
fn the_snapshot_of_these_tests_has_every_kind_of_point() {
    let kinds: Vec<InstrumentKind> =
        snapshot(1, 1).families.iter().map(|family| family.instrument.kind).collect();
    for kind in [InstrumentKind::Counter, InstrumentKind::Gauge, InstrumentKind::Histogram] {
        assert!(kinds.contains(&kind));
    }
}
