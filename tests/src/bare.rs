//! Programs that were started without us, and take orders.
//!
//! Enters: which one, orders. Leaves: how it is started on this host, answers. Refuses: to put anything of the agent into
//! its environment; another answer than the expected one.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::cudarc::{self, successful};
use crate::process::{Finished, Running};
use crate::programs;
use crate::workload::{self, Start};

/// The kernel that all but the workload and cudarc's example launch.
pub const KERNEL: &str = "attached_late";

/// A program as it is on this host.
#[derive(Debug, Clone)]
pub struct Bare {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments; files among them are relative to the folder.
    pub arguments: Vec<OsString>,
    /// Where it is started.
    pub folder: PathBuf,
    /// Files in there that it reads.
    pub reads: Vec<PathBuf>,
    /// Folders that its interpreter reads, at the same place wherever it runs.
    pub runtime: Vec<PathBuf>,
    /// Files that its interpreter loads as libraries.
    pub loads: Vec<PathBuf>,
}

impl Bare {
    fn new(program: PathBuf) -> Self {
        let (arguments, folder, reads) = (Vec::new(), source(""), Vec::new());
        Self { program, arguments, folder, reads, runtime: Vec::new(), loads: Vec::new() }
    }

    /// The bundled workload, which takes the order `go` once, and reports at its end.
    #[must_use]
    pub fn workload(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().chain(&["--wait-stdin"]).map(Into::into).collect();
        // Its kernels lie beside it.
        let (folder, reads) = (programs::folder().to_owned(), vec!["libgpu_agent_kernels.so".into()]);
        Self { arguments, folder, reads, ..Self::new(programs::program("gpu-agent-workload")) }
    }

    /// A C program on the driver API. Takes `launch N`.
    #[must_use]
    pub fn c() -> Self {
        Self::compiled("program")
    }

    /// A C program whose threads do everything at once. Takes `launch N`, and reports at its end.
    #[must_use]
    pub fn storm() -> Self {
        Self::compiled("storm")
    }

    /// A C program with a CUDA graph. Takes `make N` (another one, of N kernels) and `replay N`.
    #[must_use]
    pub fn graphs() -> Self {
        Self::compiled("graphs")
    }

    /// A C program that has the driver and does not use it, and in which no thread may be borrowed. Takes no orders.
    #[must_use]
    pub fn locked() -> Self {
        Self::compiled("locked")
    }

    fn compiled(name: &str) -> Self {
        let program = programs::folder().join(format!("gpu-agent-bare-{name}"));
        // Tests of several processes come here at once, and may be running the one that is there.
        let folder = tempfile::tempdir_in(programs::folder()).unwrap();
        let fresh = folder.path().join(name);
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let mut command = Command::new(compiler);
        command
            .args(["-O1", "-Wall", "-Werror", "-pthread", "-o"])
            .arg(&fresh)
            .arg(source(&format!("{name}.c")));
        command.arg("-L").arg(programs::simulator()).arg("-l:libcuda.so.1");
        successful(command.output().unwrap());
        std::fs::rename(fresh, &program).unwrap();
        Self::new(program)
    }

    /// One of cudarc's examples, in a program that runs it as often as it is told to: `launch N`. `None`, after saying
    /// why, where it cannot be built.
    #[must_use]
    pub fn cudarc() -> Option<Self> {
        let program = cudarc::orders()?;
        let reads = vec!["examples/sin.ptx".into()];
        Some(Self { folder: cudarc::package().to_owned(), reads, ..Self::new(program) })
    }

    /// A Python program that loads CUDA when it is told to: `load`. Takes `launch N`. `None`, after saying why, where there
    /// is no Python.
    #[must_use]
    pub fn python() -> Option<Self> {
        const QUESTION: &str = "import sys, _ctypes, os; base = sys._base_executable; \
            print(base, os.__file__, getattr(_ctypes, '__file__', base), sep='\\n')";
        let answer = successful(Command::new(programs::python()?).args(["-c", QUESTION]).output().unwrap());
        let answer = String::from_utf8(answer.stdout).unwrap();
        let paths: Vec<_> = answer.lines().map(|line| std::fs::canonicalize(line).unwrap()).collect();
        let [program, os, ctypes] = <[PathBuf; 3]>::try_from(paths).unwrap();
        // `os` is in the standard library, and so is all the rest; `ctypes` is a library of its own, or in the interpreter.
        let runtime = vec![os.parent().unwrap().to_owned()];
        let (arguments, reads) = (vec!["later.py".into()], vec!["later.py".into()]);
        Some(Self { arguments, reads, runtime, loads: vec![ctypes], ..Self::new(program) })
    }

    /// How it is started on this host, on a device that `simulator` sets up.
    #[must_use]
    pub fn command(&self, simulator: &str) -> Command {
        let mut command = Start::new(simulator).command(&self.program);
        command.args(&self.arguments).current_dir(&self.folder);
        // Nor anything that the tests themselves were started with.
        command.env_remove("LD_PRELOAD").env_remove("CUDA_INJECTION64_PATH");
        command
    }
}

/// The source of this name, of one of these programs; the folder of all of them for an empty one.
#[must_use]
pub fn source(name: &str) -> PathBuf {
    programs::repository().join("tests/fixtures/bare").canonicalize().unwrap().join(name)
}

/// A running program; killed when dropped.
#[derive(Debug)]
pub struct Program {
    process: Running,
    pid: u32,
    /// How much of its output has been looked at.
    read: usize,
}

impl Program {
    /// Starts `command`, and waits until it is ready.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let process = Running::start(command);
        let pid = process.pid();
        let mut program = Self { process, pid, read: 0 };
        program.until_said("ready");
        program
    }

    /// The same, where what was started is not the program but holds it.
    #[must_use]
    pub fn known_as(mut self, pid: u32) -> Self {
        self.pid = pid;
        self
    }

    /// Its pid on this host.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Gives an order, and waits for this answer. What else it prints meanwhile is its own business.
    pub fn order(&mut self, order: &str, answer: &str) {
        self.process.say(&format!("{order}\n"));
        self.until_said(answer);
    }

    /// `count` launches of its kernel.
    pub fn launch(&mut self, count: u64) {
        self.order(&format!("launch {count}"), &format!("launched {count}"));
    }

    /// Lets the workload work; its report.
    pub fn work(mut self) -> Value {
        self.process.tell("go\n");
        workload::report(&self.process.finish())
    }

    /// Lets it end, which must be a good end.
    pub fn end(self) -> Finished {
        let finished = self.process.finish();
        assert!(finished.status.success(), "{}\n-- stderr\n{}", finished.status, finished.stderr);
        finished
    }

    fn until_said(&mut self, answer: &str) {
        let read = self.read;
        self.read = self.process.until(answer, |process| {
            let said = process.stdout();
            let mut end = read;
            said.get(read..)?.split_inclusive('\n').find_map(|line| {
                end += line.len();
                (line.trim_end() == answer).then_some(end)
            })
        });
    }
}
