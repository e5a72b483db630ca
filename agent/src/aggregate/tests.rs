//! The aggregate as its users see it: events in, points out.

use std::sync::Arc;

use super::snapshot::{Histogram, Point, Snapshot, Value};
use super::{Aggregator, Limits, Process};
use crate::classes::{Classifier, KernelName};
use crate::event::{
    Api, Device, DeviceId, Direction, Event, FieldValue, GraphTrace, Interval, Kernel, Memcpy, Memory,
    MemoryKind, Memset, NameId, Op, OpClass, OpEnd, Pid, Place, ProbeInfo, StreamId, Synchronization,
    TargetId, Tensor, ThreadId,
};

const TARGET: TargetId = TargetId(0);

struct Fixture {
    aggregator: Aggregator,
    names: u32,
    executions: u64,
    classifier: Classifier,
}

impl Fixture {
    fn new(limits: Limits) -> Self {
        let mut aggregator = Aggregator::new(limits);
        aggregator.add_target(TARGET, &process(), 5);
        Self { aggregator, names: 0, executions: 0, classifier: Classifier::bundled().unwrap() }
    }

    fn name(&mut self, raw: &str) -> NameId {
        let id = NameId(self.names);
        self.names += 1;
        let name: KernelName = self.classifier.classify(raw);
        self.aggregator.add_name(TARGET, id, Arc::new(name));
        id
    }

    fn kernel(&mut self, name: NameId, duration_ns: u64) {
        self.on_stream(name, 0, duration_ns);
    }

    /// Executions follow each other in the order of the calls.
    fn on_stream(&mut self, name: NameId, stream: u32, duration_ns: u64) {
        let place = Place { stream: StreamId(stream), ..Place::default() };
        let Interval { start_ktime_ns, end_ktime_ns } = lasting(duration_ns);
        let later = self.executions * 10_000_000;
        let interval =
            Interval { start_ktime_ns: start_ktime_ns + later, end_ktime_ns: end_ktime_ns + later };
        self.executions += 1;
        let kernel = Kernel { name, place, interval, ..Kernel::default() };
        self.aggregator.observe(TARGET, &Event::Kernel(kernel));
    }

    fn observe(&mut self, event: Event) {
        self.aggregator.observe(TARGET, &event);
    }

    fn snapshot(&self) -> Snapshot {
        let mut builder = self.aggregator.collect(99);
        self.aggregator.collect_own(&mut builder);
        builder.finish()
    }
}

fn process() -> Process {
    Process { pid: Pid(42), executable: "serve".into(), simulated: false }
}

fn lasting(duration_ns: u64) -> Interval {
    Interval { start_ktime_ns: 1000, end_ktime_ns: 1000 + duration_ns }
}

/// The points of `name` whose attributes include all of `wanted`.
fn points<'a>(snapshot: &'a Snapshot, name: &str, wanted: &[(&str, &str)]) -> Vec<&'a Point> {
    let family = snapshot.families.iter().find(|family| family.instrument.name == name);
    let fits = |point: &&Point| {
        wanted.iter().all(|(key, value)| point.attributes.iter().any(|(k, v)| k == key && &**v == *value))
    };
    family.map(|family| family.points.iter().filter(fits).collect()).unwrap_or_default()
}

fn value(snapshot: &Snapshot, name: &str, wanted: &[(&str, &str)]) -> f64 {
    match points(snapshot, name, wanted)[..] {
        [Point { value: Value::Counter(value), .. }] => *value as f64,
        [Point { value: Value::Gauge(value) | Value::CounterF64(value), .. }] => *value,
        ref other => panic!("{name} {wanted:?}: {other:?}"),
    }
}

fn histogram(snapshot: &Snapshot, name: &str, wanted: &[(&str, &str)]) -> Histogram {
    match points(snapshot, name, wanted)[..] {
        [Point { value: Value::Histogram(value), .. }] => value.clone(),
        ref other => panic!("{name} {wanted:?}: {other:?}"),
    }
}

#[test]
fn kernels_count_and_time_by_class_and_name() {
    let mut fixture = Fixture::new(Limits::default());
    let (gemm, norm) = (fixture.name("gemm_f16"), fixture.name("rms_norm_f16"));
    for _ in 0..3 {
        fixture.kernel(gemm, 2000);
    }
    fixture.kernel(norm, 500);
    let snapshot = fixture.snapshot();
    assert_eq!(value(&snapshot, "gpu.kernel.executions", &[("kernel.class", "gemm")]), 3.0);
    let durations = histogram(&snapshot, "gpu.kernel.execution.duration", &[("kernel.name", "gemm_f16")]);
    assert_eq!((durations.count, durations.sum, durations.min), (3, 6e-6, 2e-6));
    let point = points(&snapshot, "gpu.kernel.execution.duration", &[("kernel.name", "rms_norm_f16")])[0];
    let attributes: Vec<_> = point.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(
        attributes.join(" "),
        "process.pid=42 process.executable.name=serve gpu=0 kernel.class=norm kernel.name=rms_norm_f16 timing=gpu"
    );
    assert_eq!(point.start_unix_ns, 5);
}

#[test]
fn a_v2_call_is_one_call_that_lasts_as_long_as_both_its_kernels() {
    let mut fixture = Fixture::new(Limits::default());
    let main = fixture.name("paged_attention_v2_f16_h128_b16");
    let reduce = fixture.name("paged_attention_v2_reduce_f16_h128");
    let first = fixture.name("paged_attention_v1_f16_h128_b16");
    fixture.on_stream(main, 1, 3_000_000);
    fixture.on_stream(main, 2, 3_000_000);
    fixture.on_stream(first, 1, 1_000_000);
    fixture.on_stream(reduce, 2, 500_000);
    fixture.on_stream(reduce, 1, 500_000);
    fixture.aggregator.tick(u64::MAX);
    let snapshot = fixture.snapshot();
    assert_eq!(value(&snapshot, "paged_attention_calls", &[("use_v1", "false")]), 2.0);
    assert_eq!(value(&snapshot, "paged_attention_calls", &[("use_v1", "true")]), 1.0);
    let second =
        histogram(&snapshot, "paged_attention_duration_ms", &[("use_v1", "false"), ("timing", "gpu")]);
    assert_eq!((second.count, second.sum, second.max), (2, 7.0, 3.5));
}

#[test]
fn a_v2_call_without_its_reduce_kernel_is_counted_after_a_while() {
    let mut fixture = Fixture::new(Limits::default());
    let main = fixture.name("paged_attention_v2_f16_h128_b16");
    let reduce = fixture.name("paged_attention_v2_reduce_f16_h128");
    fixture.kernel(main, 1_000_000);
    let durations = |fixture: &Fixture| {
        histogram(&fixture.snapshot(), "paged_attention_duration_ms", &[("use_v1", "false")]).count
    };
    assert_eq!(durations(&fixture), 0);
    fixture.aggregator.tick(10_000_000_000);
    assert_eq!(durations(&fixture), 1);
    fixture.kernel(reduce, 1);
    fixture.aggregator.tick(u64::MAX);
    assert_eq!(value(&fixture.snapshot(), "gpu_agent.orphans", &[("orphan", "reduce_kernel")]), 1.0);
}

#[test]
fn cache_updates_have_their_own_instruments() {
    let mut fixture = Fixture::new(Limits::default());
    let update = fixture.name("reshape_and_cache_bf16");
    fixture.kernel(update, 250_000);
    let snapshot = fixture.snapshot();
    assert_eq!(value(&snapshot, "cache_update_calls", &[]), 1.0);
    assert_eq!(histogram(&snapshot, "cache_update_duration_ms", &[("timing", "gpu")]).sum, 0.25);
}

fn copy(direction: Direction, size_bytes: u64, duration_ns: u64) -> Memcpy {
    Memcpy {
        interval: lasting(duration_ns),
        place: Place::default(),
        correlation: Default::default(),
        direction,
        source: MemoryKind::Pinned,
        destination: MemoryKind::Device,
        destination_device: DeviceId(0),
        size_bytes,
        copies: 1,
        is_async: true,
        incomplete: false,
    }
}

#[test]
fn copies_have_bytes_time_and_bandwidth_by_direction() {
    let mut fixture = Fixture::new(Limits::default());
    fixture.observe(Event::Memcpy(copy(Direction::HostToDevice, 25_000, 1000)));
    fixture.observe(Event::Memcpy(Memcpy { copies: 4, ..copy(Direction::HostToDevice, 25_000, 1000) }));
    fixture.observe(Event::Memcpy(copy(Direction::DeviceToHost, 7, 1000)));
    fixture.aggregator.tick(1);
    let up = [("direction", "h2d")];
    let snapshot = fixture.snapshot();
    assert_eq!(value(&snapshot, "gpu.memory.operations", &up), 5.0, "a batch counts its copies");
    assert_eq!(value(&snapshot, "gpu.memory.transfer.bytes", &up), 50_000.0);
    assert_eq!(value(&snapshot, "gpu.memory.bandwidth", &up), 25.0, "25 bytes a nanosecond");
    fixture.observe(Event::Memcpy(copy(Direction::HostToDevice, 1000, 1000)));
    fixture.aggregator.tick(2);
    fixture.aggregator.tick(3);
    assert_eq!(value(&fixture.snapshot(), "gpu.memory.bandwidth", &up), 1.0, "of the last tick with a copy");
}

#[test]
fn an_incomplete_record_counts_and_lasts_nothing() {
    let mut fixture = Fixture::new(Limits::default());
    let gemm = fixture.name("gemm_f16");
    let kernel = Kernel { name: gemm, incomplete: true, ..Kernel::default() };
    fixture.observe(Event::Kernel(kernel));
    fixture.observe(Event::Memcpy(Memcpy { incomplete: true, ..copy(Direction::HostToDevice, 10, 0) }));
    let snapshot = fixture.snapshot();
    assert_eq!(value(&snapshot, "gpu.kernel.executions", &[]), 1.0);
    assert_eq!(histogram(&snapshot, "gpu.kernel.execution.duration", &[]).count, 0);
    assert_eq!(histogram(&snapshot, "gpu.memory.transfer.duration", &[]).count, 0);
    assert_eq!(value(&snapshot, "gpu_agent.records.incomplete", &[]), 2.0);
}

fn memory(is_allocation: bool, address: u64, size_bytes: u64) -> Event {
    Event::Memory(Memory {
        ktime_ns: 1,
        place: Place::default(),
        correlation: Default::default(),
        is_allocation,
        memory: MemoryKind::Device,
        address,
        size_bytes,
    })
}

#[test]
fn memory_in_use_is_what_was_allocated_and_not_freed() {
    let mut fixture = Fixture::new(Limits::default());
    fixture.observe(memory(true, 0x1000, 600));
    fixture.observe(memory(true, 0x2000, 400));
    fixture.observe(memory(false, 0x1000, 0));
    fixture.observe(memory(false, 0x9000, 1_000_000));
    fixture.observe(memory(true, 0x2000, 50));
    let snapshot = fixture.snapshot();
    assert_eq!(value(&snapshot, "gpu.memory.usage", &[("memory.kind", "device")]), 50.0);
    assert_eq!(value(&snapshot, "gpu.memory.operations", &[("operation", "alloc")]), 3.0);
    assert_eq!(value(&snapshot, "gpu.memory.operations", &[("operation", "free")]), 2.0);
    assert_eq!(value(&snapshot, "gpu_agent.orphans", &[("orphan", "free")]), 1.0, "allocated before we came");
    assert_eq!(value(&snapshot, "gpu_agent.orphans", &[("orphan", "allocation")]), 1.0);
}

fn api(cbid: u32, status: u32) -> Event {
    Event::Api(Api {
        interval: lasting(4000),
        correlation: Default::default(),
        is_runtime: false,
        cbid,
        thread: Default::default(),
        status,
    })
}

#[test]
fn api_calls_are_host_time_and_errors_have_names() {
    let mut fixture = Fixture::new(Limits::default());
    for status in [0, 700, 600] {
        fixture.observe(api(307, status));
    }
    let snapshot = fixture.snapshot();
    let launch = [("function", "cuLaunchKernel"), ("api", "driver")];
    assert_eq!(value(&snapshot, "gpu.api.calls", &launch), 3.0);
    assert_eq!(histogram(&snapshot, "gpu.api.duration", &[("timing", "host")]).sum, 12e-6);
    assert_eq!(value(&snapshot, "gpu.errors", &[("error.type", "CUDA_ERROR_ILLEGAL_ADDRESS")]), 1.0);
    assert_eq!(points(&snapshot, "gpu.errors", &[]).len(), 1, "not ready is an answer");
}

#[test]
fn waits_graphs_memsets_and_devices_have_points() {
    let mut fixture = Fixture::new(Limits::default());
    fixture.observe(Event::Synchronization(Synchronization {
        interval: lasting(9000),
        correlation: Default::default(),
        context: Default::default(),
        stream: StreamId(1),
        what: "stream",
    }));
    fixture.observe(Event::GraphTrace(GraphTrace {
        interval: lasting(5000),
        place: Place::default(),
        correlation: Default::default(),
    }));
    fixture.observe(Event::Memset(Memset {
        interval: lasting(100),
        place: Place::default(),
        correlation: Default::default(),
        memory: MemoryKind::Device,
        size_bytes: 4096,
        incomplete: false,
    }));
    fixture.observe(Event::Device(device()));
    let snapshot = fixture.snapshot();
    assert_eq!(histogram(&snapshot, "gpu.sync.duration", &[("activity", "stream")]).count, 1);
    assert_eq!(value(&snapshot, "gpu.graph.launches", &[("gpu.model", "NVIDIA A100")]), 1.0);
    assert_eq!(value(&snapshot, "gpu.memory.transfer.bytes", &[("operation", "memset")]), 4096.0);
    assert_eq!(value(&snapshot, "gpu.device.info", &[("gpu.compute_capability", "8.0")]), 1.0);
}

fn device() -> Device {
    Device {
        name: "NVIDIA A100".into(),
        registers_per_multiprocessor: 65_536,
        shared_bytes_per_multiprocessor: 167_936,
        warps_per_multiprocessor: 64,
        blocks_per_multiprocessor: 32,
        compute_capability: (8, 0),
        ..Device::default()
    }
}

#[test]
fn a_device_described_late_names_the_series_that_were_there_before() {
    let mut fixture = Fixture::new(Limits::default());
    let gemm = fixture.name("gemm_f16");
    let kernel =
        Kernel { name: gemm, interval: lasting(10), block: [256, 1, 1], registers: 32, ..Kernel::default() };
    fixture.observe(Event::Kernel(kernel));
    fixture.observe(Event::Device(device()));
    fixture.observe(Event::Kernel(kernel));
    let snapshot = fixture.snapshot();
    assert_eq!(value(&snapshot, "gpu.kernel.executions", &[("gpu.model", "NVIDIA A100")]), 2.0);
    assert_eq!(value(&snapshot, "gpu.kernel.occupancy.theoretical", &[]), 1.0);
}

#[test]
fn a_device_described_again_keeps_its_series_and_their_names() {
    let mut fixture = Fixture::new(Limits::default());
    let gemm = fixture.name("gemm_f16");
    fixture.observe(Event::Device(device()));
    fixture.kernel(gemm, 100);
    let names = |fixture: &Fixture| -> Vec<_> {
        let snapshot = fixture.snapshot();
        snapshot
            .families
            .iter()
            .flat_map(|family| &family.points)
            .map(|point| point.attributes.clone())
            .collect()
    };
    let before = names(&fixture);
    fixture.observe(Event::Device(Device { name: "NVIDIA A100 80GB".to_owned(), ..device() }));
    assert_eq!(names(&fixture), before);
    fixture.kernel(gemm, 100);
    assert_eq!(value(&fixture.snapshot(), "gpu.kernel.executions", &[("gpu.model", "NVIDIA A100")]), 2.0);
}

#[test]
fn names_past_the_limit_share_a_series_and_nothing_is_lost() {
    let mut fixture = Fixture::new(Limits { series: 9, ..Limits::default() });
    for number in 0..10 {
        let name = fixture.name(&format!("gemm_number_{number}"));
        fixture.kernel(name, 100);
        fixture.kernel(name, 100);
    }
    let snapshot = fixture.snapshot();
    assert_eq!(points(&snapshot, "gpu.kernel.executions", &[]).len(), 4);
    let other = [("kernel.name", "_other"), ("kernel.class", "gemm")];
    assert_eq!(value(&snapshot, "gpu.kernel.executions", &other), 14.0);
    assert_eq!(value(&snapshot, "gpu_agent.series.overflow", &[]), 14.0);
}

#[test]
fn functions_past_the_limit_share_a_series_too() {
    let mut fixture = Fixture::new(Limits { series: 4, ..Limits::default() });
    for cbid in 1000..1100 {
        fixture.observe(api(cbid, 1));
    }
    let snapshot = fixture.snapshot();
    assert_eq!(value(&snapshot, "gpu.api.calls", &[("function", "_other")]), 99.0);
    let errors = points(&snapshot, "gpu.errors", &[]).len();
    assert!(errors <= 3);
    let held = 2 * points(&snapshot, "gpu.api.calls", &[]).len() + errors;
    assert_eq!(fixture.aggregator.series(), held, "those that share are counted as well");
}

#[test]
fn devices_past_the_limit_share_one() {
    let mut fixture = Fixture::new(Limits::default());
    for id in 0..1000 {
        let place = Place { device: DeviceId(id), ..Place::default() };
        fixture.observe(Event::Memcpy(Memcpy { place, ..copy(Direction::HostToDevice, 1, 1) }));
    }
    let snapshot = fixture.snapshot();
    assert_eq!(points(&snapshot, "gpu.memory.operations", &[]).len(), 65);
    assert_eq!(value(&snapshot, "gpu.memory.operations", &[("gpu", "_other")]), 936.0);
}

#[test]
fn an_ended_target_is_shown_for_the_grace_period_and_gives_its_series_back() {
    let mut fixture = Fixture::new(Limits { grace_ns: 100, ..Limits::default() });
    let gemm = fixture.name("gemm_f16");
    fixture.kernel(gemm, 10);
    fixture.aggregator.end_target(TARGET, 1000, true);
    fixture.aggregator.tick(1099);
    assert_eq!(value(&fixture.snapshot(), "gpu.kernel.executions", &[]), 1.0);
    fixture.aggregator.tick(1100);
    assert!(points(&fixture.snapshot(), "gpu.kernel.executions", &[]).is_empty());
    assert_eq!(fixture.aggregator.series(), 0);
    assert!(fixture.aggregator.targets.is_empty(), "an agent may see any number of processes come and go");
}

#[test]
fn a_process_that_comes_again_goes_on_counting_where_it_stopped() {
    let mut fixture = Fixture::new(Limits::default());
    let (norm, gemm) = (fixture.name("rms_norm_f16"), fixture.name("gemm_f16"));
    fixture.kernel(norm, 10);
    fixture.kernel(gemm, 10);
    fixture.observe(memory(true, 0x1000, 600));
    fixture.aggregator.end_target(TARGET, 1000, true);
    let series = fixture.aggregator.series();
    let again = TargetId(1);
    fixture.aggregator.add_target(again, &process(), 50);
    // The same name under another index.
    let name = Classifier::bundled().unwrap().classify("gemm_f16");
    fixture.aggregator.add_name(again, NameId(0), Arc::new(name));
    fixture.aggregator.observe(again, &Event::Kernel(Kernel { interval: lasting(10), ..Kernel::default() }));
    let snapshot = fixture.snapshot();
    let found = points(&snapshot, "gpu.kernel.executions", &[("kernel.class", "gemm")]);
    assert_eq!(found.len(), 1, "two series must not have one identity");
    assert_eq!(found[0].start_unix_ns, 5);
    assert_eq!(value(&snapshot, "gpu.kernel.executions", &[("kernel.class", "gemm")]), 2.0);
    assert_eq!(
        value(&snapshot, "gpu.memory.usage", &[]),
        0.0,
        "a new program holds none of the old one's memory"
    );
    assert_eq!(fixture.aggregator.series(), series);
}

#[test]
fn a_process_that_has_exited_holds_no_memory_and_one_that_was_let_go_does() {
    for (has_exited, used) in [(true, 0.0), (false, 600.0)] {
        let mut fixture = Fixture::new(Limits::default());
        fixture.observe(memory(true, 0x1000, 600));
        fixture.aggregator.end_target(TARGET, 1000, has_exited);
        assert_eq!(value(&fixture.snapshot(), "gpu.memory.usage", &[]), used);
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Whatever the names and the limit, executions add up.
    #[test]
    fn every_execution_is_in_exactly_one_series(limit in 0_usize..60, names in proptest::collection::vec(0_u32..30, 1..200)) {
        let mut fixture = Fixture::new(Limits { series: limit, ..Limits::default() });
        for number in 0..30 {
            fixture.name(&format!("kernel_{number}"));
        }
        for &name in &names {
            fixture.kernel(NameId(name), 5);
        }
        let snapshot = fixture.snapshot();
        let total: f64 = points(&snapshot, "gpu.kernel.executions", &[])
            .iter()
            .map(|point| if let Value::Counter(count) = point.value { count as f64 } else { 0.0 })
            .sum();
        proptest::prop_assert_eq!(total, names.len() as f64);
    }
}

fn probe(class: OpClass, use_v1: Option<bool>) -> Arc<ProbeInfo> {
    let name = format!("{}_entry", class.name());
    Arc::new(ProbeInfo { name: name.into(), engine: "vllm".into(), class, use_v1, api: None })
}

fn op(probe: &Arc<ProbeInfo>, end: OpEnd, fields: &[(&str, FieldValue)]) -> Event {
    Event::Op(Op {
        probe: Arc::clone(probe),
        interval: lasting(2_000_000),
        end,
        thread: ThreadId(1),
        tensors: Vec::new(),
        fields: fields.iter().map(|(name, value)| ((*name).into(), value.clone())).collect(),
    })
}

fn with_tensors(event: Event, tensors: &[(&str, &'static str, u64)]) -> Event {
    let Event::Op(mut op) = event else { panic!("no call") };
    op.tensors = tensors
        .iter()
        .map(|(name, dtype, size_bytes)| Tensor {
            name: (*name).into(),
            shape: vec![*size_bytes],
            dtype: Some(dtype),
            size_bytes: Some(*size_bytes),
        })
        .collect();
    Event::Op(op)
}

#[test]
fn without_gpu_records_calls_of_entry_points_are_the_calls_and_their_time_is_the_hosts() {
    let mut fixture = Fixture::new(Limits::default());
    let attention = probe(OpClass::PagedAttention, Some(true));
    let update = probe(OpClass::CacheUpdate, None);
    for _ in 0..3 {
        fixture.observe(op(&attention, OpEnd::Returned, &[]));
    }
    fixture.observe(op(&attention, OpEnd::Unwound, &[]));
    fixture.observe(op(&update, OpEnd::EntryOnly, &[]));
    let snapshot = fixture.snapshot();
    assert_eq!(value(&snapshot, "paged_attention_calls", &[("use_v1", "true")]), 4.0);
    assert_eq!(value(&snapshot, "cache_update_calls", &[]), 1.0);
    let durations = histogram(&snapshot, "paged_attention_duration_ms", &[("timing", "host")]);
    assert_eq!((durations.count, durations.sum), (3, 6.0));
    assert_eq!(histogram(&snapshot, "cache_update_duration_ms", &[("timing", "host")]).count, 0);
    let own = [("engine", "vllm"), ("op", "paged_attention"), ("probe", "paged_attention_entry")];
    assert_eq!(value(&snapshot, "engine.op.calls", &own), 4.0);
    assert_eq!(value(&snapshot, "engine.op.unwound", &own), 1.0);
    assert_eq!(histogram(&snapshot, "engine.op.duration", &own).count, 3);
}

#[test]
fn with_gpu_records_executions_are_the_calls_and_both_times_are_there() {
    let mut fixture = Fixture::new(Limits::default());
    let kernel = fixture.name("paged_attention_v1_f16_h128_b16");
    let attention = probe(OpClass::PagedAttention, Some(true));
    fixture.aggregator.set_gpu_records(TARGET, true);
    for _ in 0..5 {
        fixture.observe(op(&attention, OpEnd::Returned, &[]));
    }
    fixture.kernel(kernel, 1_000_000);
    let snapshot = fixture.snapshot();
    assert_eq!(value(&snapshot, "paged_attention_calls", &[("use_v1", "true")]), 1.0, "executions alone");
    let count = |timing| histogram(&snapshot, "paged_attention_duration_ms", &[("timing", timing)]).count;
    assert_eq!((count("gpu"), count("host")), (1, 5));
    assert_eq!(value(&snapshot, "engine.op.calls", &[("op", "paged_attention")]), 5.0);
}

#[test]
fn values_that_calls_state_are_summed_up() {
    let mut fixture = Fixture::new(Limits::default());
    let decode = probe(OpClass::Decode, None);
    let lookup = probe(OpClass::CacheLookup, None);
    let pool = probe(OpClass::PoolAllocate, None);
    for tokens in [37, 1, 1] {
        fixture.observe(op(&decode, OpEnd::Returned, &[("n_tokens", FieldValue::Integer(tokens))]));
    }
    fixture.observe(op(&decode, OpEnd::Returned, &[("n_tokens", FieldValue::Integer(-1))]));
    let (asked, hit) = (FieldValue::Unsigned(10), FieldValue::Unsigned(7));
    fixture.observe(op(&lookup, OpEnd::Returned, &[("n_blocks", asked), ("n_blocks_hit", hit)]));
    for failed in [FieldValue::Boolean(true), FieldValue::Integer(0), FieldValue::Integer(-1)] {
        let size = ("size_bytes", FieldValue::Unsigned(100));
        fixture.observe(op(&pool, OpEnd::Returned, &[("failed", failed), size]));
    }
    let snapshot = fixture.snapshot();
    assert_eq!(value(&snapshot, "engine.op.tokens", &[("op", "decode")]), 39.0);
    assert_eq!(value(&snapshot, "engine.cache.blocks", &[("result", "hit")]), 7.0);
    assert_eq!(value(&snapshot, "engine.cache.blocks", &[("result", "miss")]), 3.0);
    assert_eq!(value(&snapshot, "engine.op.failures", &[("op", "pool_allocate")]), 2.0);
    assert_eq!(value(&snapshot, "engine.op.bytes", &[("op", "pool_allocate")]), 300.0);
    assert!(points(&snapshot, "engine.op.tokens", &[("op", "pool_allocate")]).is_empty());
}

#[test]
fn tensors_are_measured_in_bytes_by_name_type_and_operation() {
    let mut fixture = Fixture::new(Limits::default());
    let attention = probe(OpClass::PagedAttention, Some(true));
    for size_bytes in [1024, 1_048_576] {
        let tensors = [("query", "f16", size_bytes), ("key_cache", "f16", 1 << 30)];
        fixture.observe(with_tensors(op(&attention, OpEnd::Returned, &[]), &tensors));
    }
    let snapshot = fixture.snapshot();
    let query = [("tensor_name", "query"), ("dtype", "f16"), ("op", "paged_attention")];
    let sizes = histogram(&snapshot, "tensor_size_bytes", &query);
    assert_eq!((sizes.count, sizes.sum, sizes.min), (2, 1_049_600.0, 1024.0));
    assert_eq!((sizes.explicit[0], sizes.explicit[5]), (1, 1), "a bound belongs to the bucket below it");
    let latest: Vec<_> = fixture.aggregator.latest_tensors().collect();
    assert_eq!(latest.len(), 1);
    assert_eq!(latest[0].tensors[0].shape, [1_048_576]);
}

#[test]
fn probes_and_tensors_past_the_limit_share_a_series_a_class() {
    let mut fixture = Fixture::new(Limits { series: 4, ..Limits::default() });
    for number in 0..5 {
        let probe =
            ProbeInfo { name: format!("p{number}").into(), ..(*probe(OpClass::Decode, None)).clone() };
        let event = op(&Arc::new(probe), OpEnd::Returned, &[]);
        fixture.observe(with_tensors(event, &[(&format!("t{number}"), "f32", 8)]));
    }
    let snapshot = fixture.snapshot();
    assert_eq!(points(&snapshot, "engine.op.calls", &[]).len(), 2);
    assert_eq!(value(&snapshot, "engine.op.calls", &[("probe", "_other"), ("op", "decode")]), 4.0);
    assert_eq!(histogram(&snapshot, "tensor_size_bytes", &[("tensor_name", "_other")]).count, 4);
    assert_eq!(value(&snapshot, "gpu_agent.series.overflow", &[]), 8.0);
}

#[test]
fn memory_as_probes_see_it_counts_without_a_device_and_without_a_use() {
    let mut fixture = Fixture::new(Limits::default());
    let place = Place { device: DeviceId::UNKNOWN, ..Place::default() };
    let memory = |is_allocation, address| {
        let (correlation, memory) = (Default::default(), MemoryKind::Device);
        Event::Memory(Memory {
            ktime_ns: 1,
            place,
            correlation,
            is_allocation,
            memory,
            address,
            size_bytes: 8,
        })
    };
    for event in [memory(true, Memory::NO_ADDRESS), memory(true, Memory::NO_ADDRESS), memory(false, 4096)] {
        fixture.observe(event);
    }
    let snapshot = fixture.snapshot();
    assert_eq!(value(&snapshot, "gpu.memory.operations", &[("operation", "alloc")]), 2.0);
    assert_eq!(value(&snapshot, "gpu.memory.operations", &[("operation", "free")]), 1.0);
    assert_eq!(value(&snapshot, "gpu_agent.orphans", &[("orphan", "free")]), 0.0);
    assert!(points(&snapshot, "gpu.memory.usage", &[]).is_empty());
    let point = points(&snapshot, "gpu.memory.operations", &[])[0];
    assert!(point.attributes.iter().all(|(key, _)| *key != "gpu"), "{point:?}");
}
