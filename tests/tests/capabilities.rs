//! What docs/operating.md says that the agent needs: with that it works, and without any one of it it says which one.
//!
//! Enters: the document's table, an agent that has nothing but the capabilities of one cell. Leaves: nothing. Refuses: a
//! capability that is not needed, and one that is needed and not named.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use gpu_agent_tests::bare::{Bare, Program};
use gpu_agent_tests::process::{PATIENCE, Running};
use gpu_agent_tests::programs;

const SIMULATOR: &str = "compute=model,clock=virtual,kernel_us=2,quiet=on";
/// Users that nobody is.
const AGENT: u32 = 54_321;
const OTHER: u32 = 54_322;
/// Whom Kubernetes runs an agent as; what it may do is up to the list all the same.
const ROOT: u32 = 0;

/// Programs and libraries where every user can read them; a shell may not be able to enter where they are built.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let readable = fs::Permissions::from_mode(0o755);
        let place = Self(tempfile::Builder::new().permissions(readable).tempdir().unwrap());
        let (program, workload) = (Bare::c().program, Bare::workload(&[]).program);
        let built = ["gpu-agent", "libgpu_agent_cupti.so", "libgpu_agent_kernels.so"].map(programs::program);
        for file in built.iter().chain([&program, &workload]) {
            fs::copy(file, place.path(file.file_name().unwrap().to_str().unwrap())).unwrap();
        }
        for library in ["libcuda.so.1", "libcupti.so.12", "libcupti.so.13"] {
            fs::copy(programs::simulator().join(library), place.path(library)).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `program` of here as the user `uid` with `capabilities` and no others.
    fn command(&self, program: &str, uid: u32, capabilities: &[&str]) -> Command {
        let sets: String = capabilities.iter().map(|name| format!(",+{}", name.to_lowercase())).collect();
        let sets = sets.replace("cap_", "");
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={uid}")).arg(format!("--regid={uid}")).arg("--clear-groups");
        for set in ["bounding-set", "inh-caps", "ambient-caps"] {
            command.arg(format!("--{set}=-all{sets}"));
        }
        command.arg(self.path(program)).current_dir(self.0.path());
        command
    }

    /// A program to be attached to.
    fn target(&self, program: &str, uid: u32, has_shim: bool) -> Program {
        let mut command = self.command(program, uid, &[]);
        command.env("LD_LIBRARY_PATH", self.0.path()).env("GPU_AGENT_CUDA_SIM", SIMULATOR);
        if has_shim {
            command.env("LD_PRELOAD", self.path("libgpu_agent_cupti.so"));
        }
        if program == WORKLOAD {
            command.arg("--wait-stdin");
        }
        Program::start(&mut command)
    }

    /// What becomes of an agent of user `uid` that has only `capabilities`: it does what the feature is, or says why not.
    fn attach(&self, pid: u32, feature: &Feature, uid: u32, capabilities: &[&str]) -> Result<(), String> {
        let mut command = self.command("gpu-agent", uid, capabilities);
        command.args(["attach", "--pid", &pid.to_string(), "--listen", "127.0.0.1:0"]).args(feature.options);
        let mut agent = Running::start(&mut command);
        let started = Instant::now();
        loop {
            let said = agent.stderr();
            if said.contains(feature.success) {
                return Ok(());
            }
            if agent.has_ended() {
                return Err(agent.finish().stderr);
            }
            if said.contains("CAP_") {
                return Err(said);
            }
            assert!(started.elapsed() < PATIENCE, "neither works nor says why not: {said}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

const PROGRAM: &str = "gpu-agent-bare-program";
const WORKLOAD: &str = "gpu-agent-workload";
const READ: &[&str] = &["--inject", "never", "--probe-engines", "none"];
const LOAD: &[&str] = &["--inject", "auto", "--probe-engines", "none"];
const PROBE: &[&str] = &["--inject", "never", "--probe-engines", "gpu-agent-kernels", "--probe-cache", "off"];
const ARMED: &str = "state=armed";
const PROBED: &str = "entry points are probed";

/// A row of the table.
struct Feature {
    /// Its first cell.
    name: &'static str,
    options: &'static [&'static str],
    success: &'static str,
    /// Starts what is attached to.
    target: fn(&Place, u32) -> Program,
}

const FEATURES: [Feature; 6] = [
    Feature {
        name: "reading the ring, where it has the shim",
        options: READ,
        success: ARMED,
        target: |place, uid| place.target(PROGRAM, uid, true),
    },
    Feature {
        name: "the same, where it has closed its descriptors",
        options: READ,
        success: ARMED,
        target: |place, uid| {
            let mut program = place.target(PROGRAM, uid, true);
            program.order("close", "closed");
            program
        },
    },
    Feature {
        name: "loading the shim",
        options: LOAD,
        success: ARMED,
        target: |place, uid| place.target(PROGRAM, uid, false),
    },
    Feature {
        name: "the same, where it has a seccomp filter",
        options: LOAD,
        success: ARMED,
        target: |place, uid| {
            let mut program = place.target(PROGRAM, uid, false);
            program.order("filter", "filtered");
            program
        },
    },
    Feature {
        name: "probing its entry points",
        options: PROBE,
        success: PROBED,
        target: |place, uid| place.target(WORKLOAD, uid, false),
    },
    Feature {
        name: "the same, in a file that was deleted",
        options: PROBE,
        success: PROBED,
        target: |place, uid| {
            let program = place.target(WORKLOAD, uid, false);
            // Another file of that name: the one that is mapped has none any more.
            let kernels = place.path("libgpu_agent_kernels.so");
            let bytes = fs::read(&kernels).unwrap();
            fs::remove_file(&kernels).unwrap();
            fs::write(&kernels, bytes).unwrap();
            program
        },
    },
];

/// The rows of the table: name, for the agent's own user, for another one.
fn table() -> Vec<[String; 3]> {
    let text = fs::read_to_string(programs::repository().join("docs/operating.md")).unwrap();
    let lines = text.lines().skip_while(|line| !line.starts_with("| with a process |")).skip(2);
    let row = |line: &str| {
        <[String; 3]>::try_from(
            line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>(),
        )
    };
    lines.take_while(|line| line.starts_with('|')).map(|line| row(line).unwrap()).collect()
}

/// The capabilities in a cell.
fn capabilities(cell: &str) -> Vec<&str> {
    if cell == "none" { Vec::new() } else { cell.split(", ").collect() }
}

/// Holds a cell to what Linux says, for an agent of user `agent` and a process of user `uid`.
fn is_exact(place: &Place, feature: &Feature, (agent, uid): (u32, u32), listed: &[&str]) {
    let program = (feature.target)(place, uid);
    let what = format!("{}, as user {agent} of {uid}", feature.name);
    for &left_out in listed {
        let others: Vec<_> = listed.iter().copied().filter(|name| *name != left_out).collect();
        let Err(said) = place.attach(program.pid(), feature, agent, &others) else {
            panic!("{what}: works without {left_out}");
        };
        assert!(said.contains(left_out), "{what}: does not name {left_out}: {said}");
        for other in others {
            assert!(!said.contains(other), "{what}: asks for {other}, which it has: {said}");
        }
    }
    if let Err(said) = place.attach(program.pid(), feature, agent, listed) {
        panic!("{what}: does not work with {listed:?}: {said}");
    }
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: needs root, to start an agent with one capability or another");
    }
    is_root
}

#[test]
fn the_agent_needs_what_its_table_lists_and_nothing_else() {
    if !is_root() {
        return;
    }
    let table = table();
    let names: Vec<_> = table.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(names, FEATURES.iter().map(|feature| feature.name).collect::<Vec<_>>());
    let yama = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    let place = Place::new();
    for (feature, [_, own, other]) in FEATURES.iter().zip(&table) {
        let mut own = capabilities(own);
        if feature.options == LOAD && matches!(yama.trim(), "1" | "2") {
            own.push("CAP_SYS_PTRACE");
        }
        is_exact(&place, feature, (AGENT, AGENT), &own);
        is_exact(&place, feature, (AGENT, OTHER), &capabilities(other));
        is_exact(&place, feature, (ROOT, OTHER), &capabilities(other));
    }
}

#[test]
fn doctor_names_each_capability_that_is_missing_for_all_processes() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let all = ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "CAP_CHECKPOINT_RESTORE", "CAP_BPF", "CAP_PERFMON"];
    let doctor = |capabilities: &[&str]| {
        let output = place.command("gpu-agent", AGENT, capabilities).arg("doctor").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let has_all = doctor(&[all.as_slice(), &["CAP_SYS_ADMIN"]].concat());
    assert!(!has_all.contains("CAP_"), "{has_all}");
    // That one contains three of the others.
    assert!(doctor(&all).contains("CAP_SYS_ADMIN"), "{}", doctor(&all));
    for left_out in all {
        let others: Vec<_> = all.into_iter().filter(|name| *name != left_out).collect();
        let said = doctor(&others);
        assert!(said.contains(left_out), "{left_out}: {said}");
    }
}
