//! What a launching thread pays at 10,000 launches a second: without the shim, with it dormant, with it armed by a running
//! agent, and after an agent has attached, measured and let go again, on the simulated device.
//!
//! Enters: nothing. Leaves: each way's time a launch, as a ratio to bare, round by round. Refuses: a real device.
//!
//! Each way is a process of its own (this program again, with `--child`), which does a fixed amount of arithmetic, about
//! 100 µs, before each launch. The rounds take turns, so that a machine that changes its speed changes all of them. A
//! second bare process shows how far two processes differ that differ in nothing.
#![allow(unsafe_code, reason = "the CUDA driver API")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a benchmark stops where its expectations do not hold"
)]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use gpu_agent_tests::programs;

const LAUNCHES: u32 = 1_000;
const ROUNDS: usize = 60;
const WARM_UP: usize = 5;
/// How long an agent stays attached that lets go again.
const SEEN: Duration = Duration::from_secs(3);
const WORK: Duration = Duration::from_micros(100);
const BAR: f64 = 1.02;
/// Normal quantile of a 95 % interval.
const Z: f64 = 1.96;
const PTX: &CStr = c".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry nothing() { ret; }\n";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, mode, work] = arguments.as_slice()
        && mode == "--child"
    {
        return launch(work.parse().unwrap());
    }
    let work = calibrate();
    let mut ways = [
        Way::start("bare", work, Shim::None),
        Way::start("bare, once more", work, Shim::None),
        Way::start("dormant", work, Shim::Preloaded),
        Way::start("armed, kernels+api", work, Shim::Preloaded),
        Way::start("attached, then detached", work, Shim::None),
        Way::start("attached, then detached and finalised", work, Shim::None),
    ];
    let [_, _, _, armed, detached, finalized] = &mut ways;
    detached.attach_and_let_go(&[]);
    finalized.attach_and_let_go(&["--finalize"]);
    let mut agent = attach(armed.child.id(), "never");
    std::thread::sleep(Duration::from_secs(1));

    let mut rounds = Vec::new();
    for _ in 0..WARM_UP + ROUNDS {
        rounds.push(ways.each_mut().map(Way::round));
    }
    let rounds = rounds.split_off(WARM_UP);
    assert!(agent.try_wait().unwrap().is_none(), "the agent ended early");
    agent.kill().unwrap();
    agent.wait().unwrap();
    let bare = median(rounds.iter().map(|[bare, ..]| bare.wall_us).collect());
    println!(
        "launching thread, simulated device, {:.0} launches/s: bare {:.1} us a launch",
        1e6 / bare,
        bare
    );
    for (number, way) in ways.iter().enumerate().skip(1) {
        let ratios = |of: fn(&Round) -> f64| {
            let pairs = rounds.iter().map(|round| (round.get(number).unwrap(), round.first().unwrap()));
            pairs.map(|(this, bare)| of(this) / of(bare)).collect()
        };
        report(way.name, "time", ratios(|round| round.wall_us));
        report(way.name, "CPU time", ratios(|round| round.cpu_us));
    }
}

/// An agent that collects all of a process.
fn attach(pid: u32, inject: &str) -> Child {
    let mut command = Command::new(programs::program("gpu-agent"));
    command.args(["attach", "--pid", &pid.to_string(), "--inject", inject, "--mode", "kernels+api"]);
    command.args(["--probe-engines", "none", "--listen", "off", "--log", "warn"]);
    command.stdout(Stdio::null()).spawn().unwrap()
}

fn report(name: &str, what: &str, mut ratios: Vec<f64>) {
    let logs: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (logs.len() - 1) as f64;
    let half = Z * (variance / logs.len() as f64).sqrt();
    let [low, high] = [mean - half, mean + half].map(f64::exp);
    ratios.sort_by(f64::total_cmp);
    let [first, middle, third] = [1, 2, 3].map(|quarter| *ratios.get(ratios.len() * quarter / 4).unwrap());
    let verdict = if middle <= BAR { "met" } else { "MISSED" };
    println!(
        "{name} / bare, {what}: {middle:.4} (quartiles {first:.4} to {third:.4}; mean {:.4}, 95 % interval {low:.4} to {high:.4}; bar {BAR}: {verdict})",
        mean.exp()
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    *values.get(values.len() / 2).unwrap()
}

/// How the shim comes into a process, if it does.
#[derive(PartialEq, Eq)]
enum Shim {
    /// It does not, or an agent brings it.
    None,
    Preloaded,
}

/// What one launch took, of the clock and of the launching thread's processor: the second is what a busy machine leaves
/// comparable.
struct Round {
    wall_us: f64,
    cpu_us: f64,
}

/// One process that launches on demand.
struct Way {
    name: &'static str,
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Way {
    fn start(name: &'static str, work: u64, shim: Shim) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--child", &work.to_string()])
            .env("LD_LIBRARY_PATH", programs::simulator())
            // CUPTI 12.6 can be finalised.
            .env("GPU_AGENT_CUDA_SIM", "clock=virtual,quiet=on,driver=12060,cupti_version=24")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if shim == Shim::Preloaded {
            command.env("LD_PRELOAD", programs::program("libgpu_agent_cupti.so"));
        }
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let (orders, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut way = Self { name, child, orders, answers };
        assert_eq!(way.line(), "ready");
        way
    }

    /// Has an agent load the shim, lets it see some launches, and has it let go, `how`.
    fn attach_and_let_go(&mut self, how: &[&str]) {
        let pid = self.child.id();
        let mut agent = attach(pid, "auto");
        let seen = Instant::now();
        while seen.elapsed() < SEEN {
            self.round();
        }
        let mut command = Command::new(programs::program("gpu-agent"));
        let mut detach =
            command.args(["detach", "--pid", &pid.to_string(), "--log", "warn"]).args(how).spawn().unwrap();
        let status = loop {
            if let Some(status) = detach.try_wait().unwrap() {
                break status;
            }
            self.round();
        };
        assert!(status.success(), "{}: {status}", self.name);
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    fn round(&mut self) -> Round {
        writeln!(self.orders, "go").unwrap();
        let line = self.line();
        let (wall, cpu) = line.split_once(' ').unwrap();
        let us = |ns: &str| ns.parse::<f64>().unwrap() / 1e3 / f64::from(LAUNCHES);
        Round { wall_us: us(wall), cpu_us: us(cpu) }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Arithmetic that no compiler leaves out.
fn toil(steps: u64) {
    let mut value = 1_u64;
    for step in 0..steps {
        value = black_box(value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step));
    }
}

/// CPU time of the calling thread.
fn cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Steps of [`toil`] that take [`WORK`].
fn calibrate() -> u64 {
    const STEPS: u64 = 10_000_000;
    toil(STEPS);
    let started = Instant::now();
    toil(STEPS);
    (STEPS as f64 * WORK.as_secs_f64() / started.elapsed().as_secs_f64()) as u64
}

type Launch = unsafe extern "C" fn(
    *mut c_void,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    *mut c_void,
    *mut *mut c_void,
    *mut *mut c_void,
) -> c_int;

/// The child: prepares, then times `LAUNCHES` launches for each line on stdin.
fn launch(work: u64) {
    // SAFETY: the signatures are those of cuda.h; every pointer is valid for the call.
    unsafe {
        let cuda = libloading::Library::new("libcuda.so.1").unwrap();
        let init = cuda.get::<unsafe extern "C" fn(c_uint) -> c_int>(c"cuInit").unwrap();
        let retain = cuda
            .get::<unsafe extern "C" fn(*mut *mut c_void, c_int) -> c_int>(c"cuDevicePrimaryCtxRetain")
            .unwrap();
        let set = cuda.get::<unsafe extern "C" fn(*mut c_void) -> c_int>(c"cuCtxSetCurrent").unwrap();
        let load = cuda
            .get::<unsafe extern "C" fn(*mut *mut c_void, *const c_char) -> c_int>(c"cuModuleLoadData")
            .unwrap();
        let function = cuda
            .get::<unsafe extern "C" fn(*mut *mut c_void, *mut c_void, *const c_char) -> c_int>(
                c"cuModuleGetFunction",
            )
            .unwrap();
        let launch = cuda.get::<Launch>(c"cuLaunchKernel").unwrap();
        let [mut context, mut module, mut kernel] = [std::ptr::null_mut(); 3];
        assert_eq!(init(0), 0);
        assert_eq!(retain(&raw mut context, 0), 0);
        assert_eq!(set(context), 0);
        assert_eq!(load(&raw mut module, PTX.as_ptr()), 0);
        assert_eq!(function(&raw mut kernel, module, c"nothing".as_ptr()), 0);
        let null = std::ptr::null_mut();
        println!("ready");
        for _ in std::io::stdin().lines() {
            let (started, cpu) = (Instant::now(), cpu_ns());
            for _ in 0..LAUNCHES {
                toil(work);
                let status = launch(kernel, 1, 1, 1, 32, 1, 1, 0, null, null.cast(), null.cast());
                assert_eq!(status, 0);
            }
            println!("{} {}", started.elapsed().as_nanos(), cpu_ns() - cpu);
        }
    }
}
