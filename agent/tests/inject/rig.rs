//! The C program that watches itself, and the library that is loaded into it.
//!
//! Enters: what its threads shall do. Leaves: a process that ends with the test; what it noticed. Refuses: to wait for ever.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use gpu_agent::event::Pid;
use gpu_agent::identity::Process;
use gpu_agent::inject::{self, Error, Injected, Options};

/// Everything that waits in a system call and everything that makes that hard.
pub(crate) const ALL: [&str; 13] = [
    "allocate",
    "dlopen",
    "fork",
    "vfork",
    "signals",
    "read",
    "nanosleep",
    "timeouts",
    "epoll",
    "condition",
    "io_uring",
    "registers",
    "setuid",
];
/// Everything that waits, where nothing else would interrupt it.
pub(crate) const QUIET: [&str; 6] = ["read", "nanosleep", "timeouts", "epoll", "condition", "registers"];

/// Where compiled C programs and libraries are.
struct Built {
    folder: tempfile::TempDir,
    compiling: Mutex<()>,
}

fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| Built { folder: tempfile::tempdir().unwrap(), compiling: Mutex::new(()) })
}

/// Compiles `name`.c, once in a process, and says where the result is.
fn compile(name: &str, variant: &str, flags: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/inject/c/{name}.c"));
    let output = built().folder.path().join(variant);
    let _one_at_a_time = built().compiling.lock().unwrap();
    if !output.exists() {
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let mut command = Command::new(compiler);
        command.args(["-O1", "-Wall", "-Werror", "-o"]).arg(&output).arg(source).args(flags);
        let compiled = command.output().unwrap();
        assert!(compiled.status.success(), "{command:?}: {}", String::from_utf8_lossy(&compiled.stderr));
    }
    output
}

/// The program.
pub(crate) fn program() -> PathBuf {
    compile("busy", "busy", &["-rdynamic", "-ldl", "-lpthread"])
}

/// The program, without a dynamic linker.
pub(crate) fn static_program() -> PathBuf {
    compile("busy", "busy-static", &["-static", "-w"])
}

/// The library that counts.
pub(crate) fn library() -> PathBuf {
    compile("counter", "libcounter.so", &["-shared", "-fPIC"])
}

/// A running program.
pub(crate) struct Busy {
    child: Child,
    pid: Pid,
    output: BufReader<ChildStdout>,
}

/// What a program noticed.
#[derive(Debug)]
pub(crate) struct Noticed {
    /// Things that came out right.
    pub(crate) done: u64,
    /// Things that did not, with what it complained about.
    pub(crate) wrong: u64,
    /// Calls that ended with EINTR.
    pub(crate) interrupted: u64,
    /// How often the library was called.
    pub(crate) injections: u64,
    /// How often a handler ran.
    pub(crate) signals: u64,
}

impl Busy {
    pub(crate) fn start(work: &[&str]) -> Self {
        Self::from(Command::new(program()).args(work))
    }

    pub(crate) fn from(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert!(line.starts_with("ready "), "{command:?} said {line:?}");
        // Its threads come to what they do.
        std::thread::sleep(Duration::from_millis(100));
        let pid = Pid(child.id());
        Self { child, pid, output }
    }

    /// The same, where the program is the only child of what was started (`unshare --fork`).
    pub(crate) fn below(command: &mut Command) -> Self {
        let mut busy = Self::from(command);
        let path = format!("/proc/{0}/task/{0}/children", busy.child.id());
        let children = std::fs::read_to_string(path).unwrap();
        busy.pid = Pid(children.trim().parse().unwrap_or_else(|_| panic!("children: {children:?}")));
        busy
    }

    /// The same, where what was started is not the program but holds it.
    pub(crate) fn known_as(mut self, pid: Pid) -> Self {
        self.pid = pid;
        self
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    pub(crate) fn inject(&self) -> Result<Injected, Error> {
        self.inject_within(Duration::from_secs(10))
    }

    pub(crate) fn inject_within(&self, timeout: Duration) -> Result<Injected, Error> {
        let process = Process::look_up(self.pid)?;
        inject::inject(&process, &library(), Options { timeout, ..Options::default() })
    }

    /// Why the library is not loaded.
    pub(crate) fn refusal(&self) -> Error {
        self.inject_within(Duration::from_millis(500)).expect_err("a refusal")
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Lets it end, and tells what it noticed.
    pub(crate) fn end(mut self) -> Noticed {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        let status = self.child.wait().unwrap();
        let json: serde_json::Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}, {status}"));
        let number = |name: &str| json[name].as_u64().unwrap();
        let noticed = Noticed {
            done: number("done"),
            wrong: number("wrong"),
            interrupted: number("interrupted"),
            injections: number("injections"),
            signals: number("signals"),
        };
        assert_eq!(noticed.wrong, 0, "{noticed:?}, see what it said on stderr");
        assert!(status.success(), "{status}");
        noticed
    }

    /// What its descriptors lead to.
    pub(crate) fn descriptors(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.pid)).unwrap();
        entries
            .filter_map(|entry| {
                let path = entry.unwrap().path();
                let target = std::fs::read_link(&path).ok()?;
                Some(format!("{} {}", path.display(), target.display()))
            })
            .collect()
    }

    /// How many of its mappings are exactly this long.
    pub(crate) fn mappings_of(&self, length: u64) -> usize {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.pid)).unwrap();
        let is_as_long = |line: &&str| {
            let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
            let number = |text| u64::from_str_radix(text, 16).unwrap();
            number(end) - number(start) == length
        };
        maps.lines().filter(is_as_long).count()
    }

    /// Its mappings of memory files.
    pub(crate) fn memory_files(&self) -> Vec<String> {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.pid)).unwrap();
        maps.lines().filter(|line| line.contains("/memfd:")).map(str::to_owned).collect()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // Neither fails for a child that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A number from the environment, for longer runs on demand.
pub(crate) fn cycles(default: u32) -> u32 {
    let wanted = std::env::var("GPU_AGENT_INJECT_CYCLES").ok();
    wanted.map_or(default, |text| text.parse().expect("GPU_AGENT_INJECT_CYCLES is a number"))
}

/// The example of this name.
pub(crate) fn example(name: &str) -> PathBuf {
    // …/target/debug/deps/inject-0123
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().join("examples").join(name)
}
