//! The agent's own probes, on functions that a test names.
//!
//! Enters: a target, and what is to be read where its functions are entered and left. Leaves: the records of its rounds, in the
//! order in which they came. Refuses: a probe that is not attached, and a record that nobody asked for.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gpu_agent::event::{OpClass, Pid, ProbeInfo};
use gpu_agent::probes::plan::{Call, Exit, Fetched, Plan, Planned, Reader, Values};
use gpu_agent::source::ebpf::{
    self, Attached, Attacher, AttachmentId, Config, Counters, Drain, Features, Scope, Unsupported,
};
use gpu_agent::symbols::{Cache, Image, Pattern, Symbol};
use gpu_agent_ebpf_abi::{FetchProgram, phase};

use super::reads::Record;
use super::{Function, Target};

/// Loaded probes.
pub struct Prober {
    attacher: Attacher,
    drain: Drain,
    /// Functions by slot and generation.
    functions: HashMap<(u32, u32), Arc<str>>,
}

/// How a return is to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// At the function's return instructions.
    Instructions,
    /// By a uretprobe.
    Trampoline,
}

impl Way {
    /// Of the records that it makes.
    #[must_use]
    pub fn phase(self) -> u8 {
        match self {
            Self::Instructions => phase::RETURN,
            Self::Trampoline => phase::RETURNED,
        }
    }
}

/// A function to be probed.
#[derive(Debug, Clone, Copy)]
pub struct Probe<'a> {
    /// Its name.
    pub function: &'a str,
    /// What is read where it is entered.
    pub entry: &'a FetchProgram,
    /// What is read where it is left, and how.
    pub exit: Option<(Way, &'a FetchProgram)>,
}

/// A round of a target, watched.
#[derive(Debug)]
pub struct Watched {
    /// What the target computed.
    pub checksum: String,
    /// What its functions did.
    pub records: Vec<Record>,
}

/// Has no values.
#[derive(Debug)]
struct Valueless;

impl Reader for Valueless {
    fn values(&self, _: Fetched<'_>, _: Option<Fetched<'_>>) -> Values {
        Values::default()
    }
}

impl Prober {
    /// Loads the probes as the agent does.
    pub fn load() -> Result<Self, Unsupported> {
        Self::configured(Config::default())
    }

    /// Loads the probes with settings of its own.
    pub fn configured(config: Config) -> Result<Self, Unsupported> {
        let (attacher, drain) = ebpf::load(config)?;
        Ok(Self { attacher, drain, functions: HashMap::new() })
    }

    /// What is used of what this Linux can do.
    #[must_use]
    pub fn features(&self) -> Features {
        self.attacher.features()
    }

    /// Attaches probes to functions of a target. Every one of them must be attached.
    pub fn attach(&mut self, target: &Target, probes: &[Probe<'_>]) -> Attached {
        let code = target.code();
        let attached = self.try_attach(target.pid(), &plan(&code.file, code.bias, probes));
        assert!(attached.refused.is_empty(), "{:?}", attached.refused);
        attached
    }

    /// Attaches what can be attached of a plan.
    pub fn try_attach(&mut self, pid: u32, plan: &Plan) -> Attached {
        let attached = self.attacher.attach(Scope::Process(Pid(pid)), plan);
        for slot in &attached.slots {
            self.functions.insert((slot.slot, slot.generation), Arc::clone(&slot.call.info.name));
        }
        attached
    }

    /// Takes probes away.
    pub fn detach(&mut self, attachment: AttachmentId) {
        self.attacher.detach(attachment).expect("detaching cannot fail");
    }

    /// The records that wait.
    pub fn records(&mut self) -> Vec<Record> {
        let Self { drain, functions, .. } = self;
        let mut records = Vec::new();
        drain.drain(usize::MAX, |header, payload| {
            let function = functions.get(&(header.slot, header.generation));
            let function = Arc::clone(function.unwrap_or_else(|| panic!("a record of no slot: {header:?}")));
            records.push(Record { function, header: *header, payload: payload.to_vec() });
        });
        assert_eq!(drain.malformed(), 0);
        records
    }

    /// Has the target work a round, and takes the records of that.
    pub fn watch(&mut self, target: &mut Target) -> Watched {
        target.begin();
        let mut records = Vec::new();
        let checksum = loop {
            let answer = target.answer();
            records.append(&mut self.records());
            match answer {
                Some(checksum) => break checksum,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        Watched { checksum, records }
    }

    /// What became of all hits so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let counters = self.drain.counters().expect("the counters");
        assert_eq!(counters.hits, counters.filtered + counters.unknown + counters.emitted + counters.lost);
        counters
    }
}

impl fmt::Debug for Prober {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Prober").field("features", &self.features()).finish_non_exhaustive()
    }
}

/// What attaches to these functions of `file`, whose first byte would be at `bias`.
#[must_use]
pub fn plan(file: &Path, bias: u64, probes: &[Probe<'_>]) -> Plan {
    let image = Image::open(file, "the target").expect("an ELF file");
    let patterns: Vec<_> = probes.iter().map(|probe| Pattern::Exact(probe.function.into())).collect();
    let found = image.lookup(&Cache::disabled(), &patterns).expect("symbols");
    let planned = |(probe, symbols): (&Probe<'_>, Result<Vec<Symbol>, _>)| {
        let symbols = symbols.expect("a function's name");
        let [symbol] = &symbols[..] else { panic!("{}: {symbols:?}", probe.function) };
        assert_eq!(symbol.file_offset, Function::of(file, probe.function).offset, "{symbol:?}");
        Planned {
            call: Arc::new(call(probe.function)),
            entry_offset: symbol.file_offset,
            entry: Box::new(*probe.entry),
            exit: match probe.exit {
                None => Exit::Unseen,
                Some((Way::Trampoline, program)) => Exit::Trampoline(Box::new(*program)),
                Some((Way::Instructions, program)) => {
                    let returns = image.returns(symbol).expect("return instructions");
                    assert!(!returns.offsets.is_empty() && !returns.tail_call, "{returns:?}");
                    Exit::Instructions { offsets: returns.offsets, program: Box::new(*program) }
                }
            },
        }
    };
    let probes = probes.iter().zip(found).map(planned).collect();
    Plan { file: file.to_owned(), shown: "the target".into(), load_bias: bias, probes }
}

fn call(function: &str) -> Call {
    let info = ProbeInfo {
        name: function.into(),
        engine: "test".into(),
        class: OpClass::Other,
        use_v1: None,
        api: None,
    };
    Call { info: Arc::new(info), reader: Box::new(Valueless) }
}
