//! The benchmark: every case runs, computes what the reference computes, and answers in the stated format.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use gpu_agent_kernels::bench::{Size, cases};
use serde_json::Value;

use crate::program::{command, json_lines, stderr};

const BENCH: &str = env!("CARGO_BIN_EXE_gpu-agent-kernel-bench");

/// Largest relative error of a result of this type: four units in the last place, and for f32 the rounding of sums.
fn allowed(case: &str) -> f64 {
    if case.contains("bf16") {
        4.0 / 128.0
    } else if case.contains("f16") {
        4.0 / 1024.0
    } else {
        1e-4
    }
}

#[test]
fn every_case_agrees_with_the_reference() {
    let Some(mut command) = command(BENCH, "--iterations 2 --batch 2 --warmup 1 --json", "") else { return };
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let lines = json_lines(&output);
    let names: Vec<String> = cases(Size::Small).iter().map(|case| case.name()).collect();
    assert!(lines.iter().map(|line| line["case"].as_str().unwrap()).eq(names.iter().map(String::as_str)));
    for line in &lines {
        let case = line["case"].as_str().unwrap();
        let number = |key: &str| line[key].as_f64().unwrap();
        assert!(number("max_rel_error") <= allowed(case), "{line}");
        let moves_only = ["reshape", "gather", "copy", "swap"].iter().any(|prefix| case.starts_with(prefix));
        assert!(!moves_only || number("max_abs_error") == 0.0, "{line}");
        assert_eq!(moves_only, number("flops") == 0.0, "{line}");
        assert!(number("bytes") > 0.0 && number("gb_per_second") > 0.0, "{line}");
        for time in ["gpu_ns", "launch_ns"] {
            let part = |key: &str| line[time][key].as_f64().unwrap();
            assert!(0.0 < part("min") && part("min") <= part("p50") && part("min") <= part("mean"), "{line}");
        }
        assert_eq!((&line["iterations"], &line["batch"]), (&Value::from(2), &Value::from(2)));
        assert_eq!(line["simulated"], true);
    }
}

#[test]
fn it_takes_orders_line_by_line() {
    let arguments = "--interactive --case gemm_f32 --case rms_norm_f16 --batch 2 --warmup 0";
    let Some(mut command) = command(BENCH, arguments, "") else { return };
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(stdout.next().unwrap().unwrap(), "ready");
    let mut ask = |order: &str| -> Value {
        writeln!(stdin, "{order}").unwrap();
        serde_json::from_str(&stdout.next().unwrap().unwrap()).unwrap()
    };
    let answer = ask("run gemm_f32 3");
    assert_eq!((&answer["case"], &answer["iterations"]), (&Value::from("gemm_f32"), &Value::from(3)));
    assert!(ask("run gemm_bf16 3")["error"].as_str().unwrap().contains("gemm_bf16"));
    assert!(ask("run gemm_f32 none")["error"].as_str().unwrap().contains("none"));
    assert!(ask("")["error"].is_string());
    assert_eq!(ask("run rms_norm_f16 1")["case"], "rms_norm_f16");
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn an_unknown_case_is_refused() {
    let Some(mut command) = command(BENCH, "--case gemm_f8", "") else { return };
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("gemm_f8"));
}
