//! What the tests are built of: the target program, plans for it, and what was read.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use gpu_agent::event::{OpClass, Pid, ProbeInfo};
use gpu_agent::probes::plan::{Call, Exit, Fetched, Plan, Planned, Reader, Values};
use gpu_agent::source::ebpf::{
    self, Attached, Attacher, Config, Counters, Drain, Features, Scope, Unsupported,
};
use gpu_agent_ebpf_abi::{FIXED, FetchProgram, Header, Read, base, kind};
use object::{Object, ObjectSegment, ObjectSymbol};

/// How often a scenario calls its function.
pub(super) const CALLS: u64 = 1000;

/// Each form of the programs: what is allowed to choose it.
pub(super) const FORMS: [Features; 4] = [
    Features::ALL,
    Features { session: false, ..Features::ALL },
    Features { multi: false, session: false, ..Features::ALL },
    Features { cookies: false, multi: false, session: false },
];

/// The probes, or nothing where there can be none, with a line that says why.
pub(super) fn load(config: Config) -> Option<Probes> {
    match ebpf::load(config) {
        Ok((attacher, drain)) => Some(Probes { attacher, drain }),
        Err(why @ (Unsupported::Permission { .. } | Unsupported::NoBpf | Unsupported::NoUprobes(_))) => {
            println!("skipped: {why}");
            None
        }
        Err(why) => panic!("{why:?}"),
    }
}

/// The probes in each form that this Linux has.
pub(super) fn in_each_form(mut each: impl FnMut(Probes)) {
    for features in FORMS {
        let Some(probes) = load(Config { features, ..Config::default() }) else { return };
        println!("{:?}", probes.attacher.features());
        each(probes);
    }
}

/// The two halves of the source.
pub(super) struct Probes {
    pub(super) attacher: Attacher,
    pub(super) drain: Drain,
}

impl Probes {
    /// Attaches one probe, of which nothing is refused.
    pub(super) fn attach(&mut self, target: &Target, probe: Planned) -> Attached {
        let plan = target.plan(target.program(), vec![probe]);
        let attached = self.attacher.attach(Scope::Process(target.pid()), &plan);
        assert!(attached.refused.is_empty(), "{:?}", attached.refused);
        attached
    }

    /// All records that wait.
    pub(super) fn records(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        self.drain.drain(usize::MAX, |header, payload| {
            records.push(Record { header: *header, payload: payload.to_vec() });
        });
        assert_eq!(self.drain.malformed(), 0);
        records
    }

    /// The counters, whose parts make up the hits.
    pub(super) fn counters(&self) -> Counters {
        let counters = self.drain.counters().unwrap();
        let parts = counters.filtered + counters.unknown + counters.emitted + counters.lost;
        assert_eq!(counters.hits, parts, "{counters:?}");
        counters
    }
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

    /// If read `number` has a value.
    pub(super) fn has(&self, number: usize) -> bool {
        self.header.present & 1 << number != 0
    }

    /// If read `number` met an address that cannot be read.
    pub(super) fn faulted(&self, number: usize) -> bool {
        self.header.faulted & 1 << number != 0
    }
}

/// Compiles `source`, of this folder, unless that was done before.
pub(super) fn compiled(source: &str, options: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/probes_ebpf").join(source);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("probes_ebpf");
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let built = folder.join(source.file_stem().unwrap());
    let time = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    if time(&built) < time(&source) {
        let mut compiler = Command::new("cc");
        let status = compiler
            .args(["-O2", "-fno-optimize-sibling-calls", "-o"])
            .arg(&built)
            .arg(&source)
            .args(options)
            .status();
        assert!(status.unwrap().success());
    }
    built
}

/// A copy of the target program, which no other test knows.
pub(super) struct Copy(pub(super) PathBuf);

impl Copy {
    pub(super) fn new() -> Self {
        static COPIES: AtomicU32 = AtomicU32::new(0);
        let program = compiled("target.c", &["-pthread", "-ldl"]);
        let number = COPIES.fetch_add(1, Ordering::Relaxed);
        let copy = program.with_file_name(format!("target-{}-{number}", std::process::id()));
        fs::copy(&program, &copy).unwrap();
        Self(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A running target.
pub(super) struct Target {
    program: PathBuf,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Target {
    /// Starts it; it waits for [`Self::run`].
    pub(super) fn start(scenario: &str) -> Self {
        Self::of(&compiled("target.c", &["-pthread", "-ldl"]), &[scenario])
    }

    /// Starts it with a library, which it loads by `scenario`.
    pub(super) fn with_library(scenario: &str, library: &Path) -> Self {
        Self::of(&compiled("target.c", &["-pthread", "-ldl"]), &[scenario, library.to_str().unwrap()])
    }

    /// Starts that program.
    pub(super) fn of(program: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut target = Self { program: program.to_owned(), child, input, output };
        target.until_done();
        target
    }

    pub(super) fn pid(&self) -> Pid {
        Pid(self.child.id())
    }

    /// Lets it do its scenario once; gives what it printed.
    pub(super) fn run(&mut self) -> String {
        self.say("")
    }

    /// The same, with a line for it.
    pub(super) fn say(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").unwrap();
        self.until_done()
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn until_done(&mut self) -> String {
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

    /// Its program.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// A plan for a file that it maps.
    pub(super) fn plan(&self, file: &Path, probes: Vec<Planned>) -> Plan {
        let (file, load_bias) = self.mapping(file.to_str().unwrap());
        Plan { file, shown: "a file".into(), load_bias, probes }
    }

    /// The path of the file that is mapped under `name`, and where its byte 0 would lie.
    pub(super) fn mapping(&self, name: &str) -> (PathBuf, u64) {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid().0)).unwrap();
        let line = maps.lines().find(|line| line.contains(name) && line.contains("r-xp"));
        let words: Vec<&str> =
            line.unwrap_or_else(|| panic!("{name} is not in {maps}")).split_whitespace().collect();
        let number = |hexadecimal: &str| u64::from_str_radix(hexadecimal, 16).unwrap();
        let start = number(words[0].split('-').next().unwrap());
        (format!("/proc/{}/map_files/{}", self.pid().0, words[0]).into(), start - number(words[2]))
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
    let bytes = fs::read(file).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let mut symbols = file.symbols().chain(file.dynamic_symbols());
    let address =
        symbols.find(|one| one.name() == Ok(symbol)).unwrap_or_else(|| panic!("no {symbol}")).address();
    let holds =
        |segment: &object::Segment| (0..segment.size()).contains(&address.wrapping_sub(segment.address()));
    let segment = file.segments().find(holds).unwrap();
    address - segment.address() + segment.file_range().0
}

/// A probe at a function of `file`.
pub(super) fn probe(file: &Path, function: &str, entry: Box<FetchProgram>, exit: Exit) -> Planned {
    probe_at(function, offset(file, function), entry, exit)
}

/// A probe anywhere.
pub(super) fn probe_at(name: &str, entry_offset: u64, entry: Box<FetchProgram>, exit: Exit) -> Planned {
    let info = ProbeInfo {
        name: name.into(),
        engine: "test".into(),
        class: OpClass::Other,
        use_v1: None,
        api: None,
    };
    let call = Arc::new(Call { info: Arc::new(info), reader: Box::new(NoReader) });
    Planned { call, entry_offset, entry, exit }
}

#[derive(Debug)]
struct NoReader;

impl Reader for NoReader {
    fn values(&self, _: Fetched<'_>, _: Option<Fetched<'_>>) -> Values {
        Values::default()
    }
}

/// A fetch program of `reads`, whose values lie one behind the other.
pub(super) fn fetch(of: u8, reads: &[Read]) -> Box<FetchProgram> {
    let mut program = FetchProgram { phase: of, reads: reads.len() as u8, ..FetchProgram::default() };
    let mut at = 0;
    for (to, read) in program.read.iter_mut().zip(reads) {
        *to = Read { output: at, ..*read };
        at += bytes(read).next_multiple_of(8);
    }
    program.payload_bytes = at;
    Box::new(program)
}

fn bytes(read: &Read) -> u16 {
    match read.kind {
        kind::SCALAR => 8,
        kind::ARRAY => u16::from(read.capacity) * u16::from(read.size),
        _ => 1 + u16::from(read.capacity),
    }
}

/// DWARF numbers of the first six integer arguments, of the returned number, and of the stack pointer.
#[cfg(target_arch = "x86_64")]
pub(super) const REGISTERS: ([u8; 6], u8, u8) = ([5, 4, 1, 2, 8, 9], 0, 7);
#[cfg(target_arch = "aarch64")]
pub(super) const REGISTERS: ([u8; 6], u8, u8) = ([0, 1, 2, 3, 4, 5], 0, 31);

/// Where the first argument lies that is in no register, from the stack pointer at the entry.
#[cfg(target_arch = "x86_64")]
pub(super) const STACK_ARGUMENTS: i32 = 8;
#[cfg(target_arch = "aarch64")]
pub(super) const STACK_ARGUMENTS: i32 = 0;

/// A register, 8 bytes of it.
pub(super) fn register(index: u8) -> Read {
    Read { base: base::REGISTER, index, size: 8, count_read: FIXED, ..Read::default() }
}

/// An argument.
pub(super) fn argument(number: usize) -> Read {
    register(REGISTERS.0[number])
}

/// What a function returns.
pub(super) fn returned() -> Read {
    register(REGISTERS.1)
}

/// The value of an earlier read.
pub(super) fn earlier(index: u8) -> Read {
    Read { base: base::READ, index, size: 8, count_read: FIXED, ..Read::default() }
}

/// What reads are made of.
pub(super) trait Build {
    /// What lies there, so many bytes on.
    fn at(self, offset: i32) -> Self;
    /// So many bytes of it, as a number.
    fn bytes(self, size: u8) -> Self;
    /// Several numbers, as many as an earlier read says.
    fn array(self, size: u8, capacity: u8, count_read: u8) -> Self;
    /// Bytes up to a NUL.
    fn string(self, capacity: u8) -> Self;
    /// Bytes, as many as an earlier read says.
    fn counted(self, capacity: u8, count_read: u8) -> Self;
    /// Only if an earlier read is so.
    fn only_if(self, read: u8, condition: u8, value: u64) -> Self;
}

impl Build for Read {
    fn at(mut self, offset: i32) -> Self {
        self.offsets[usize::from(self.steps)] = offset;
        self.steps += 1;
        self
    }

    fn bytes(self, size: u8) -> Self {
        Self { size, ..self }
    }

    fn array(self, size: u8, capacity: u8, count_read: u8) -> Self {
        Self { kind: kind::ARRAY, size, capacity, count_read, ..self }
    }

    fn string(self, capacity: u8) -> Self {
        Self { kind: kind::STRING, capacity, ..self }
    }

    fn counted(self, capacity: u8, count_read: u8) -> Self {
        Self { kind: kind::BYTES, capacity, count_read, ..self }
    }

    fn only_if(self, read: u8, condition: u8, value: u64) -> Self {
        Self { condition, condition_read: read, condition_value: value, ..self }
    }
}
