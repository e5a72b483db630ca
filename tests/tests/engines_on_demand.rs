//! Engines that take gigabytes or come from where no version can be pinned: `make test-engines ALL=yes`. What they showed is in
//! docs/engines.md.
//!
//! Enters: what the scripts in `tests/engines` download. Leaves: nothing. Refuses: what `engines.rs` refuses.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use gpu_agent_tests::engine::{self, Calls};
use gpu_agent_tests::entry_points;
use serde_json::Value;

/// What an account says about the tensors that the agent is expected to report.
fn tensors(account: &Value, names: &[&str]) -> BTreeMap<String, u64> {
    let wanted = |key: &String| key.split(' ').any(|word| names.contains(&word));
    let all = account["tensors"].as_object().unwrap().iter();
    all.filter(|(key, _)| wanted(key)).map(|(key, count)| (key.clone(), count.as_u64().unwrap())).collect()
}

fn of_engines(seen: &Calls, engines: &[&str]) -> BTreeMap<String, u64> {
    let mut calls = BTreeMap::new();
    for call in seen.calls.iter().filter(|call| engines.iter().any(|engine| call.line["engine"] == *engine)) {
        *calls.entry(call.probe.clone()).or_default() += 1;
    }
    calls
}

/// vLLM's operators, each with tensors of its own shapes; `names` are those that its probes read.
fn vllm(release: &str, torch: &str, names: &[&str]) {
    let (Some(wheel), Some(python)) = (engine::fetch(release), engine::prepare("torch.sh", &[torch])) else {
        return;
    };
    if entry_points::unsupported() {
        return;
    }
    // Its libraries ask the loader for a libcuda, of which nothing is called before the failure.
    let folder = tempfile::tempdir().unwrap();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o"])
        .arg(folder.path().join("libcuda.so.1"))
        .arg(engine::drivers().join("no_libcuda.c"))
        .status()
        .unwrap();
    assert!(built.success());
    let driver = || {
        let mut command = Command::new(&python);
        command.arg(engine::drivers().join("vllm.py")).arg(wheel.join("vllm"));
        command.env("LD_LIBRARY_PATH", folder.path());
        command
    };
    let (account, seen) = engine::watch(&mut driver(), "vllm");
    println!("{release}: {} calls, {} tensors", seen.calls.len(), seen.tensors.values().sum::<u64>());
    let calls = account["calls"].as_object().unwrap().iter();
    let calls: BTreeMap<String, u64> =
        calls.map(|(name, count)| (name.clone(), count.as_u64().unwrap())).collect();
    assert_eq!(of_engines(&seen, &["vllm", "flash-attn"]), calls);
    assert_eq!(seen.tensors, tensors(&account, names));
    // Each call ended with an exception through the probed function, and the process went on.
    assert_eq!(account["result"], engine::run(&mut driver())["result"]);
    assert!(seen.calls.iter().all(|call| call.phase == "exception"), "{:?}", seen.calls);
}

#[test]
fn vllm_0_6_with_at_tensor_is_read_tensor_by_tensor() {
    let names = [
        "query",
        "key_cache",
        "value_cache",
        "block_tables",
        "seq_lens",
        "key",
        "value",
        "slot_mapping",
        "src",
        "dst",
        "block_mapping",
        "q",
        "k",
        "v",
        "block_table",
    ];
    vllm("vllm-0.6.6", "2.5.1", &names);
}

#[test]
fn vllm_0_33_with_stable_tensor_is_read_tensor_by_tensor() {
    let names = [
        "key",
        "value",
        "key_cache",
        "value_cache",
        "slot_mapping",
        "kv_c",
        "k_pe",
        "kv_cache",
        "src",
        "dst",
        "block_mapping",
        "q",
        "k",
        "v",
        "block_table",
    ];
    vllm("vllm-0.33.0", "2.14.0", &names);
}

fn sdpa(torch: &str) {
    let Some(python) = engine::prepare("torch.sh", &[torch]) else { return };
    if entry_points::unsupported() {
        return;
    }
    let driver = || {
        let mut command = Command::new(&python);
        command.arg(engine::drivers().join("sdpa.py"));
        command
    };
    let (account, seen) = engine::watch(&mut driver(), "pytorch");
    let probe = "sdpa_flash_attention_cpu";
    println!("torch {torch}: {} calls, {} tensors", seen.calls.len(), seen.tensors.values().sum::<u64>());
    assert_eq!(
        of_engines(&seen, &["pytorch"]),
        [(probe.to_owned(), account["calls"].as_u64().unwrap())].into()
    );
    assert_eq!(seen.tensors(probe), tensors(&account, &["query", "key", "value"]));
    assert!(seen.calls.iter().all(|call| call.phase == "stop"), "{:?}", seen.calls);
    assert_eq!(account["result"], engine::run(&mut driver())["result"]);
}

#[test]
fn torch_2_5_attention_on_the_cpu_is_seen_once_a_call() {
    sdpa("2.5.1");
}

#[test]
fn torch_2_14_attention_on_the_cpu_is_seen_once_a_call() {
    sdpa("2.14.0");
}

#[test]
fn llama_server_of_debian_decodes_as_often_as_its_own_metrics_say() {
    let Some(server) = engine::prepare("llama_server.sh", &[]) else { return };
    if entry_points::unsupported() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = engine::tiny_gguf(folder.path());
    let driver = |arguments: [&Path; 2]| {
        let mut command = Command::new("python3");
        command.arg(engine::drivers().join("llama_server.py")).args(arguments);
        command
    };
    let (account, seen) = engine::watch(&mut driver([&server, &model]), "llama.cpp");
    println!("llama-server {}: {account}", std::fs::read_to_string(server.join("version")).unwrap().trim());
    assert_eq!(seen.count("decode"), account["decodes"].as_u64().unwrap());
    assert_eq!(seen.sum("decode", "n_tokens"), account["tokens"].as_i64().unwrap());
    assert_eq!(seen.sum("process_ubatch", "n_tokens"), account["tokens"].as_i64().unwrap());
    // Two layers; keys and values.
    let ubatches = seen.count("process_ubatch");
    assert_eq!((seen.count("flash_attn_ext_cpu"), seen.count("set_rows_cpu")), (2 * ubatches, 4 * ubatches));
    assert_eq!(account["result"], engine::run(&mut driver([&server, &model]))["result"]);
}
