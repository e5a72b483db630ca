//! Letting go: by a command, at the end of an attach, with and without CUPTI staying in the process; and what a process
//! keeps of it.
//!
//! Enters: programs that were started bare, on simulated CUPTIs of several ages. Leaves: nothing. Refuses: a count that
//! differs from what the program did while the agent was attached.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use gpu_agent_tests::agent::Left;
use gpu_agent_tests::bare::{Bare, Program};
use gpu_agent_tests::process::Running;
use gpu_agent_tests::workload::Start;
use gpu_agent_tests::{Agent, alone, json_log, programs};

const CUPTI_12_5: &str = "compute=model,clock=virtual,kernel_us=2,quiet=on,driver=12050,cupti_version=23";
const CUPTI_12_6: &str = "compute=model,clock=virtual,kernel_us=2,quiet=on,driver=12060,cupti_version=24";
const CUPTI_12_2: &str = "compute=model,clock=virtual,kernel_us=2,quiet=on,driver=12020,cupti_version=20";
const ATTACH: [&str; 6] = ["--inject", "auto", "--mode", "kernels", "--flush-period-ms", "10"];

fn gpu_agent(arguments: &[&str]) -> Output {
    Command::new(programs::program("gpu-agent")).args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Executions of the small program's one kernel.
fn executions(left: &Left, pid: u32) -> u64 {
    json_log::observed(&left.log, pid).calls.get("attached_late").copied().unwrap_or(0)
}

/// Attached, and armed.
fn attached(pid: u32, more: &[&str]) -> Agent {
    let mut agent = Agent::attach(&[pid], None, &[ATTACH.as_slice(), more].concat());
    agent.until_targets_are(1, "armed");
    agent
}

/// Has the program launch kernels one by one while `action` goes on; what came of it, and how many.
fn while_launching<R: Send>(program: &mut Program, action: impl FnOnce() -> R + Send) -> (R, u64) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let acting = scope.spawn(|| {
            let result = action();
            over.store(true, Ordering::Release);
            result
        });
        let mut launches = 0;
        while !over.load(Ordering::Acquire) && !acting.is_finished() {
            program.launch(1);
            launches += 1;
        }
        (acting.join().unwrap(), launches)
    })
}

/// What the process has open of ours.
fn descriptors(pid: u32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links.map(|link| link.to_string_lossy().into_owned()).filter(|link| link.contains("gpu")).collect()
}

#[test]
fn a_detached_process_is_reported_as_such_and_armed_by_nobody_but_attach_pid() {
    // It follows all processes that it sees.
    alone(|| {
        let mut program = Program::start(&mut Bare::c().command(CUPTI_12_6));
        let pid = program.pid();
        let mut agent = attached(pid, &[]);
        let done = gpu_agent(&["detach", "--pid", &pid.to_string()]);
        assert!(done.status.success(), "{}", stderr(&done));
        agent.until_targets_are(1, "detached");
        program.launch(50);
        let left = agent.terminate();
        assert!(left.finished.stderr.contains("state=detached"), "{}", left.finished.stderr);
        assert_eq!(executions(&left, pid), 0);
        assert_eq!(descriptors(pid), [""; 0]);

        // One that follows all processes did not ask for this very one.
        let mut follower = Agent::attach(&[], None, &[ATTACH.as_slice(), &["--all"]].concat());
        let reported = format!("target pid={pid} state=detached");
        let is_reported = |agent: &Running| agent.stderr().contains(&reported).then_some(());
        follower.process().until("that it is detached", is_reported);
        program.launch(50);
        assert_eq!(executions(&follower.terminate(), pid), 0);

        let agent = attached(pid, &[]);
        program.launch(60);
        assert_eq!(executions(&agent.terminate(), pid), 60);
        assert_eq!(descriptors(pid), [""; 0]);
        program.end();
    });
}

#[test]
fn a_process_whose_cupti_was_finalised_is_measured_exactly_when_attached_to_again() {
    let mut program = Program::start(&mut Bare::c().command(CUPTI_12_6));
    let pid = program.pid();
    for _ in 0..2 {
        let agent = attached(pid, &[]);
        program.launch(1000);
        let name = pid.to_string();
        let (done, meanwhile) =
            while_launching(&mut program, || gpu_agent(&["detach", "--pid", &name, "--finalize"]));
        assert!(done.status.success(), "{}", stderr(&done));
        assert!(stderr(&done).contains("CUPTI was taken out of the process"), "{}", stderr(&done));
        program.launch(500);
        let left = agent.terminate();
        // Those before the command, those of the moments until the shim acted on it, and none of those after it.
        let seen = executions(&left, pid);
        assert!((1000..=1000 + meanwhile).contains(&seen), "{seen}: {}", left.finished.stderr);

        let agent = attached(pid, &[]);
        program.launch(321);
        assert_eq!(executions(&agent.terminate(), pid), 321);
    }
    program.end();
}

#[test]
fn an_attach_may_end_in_finalising() {
    let mut program = Program::start(&mut Bare::c().command(CUPTI_12_6));
    let pid = program.pid();
    let agent = attached(pid, &["--finalize"]);
    let (left, _) = while_launching(&mut program, || agent.terminate());
    assert!(left.finished.stderr.contains("CUPTI was taken out of the process"), "{}", left.finished.stderr);
    let agent = attached(pid, &[]);
    program.launch(77);
    assert_eq!(executions(&agent.terminate(), pid), 77);
    program.end();
}

#[test]
fn where_finalising_is_not_safe_the_process_is_let_go_and_the_reason_told() {
    let mut program = Program::start(&mut Bare::c().command(CUPTI_12_5));
    let pid = program.pid();
    let mut agent = attached(pid, &[]);
    let done = gpu_agent(&["detach", "--pid", &pid.to_string(), "--finalize"]);
    assert_eq!(done.status.code(), Some(1));
    let said = stderr(&done);
    assert!(said.contains("let go of CUPTI") && said.contains("not finalised: before 12.6"), "{said}");
    assert!(said.contains("cupti_version=23"), "{said}");
    agent.until_targets_are(1, "detached");
    program.launch(50);
    assert_eq!(executions(&agent.terminate(), pid), 0);
    program.end();

    // 12.6, but nothing is called that it could be done at the end of.
    let program = Program::start(&mut Bare::c().command(CUPTI_12_6));
    let agent = attached(program.pid(), &["--finalize"]);
    let left = agent.terminate();
    assert!(left.finished.stderr.contains("made no CUDA call in time"), "{}", left.finished.stderr);
    program.end();
}

#[test]
fn an_attach_that_would_finalise_says_that_a_detachment_had_let_go_before() {
    let mut program = Program::start(&mut Bare::c().command(CUPTI_12_6));
    let pid = program.pid();
    let mut agent = attached(pid, &["--finalize"]);
    let done = gpu_agent(&["detach", "--pid", &pid.to_string()]);
    assert!(done.status.success(), "{}", stderr(&done));
    agent.until_targets_are(1, "detached");
    let (left, _) = while_launching(&mut program, || agent.terminate());
    assert!(left.finished.stderr.contains("was let go before by `detach`"), "{}", left.finished.stderr);
    program.end();
}

#[test]
fn an_attach_that_ends_before_the_shim_has_let_go_says_so() {
    // Longer than the agent waits.
    let slow = format!("{CUPTI_12_6},slow=cuptiActivityFlushAll:4000");
    let program = Program::start(&mut Bare::c().command(&slow));
    let agent = attached(program.pid(), &[]);
    let left = agent.terminate();
    assert!(left.finished.stderr.contains("the shim has not answered in time"), "{}", left.finished.stderr);
    program.end();
}

/// An agent that can look into processes but not open `/proc/PID/map_files`.
fn without_map_files(arguments: &[&str]) -> Output {
    let mut command = Command::new("setpriv");
    command.arg("--bounding-set=-all,+sys_ptrace,+dac_read_search").arg(programs::program("gpu-agent"));
    command.args(arguments).output().unwrap()
}

#[test]
fn descriptors_stay_for_agents_that_need_them_and_no_longer_where_one_that_does_not_has_let_go() {
    let mut program = Program::start(&mut Bare::c().command(CUPTI_12_6));
    let pid = program.pid().to_string();
    let attach =
        ["attach", "--pid", &pid, "--listen", "off", "--probe-engines", "none", "--duration", "300ms"];
    let attach = [attach.as_slice(), &ATTACH].concat();
    for arguments in [attach.as_slice(), &["detach", "--pid", &pid], &attach] {
        let done = without_map_files(arguments);
        assert!(done.status.success(), "{arguments:?}: {}", stderr(&done));
        assert_eq!(descriptors(program.pid()).len(), 2, "{arguments:?}");
    }
    assert!(gpu_agent(&["detach", "--pid", &pid]).status.success());
    assert_eq!(descriptors(program.pid()), [""; 0]);
    let refused = without_map_files(&attach);
    assert!(!refused.status.success());
    let said = stderr(&refused);
    assert!(said.contains("descriptors") && said.contains("CAP_CHECKPOINT_RESTORE"), "{said}");
    let agent = attached(program.pid(), &[]);
    program.launch(60);
    assert_eq!(executions(&agent.terminate(), program.pid()), 60);
    program.end();
}

/// Lines of the JSON log about work in graphs, by what they say of when the graph was made.
fn work_in_graphs(left: &Left, pid: u32, made: Option<&str>) -> usize {
    let of_process = left.log.iter().filter(|line| line["pid"] == pid && line["graph"].as_u64() > Some(0));
    of_process.filter(|line| line.get("graph_made").and_then(|made| made.as_str()) == made).count()
}

/// What a scrape says of records in graphs that were made `made`.
fn counted(left: &Left, name: &str, made: &str) -> f64 {
    let of_made = left
        .samples
        .iter()
        .filter(|sample| sample.name == name && sample.labels.get("graph_made").is_some_and(|is| is == made));
    of_made.map(|sample| sample.value).sum()
}

#[test]
fn work_of_graphs_from_before_the_attach_is_reported_as_such() {
    let mut program = Program::start(&mut Bare::graphs().command(CUPTI_12_6));
    let pid = program.pid();
    let mut agent = attached(pid, &[]);
    program.order("replay 10", "replayed 10");
    program.order("make 5", "made 5");
    program.order("replay 4", "replayed 4");
    agent.scrape_until("all records", |samples| {
        let seen = samples.iter().filter(|sample| sample.name == "gpu_agent_records_graph_total");
        (seen.map(|sample| sample.value).sum::<f64>() >= 50.0).then_some(())
    });
    let left = agent.terminate();
    let records = [Some("before"), None, Some("unknown")].map(|made| work_in_graphs(&left, pid, made));
    assert_eq!(records, [30, 20, 0], "{}", left.finished.stderr);
    let records = |made| counted(&left, "gpu_agent_records_graph_total", made);
    assert_eq!(["before", "attached", "unknown"].map(records), [30.0, 20.0, 0.0]);
    assert_eq!(counted(&left, "gpu_agent_graphs_total", "before"), 1.0);
    let said = "CUDA graphs were made before the attach; their operations are known by kernel name only";
    assert_eq!(left.finished.stderr.matches(said).count(), 1, "{}", left.finished.stderr);
    assert!(left.finished.stderr.contains("graphs=1"), "{}", left.finished.stderr);
    program.end();
}

#[test]
fn where_cupti_does_not_tell_when_graphs_were_made_that_is_said() {
    let mut program = Program::start(&mut Bare::graphs().command(CUPTI_12_2));
    let pid = program.pid();
    let agent = attached(pid, &[]);
    program.order("replay 10", "replayed 10");
    let left = agent.terminate();
    assert_eq!(work_in_graphs(&left, pid, Some("unknown")), 30, "{}", left.finished.stderr);
    assert_eq!(left.finished.stderr.matches("CUPTI does not tell").count(), 1, "{}", left.finished.stderr);
    assert!(!left.finished.stderr.contains("known by kernel name only"), "{}", left.finished.stderr);
    program.end();
}

#[test]
fn a_process_that_is_run_from_the_start_has_no_graphs_from_before() {
    let arguments = ["--layers", "1", "--batch", "1", "--prompt", "4", "--tokens", "8", "--graph"];
    let start = Start::new(CUPTI_12_6).arguments(arguments);
    let left = Agent::run(&start, None, &["--mode", "kernels"]).finish();
    let made: Vec<_> = left.log.iter().filter(|line| line["graph"].as_u64() > Some(0)).collect();
    assert!(!made.is_empty(), "{}", left.finished.stderr);
    assert!(made.iter().all(|line| line.get("graph_made").is_none()), "{:?}", made.first());
    assert!(!left.finished.stderr.contains("before the attach"), "{}", left.finished.stderr);
}
