//! What is to be attached in one process: the hand-over from specifications to `source::ebpf`.
//!
//! Enters: resolved probes. Leaves: places, fetch programs and the readers of what they fetch. Refuses: nothing.

use std::path::PathBuf;
use std::sync::Arc;

use gpu_agent_ebpf_abi::FetchProgram;

use crate::event::{FieldValue, ProbeInfo, Tensor};

/// All probes of one file of a process.
#[derive(Debug, Clone)]
pub struct Plan {
    /// A path that opens the very file which the process maps, e.g. `/proc/PID/map_files/…`.
    pub file: PathBuf,
    /// The name it has for people.
    pub shown: Arc<str>,
    /// Where the file's byte 0 would lie in the process (start of a mapping − its offset): makes addresses of offsets for kernels without
    /// attach cookies.
    pub load_bias: u64,
    /// The probes.
    pub probes: Vec<Planned>,
}

/// One probe at one function.
#[derive(Debug, Clone)]
pub struct Planned {
    /// What its calls are.
    pub call: Arc<Call>,
    /// File offset of the function's first instruction.
    pub entry_offset: u64,
    /// What is read there.
    pub entry: Box<FetchProgram>,
    /// How its return is seen.
    pub exit: Exit,
}

/// How a function's return is seen.
#[derive(Debug, Clone)]
pub enum Exit {
    /// Not at all: its calls have no duration.
    Unseen,
    /// By a uretprobe. Only for functions out of which no exception is thrown: the unwinder cannot pass the return address
    /// that Linux puts on the stack, and the process would end.
    Trampoline(Box<FetchProgram>),
    /// By a probe on each of its return instructions.
    Instructions {
        /// Their file offsets.
        offsets: Vec<u64>,
        /// What is read there.
        program: Box<FetchProgram>,
    },
}

/// What the calls of a probe are, and how their payloads are read.
#[derive(Debug)]
pub struct Call {
    /// Which probe.
    pub info: Arc<ProbeInfo>,
    /// Makes values of what was read.
    pub reader: Box<dyn Reader>,
}

/// Makes values of payloads. Pure and total: whatever the bytes, they were read from a process that may be hostile.
pub trait Reader: std::fmt::Debug + Send + Sync {
    /// The values of a call: `exit` is `None` if its return was not seen.
    fn values(&self, entry: Fetched<'_>, exit: Option<Fetched<'_>>) -> Values;
}

/// What was read at one place.
#[derive(Debug, Clone, Copy)]
pub struct Fetched<'a> {
    /// Bit n: read n has a value.
    pub present: u32,
    /// Bit n: read n met an address that cannot be read.
    pub faulted: u32,
    /// The payload.
    pub payload: &'a [u8],
}

/// The values of a call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values {
    /// Its tensors.
    pub tensors: Vec<Tensor>,
    /// Its other values.
    pub fields: Vec<(Arc<str>, FieldValue)>,
    /// Values that could not be read or contradict themselves, left out above.
    pub unreadable: u32,
    /// The specification's `if` says that this call is none of the probe's: nothing is made of it.
    pub is_excluded: bool,
}
