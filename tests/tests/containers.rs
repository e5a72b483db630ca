//! Programs that were started without us, in containers: attached to from the host, measured, let go.
//!
//! Enters: the bundled workload, a C program, one of cudarc's examples, a Python program that loads CUDA later, each in a
//! container of runc, containerd and podman, made of local files. Leaves: nothing. Refuses: a count that differs from what the
//! program did while the agent was attached.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod containers {
    pub(crate) mod containerd;
    pub(crate) mod engine;
    pub(crate) mod image;
    pub(crate) mod podman;
    pub(crate) mod runc;
}

use std::path::{Path, PathBuf};
use std::process::Command;

use containers::containerd::Containerd;
use containers::engine::{Container, Engine, is_usable};
use containers::image::Image;
use containers::podman::Podman;
use containers::runc::{Runc, as_nobody, in_a_user_namespace};
use gpu_agent_tests::bare::{Bare, KERNEL, Program};
use gpu_agent_tests::{Agent, GroundTruth, cudarc, json_log, programs};

const ATTACH: [&str; 6] = ["--inject", "auto", "--mode", "kernels", "--flush-period-ms", "10"];

/// Attaches to the program in a container of `engine`, has it work by `work`, which tells what was done, and lets go.
fn is_measured(
    engine: &dyn Engine,
    image: &Image,
    options: &[&str],
    work: impl FnOnce(&mut Agent, Program) -> (GroundTruth, Option<Program>),
) {
    let (_container, program, id) = Container::start(engine, image);
    let pid = program.pid();
    let mut agent = Agent::attach(&[pid], None, &[&ATTACH, options].concat());
    let (truth, program) = work(&mut agent, program);
    let left = if program.is_some() { agent.terminate() } else { agent.finish() };
    let said = &left.finished.stderr;
    assert!(left.finished.status.success(), "{said}");
    let differences = json_log::observed(&left.log, pid).differences(&truth, 0);
    assert!(differences.is_empty(), "{differences:#?}\n{said}");
    assert!(said.contains("loaded the shim") && said.contains(&id), "{said}");
    if let Some(mut program) = program {
        program.launch(5);
        program.end();
    }
}

fn launches(count: u64) -> GroundTruth {
    GroundTruth { launches: [(KERNEL.to_owned(), count)].into(), ..GroundTruth::default() }
}

/// All four programs, one after the other.
fn all_are_measured(engine: &dyn Engine, c_library: Option<&Path>) {
    let workload = Bare::workload(&["--layers", "1", "--batch", "1", "--prompt", "4", "--tokens", "8"]);
    is_measured(engine, &Image::of(&workload, c_library), &[], |agent, program| {
        agent.until_targets_are(1, "armed");
        (GroundTruth::after_ready(&program.work()), None)
    });
    is_measured(engine, &Image::of(&Bare::c(), c_library), &[], |agent, mut program| {
        agent.until_targets_are(1, "armed");
        program.launch(1000);
        (launches(1000), Some(program))
    });
    if let Some(example) = Bare::cudarc() {
        is_measured(engine, &Image::of(&example, c_library), &[], |agent, mut program| {
            agent.until_targets_are(1, "armed");
            program.launch(20);
            (cudarc::truth(20), Some(program))
        });
    }
    if let Some(python) = Bare::python() {
        is_measured(engine, &Image::of(&python, c_library), &["--wait", "60s"], |agent, mut program| {
            agent.process().until("that it waits", |agent| agent.stderr().contains("not yet").then_some(()));
            program.order("load", "loaded");
            agent.until_targets_are(1, "armed");
            program.launch(321);
            (launches(321), Some(program))
        });
    }
}

#[test]
fn containers_of_runc_are_measured_from_the_host() {
    if is_usable("runc") {
        all_are_measured(&Runc(|_| {}), None);
    }
}

#[test]
fn containers_of_runc_as_another_user_without_capabilities_are_measured_from_the_host() {
    if is_usable("runc") {
        all_are_measured(&Runc(as_nobody), None);
    }
}

#[test]
fn containers_of_runc_in_user_namespaces_are_measured_from_the_host() {
    if is_usable("runc") {
        all_are_measured(&Runc(in_a_user_namespace), None);
    }
}

/// The files of a C library that is not this host's; `None`, after saying why, where there is none to be had.
fn other_c_library() -> Option<PathBuf> {
    const NAME: &str = "usr/lib/x86_64-linux-gnu/libc.so.6";
    let fetched =
        Command::new(programs::repository().join("tests/tools/fetch-c-library.sh")).output().unwrap();
    if !fetched.status.success() {
        let said = String::from_utf8_lossy(&fetched.stderr);
        println!("skipped: another C library: {}", said.lines().last().unwrap_or_default());
        return None;
    }
    let folder = PathBuf::from(String::from_utf8(fetched.stdout).unwrap().trim());
    if std::fs::read(folder.join(NAME)).unwrap()
        == std::fs::read(Path::new("/").join(NAME)).unwrap_or_default()
    {
        println!("skipped: another C library: this host has the one that is fetched");
        return None;
    }
    Some(folder)
}

#[test]
fn containers_with_another_c_library_than_the_hosts_are_measured_from_the_host() {
    if is_usable("runc")
        && let Some(c_library) = other_c_library()
    {
        all_are_measured(&Runc(|_| {}), Some(&c_library));
    }
}

#[test]
fn containers_of_containerd_are_measured_from_the_host() {
    if is_usable("runc") && is_usable("containerd") {
        all_are_measured(&Containerd::start(), None);
    }
}

#[test]
fn containers_of_podman_are_measured_from_the_host() {
    if is_usable("runc") && is_usable("podman") {
        all_are_measured(&Podman, None);
    }
}
