//! The built BPF object: its maps created, its programs made ready to load.
//!
//! Enters: the committed object of this architecture. Leaves: maps, and instructions that know them. Refuses: nothing; what
//! the kernel refuses is [`super::Unsupported`]'s to explain.

use std::collections::HashSet;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf};
use aya_obj::Object;
use aya_obj::generated::{BPF_ALU64, BPF_CALL, BPF_JMP, BPF_K, BPF_MOV, bpf_insn};
use gpu_agent_ebpf_abi::{Counters, FetchProgram, SiteKey};

use super::sys::{self, AttachType};
use super::unsupported::{self, Unsupported};

#[cfg(target_arch = "x86_64")]
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../../ebpf/prebuilt/x86_64.o");
#[cfg(target_arch = "aarch64")]
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../../ebpf/prebuilt/aarch64.o");

/// Bytes of the verifier's words that are kept: its reason is the last of them.
const LOG_BYTES: usize = 1 << 20;

/// What Linux answers where it lacks something, without a name in C (`linux/errno.h`).
const ENOTSUPP: i32 = 524;

/// Fetch programs, by slot.
pub(super) type Programs = Array<MapData, [u8; size_of::<FetchProgram>()]>;
/// Slots, by place.
pub(super) type Sites = HashMap<MapData, [u8; size_of::<SiteKey>()], u32>;
/// The counters, a set for each CPU.
pub(super) type CounterMap = PerCpuArray<MapData, [u64; size_of::<Counters>() / 8]>;

/// The maps.
pub(super) struct Maps {
    pub(super) targets: HashMap<MapData, u32, u8>,
    pub(super) cgroups: HashMap<MapData, u64, u8>,
    pub(super) programs: Programs,
    pub(super) sites: Sites,
    pub(super) records: RingBuf<MapData>,
    pub(super) counters: CounterMap,
}

/// The programs, ready to load.
#[derive(Debug)]
pub(super) struct Code {
    object: Object,
    /// The programs name it.
    _nowhere: MapData,
}

/// Creates the maps, the ring buffer with `ring_bytes`.
pub(super) fn open(ring_bytes: u32) -> Result<(Maps, Code), Unsupported> {
    let mut object = Object::parse(OBJECT).map_err(Unsupported::object)?;
    let mut created = Vec::new();
    for (name, definition) in &object.maps {
        let mut definition = definition.clone();
        if name == "RECORDS" {
            definition.set_max_entries(ring_bytes);
        }
        let map = MapData::create(definition.clone(), name, None)
            .map_err(|error| unsupported::of_map(name, error))?;
        created.push((name.clone(), definition, map));
    }
    let text: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    let descriptors = created
        .iter()
        .map(|(name, definition, map)| (name.as_str(), map.fd().as_fd().as_raw_fd(), definition));
    object.relocate_maps(descriptors, &text).map_err(Unsupported::object)?;
    object.relocate_calls(&text).map_err(Unsupported::object)?;

    let mut take = |name: &str| {
        let at = created.iter().position(|(other, _, _)| other == name)?;
        Some(created.swap_remove(at).2)
    };
    let mut take = |name: &'static str| take(name).ok_or_else(|| Unsupported::object(NoMap { name }));
    let wrong = |error: MapError| Unsupported::object(error);
    let maps = Maps {
        targets: Map::HashMap(take("TARGETS")?).try_into().map_err(wrong)?,
        cgroups: Map::HashMap(take("CGROUPS")?).try_into().map_err(wrong)?,
        programs: Map::Array(take("PROGRAMS")?).try_into().map_err(wrong)?,
        sites: Map::HashMap(take("SITES")?).try_into().map_err(wrong)?,
        records: Map::RingBuf(take("RECORDS")?).try_into().map_err(wrong)?,
        counters: Map::PerCpuArray(take("COUNTERS")?).try_into().map_err(wrong)?,
    };
    Ok((maps, Code { object, _nowhere: take("NOWHERE")? }))
}

/// The object lacks a map.
#[derive(Debug, thiserror::Error)]
#[error("no map {name}")]
struct NoMap {
    name: &'static str,
}

/// The object lacks a program.
#[derive(Debug, thiserror::Error)]
#[error("no program {name}")]
struct NoProgram {
    name: &'static str,
}

impl Code {
    /// Loads the program `name`; a refused one is loaded again to hear why.
    pub(super) fn load(&self, name: &'static str, attach_type: AttachType) -> Result<OwnedFd, Unsupported> {
        let (instructions, license) =
            self.program(name).ok_or_else(|| Unsupported::object(NoProgram { name }))?;
        let load = |code: &[bpf_insn], log: &mut [u8]| sys::load_program(code, &license, attach_type, log);
        let no_tail_calls = |error: io::Error| match error.raw_os_error() {
            Some(libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP) => {
                load(&without_tail_calls(instructions), &mut [])
            }
            _ => Err(error),
        };
        load(instructions, &mut []).or_else(no_tail_calls).or_else(|_| {
            let mut log = vec![0; LOG_BYTES];
            load(instructions, &mut log).map_err(|error| unsupported::of_program(name, error, &log))
        })
    }

    fn program(&self, name: &str) -> Option<(&[bpf_insn], CString)> {
        let program = self.object.programs.get(name)?;
        let function = self.object.functions.get(&program.function_key())?;
        Some((&function.instructions, program.license.clone()))
    }
}

/// The programs have a tail call, which is never made, to stay on the kernel's stack (`ebpf/src/stack.rs`). Where Linux takes no
/// tail calls in programs of several functions (AArch64 before 6.0, or without the JIT), it has no other stack for them either.
fn without_tail_calls(instructions: &[bpf_insn]) -> Vec<bpf_insn> {
    /// `bpf_tail_call`, `linux/bpf.h`.
    const TAIL_CALL: i32 = 12;
    let is_helper = |code: &bpf_insn| u32::from(code.code) == BPF_JMP | BPF_CALL && code.src_reg() == 0;
    let mut instructions = instructions.to_vec();
    for call in instructions.iter_mut().filter(|code| is_helper(code) && code.imm == TAIL_CALL) {
        *call = bpf_insn { code: (BPF_ALU64 | BPF_MOV | BPF_K) as u8, imm: 0, ..*call };
    }
    instructions
}
