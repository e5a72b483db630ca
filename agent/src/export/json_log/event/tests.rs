//! What each event's lines say.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::*;
use crate::classes::KernelName;
use crate::event::{
    ContextId, CorrelationId, Direction, FieldValue, GraphId, GraphMade, GraphNodeId, MemoryKind, Op,
    OpClass, OpEnd, Pid, ProbeInfo, StreamId, Tensor, ThreadId,
};
use crate::export::DeviceInfo;

/// Knows target 0, its device 0, and four kernels.
struct Known;

impl Directory for Known {
    fn target(&self, target: TargetId) -> Option<Arc<TargetInfo>> {
        let info = TargetInfo { pid: Pid(42), executable: "python3.11".to_owned(), simulated: true };
        (target.0 == 0).then(|| Arc::new(info))
    }

    fn kernel(&self, _target: TargetId, name: NameId) -> Option<KernelName> {
        let (display, class, operation) = match name.0 {
            0 => ("vector_add", Class::Other, None),
            1 => {
                let operation = Operation::PagedAttention { use_v1: Some(true) };
                ("paged_attention_v1", Class::AttentionDecode, Some(operation))
            }
            2 => ("paged_attention_v2_reduce", Class::AttentionDecode, Some(Operation::PagedAttentionReduce)),
            3 => ("reshape_and_cache", Class::KvWrite, Some(Operation::CacheUpdate)),
            4 => ("copy_blocks", Class::KvCopy, None),
            _ => return None,
        };
        Some(KernelName { raw: display.into(), display: display.into(), class, operation })
    }

    fn device(&self, _target: TargetId, device: DeviceId) -> Option<Arc<DeviceInfo>> {
        let info = DeviceInfo { uuid: "GPU-1".to_owned(), model: "Simulated H200".to_owned() };
        (device.0 == 0).then(|| Arc::new(info))
    }

    fn api(&self, is_runtime: bool, cbid: u32) -> Option<&'static str> {
        (!is_runtime && cbid == 307).then_some("cuLaunchKernel")
    }
}

/// Unix time is one second after the monotonic clock's.
const ANCHOR: Anchor = Anchor { ktime_ns: 0, unix_ns: 1_000_000_000, error_ns: 0 };

fn lines(filter: &str, target: u32, events: &[Event]) -> Vec<Value> {
    let mut renderer = Renderer::new(Arc::new(Known), filter.parse().unwrap());
    renderer.set_anchor(ANCHOR);
    let mut buffer = Vec::new();
    for event in events {
        renderer.render(&mut buffer, TargetId(target), event);
    }
    let text = String::from_utf8(buffer).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const SPAN: Interval = Interval { start_ktime_ns: 1_000, end_ktime_ns: 501_000 };
const PLACE: Place = Place {
    device: DeviceId(0),
    context: ContextId(1),
    stream: StreamId(7),
    graph: GraphId(0),
    graph_node: GraphNodeId(0),
    graph_made: GraphMade::Attached,
};

fn kernel(name: u32) -> Event {
    Event::Kernel(Kernel {
        interval: SPAN,
        place: PLACE,
        correlation: CorrelationId(9),
        name: NameId(name),
        grid: [4, 5, 6],
        block: [128, 1, 1],
        registers: 40,
        shared_bytes: 1024,
        incomplete: false,
    })
}

fn log_targets(filter: &str, name: u32) -> Vec<Value> {
    lines(filter, 0, &[kernel(name)]).into_iter().map(|mut line| line["target"].take()).collect()
}

#[test]
fn a_kernel_line_has_all_that_is_known_and_gpu_time() {
    let expected = json!({
        "timestamp": "1970-01-01T00:00:01.000501000Z", "level": "DEBUG", "target": "kernel",
        "pid": 42, "executable": "python3.11", "simulated": true,
        "gpu": 0, "gpu_uuid": "GPU-1", "gpu_model": "Simulated H200",
        "kernel_name": "vector_add", "kernel_class": "other", "duration_ms": 0.5, "timing": "gpu",
        "context": 1, "stream": 7, "correlation_id": 9, "grid": "4x5x6", "block": "128x1x1",
        "registers": 40, "shared_bytes": 1024,
    });
    assert_eq!(lines("debug", 0, &[kernel(0)]), [expected]);
}

#[test]
fn events_are_stamped_by_the_anchor_that_stood_when_they_were_read() {
    let mut renderer = Renderer::new(Arc::new(Known), "kernel=debug".parse().unwrap());
    let mut buffer = Vec::new();
    for unix_ns in [1_000_000_000, 3_000_000_000] {
        renderer.set_anchor(Anchor { unix_ns, ..ANCHOR });
        renderer.render(&mut buffer, TargetId(0), &kernel(0));
    }
    let text = String::from_utf8(buffer).unwrap();
    let stamps = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["timestamp"].take());
    let expected = ["1970-01-01T00:00:01.000501000Z", "1970-01-01T00:00:03.000501000Z"];
    assert_eq!(stamps.collect::<Vec<_>>(), expected);
}

#[test]
fn kernels_with_a_meaning_are_logged_under_it_too() {
    assert_eq!(log_targets("debug", 0), ["kernel"]);
    assert_eq!(log_targets("debug", 1), ["kernel", "paged_attention", "paged_attention_call"]);
    assert_eq!(log_targets("debug", 2), ["kernel", "paged_attention"]);
    assert_eq!(log_targets("debug", 3), ["kernel", "paged_attention_reshape"]);
    assert_eq!(log_targets("debug", 4), ["kernel", "paged_attention_cache"]);
    assert_eq!(log_targets("debug", 5), ["kernel"], "a name that is not known");
}

#[test]
fn only_the_targets_that_are_asked_for_are_written() {
    assert_eq!(log_targets("paged_attention_call=debug", 1), ["paged_attention_call"]);
    assert_eq!(log_targets("info", 1), [] as [Value; 0]);
    assert_eq!(log_targets("debug,kernel=info", 3), ["paged_attention_reshape"]);
}

#[test]
fn a_launch_line_carries_no_time() {
    let line = &lines("paged_attention_call=debug", 0, &[kernel(1)])[0];
    assert_eq!(line["use_v1"], true);
    assert!(line.get("duration_ms").is_none() && line.get("timing").is_none());
}

#[test]
fn what_is_not_known_is_left_out_and_asked_again_later() {
    let mut elsewhere = Kernel { name: NameId(99), ..Kernel::default() };
    elsewhere.place.device = DeviceId(3);
    let line = &lines("debug", 1, &[Event::Kernel(elsewhere)])[0];
    assert_eq!(line["gpu"], 3);
    for absent in ["pid", "executable", "gpu_uuid", "gpu_model", "kernel_name", "kernel_class", "use_v1"] {
        assert!(line.get(absent).is_none(), "{absent}");
    }
}

/// Knows every target until they are gone.
#[derive(Default)]
struct Passing {
    gone: AtomicBool,
}

impl Directory for Passing {
    fn target(&self, target: TargetId) -> Option<Arc<TargetInfo>> {
        let gone = self.gone.load(Ordering::Relaxed) && target.0 != 1;
        (!gone).then(|| Known.target(TargetId(0)))?
    }

    fn kernel(&self, target: TargetId, name: NameId) -> Option<KernelName> {
        Known.kernel(target, name)
    }

    fn device(&self, target: TargetId, device: DeviceId) -> Option<Arc<DeviceInfo>> {
        Known.device(target, device)
    }

    fn api(&self, is_runtime: bool, cbid: u32) -> Option<&'static str> {
        Known.api(is_runtime, cbid)
    }
}

#[test]
fn what_was_kept_of_targets_that_are_gone_is_forgotten() {
    let directory = Arc::new(Passing::default());
    let mut renderer =
        Renderer::new(Arc::clone(&directory) as Arc<dyn Directory>, "kernel=debug".parse().unwrap());
    for target in 0..3 {
        renderer.render(&mut Vec::new(), TargetId(target), &kernel(0));
    }
    let kept =
        |renderer: &Renderer| (renderer.processes.len(), renderer.devices.len(), renderer.kernels.len());
    renderer.forget_gone();
    assert_eq!(kept(&renderer), (3, 3, 3));
    directory.gone.store(true, Ordering::Relaxed);
    renderer.forget_gone();
    assert_eq!(kept(&renderer), (1, 1, 1));
    assert!(renderer.processes.contains_key(&TargetId(1)));
}

#[test]
fn an_incomplete_record_has_no_time() {
    let Event::Kernel(mut incomplete) = kernel(0) else { unreachable!() };
    incomplete.incomplete = true;
    let line = &lines("debug", 0, &[Event::Kernel(incomplete)])[0];
    assert_eq!(line["incomplete"], true);
    assert!(line.get("duration_ms").is_none());
}

#[test]
fn a_kernel_of_a_graph_names_graph_and_node() {
    let Event::Kernel(mut node) = kernel(0) else { unreachable!() };
    (node.place.graph, node.place.graph_node) = (GraphId(3), GraphNodeId(12_884_901_889));
    let line = &lines("debug", 0, &[Event::Kernel(node)])[0];
    assert_eq!((&line["graph"], &line["graph_node"]), (&json!(3), &json!(12_884_901_889_u64)));
}

/// An event of each kind.
fn one_of_each() -> Vec<Event> {
    let correlation = CorrelationId(9);
    vec![
        kernel(0),
        Event::Memcpy(Memcpy {
            interval: SPAN,
            place: PLACE,
            correlation,
            direction: Direction::HostToDevice,
            source: MemoryKind::Pinned,
            destination: MemoryKind::Device,
            destination_device: DeviceId(0),
            size_bytes: 1_000_000,
            copies: 1,
            is_async: true,
            incomplete: false,
        }),
        Event::Memset(Memset {
            interval: SPAN,
            place: PLACE,
            correlation,
            memory: MemoryKind::Device,
            size_bytes: 4096,
            incomplete: false,
        }),
        Event::Memory(Memory {
            ktime_ns: 1,
            place: PLACE,
            correlation,
            is_allocation: true,
            memory: MemoryKind::Pool,
            address: u64::MAX,
            size_bytes: 8,
        }),
        Event::Api(Api {
            interval: SPAN,
            correlation,
            is_runtime: false,
            cbid: 307,
            thread: ThreadId(77),
            status: 2,
        }),
        Event::Synchronization(Synchronization {
            interval: SPAN,
            correlation,
            context: ContextId(1),
            stream: StreamId(7),
            what: "stream",
        }),
        Event::Overhead(Overhead { interval: SPAN, what: "buffer_flush" }),
        Event::GraphTrace(GraphTrace { interval: SPAN, place: PLACE, correlation }),
        Event::Device(Device { name: "Simulated H200".to_owned(), mig: Some((1, 2)), ..Device::default() }),
        Event::Context(Context { id: ContextId(1), device: DeviceId(0) }),
        Event::Session(Session { ktime_ns: 1, armed: true, cupti_version: 26, driver_version: 12_040 }),
        Event::Dropped(Dropped { ktime_ns: 1, count: 3 }),
    ]
}

#[test]
fn copies_and_memsets_have_size_and_bandwidth() {
    let found = lines("memcpy=debug,memset=debug", 0, &one_of_each());
    assert_eq!(found[0]["target"], "memcpy");
    assert_eq!(found[0]["direction"], "h2d");
    assert_eq!(found[0]["size_bytes"], 1_000_000);
    assert_eq!(found[0]["gb_per_second"], 2.0);
    assert_eq!((&found[0]["source"], &found[0]["destination"]), (&json!("pinned"), &json!("device")));
    assert_eq!(found[0]["async"], true);
    assert_eq!(found[1]["target"], "memset");
    assert_eq!(found[1]["memory_kind"], "device");
}

#[test]
fn api_calls_are_host_time_and_carry_their_status() {
    let call = |is_runtime| {
        Event::Api(Api {
            interval: SPAN,
            correlation: CorrelationId(9),
            is_runtime,
            cbid: 307,
            thread: ThreadId(77),
            status: 2,
        })
    };
    let found = lines("api=debug", 0, &[call(false), call(true)]);
    assert_eq!(found[0]["function"], "cuLaunchKernel");
    assert_eq!(found[0]["timing"], "host");
    assert_eq!((&found[0]["status"], &found[0]["thread"]), (&json!(2), &json!(77)));
    assert_eq!(found[1]["api"], "runtime");
    assert!(found[1].get("function").is_none());
}

#[test]
fn each_kind_has_its_target_and_level() {
    let found = lines("debug", 0, &one_of_each());
    let places: Vec<(&str, &str)> = found
        .iter()
        .map(|line| (line["target"].as_str().unwrap(), line["level"].as_str().unwrap()))
        .collect();
    assert_eq!(
        places,
        [
            ("kernel", "DEBUG"),
            ("memcpy", "DEBUG"),
            ("memset", "DEBUG"),
            ("memory", "DEBUG"),
            ("api", "DEBUG"),
            ("sync", "DEBUG"),
            ("overhead", "DEBUG"),
            ("graph", "DEBUG"),
            ("session", "INFO"),
            ("session", "INFO"),
            ("session", "INFO"),
            ("losses", "WARN"),
        ]
    );
    assert_eq!(found[3]["operation"], "alloc");
    assert_eq!(found[8]["mig_gpu_instance"], 1);
    assert_eq!(found[10]["event"], "armed");
    assert_eq!(found[11]["records"], 3);
}

#[test]
fn the_queue_is_asked_for_exactly_the_kinds_whose_lines_are_wanted() {
    let kinds = |filter: &str| -> Vec<EventKind> {
        let wanted = wanted(&filter.parse().unwrap());
        EventKind::ALL.into_iter().filter(|kind| wanted.contains(*kind)).collect()
    };
    use EventKind::{Context, Device, Dropped, Kernel, Memcpy, Op, Session};
    assert_eq!(kinds("info"), [Device, Context, Session, Dropped]);
    assert_eq!(kinds("off"), []);
    assert_eq!(kinds("paged_attention_cache=debug"), [Kernel, Op]);
    assert_eq!(kinds("tensor_metrics=debug"), [Op]);
    assert_eq!(kinds("memcpy=debug"), [Memcpy]);
    assert_eq!(kinds("trace").len(), EventKind::ALL.len());
}

#[test]
fn docs_logs_md_explains_every_target_and_every_field() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/logs.md");
    let document = std::fs::read_to_string(path).unwrap();
    let explained = |name: &str| document.contains(&format!("`{name}`"));
    for kind in EventKind::ALL {
        for target in targets(kind).0 {
            assert!(explained(target), "{target}");
        }
    }
    let Event::Kernel(mut node) = kernel(1) else { unreachable!() };
    node.place.graph = GraphId(1);
    let mut incomplete = node;
    incomplete.incomplete = true;
    let mut events = one_of_each();
    events.extend([Event::Kernel(node), Event::Kernel(incomplete)]);
    let Event::Op(mut call) = op(OpClass::PagedAttention, OpEnd::Returned) else { unreachable!() };
    // The names of its values are the specification's.
    call.fields.clear();
    events.push(Event::Op(call));
    for line in lines("trace", 0, &events) {
        for field in line.as_object().unwrap().keys() {
            assert!(explained(field), "{field} of {line}");
        }
    }
}

fn op(class: OpClass, end: OpEnd) -> Event {
    let probe = ProbeInfo {
        name: "entry".into(),
        engine: "vllm".into(),
        class,
        use_v1: (class == OpClass::PagedAttention).then_some(false),
        api: None,
    };
    let fields = [
        ("num_seqs", FieldValue::Integer(-2)),
        ("kv_cache_dtype", FieldValue::Text("a\"b".into())),
        ("scale", FieldValue::Number(0.5)),
        ("causal", FieldValue::Boolean(true)),
        ("target", FieldValue::Text("not ours".into())),
        ("odd name", FieldValue::Unsigned(u64::MAX)),
    ];
    let key_cache = Tensor {
        name: "key_cache".into(),
        shape: vec![2, 8, 128],
        dtype: Some("f16"),
        size_bytes: Some(4096),
    };
    let unknown = Tensor { name: "slots".into(), shape: Vec::new(), dtype: None, size_bytes: None };
    Event::Op(Op {
        probe: Arc::new(probe),
        interval: SPAN,
        end,
        thread: ThreadId(11),
        tensors: vec![key_cache, unknown],
        fields: fields.map(|(name, value)| (name.into(), value)).into(),
    })
}

#[test]
fn a_call_of_an_entry_point_says_what_it_was_how_it_ended_and_its_values() {
    let expected = json!({
        "timestamp": "1970-01-01T00:00:01.000501000Z", "level": "DEBUG", "target": "paged_attention",
        "pid": 42, "executable": "python3.11", "simulated": true,
        "op": "paged_attention", "probe": "entry", "engine": "vllm", "phase": "stop", "thread": 11,
        "use_v1": false, "duration_ms": 0.5, "timing": "host",
        "num_seqs": -2, "kv_cache_dtype": "a\"b", "scale": 0.5, "causal": true, "odd_name": u64::MAX,
    });
    let call = op(OpClass::PagedAttention, OpEnd::Returned);
    assert_eq!(lines("paged_attention=debug,paged_attention_call=off", 0, &[call]), [expected]);
}

#[test]
fn the_start_of_paged_attention_is_a_line_of_its_own_at_its_own_time() {
    let call = op(OpClass::PagedAttention, OpEnd::Returned);
    let [line] = &lines("paged_attention_call=debug", 0, &[call])[..] else { panic!("not one line") };
    assert_eq!(line["timestamp"], "1970-01-01T00:00:01.000001000Z");
    assert_eq!((&line["phase"], &line["num_seqs"]), (&json!("start"), &json!(-2)));
    assert!(line["duration_ms"].is_null());
}

#[test]
fn each_tensor_is_a_line_that_can_be_searched_for_by_name_and_size() {
    let found = lines("tensor_metrics=debug", 0, &[op(OpClass::CacheUpdate, OpEnd::Returned)]);
    let expected = json!({
        "timestamp": "1970-01-01T00:00:01.000501000Z", "level": "DEBUG", "target": "tensor_metrics",
        "pid": 42, "executable": "python3.11", "simulated": true,
        "op": "cache_update", "probe": "entry", "engine": "vllm", "phase": "stop", "thread": 11,
        "tensor_name": "key_cache", "shape": "[2, 8, 128]", "dtype": "f16", "size_bytes": 4096,
    });
    assert_eq!(found[0], expected);
    assert_eq!((&found[1]["tensor_name"], &found[1]["shape"]), (&json!("slots"), &json!("[]")));
    assert!(found[1].get("size_bytes").is_none() && found[1].get("dtype").is_none());
}

#[test]
fn a_call_without_a_return_has_no_duration() {
    for (end, phase) in [(OpEnd::Unwound, "exception"), (OpEnd::EntryOnly, "start")] {
        let [line] = &lines("op=debug", 0, &[op(OpClass::Decode, end)])[..] else { panic!("not one line") };
        assert_eq!(
            (&line["phase"], line.get("duration_ms"), line.get("timing")),
            (&json!(phase), None, None)
        );
    }
}

#[test]
fn calls_are_logged_under_their_class_as_kernels_are() {
    for (class, expected) in [
        (OpClass::PagedAttention, vec!["paged_attention_call", "paged_attention"]),
        (OpClass::CacheUpdate, vec!["paged_attention_reshape"]),
        (OpClass::CacheCopy, vec!["paged_attention_cache"]),
        (OpClass::Attention, vec!["op"]),
        (OpClass::ModelLoad, vec!["op"]),
    ] {
        let found = lines("debug,tensor_metrics=info", 0, &[op(class, OpEnd::Returned)]);
        let targets: Vec<_> = found.iter().map(|line| line["target"].as_str().unwrap()).collect();
        assert_eq!(targets, expected, "{class:?}");
    }
}

#[test]
fn what_a_probe_does_not_see_of_an_api_call_is_left_out() {
    let place = Place { device: DeviceId::UNKNOWN, ..Place::default() };
    let memory = Memory {
        ktime_ns: 1,
        place,
        correlation: CorrelationId(0),
        is_allocation: true,
        memory: MemoryKind::Device,
        address: Memory::NO_ADDRESS,
        size_bytes: 10,
    };
    let api = Api {
        interval: SPAN,
        correlation: CorrelationId(0),
        is_runtime: false,
        cbid: 307,
        thread: ThreadId(1),
        status: 0,
    };
    for line in lines("debug", 0, &[Event::Memory(memory), Event::Api(api)]) {
        for field in ["gpu", "context", "stream", "correlation_id", "address"] {
            assert!(line.get(field).is_none(), "{field}: {line}");
        }
    }
}
