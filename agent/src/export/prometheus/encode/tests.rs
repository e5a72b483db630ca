//! Bodies, byte for byte, and native histograms against the buckets they come from.

use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model as model;
use proptest::prelude::*;

use super::native::LONGEST_GAP_WRITTEN;
use super::*;
use crate::aggregate::snapshot::Exponential;
use crate::export::resource;
use crate::semconv::Instrument;

static CALLS: Instrument = Instrument {
    name: "paged_attention_calls",
    kind: InstrumentKind::Counter,
    unit: "",
    description: "Calls.",
    attributes: &["use_v1", "gpu.model"],
    bounds: &[],
};
static TIME: Instrument = Instrument {
    name: "gpu.kernel.execution.duration",
    kind: InstrumentKind::Histogram,
    unit: "s",
    description: "GPU time.",
    attributes: &["timing"],
    bounds: &[0.001, 1.0],
};
static USAGE: Instrument = Instrument {
    name: "gpu.memory.usage",
    kind: InstrumentKind::Gauge,
    unit: "By",
    description: "Memory.",
    attributes: &[],
    bounds: &[],
};
static CPU: Instrument = Instrument {
    name: "gpu_agent.cpu.time",
    kind: InstrumentKind::Counter,
    unit: "s",
    description: "CPU time.",
    attributes: &[],
    bounds: &[],
};

fn point(attributes: &[(&'static str, &str)], value: Value) -> Point {
    let attributes: Vec<_> = attributes.iter().map(|(key, value)| (*key, Arc::from(*value))).collect();
    Point { attributes: attributes.into(), start_unix_ns: 1, value }
}

fn histogram() -> Histogram {
    Histogram {
        count: 6,
        sum: 3.25,
        min: 0.0005,
        max: 2.0,
        explicit: vec![1, 2, 3],
        exponential: Exponential { scale: 0, zero_count: 0, offset: -2, counts: vec![1, 2, 3] },
    }
}

fn snapshot() -> Arc<Snapshot> {
    let calls = point(&[("use_v1", "true"), ("gpu.model", "a\"b\\c\nd")], Value::Counter(u64::MAX));
    let families = vec![
        Family { instrument: &CALLS, points: vec![calls] },
        Family {
            instrument: &TIME,
            points: vec![point(&[("timing", "gpu")], Value::Histogram(histogram()))],
        },
        Family { instrument: &USAGE, points: vec![point(&[], Value::Gauge(1.5e9))] },
        Family { instrument: &CPU, points: vec![point(&[], Value::CounterF64(0.25))] },
    ];
    Arc::new(Snapshot { unix_ns: 2, families })
}

fn body(snapshot: &Arc<Snapshot>, resource: &Arc<Resource>, format: Format) -> Vec<u8> {
    let mut body = Vec::new();
    encode(snapshot, resource, format, &mut body).unwrap();
    body
}

fn text(format: Format) -> String {
    let attributes =
        Some("service.name=agent,service.instance.id=1,service.version=1,host.name=h".parse().unwrap());
    let resource = resource::Options { service_name: None, attributes }.resolve();
    String::from_utf8(body(&snapshot(), &Arc::new(resource), format)).unwrap()
}

#[test]
fn text_format_names_counters_whole_and_has_no_units() {
    let expected = r#"# HELP target_info Attributes of the agent as an OpenTelemetry resource.
# TYPE target_info gauge
target_info{host_name="h",os_type="linux",service_instance_id="1",service_name="agent",service_version="1"} 1
# HELP paged_attention_calls_total Calls.
# TYPE paged_attention_calls_total counter
paged_attention_calls_total{use_v1="true",gpu_model="a\"b\\c\nd"} 18446744073709551615
# HELP gpu_kernel_execution_duration_seconds GPU time.
# TYPE gpu_kernel_execution_duration_seconds histogram
gpu_kernel_execution_duration_seconds_sum{timing="gpu"} 3.25
gpu_kernel_execution_duration_seconds_count{timing="gpu"} 6
gpu_kernel_execution_duration_seconds_bucket{le="0.001",timing="gpu"} 1
gpu_kernel_execution_duration_seconds_bucket{le="1.0",timing="gpu"} 3
gpu_kernel_execution_duration_seconds_bucket{le="+Inf",timing="gpu"} 6
# HELP gpu_memory_usage_bytes Memory.
# TYPE gpu_memory_usage_bytes gauge
gpu_memory_usage_bytes 1500000000.0
# HELP gpu_agent_cpu_time_seconds_total CPU time.
# TYPE gpu_agent_cpu_time_seconds_total counter
gpu_agent_cpu_time_seconds_total 0.25
"#;
    assert_eq!(text(Format::Text), expected);
}

#[test]
fn openmetrics_has_units_and_an_end_and_the_same_samples() {
    let open = text(Format::OpenMetrics);
    assert!(open.ends_with("# EOF\n"));
    assert!(open.contains("# TYPE paged_attention_calls counter\n"));
    assert!(open.contains("# UNIT gpu_kernel_execution_duration_seconds seconds\n"));
    let samples = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    assert_eq!(samples(&open), samples(&text(Format::Text)));
}

/// Delimited messages.
fn families(mut body: &[u8]) -> Vec<MetricFamily> {
    let mut families = Vec::new();
    while !body.is_empty() {
        families.push(MetricFamily::decode_length_delimited(&mut body).unwrap());
    }
    families
}

#[test]
fn protobuf_messages_made_in_chunks_are_those_made_at_once() {
    let points = (0..3 * CHUNK_POINTS + 1)
        .map(|number| point(&[("use_v1", &number.to_string())], Value::Counter(number as u64)));
    let snapshot = Arc::new(Snapshot {
        unix_ns: 2,
        families: vec![Family { instrument: &CALLS, points: points.collect() }],
    });
    let resource = Arc::<Resource>::default();
    let whole = Part { snapshot: Arc::clone(&snapshot), resource: Some(Arc::clone(&resource)), points: None };
    let at_once = prometheus_protobuf::encode(&whole.registry()).unwrap();
    assert_eq!(families(&body(&snapshot, &resource, Format::Protobuf)), at_once);
    assert_eq!(at_once[1].metric.len(), 3 * CHUNK_POINTS + 1);
}

#[test]
fn an_output_that_fails_is_an_error_with_its_reason() {
    let mut full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
        let error = encode(&snapshot(), &Arc::default(), format, &mut full).unwrap_err();
        assert!(matches!(&error, EncodeError::Output(_)), "{error}");
    }
}

#[test]
fn protobuf_carries_classic_and_native_buckets() {
    let families = families(&body(&snapshot(), &Arc::default(), Format::Protobuf));
    let names: Vec<&str> = families.iter().map(|family| family.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "target_info",
            "paged_attention_calls_total",
            "gpu_kernel_execution_duration_seconds",
            "gpu_memory_usage_bytes",
            "gpu_agent_cpu_time_seconds_total",
        ]
    );
    let histogram = families[2].metric[0].histogram.as_ref().unwrap();
    assert_eq!(histogram.bucket.len(), 3);
    assert_eq!((histogram.schema, histogram.sample_count), (0, 6));
    // OpenTelemetry's bucket -2 is (1/4, 1/2]; Prometheus calls it -1, after its upper bound.
    assert_eq!(histogram.positive_span, [model::BucketSpan { offset: -1, length: 3 }]);
    assert_eq!(histogram.positive_delta, [1, 1, 1]);
}

/// Buckets of a native histogram by index, in OpenTelemetry's numbering.
fn expanded(native: &Native) -> Vec<(i32, u64)> {
    let mut deltas = native.deltas.iter();
    let (mut index, mut count, mut result) = (-1, 0, Vec::new());
    for (gap, length) in &native.spans {
        index += gap;
        for _ in 0..*length {
            count += deltas.next().unwrap();
            if count != 0 {
                result.push((index, u64::try_from(count).unwrap()));
            }
            index += 1;
        }
    }
    assert!(deltas.next().is_none());
    result
}

proptest! {
    #[test]
    fn native_histograms_hold_the_same_buckets_whatever_the_gaps(
        offset in -200_i32..200, scale in -4_i32..=8,
        counts in prop::collection::vec(prop_oneof![3 => Just(0_u64), 2 => 1_u64..1000], 0..60),
    ) {
        let buckets = Exponential { scale, zero_count: 3, offset, counts: counts.clone() };
        let native = Native::of(&buckets).unwrap();
        let expected: Vec<(i32, u64)> =
            (offset..).zip(counts).filter(|(_, count)| *count != 0).collect();
        prop_assert_eq!(expanded(&native), expected);
        prop_assert_eq!((native.schema, native.zero_count), (scale, 3));
        for (gap, _) in native.spans.iter().skip(1) {
            prop_assert!(*gap > LONGEST_GAP_WRITTEN as i32);
        }
    }

    #[test]
    fn a_scale_that_prometheus_does_not_know_is_lowered(extra in 1_i32..12) {
        let buckets = Exponential { scale: 8 + extra, zero_count: 0, offset: 5, counts: vec![1, 2, 3] };
        let native = Native::of(&buckets).unwrap();
        prop_assert_eq!(native.schema, 8);
        prop_assert_eq!(expanded(&native).iter().map(|(_, count)| count).sum::<u64>(), 6);
    }
}

#[test]
fn a_scale_below_all_schemas_leaves_the_classic_buckets() {
    assert!(Native::of(&Exponential { scale: -5, ..Exponential::default() }).is_none());
}

#[test]
fn a_histogram_without_observations_is_still_marked_as_native() {
    let native = Native::of(&Exponential::default()).unwrap();
    assert_eq!(native.spans, [(0, 0)]);
}
