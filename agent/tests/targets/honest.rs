//! Targets that do what they say: counts, ends, `exec`.

use gpu_agent::export::EventSender;
use gpu_agent::pipeline::{Pipeline, State};
use gpu_agent::source::cupti;

use super::rig::{Fake, assert_accounted, counter, pipeline, snapshot, wait_for};

#[test]
fn every_execution_is_counted_to_the_last_one_before_the_end() {
    let mut fake = Fake::start(&[]);
    let pipeline = pipeline();
    pipeline.attach(cupti::find(fake.pid()).unwrap(), false).unwrap();
    wait_for(pipeline.shared(), |target| target.state == State::Armed);
    fake.order("push 1000 gemm_f16");
    fake.order("push 500 reshape_and_cache_f16");
    fake.end();
    let target = wait_for(pipeline.shared(), |target| target.state == State::Ended);
    assert!(target.info.simulated);
    assert_eq!(target.info.executable, "fake_target");
    let snapshot = snapshot(pipeline.shared());
    assert_eq!(counter(&snapshot, "gpu.kernel.executions", &[("kernel.class", "gemm")]), 1000);
    assert_eq!(counter(&snapshot, "cache_update_calls", &[]), 500);
    assert_accounted(&snapshot);
}

#[test]
fn a_stop_takes_in_what_was_written_until_then() {
    let mut fake = Fake::start(&[]);
    let pipeline = pipeline();
    pipeline.attach(cupti::find(fake.pid()).unwrap(), false).unwrap();
    fake.order("push 3000 gemm_f16");
    let shared = pipeline.stop();
    assert_eq!(counter(&snapshot(&shared), "gpu.kernel.executions", &[]), 3000);
    assert_eq!(fake.order("state"), "dormant", "the lease has ended");
}

#[test]
fn a_small_ring_loses_records_and_counts_each() {
    let mut fake = Fake::start(&["--slots", "64"]);
    let pipeline = pipeline();
    pipeline.attach(cupti::find(fake.pid()).unwrap(), false).unwrap();
    fake.order("push 100000 gemm_f16");
    fake.end();
    wait_for(pipeline.shared(), |target| target.state == State::Ended);
    let snapshot = snapshot(pipeline.shared());
    let lost = counter(&snapshot, "gpu_agent.records", &[("hop", "ring"), ("outcome", "lost")]);
    assert!(lost > 0);
    assert_eq!(counter(&snapshot, "gpu.kernel.executions", &[]) + lost, 100_000);
    assert_accounted(&snapshot);
}

#[test]
fn a_target_killed_while_it_writes_spoils_nothing() {
    for _ in 0..5 {
        let mut fake = Fake::start(&["--slots", "1024"]);
        let pipeline = pipeline();
        pipeline.attach(cupti::find(fake.pid()).unwrap(), false).unwrap();
        assert_eq!(fake.order("flood"), "flooding");
        wait_for(pipeline.shared(), |target| target.hops.decoded > 10_000);
        fake.kill();
        let target = wait_for(pipeline.shared(), |target| target.state == State::Ended);
        let hops = target.hops;
        assert_eq!(hops.decoded + hops.unknown + hops.malformed, hops.read);
        assert_eq!(hops.unknown + hops.malformed, 0, "a torn record is lost, never read");
        // The kill may fall between a record and the count of it.
        let written = hops.read + hops.lost;
        assert!(hops.emitted.abs_diff(written) <= 1, "{hops:?}");
    }
}

#[test]
fn a_program_that_replaces_itself_is_followed() {
    let mut fake = Fake::start(&[]);
    let pipeline = pipeline();
    pipeline.attach(cupti::find(fake.pid()).unwrap(), false).unwrap();
    fake.order("push 10 gemm_f16");
    assert_eq!(fake.order("exec"), "ready");
    wait_for(pipeline.shared(), |target| target.id.0 == 1 && target.state == State::Armed);
    fake.order("push 7 gemm_f16");
    fake.end();
    wait_for(pipeline.shared(), |target| target.id.0 == 1 && target.state == State::Ended);
    let targets = pipeline.shared().registry().targets();
    let decoded: Vec<u64> = targets.iter().map(|target| target.hops.decoded).collect();
    assert_eq!(decoded, [10, 7]);
    // Same pid, same program: one identity, which goes on counting.
    let snapshot = snapshot(pipeline.shared());
    assert_eq!(counter(&snapshot, "gpu.kernel.executions", &[]), 17);
    assert_accounted(&snapshot);
}

#[test]
fn a_shim_that_failed_is_let_go_and_tried_again() {
    let mut fake = Fake::start(&[]);
    let mut config = gpu_agent::pipeline::options::Options::default().resolve().unwrap();
    config.retry = std::time::Duration::from_millis(10);
    let pipeline = Pipeline::start(config, Vec::new(), EventSender::disabled()).unwrap();
    pipeline.attach(cupti::find(fake.pid()).unwrap(), false).unwrap();
    wait_for(pipeline.shared(), |target| target.state == State::Armed);
    assert_eq!(fake.order("fail"), "failed");
    wait_for(pipeline.shared(), |target| {
        target.state == State::Failed && target.why.ends_with("CUPTI is let go, and tried again in 10ms")
    });
    wait_for(pipeline.shared(), |target| target.state == State::Armed);
    assert_eq!(fake.order("state"), "armed");
    fake.order("push 10 gemm_f16");
    let shared = pipeline.stop();
    assert_eq!(counter(&snapshot(&shared), "gpu.kernel.executions", &[]), 10);
}
