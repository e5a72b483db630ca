//! What a probe costs the thread that hits it, against the same probe in bpftrace, and what records cost the agent.
//!
//! Enters: a process that calls a function and times itself. Leaves: medians of interleaved rounds, and ratios. Needs root;
//! without bpftrace (GPU_AGENT_BPFTRACE names another command) there is nothing to compare with, and it says so.
//!
//! `cargo bench -p gpu-agent --bench probes`

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on must say so at once"
)]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gpu_agent::event::{OpClass, Pid, ProbeInfo};
use gpu_agent::probes::plan::{Call, Exit, Fetched, Plan, Planned, Reader, Values};
use gpu_agent::source::ebpf::{self, Config, Drain, Features, Scope};
use gpu_agent_ebpf_abi::{FIXED, FetchProgram, Read, base, phase};
use object::{Object, ObjectSegment, ObjectSymbol};

const ROUNDS: usize = 5;
const CALLS: u64 = 10_000;
/// Calls of each process that does nothing else.
const FLOOD: u64 = 500_000;
/// How often the agent looks into the ring.
const BEAT: Duration = Duration::from_millis(10);

/// What the target does: a function, and how much between its calls. Where there is nothing between them, a reader of records
/// is never idle, and need not be woken; where there is something, it may have to be woken for each.
#[derive(Debug, Clone, Copy)]
struct Load {
    function: &'static str,
    work: u64,
    name: &'static str,
}

const LOADS: [Load; 4] = [
    Load { function: "framed", work: 20_000, name: "saves registers first; work between the calls" },
    Load { function: "framed", work: 0, name: "saves registers first; one call after the other" },
    Load { function: "leaf", work: 20_000, name: "begins with an address; work between the calls" },
    Load { function: "leaf", work: 0, name: "begins with an address; one call after the other" },
];

/// A way to watch the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Bare,
    Ours {
        returns: bool,
        features: Features,
    },
    Bpftrace {
        returns: bool,
    },
    /// Attached in another process.
    OtherProcess,
    /// Attached in all processes, and this one is no target.
    Filtered,
}

fn main() {
    let target = build();
    let bpftrace = bpftrace();
    let single = Features { multi: false, session: false, ..Features::ALL };
    let ways = [
        Way::Bare,
        Way::Bpftrace { returns: false },
        Way::Ours { returns: false, features: Features::ALL },
        Way::Ours { returns: false, features: single },
        Way::OtherProcess,
        Way::Filtered,
        Way::Bpftrace { returns: true },
        Way::Ours { returns: true, features: Features::ALL },
        Way::Ours { returns: true, features: single },
    ];
    for load in LOADS {
        let mut measured = vec![Vec::new(); ways.len()];
        for _ in 0..ROUNDS {
            for (way, times) in ways.iter().zip(&mut measured) {
                if bpftrace.is_some() || !matches!(way, Way::Bpftrace { .. }) {
                    times.push(measure(&target, load, *way, bpftrace.as_deref()));
                }
            }
        }
        let cost = |way: usize| median(&measured[way]) - median(&measured[0]);
        println!(
            "{} ({:.0} ns); added to that, medians of {ROUNDS} rounds:",
            load.name,
            median(&measured[0])
        );
        for (number, way) in
            ways.iter().enumerate().skip(1).filter(|(number, _)| !measured[*number].is_empty())
        {
            let with = matches!(way, Way::Bpftrace { returns: true } | Way::Ours { returns: true, .. });
            let against = if with { 6 } else { 1 };
            print!("  {:>8.0} ns  {}", cost(number), way.name());
            if bpftrace.is_some() && number != against {
                print!(": {:.3} of bpftrace", cost(number) / cost(against));
            }
            println!();
        }
    }
    drain_speed(&target);
    flood(&target);
}

impl Way {
    fn name(self) -> String {
        let both = |returns| if returns { "entry and return" } else { "entry" };
        match self {
            Self::Bare => "nothing".into(),
            Self::Bpftrace { returns } => format!("bpftrace, {}", both(returns)),
            Self::Ours { returns, features: Features { multi: true, .. } } => {
                format!("gpu-agent, {}", both(returns))
            }
            Self::Ours { returns, .. } => format!("gpu-agent, {}, one perf event a place", both(returns)),
            Self::OtherProcess => "gpu-agent, attached in another process".into(),
            Self::Filtered => "gpu-agent, attached everywhere, not a target".into(),
        }
    }
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Nanoseconds of a call, watched that way.
fn measure(program: &Path, load: Load, way: Way, bpftrace: Option<&str>) -> f64 {
    let function = load.function;
    let mut target = Target::start(program);
    let mut other = Target::start(program);
    match way {
        Way::Bare => target.time(load),
        Way::Bpftrace { returns } => {
            // What our records have: when, which thread, six numbers.
            let mut probe = format!(
                "uprobe:{}:{function} {{ printf(\"%lu %d %ld %ld %ld %ld %ld %ld\\n\", nsecs, tid, arg0, arg1, arg2, arg3, arg4, arg5); }}",
                program.display()
            );
            if returns {
                probe += &format!(
                    " uretprobe:{}:{function} {{ printf(\"%lu %d %ld\\n\", nsecs, tid, retval); }}",
                    program.display()
                );
            }
            let pid = target.child.id().to_string();
            let mut words = bpftrace.unwrap().split(' ');
            let mut command = Command::new(words.next().unwrap());
            // Room for all that is printed: what bpftrace loses costs it nothing.
            command.env("BPFTRACE_PERF_RB_PAGES", "8192").args(words).args(["-p", &pid, "-e", &probe]);
            let printed = program.with_extension("printed");
            command.stdout(File::create(&printed).unwrap()).stderr(Stdio::null());
            let mut running = command.spawn().unwrap();
            let lines = || std::fs::read_to_string(&printed).unwrap().lines().count() as u64;
            let deadline = Instant::now() + Duration::from_secs(60);
            let mut hits = 0;
            while lines() < 2 {
                assert!(Instant::now() < deadline, "bpftrace does not attach");
                target.time_of(function, 1);
                hits += 1;
                std::thread::sleep(Duration::from_millis(50));
            }
            let time = target.time(load);
            while lines() < CALLS * (1 + u64::from(returns)) {
                assert!(Instant::now() < deadline, "bpftrace lost events: {} of {}", lines(), CALLS + hits);
                std::thread::sleep(Duration::from_millis(50));
            }
            running.kill().unwrap();
            running.wait().unwrap();
            time
        }
        Way::Ours { returns, features } => {
            let config = Config { features, ..Config::default() };
            watched(program, function, returns, config, Scope::Process(target.pid()), || target.time(load))
        }
        Way::OtherProcess => {
            let scope = Scope::Process(other.pid());
            let time = watched(program, function, false, Config::default(), scope, || target.time(load));
            other.time(load);
            time
        }
        Way::Filtered => {
            watched(program, function, false, Config::default(), Scope::Everywhere, || target.time(load))
        }
    }
}

/// Runs `timed` while the probe is attached and records are drained.
fn watched(
    program: &Path,
    function: &str,
    returns: bool,
    config: Config,
    scope: Scope,
    timed: impl FnOnce() -> f64,
) -> f64 {
    let (mut attacher, mut drain) = ebpf::load(config).unwrap();
    let attached = attacher.attach(scope, &plan(program, function, returns));
    assert!(attached.refused.is_empty(), "{:?}", attached.refused);
    let done = AtomicBool::new(false);
    let time = std::thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                drain.drain(usize::MAX, |_, _| {});
                std::thread::sleep(BEAT);
            }
        });
        let time = timed();
        done.store(true, Ordering::Relaxed);
        time
    });
    let counters = drain.counters().unwrap();
    assert_eq!(counters.lost, 0);
    assert_eq!(counters.emitted > 0, scope != Scope::Everywhere && counters.hits > 0);
    time
}

/// What it costs the agent to take records out, and how many a second that is.
fn drain_speed(program: &Path) {
    let mut target = Target::start(program);
    let (mut attacher, mut drain) = ebpf::load(Config::default()).unwrap();
    attacher.attach(Scope::Process(target.pid()), &plan(program, "framed", false));
    let (mut records, mut sum, mut took) = (0, 0u64, Duration::ZERO);
    for _ in 0..5 {
        target.time_of("framed", 30_000);
        let start = Instant::now();
        records += drained(&mut drain, &mut sum);
        took += start.elapsed();
    }
    let each = took.as_secs_f64() / records as f64;
    println!("draining: {:.1} ns a record, {:.1} M records/s on a core", each * 1e9, 1e-6 / each);
    assert_eq!((records, drain.counters().unwrap().lost), (150_000, 0));
}

/// Two processes that do nothing but hit probes, and a reader that looks into the ring every [`BEAT`].
fn flood(program: &Path) {
    let mut targets = [(); 2].map(|()| Target::start(program));
    let (mut attacher, mut drain) = ebpf::load(Config::default()).unwrap();
    for target in &targets {
        attacher.attach(Scope::Process(target.pid()), &plan(program, "framed", false));
    }
    let done = AtomicBool::new(false);
    let start = Instant::now();
    let busy = std::thread::scope(|threads| {
        let reader = threads.spawn(|| {
            let (mut busy, mut sum) = (Duration::ZERO, 0);
            while !done.load(Ordering::Relaxed) {
                let start = Instant::now();
                drained(&mut drain, &mut sum);
                busy += start.elapsed();
                std::thread::sleep(BEAT);
            }
            busy
        });
        targets.iter_mut().for_each(|target| target.order("framed", FLOOD, 0));
        for target in &mut targets {
            target.answer();
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    let took = start.elapsed().as_secs_f64();
    let counters = drain.counters().unwrap();
    println!(
        "flood: {:.0} records/s for {took:.1} s, {} lost of {}, {:.4} of a core to drain them",
        counters.hits as f64 / took,
        counters.lost,
        counters.hits,
        busy.as_secs_f64() / took
    );
}

fn drained(drain: &mut Drain, sum: &mut u64) -> usize {
    drain.drain(usize::MAX, |header, payload| {
        *sum = sum.wrapping_add(header.ktime_ns + u64::from(payload[0]));
    })
}

#[derive(Debug)]
struct NoReader;

impl Reader for NoReader {
    fn values(&self, _: Fetched<'_>, _: Option<Fetched<'_>>) -> Values {
        Values::default()
    }
}

/// A probe with six reads of integers, and one more at the return.
fn plan(program: &Path, function: &str, returns: bool) -> Plan {
    let arguments: [u8; 6] =
        if cfg!(target_arch = "x86_64") { [5, 4, 1, 2, 8, 9] } else { [0, 1, 2, 3, 4, 5] };
    let mut entry =
        FetchProgram { phase: phase::ENTRY, reads: 6, payload_bytes: 48, ..FetchProgram::default() };
    for (number, (read, register)) in entry.read.iter_mut().zip(arguments).enumerate() {
        let output = 8 * number as u16;
        *read = Read {
            base: base::REGISTER,
            index: register,
            size: 8,
            count_read: FIXED,
            output,
            ..Read::default()
        };
    }
    let mut exit =
        FetchProgram { phase: phase::RETURNED, reads: 1, payload_bytes: 8, ..FetchProgram::default() };
    exit.read[0] = Read { base: base::REGISTER, index: 0, size: 8, count_read: FIXED, ..Read::default() };
    let info = ProbeInfo {
        name: function.into(),
        engine: "bench".into(),
        class: OpClass::Other,
        use_v1: None,
        api: None,
    };
    let planned = Planned {
        call: Arc::new(Call { info: Arc::new(info), reader: Box::new(NoReader) }),
        entry_offset: offset(program, function),
        entry: Box::new(entry),
        exit: if returns { Exit::Trampoline(Box::new(exit)) } else { Exit::Unseen },
    };
    Plan { file: program.to_owned(), shown: "target".into(), load_bias: 0, probes: vec![planned] }
}

fn offset(program: &Path, function: &str) -> u64 {
    let bytes = std::fs::read(program).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let address = file.symbols().find(|symbol| symbol.name() == Ok(function)).unwrap().address();
    let mut segments = file.segments();
    let holds = |segment: &object::Segment| {
        (segment.address()..segment.address() + segment.size()).contains(&address)
    };
    let segment = segments.find(holds).unwrap();
    address - segment.address() + segment.file_range().0
}

struct Target {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Target {
    fn start(program: &Path) -> Self {
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut String::new()).unwrap();
        Self { child, input, output }
    }

    fn pid(&self) -> Pid {
        Pid(self.child.id())
    }

    fn time(&mut self, load: Load) -> f64 {
        self.order(load.function, CALLS, load.work);
        self.answer()
    }

    fn time_of(&mut self, function: &str, calls: u64) -> f64 {
        self.order(function, calls, 0);
        self.answer()
    }

    fn order(&mut self, function: &str, calls: u64, work: u64) {
        writeln!(self.input, "{function} {calls} {work}").unwrap();
    }

    fn answer(&mut self) -> f64 {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn build() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/probes/target.c");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("probes-bench-target");
    assert!(Command::new("cc").args(["-O2", "-o"]).arg(&program).arg(source).status().unwrap().success());
    program
}

/// The command for bpftrace, and its version on stdout.
fn bpftrace() -> Option<String> {
    let command = std::env::var("GPU_AGENT_BPFTRACE").unwrap_or_else(|_| "bpftrace".into());
    let mut words = command.split(' ');
    match Command::new(words.next()?).args(words).arg("--version").output() {
        Ok(output) if output.status.success() => {
            println!("against {}", String::from_utf8_lossy(&output.stdout).trim());
            Some(command)
        }
        _ => {
            println!("bpftrace is missing (apt-get install bpftrace): nothing to compare with");
            None
        }
    }
}
