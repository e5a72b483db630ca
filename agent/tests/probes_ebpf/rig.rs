//! What the tests are built of: the target program, plans for it, and what was read.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, OnceLock};

use gpu_agent::event::{OpClass, Pid, ProbeInfo};
use gpu_agent::probes::plan::{Call, Exit, Fetched, Plan, Planned, Reader, Values};
use gpu_agent::source::ebpf::{self, Attacher, Config, Counters, Drain, Features, Unsupported};
use gpu_agent_ebpf_abi::{FIXED, FetchProgram, Header, Read, base, kind, phase};
use object::{Object, ObjectSegment, ObjectSymbol};

/// The probes, or nothing where there can be none, with a line that says why.
pub(super) fn load(config: Config) -> Option<(Attacher, Drain)> {
    match ebpf::load(config) {
        Ok(loaded) => Some(loaded),
        Err(why @ (Unsupported::Permission { .. } | Unsupported::NoBpf | Unsupported::NoUprobes(_))) => {
            println!("skipped: {why}");
            None
        }
        Err(why) => panic!("{why:?}"),
    }
}

/// Each form of the programs: what is allowed to choose it.
pub(super) const FORMS: [Features; 4] = [
    Features::ALL,
    Features { session: false, ..Features::ALL },
    Features { multi: false, session: false, ..Features::ALL },
    Features { cookies: false, multi: false, session: false },
];

/// The target program, compiled once.
pub(super) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/probes_ebpf/target.c");
        let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("probed-{}", std::process::id()));
        let status =
            Command::new("cc").args(["-O2", "-pthread", "-o"]).arg(&to).arg(&source).status().unwrap();
        assert!(status.success());
        to
    })
}

/// A running target.
pub(super) struct Target {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Target {
    /// Starts it; it waits for [`Self::run`].
    pub(super) fn start(scenario: &str) -> Self {
        let mut child = Command::new(program())
            .arg(scenario)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { child, input, output }
    }

    pub(super) fn pid(&self) -> Pid {
        Pid(self.child.id())
    }

    /// Lets it do its scenario once; gives what it printed.
    pub(super) fn run(&mut self) -> String {
        self.input.write_all(b"\n").unwrap();
        let mut printed = String::new();
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the target ended: {printed}");
            if line == "done\n" {
                return printed;
            }
            printed += &line;
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The file offset of a symbol.
pub(super) fn offset(file: &Path, symbol: &str) -> u64 {
    let bytes = std::fs::read(file).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let symbol = file.symbols().find(|one| one.name() == Ok(symbol)).unwrap_or_else(|| panic!("no {symbol}"));
    let segment = file
        .segments()
        .find(|segment| (segment.address()..segment.address() + segment.size()).contains(&symbol.address()))
        .unwrap();
    symbol.address() - segment.address() + segment.file_range().0
}

/// A fetch program of `reads`, whose values lie one behind the other.
pub(super) fn fetch(of: u8, reads: &[Read]) -> Box<FetchProgram> {
    let mut program = FetchProgram { phase: of, reads: reads.len() as u8, ..FetchProgram::default() };
    let mut at = 0;
    for (to, read) in program.read.iter_mut().zip(reads) {
        let size = match read.kind {
            kind::SCALAR => 8,
            kind::ARRAY => u16::from(read.capacity) * u16::from(read.size),
            _ => 1 + u16::from(read.capacity),
        };
        *to = Read { output: at, ..*read };
        at += size.next_multiple_of(8);
    }
    program.payload_bytes = at;
    Box::new(program)
}

/// A register as a number.
pub(super) fn register(index: u8) -> Read {
    Read { base: base::REGISTER, index, size: 8, count_read: FIXED, ..Read::default() }
}

/// DWARF numbers of the first six integer arguments.
#[cfg(target_arch = "x86_64")]
pub(super) const ARGUMENTS: [u8; 6] = [5, 4, 1, 2, 8, 9];
#[cfg(target_arch = "aarch64")]
pub(super) const ARGUMENTS: [u8; 6] = [0, 1, 2, 3, 4, 5];

#[derive(Debug)]
struct NoReader;

impl Reader for NoReader {
    fn values(&self, _: Fetched<'_>, _: Option<Fetched<'_>>) -> Values {
        Values::default()
    }
}

/// A probe at `entry_offset`.
pub(super) fn probe(name: &str, entry_offset: u64, entry: Box<FetchProgram>, exit: Exit) -> Planned {
    let info = ProbeInfo {
        name: name.into(),
        engine: "test".into(),
        class: OpClass::Other,
        use_v1: None,
        api: None,
    };
    Planned {
        call: Arc::new(Call { info: Arc::new(info), reader: Box::new(NoReader) }),
        entry_offset,
        entry,
        exit,
    }
}

/// A plan for the program of `target`.
pub(super) fn plan(target: &Target, probes: Vec<Planned>) -> Plan {
    let file = PathBuf::from(format!("/proc/{}/exe", target.pid().0));
    Plan { file, shown: "target".into(), load_bias: load_bias(target.pid(), program()), probes }
}

/// Where byte 0 of `file` would lie in the process.
pub(super) fn load_bias(pid: Pid, file: &Path) -> u64 {
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", pid.0)).unwrap();
    let line = maps.lines().find(|line| line.ends_with(file.to_str().unwrap())).unwrap();
    let mut words = line.split_whitespace();
    let start = words.next().unwrap().split('-').next().unwrap();
    let offset = words.nth(1).unwrap();
    u64::from_str_radix(start, 16).unwrap() - u64::from_str_radix(offset, 16).unwrap()
}

/// A record, taken from the ring.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) header: Header,
    pub(super) payload: Vec<u8>,
}

impl Record {
    /// The number at byte `at`.
    pub(super) fn number(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.payload[at..at + 8].try_into().unwrap())
    }
}

/// All records that wait.
pub(super) fn records(drain: &mut Drain) -> Vec<Record> {
    let mut records = Vec::new();
    drain.drain(usize::MAX, |header, payload| {
        records.push(Record { header: *header, payload: payload.to_vec() });
    });
    assert_eq!(drain.malformed(), 0);
    records
}

/// The counters, whose parts make up the hits.
pub(super) fn counters(drain: &Drain) -> Counters {
    let counters = drain.counters().unwrap();
    assert_eq!(
        counters.hits,
        counters.filtered + counters.unknown + counters.emitted + counters.lost,
        "{counters:?}"
    );
    counters
}

/// The phase of entries.
pub(super) const ENTRY: u8 = phase::ENTRY;
