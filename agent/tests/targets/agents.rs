//! Several agents, dying agents, and the program that `run` starts.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::rig::{Fake, PATIENCE, agent, agent_command, example, stderr};

fn wait_until(fake: &mut Fake, state: &str) -> Duration {
    let start = Instant::now();
    while fake.order("state") != state {
        assert!(start.elapsed() < PATIENCE, "never {state}");
        std::thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}

#[test]
fn the_second_agent_is_told_who_holds_the_lease() {
    let mut fake = Fake::start(&[]);
    let pid = fake.pid().to_string();
    let mut first = agent_command().args(["attach", "--pid", &pid]).stderr(Stdio::null()).spawn().unwrap();
    wait_until(&mut fake, "armed");
    let second = agent(&["attach", "--pid", &pid]);
    assert_eq!(second.status.code(), Some(2));
    let text = stderr(&second);
    assert!(text.contains(&format!("another agent (pid {}", first.id())), "{text}");
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn an_agent_killed_while_armed_leaves_a_dormant_target_within_the_lease() {
    let mut fake = Fake::start(&[]);
    let pid = fake.pid().to_string();
    let mut agent = agent_command().args(["attach", "--pid", &pid]).stderr(Stdio::null()).spawn().unwrap();
    wait_until(&mut fake, "armed");
    agent.kill().unwrap();
    agent.wait().unwrap();
    let took = wait_until(&mut fake, "dormant");
    assert!(took <= Duration::from_millis(3200), "the lease is 3 s, it took {took:?}");
}

#[test]
fn agents_come_in_turn() {
    let mut fake = Fake::start(&[]);
    let pid = fake.pid().to_string();
    for turn in 1..=3 {
        let output = agent(&["attach", "--pid", &pid, "--duration", "300ms"]);
        assert!(output.status.success(), "turn {turn}: {}", stderr(&output));
        assert_eq!(fake.order("state"), "dormant", "turn {turn}");
    }
}

#[test]
fn an_agent_waits_for_the_one_before_it_when_asked_to() {
    let mut fake = Fake::start(&[]);
    let pid = fake.pid().to_string();
    let mut first = agent_command()
        .args(["attach", "--pid", &pid, "--duration", "1s"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until(&mut fake, "armed");
    let second = agent(&["attach", "--pid", &pid, "--duration", "100ms", "--wait", "10s"]);
    assert!(second.status.success(), "{}", stderr(&second));
    assert!(first.wait().unwrap().success());
}

/// Any library will do for the shim: the fake target announces itself.
fn run(script: &str) -> std::process::Output {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let libc =
        maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("libc.so"));
    agent_command()
        .args(["run", "--shim", libc.unwrap(), "--", "sh", "-c", script])
        .env("FAKE", example("fake_target"))
        .output()
        .unwrap()
}

#[test]
fn run_passes_the_exit_code_on() {
    assert_eq!(run("exit 7").status.code(), Some(7));
    assert_eq!(run("kill -TERM $$").status.code(), Some(128 + 15));
}

#[test]
fn run_says_what_a_shell_says_of_a_program_that_does_not_start() {
    for (program, code) in [("/nonexistent", 127), ("/etc/passwd", 126)] {
        let output = agent(&["run", "--shim", "/bin/sh", "--", program]);
        assert_eq!(output.status.code(), Some(code));
        assert!(stderr(&output).contains(&format!("cannot start {program}")), "{}", stderr(&output));
    }
}

#[test]
fn run_reports_on_children_however_short_they_live() {
    let output = run("for i in 1 2 3; do echo 'push 200 gemm_f16' | $FAKE > /dev/null & done; wait");
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("SIMULATED DEVICE"), "{text}");
    let row = text.lines().find(|line| line.starts_with("gemm ")).unwrap_or_default();
    assert!(row.split_whitespace().any(|word| word == "600"), "{text}");
}

#[test]
fn a_file_size_limit_costs_log_lines_not_the_agent() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let script = r#"ulimit -f 0 && exec "$0" run --shim /bin/sh --json-log "$1" -- sh -c 'echo "push 200 gemm_f16" | "$FAKE" > /dev/null; exit 7'"#;
    let output = std::process::Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_gpu-agent")])
        .arg(log.path())
        .env("GPU_AGENT_LISTEN", "off")
        .env("FAKE", example("fake_target"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert_eq!(log.path().metadata().unwrap().len(), 0);
}

#[test]
fn run_hands_signals_to_the_program() {
    let mut agent = agent_command();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let libc =
        maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("libc.so"));
    agent.args([
        "run",
        "--shim",
        libc.unwrap(),
        "--",
        "sh",
        "-c",
        "trap 'exit 42' TERM; echo up; while :; do sleep 0.05; done",
    ]);
    let mut agent = agent.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(agent.stdout.take().unwrap()), &mut line)
        .unwrap();
    assert_eq!(line, "up\n");
    let killed = Command::new("kill").args(["-TERM", &agent.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(agent.wait().unwrap().code(), Some(42));
}

#[test]
fn table_and_log_do_not_share_stdout() {
    let output = agent(&["attach", "--pid", "1", "--table", "--json-log", "-"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("both write to stdout"), "{}", stderr(&output));
}

#[test]
fn attach_stays_with_a_process_that_runs_another_program() {
    let mut fake = Fake::start(&[]);
    let pid = fake.pid().to_string();
    let agent = agent_command().args(["attach", "--pid", &pid]).stderr(Stdio::piped()).spawn().unwrap();
    wait_until(&mut fake, "armed");
    fake.order("push 10 gemm_f16");
    assert_eq!(fake.order("exec"), "ready");
    wait_until(&mut fake, "armed");
    fake.order("push 7 gemm_f16");
    fake.end();
    let output = agent.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stderr(&output);
    let row = text.lines().find(|line| line.starts_with("gemm ")).unwrap_or_default();
    assert!(row.split_whitespace().any(|word| word == "17"), "{text}");
}
