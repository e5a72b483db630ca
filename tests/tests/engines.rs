//! Published engines, unmodified, under `gpu-agent attach`: what the agent says of their calls against what they say themselves.
//!
//! Enters: the engines of `tests/engines/fetch.sh`, tiny weights made on the spot. Leaves: nothing. Refuses: any difference in
//! number, shape, type or value, and a result that is not the same, bit for bit, with the agent and without.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use gpu_agent_tests::engine::{self, Calls};
use gpu_agent_tests::{entry_points, programs};
use serde_json::Value;

/// What an account says about tensors, as [`Calls::tensors`] has it.
fn tensors(account: &Value) -> BTreeMap<String, u64> {
    let count = |(key, count): (&String, &Value)| (key.clone(), count.as_u64().unwrap());
    account["tensors"].as_object().unwrap().iter().map(count).collect()
}

fn python(driver: &str, arguments: &[&Path]) -> Command {
    let mut command = Command::new("python3");
    command.arg(engine::drivers().join(driver)).args(arguments);
    command
}

fn count(account: &Value, key: &str) -> u64 {
    account[key].as_u64().unwrap_or_else(|| panic!("no {key}: {account}"))
}

#[test]
fn llama_cpp_decodes_attends_and_writes_its_cache_as_often_and_as_large_as_it_says() {
    let (Some(libraries), Some(source)) = (engine::fetch("llama-cpp"), engine::fetch("llama-cpp-source"))
    else {
        return;
    };
    if entry_points::unsupported() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let built = Command::new(engine::drivers().join("llama_cpp.sh"))
        .args([&libraries, &source])
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let model = engine::tiny_gguf(folder.path());
    // Two threads: each calls the functions of every operation, which are reported once all the same.
    let driver = || {
        let mut command = Command::new(folder.path().join("llama_cpp"));
        command.arg(&model).arg(libraries.join("package/bins/linux-x64")).arg("2");
        command
    };
    let (account, seen) = engine::watch(&mut driver(), "llama.cpp");
    assert_eq!(seen.count("model_load"), 1);
    for (probe, key) in [("decode", "decodes"), ("process_ubatch", "decodes"), ("sample", "samples")] {
        assert_eq!(seen.count(probe), count(&account, key), "{probe}");
    }
    for probe in ["decode", "process_ubatch"] {
        assert_eq!(seen.sum(probe, "n_tokens"), account["tokens"].as_i64().unwrap(), "{probe}");
    }
    assert_eq!(seen.sum("tensor_get", "size_bytes"), account["logits_bytes"].as_i64().unwrap());
    let of_graph: BTreeMap<String, u64> = ["flash_attn_ext_cpu", "set_rows_cpu"]
        .into_iter()
        .flat_map(|probe| {
            seen.tensors(probe).into_iter().map(move |(tensor, n)| (format!("{probe} {tensor}"), n))
        })
        .collect();
    assert_eq!(of_graph, tensors(&account));
    let first = seen.of_probe("set_rows_cpu").next().unwrap();
    assert!(first.line["cache_name"].as_str().unwrap().starts_with("cache_"), "{}", first.line);
    all_have_durations(&seen);
    assert_eq!(account["result"], engine::run(&mut driver())["result"]);
}

#[test]
fn mistral_rs_appends_to_its_cache_the_keys_and_values_of_the_tokens_that_it_says_it_computed() {
    let Some(library) = engine::fetch("mistralrs") else { return };
    if entry_points::unsupported() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let _ = engine::tiny_gguf(folder.path());
    let driver = || python("mistralrs.py", &[&library, folder.path()]);
    let (account, seen) = engine::watch(&mut driver(), "mistral.rs");
    assert_eq!(seen.count("KvCache::append"), count(&account, "appends"));
    assert_eq!(seen.tensors("KvCache::append"), tensors(&account));
    all_have_durations(&seen);
    assert_eq!(account["result"], engine::run(&mut driver())["result"]);
}

#[test]
fn mistral_rs_paged_attention_is_read_argument_by_argument() {
    let Some(library) = engine::fetch("mistralrs-cuda") else { return };
    if entry_points::unsupported() {
        return;
    }
    let (account, seen) = engine::watch(&mut python("mistralrs_cuda.py", &[&library]), "mistral.rs");
    let made = account["calls"].as_array().unwrap();
    let ours: Vec<_> = seen.calls.iter().filter(|call| call.line["engine"] == "mistral.rs").collect();
    assert_eq!(ours.len(), made.len());
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for (call, made) in ours.iter().zip(made) {
        let (name, arguments) = (made["name"].as_str().unwrap(), &made["arguments"]);
        assert_eq!(call.probe, name);
        let is_attention = name != "reshape_and_cache";
        let fields: &[&str] =
            if is_attention { &["num_kv_heads", "block_size", "max_context_len"] } else { &["block_size"] };
        for field in fields {
            assert_eq!(call.line[field], arguments[field], "{name} {field}: {}", call.line);
        }
        if is_attention {
            assert_eq!(call.line["use_v1"], name == "paged_attention_v1", "{}", call.line);
        }
        let number = |argument: &str| arguments[argument].as_u64().unwrap();
        let dtype = ["f16", "bf16", "f32"][usize::try_from(number("dtype")).unwrap()];
        let shape = |dimensions: &[&str]| {
            let numbers: Vec<String> =
                dimensions.iter().map(|dimension| number(dimension).to_string()).collect();
            format!("[{}]", numbers.join(","))
        };
        let tensors: &[(&str, &[&str], &str)] = if is_attention {
            &[
                ("query", &["num_seqs", "num_heads", "head_size"], dtype),
                ("block_tables", &["num_seqs", "max_num_blocks_per_seq"], "i32"),
                ("context_lens", &["num_seqs"], "i32"),
            ]
        } else {
            &[
                ("key", &["num_tokens", "num_heads", "head_size"], dtype),
                ("value", &["num_tokens", "num_heads", "head_size"], dtype),
                ("slot_mapping", &["num_tokens"], "i64"),
            ]
        };
        for (tensor, dimensions, dtype) in tensors {
            *expected.entry(format!("{name} {tensor} {} {dtype}", shape(dimensions))).or_default() += 1;
        }
    }
    assert_eq!(seen.tensors, expected);
    all_have_durations(&seen);
}

#[test]
fn every_probe_of_pegaflow_is_found_in_its_server() {
    let Some(wheel) = engine::fetch("pegaflow") else { return };
    let bundled = programs::repository().join("agent/probes/pegaflow.toml");
    let server = wheel.join("pegaflow/pegaflow-server-py");
    let checked = Command::new(programs::program("gpu-agent"))
        .args(["probes", "check"])
        .arg(&bundled)
        .arg("--binary")
        .arg(&server)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{shown}{}", String::from_utf8_lossy(&checked.stderr));
    let text = std::fs::read_to_string(&bundled).unwrap();
    let probes = text.parse::<toml::Table>().unwrap()["probe"].as_array().unwrap().clone();
    assert!(!probes.is_empty());
    for probe in probes {
        let name = probe["name"].as_str().unwrap();
        let backends: &[&str] =
            if name.contains("${backend}") { &["MemcpyBackend", "KernelBackend"] } else { &[""] };
        for backend in backends {
            let name = name.replace("${backend}", backend);
            assert!(
                shown.lines().any(|line| line.contains(&name) && line.contains("0x")),
                "{name}:\n{shown}"
            );
        }
    }
}

/// Functions that end by a jump into another: they have calls, not durations.
const END_BY_A_JUMP: [&str; 3] = ["graph_compute", "tensor_set", "tensor_get"];

/// No call of these engines was left by an exception.
fn all_have_durations(seen: &Calls) {
    for call in &seen.calls {
        if END_BY_A_JUMP.iter().any(|probe| call.line["probe"] == *probe) {
            assert_eq!(call.phase, "start", "{}", call.line);
            continue;
        }
        assert_eq!(call.phase, "stop", "{}", call.line);
        assert!(call.line["duration_ms"].as_f64().is_some_and(|duration| duration > 0.0), "{}", call.line);
        assert_eq!(call.line["timing"], "host", "{}", call.line);
    }
}
