//! A target process under the test's control, and the test as its agent.
//!
//! Enters: what the environment of the process shall be. Leaves: the process, its answers, its ring. Refuses: to wait
//! for ever: every wait ends with a panic that says what was waited for.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use gpu_agent_ring::control::{Report, ShimState};
use gpu_agent_ring::layout::Counter;
use gpu_agent_ring::record::{Payload, Record};
use gpu_agent_ring::{AgentControl, AnnounceListener, Announcement, Lease, Reader};

/// Longest wait for anything; the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Name of the one kernel that the target launches.
pub const KERNEL_NAME: &str = "shim_test_kernel";

/// The files under test.
pub struct Built {
    /// The shim.
    pub shim: PathBuf,
    /// Folder of the simulated CUDA libraries.
    pub cuda: PathBuf,
    program: PathBuf,
}

/// Builds what is missing or old, once in a process.
pub fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().unwrap();
        // …/target/debug/deps/processes-0123
        let test = std::env::current_exe().unwrap();
        let profile_folder = test.parent().and_then(Path::parent).unwrap().to_path_buf();
        let profile = profile_folder.file_name().unwrap().to_str().unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        std::fs::create_dir_all(folder).unwrap();
        // The runner starts each test in a process of its own: one of them builds, the others wait for it.
        let lock = std::fs::File::create(folder.join("lock")).unwrap();
        lock.lock().unwrap();
        let program = folder.join("target");
        let stamp = folder.join("built-in-run");
        let run = std::env::var("NEXTEST_RUN_ID").unwrap_or_default();
        if run.is_empty() || std::fs::read_to_string(&stamp).ok().as_deref() != Some(run.as_str()) {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut build = Command::new(cargo);
            build.current_dir(root).args(["build", "--quiet", "-p", env!("CARGO_PKG_NAME")]);
            if profile != "debug" {
                build.args(["--profile", profile]);
            }
            succeed(build.env("CARGO_TARGET_DIR", profile_folder.parent().unwrap()));
            let mut assemble = Command::new(root.join("tests/tools/cuda-sim-dir.sh"));
            assemble.args([profile, "--build"]).env("CARGO_TARGET_DIR", profile_folder.parent().unwrap());
            succeed(&mut assemble);
            let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
            let mut compile = Command::new(compiler);
            compile.args(["-O1", "-Wall", "-Werror", "-o"]).arg(&program);
            succeed(compile.arg(manifest.join("tests/target/target.c")).args(["-ldl", "-lpthread"]));
            std::fs::write(&stamp, run).unwrap();
        }
        Built {
            shim: profile_folder.join("libgpu_agent_cupti.so"),
            cuda: profile_folder.join("cuda-sim"),
            program,
        }
    })
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Polls `condition` until it holds.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// How a target is started.
pub struct Setup {
    simulator: String,
    variables: Vec<(String, String)>,
    preload: bool,
    cuda: PathBuf,
}

impl Setup {
    /// Under `LD_PRELOAD`, on a simulated device that takes no time; `simulator` are further settings of it.
    pub fn new(simulator: &str) -> Self {
        let quick = ["clock=virtual,quiet=on", simulator].join(if simulator.is_empty() { "" } else { "," });
        Self { simulator: quick, variables: Vec::new(), preload: true, cuda: built().cuda.clone() }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    pub fn without_preload(mut self) -> Self {
        self.preload = false;
        self
    }

    /// With the simulated libraries of another folder.
    pub fn cuda_from(mut self, folder: &Path) -> Self {
        self.cuda = folder.to_path_buf();
        self
    }

    pub fn start(self) -> Target {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("gpu-agent-shim-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let listener = AnnounceListener::bind(&name).unwrap();
        let mut command = Command::new(&built().program);
        command
            .env_remove("CUDA_INJECTION64_PATH")
            .env("LD_LIBRARY_PATH", &self.cuda)
            .env("GPU_AGENT_CUDA_SIM", &self.simulator)
            .env("GPU_AGENT_ANNOUNCE", name)
            .envs(self.variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if self.preload {
            command.env("LD_PRELOAD", &built().shim);
        }
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Target { child, input, output, listener }
    }
}

/// A running target.
pub struct Target {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    listener: AnnounceListener,
}

impl Target {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a command without waiting for its answer.
    pub fn send(&mut self, command: &str) {
        writeln!(self.input.as_mut().unwrap(), "{command}").unwrap();
    }

    /// The next answer, which must be a good one.
    pub fn answer(&mut self, command: &str) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let text = line.strip_prefix("ok ").unwrap_or_else(|| panic!("{command}: {line:?}"));
        text.trim_end().to_owned()
    }

    /// Has the target do something; it must succeed, since a shim never makes a program's call fail.
    pub fn tell(&mut self, command: &str) -> String {
        self.send(command);
        self.answer(command)
    }

    /// The next ring that is announced.
    pub fn ring(&self) -> Ring {
        let announcement = wait_for("an announcement", || self.listener.receive().unwrap());
        Ring::open(&announcement)
    }

    /// Whether another ring was announced by now.
    pub fn has_announced(&self) -> Option<Announcement> {
        self.listener.receive().unwrap()
    }

    /// Ends the input, and returns how the process ended and what it wrote to stderr.
    pub fn end(mut self) -> (ExitStatus, String) {
        drop(self.input.take());
        let status = wait_for("the target's end", || self.child.try_wait().unwrap());
        let mut stderr = String::new();
        std::io::Read::read_to_string(self.child.stderr.as_mut().unwrap(), &mut stderr).unwrap();
        (status, stderr)
    }

    /// Ends the target, which must end well and have written nothing: neither may the shim.
    pub fn end_well(self) {
        let (status, stderr) = self.end();
        assert!(status.success(), "{status}, signal {:?}, stderr {stderr:?}", status.signal());
        assert_eq!(stderr, "");
    }

    /// `/proc/PID/task/TID` of the shim's thread, if there is one by now. A thread that CUPTI starts from it bears its
    /// name too, until it gets its own.
    pub fn shim_thread(&self) -> Option<PathBuf> {
        std::fs::read_dir(format!("/proc/{}/task", self.pid()))
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
            .map(|thread| PathBuf::from(format!("/proc/{}/task/{thread}", self.pid())))
            .filter(|path| {
                std::fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == "gpu-agent-shim")
            })
            .min()
    }

    pub fn maps(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/maps", self.pid())).unwrap()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // After a failed assertion; a target that has ended already is left alone.
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A target's ring and control page, and all records read so far.
pub struct Ring {
    pub reader: Reader,
    pub control: AgentControl,
    pub records: Vec<Payload>,
    /// Records overwritten before they were read.
    pub lost: u64,
    /// Buffers that threads had in a launch while CUPTI was finalised; they are not given back.
    pub kept: u64,
}

impl Ring {
    pub fn open(announcement: &Announcement) -> Self {
        let reader = Reader::open(&announcement.ring).unwrap();
        assert_eq!(reader.writer().ring_id, announcement.ring_id);
        let control =
            AgentControl::open(&announcement.control, announcement.ring_id, std::process::id()).unwrap();
        Self { reader, control, records: Vec::new(), lost: 0, kept: 0 }
    }

    /// The same ring, as another agent sees it.
    pub fn lease(kinds: u32, duration: Duration) -> Lease {
        Lease { kinds, flush_period: Duration::from_millis(10), budget_ppm: 0, duration, ending: 0 }
    }

    /// Takes the lease for a time longer than any test, and waits until the shim is armed.
    pub fn arm(&self, kinds: u32) {
        self.arm_for(kinds, Duration::from_secs(600));
    }

    pub fn arm_for(&self, kinds: u32, duration: Duration) {
        self.control.acquire(&Self::lease(kinds, duration)).unwrap();
        self.await_answer(ShimState::Armed);
    }

    /// Waits until the shim has answered the latest request, and with `state`.
    pub fn await_answer(&self, state: ShimState) {
        let generation = self.control.generation();
        let mut last = None;
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let report = self.control.report();
            if report.state == Some(state) && report.generation == generation {
                return;
            }
            last = Some(report);
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("waited for {state:?}, the shim says {last:?}");
    }

    /// Waits until the shim is in `state`, whatever request that answers.
    pub fn await_state(&self, state: ShimState) -> Report {
        wait_for(&format!("{state:?}"), || {
            Some(self.control.report()).filter(|report| report.state == Some(state))
        })
    }

    pub fn counter(&self, counter: Counter) -> u64 {
        self.control.report().counter(counter)
    }

    /// The name of the CUPTI function that the shim reports.
    pub fn function(&self) -> Option<String> {
        self.reader.name(self.control.report().function)
    }

    /// Reads what is there.
    pub fn read(&mut self) {
        let records = &mut self.records;
        let progress = self.reader.poll(u64::MAX, |_, payload| records.push(*payload));
        self.lost += progress.lost;
    }

    /// Reads until there are `count` records of a sort.
    pub fn read_until<R: Record>(&mut self, count: usize) {
        let start = Instant::now();
        while self.of::<R>().len() < count {
            let have = self.of::<R>().len();
            assert!(
                start.elapsed() < PATIENCE,
                "waited for {count} records, have {have}: {:?}",
                self.control.report()
            );
            std::thread::sleep(Duration::from_millis(2));
            self.read();
        }
    }

    /// The records of a sort, in order.
    pub fn of<R: Record>(&self) -> Vec<R> {
        self.records
            .iter()
            .filter(|payload| payload[0] as u16 == R::KIND)
            .map(|payload| R::from_payload(payload).unwrap())
            .collect()
    }

    /// Releases the lease and reads the rest; every record must then be accounted for.
    pub fn disarm(&mut self) {
        self.control.release();
        self.await_state(ShimState::Dormant);
        self.read();
        self.assert_accounted();
    }

    /// seen = emitted + unknown + malformed + over budget; written = emitted + metadata = read + lost.
    pub fn assert_accounted(&self) {
        let report = self.control.report();
        let count = |counter| report.counter(counter);
        let left_out = count(Counter::Unknown) + count(Counter::Malformed) + count(Counter::OverBudget);
        assert_eq!(count(Counter::Seen), count(Counter::Emitted) + left_out, "{report:?}");
        assert_eq!(self.reader.head(), count(Counter::Emitted) + count(Counter::Metadata), "{report:?}");
        assert_eq!(self.reader.head(), self.records.len() as u64 + self.lost, "{report:?}");
        let given_back = count(Counter::BuffersCompleted) + self.kept;
        assert_eq!(count(Counter::BuffersRequested), given_back, "{report:?}");
        assert_eq!(count(Counter::NamesFull), 0);
    }
}

/// Asserts that there are `count` kernels, each with a correlation id of its own, and complete.
pub fn assert_kernels(ring: &Ring, count: usize) {
    let kernels = ring.of::<gpu_agent_ring::record::Kernel>();
    let ids: HashSet<u32> = kernels.iter().map(|kernel| kernel.correlation_id).collect();
    assert_eq!((kernels.len(), ids.len()), (count, count), "{:?}", ring.control.report());
}
