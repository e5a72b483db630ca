//! Plans into processes, and out of them.
//!
//! Enters: a plan, and where it is to hold. Leaves: what the records of each slot are, and which probes were refused, and
//! why. Refuses: single probes; the others are attached.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use aya::maps::MapError;
use gpu_agent_ebpf_abi::{FetchProgram, NO_SLOT, cookie, phase};

use super::features::Features;
use super::link::{File, Kind, Linker, Links, Place};
use super::refusal::Refusal;
use super::slots::Slots;
use super::targets::Targets;
use crate::event::Pid;
use crate::probes::plan::{Call, Exit, Plan, Planned};

/// Where probes hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In one process, which becomes a target. No other has breakpoints.
    Process(Pid),
    /// In all processes that map the file, now or later. Those that are no targets pay for the breakpoint, and make no
    /// records.
    Everywhere,
}

/// Names an attached plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttachmentId(u64);

/// What the records of a slot are.
#[derive(Debug, Clone)]
pub struct Slot {
    /// [`gpu_agent_ebpf_abi::Header::slot`].
    pub slot: u32,
    /// [`gpu_agent_ebpf_abi::Header::generation`]: a record with another one is not of this slot.
    pub generation: u32,
    /// [`gpu_agent_ebpf_abi::phase`].
    pub phase: u8,
    /// What is called there.
    pub call: Arc<Call>,
}

/// A probe that is not attached, or misses one of its places.
#[derive(Debug)]
pub struct Refused {
    /// Its name in the specification.
    pub probe: Arc<str>,
    /// Why.
    pub why: Refusal,
}

/// What became of a plan.
#[derive(Debug)]
pub struct Attached {
    /// To detach it.
    pub id: AttachmentId,
    /// Its slots.
    pub slots: Vec<Slot>,
    /// What is missing.
    pub refused: Vec<Refused>,
}

/// Attaches plans.
pub struct Attacher {
    slots: Slots,
    targets: Targets,
    linker: Linker,
    attachments: BTreeMap<AttachmentId, Attachment>,
    next: u64,
}

/// An attached watch for libraries.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    /// To detach it.
    pub id: AttachmentId,
    /// Its records' slot.
    pub slot: u32,
    /// Its records' generation.
    pub generation: u32,
}

struct Attachment {
    /// The process that is a target because of it.
    target: Option<Pid>,
    links: Links,
    slots: Vec<u32>,
}

/// A probe on its way into the kernel.
struct Candidate {
    entry: Slot,
    exit: Option<Slot>,
    places: Vec<Place>,
}

impl Attacher {
    pub(super) fn new(slots: Slots, targets: Targets, linker: Linker) -> Self {
        Self { slots, targets, linker, attachments: BTreeMap::new(), next: 0 }
    }

    /// What is used of what this Linux can do.
    #[must_use]
    pub fn features(&self) -> Features {
        self.linker.features()
    }

    /// Attaches all probes of `plan` that are not refused.
    pub fn attach(&mut self, scope: Scope, plan: &Plan) -> Attached {
        let name = |number: usize| plan.probes.get(number).map(|probe| probe.call.info.name.clone());
        let mut refused = Vec::new();
        let mut candidates = Vec::new();
        for (number, planned) in plan.probes.iter().enumerate() {
            match self.candidate(number, planned) {
                Ok(candidate) => candidates.push(candidate),
                Err(why) => refused.push((number, why)),
            }
        }
        let places: Vec<Place> = candidates.iter().flat_map(|candidate| &candidate.places).copied().collect();
        let slots = candidates.iter().flat_map(Candidate::slots).map(|slot| slot.slot).collect();
        let (id, missed) = self.hold(scope, &plan.file, plan.load_bias, &places, slots);

        let mut live = Vec::new();
        for candidate in candidates {
            let attached = |slot: &Slot| {
                let missing = |place| missed.iter().any(|(other, _)| other == place);
                candidate.places.iter().any(|place| place.carries(slot.slot) && !missing(place))
            };
            let entered = attached(&candidate.entry);
            for slot in candidate.slots() {
                if entered && attached(slot) {
                    live.push(slot.clone());
                } else {
                    self.slots.clear(slot.slot);
                }
            }
        }
        refused.extend(missed.into_iter().map(|(place, why)| (place.probe, why)));
        let refused =
            refused.into_iter().filter_map(|(number, why)| Some(Refused { probe: name(number)?, why }));
        Attached { id, slots: live, refused: refused.collect() }
    }

    /// Makes a record of [`phase::LIBRARIES`] of each hit of `offset`: glibc's `_dl_debug_state`, which its dynamic linker
    /// calls before and after it changes its list of libraries.
    pub fn watch_libraries(
        &mut self,
        scope: Scope,
        file: &Path,
        load_bias: u64,
        offset: u64,
    ) -> Result<Watch, Refusal> {
        let program = FetchProgram { phase: phase::LIBRARIES, ..FetchProgram::default() };
        let (slot, generation) = self.slots.load(&program)?;
        let place = Place { kind: Kind::Instruction, offset, cookie: cookie(slot, NO_SLOT), probe: 0 };
        let (id, missed) = self.hold(scope, file, load_bias, &[place], vec![slot]);
        match missed.into_iter().next() {
            None => Ok(Watch { id, slot, generation }),
            Some((_, why)) => {
                self.detach(id)?;
                Err(why)
            }
        }
    }

    /// Leaves all places of an attached plan. Its records that wait in the ring buffer stay there.
    pub fn detach(&mut self, id: AttachmentId) -> Result<(), MapError> {
        let Some(attachment) = self.attachments.remove(&id) else { return Ok(()) };
        let left = self.linker.detach(attachment.links);
        attachment.slots.into_iter().for_each(|slot| self.slots.free(slot));
        match attachment.target {
            Some(pid) => self.targets.release(pid).and(left),
            None => left,
        }
    }

    /// Makes `pid` a target of what is attached everywhere.
    pub fn want_process(&mut self, pid: Pid) -> Result<(), MapError> {
        self.targets.want(pid)
    }

    /// Undoes [`Self::want_process`].
    pub fn release_process(&mut self, pid: Pid) -> Result<(), MapError> {
        self.targets.release(pid)
    }

    /// Makes the processes in the control group with this id (its folder's inode number) targets; not those in groups below.
    pub fn want_cgroup(&mut self, id: u64) -> Result<(), MapError> {
        self.targets.want_cgroup(id)
    }

    /// Undoes [`Self::want_cgroup`].
    pub fn release_cgroup(&mut self, id: u64) -> Result<(), MapError> {
        self.targets.release_cgroup(id)
    }

    /// Puts the programs of a probe into slots, and says where they are to run.
    fn candidate(&mut self, number: usize, planned: &Planned) -> Result<Candidate, Refusal> {
        let mut load = |program: &FetchProgram| {
            let (slot, generation) = self.slots.load(program)?;
            Ok(Slot { slot, generation, phase: program.phase, call: planned.call.clone() })
        };
        let entry = load(&planned.entry)?;
        let exit = match &planned.exit {
            Exit::Unseen => None,
            Exit::Trampoline(program) | Exit::Instructions { program, .. } => match load(program) {
                Ok(exit) => Some(exit),
                Err(why) => {
                    self.slots.free(entry.slot);
                    return Err(why);
                }
            },
        };
        let place =
            |kind, offset, low, high| Place { kind, offset, cookie: cookie(low, high), probe: number };
        let at = planned.entry_offset;
        let places = match (&planned.exit, &exit) {
            (Exit::Trampoline(_), Some(exit)) if self.features().session => {
                vec![place(Kind::Session, at, entry.slot, exit.slot)]
            }
            (Exit::Trampoline(_), Some(exit)) => vec![
                place(Kind::Instruction, at, entry.slot, NO_SLOT),
                place(Kind::Returns, at, exit.slot, NO_SLOT),
            ],
            (Exit::Instructions { offsets, .. }, Some(exit)) => {
                let returns =
                    offsets.iter().map(|offset| place(Kind::Instruction, *offset, exit.slot, NO_SLOT));
                std::iter::once(place(Kind::Instruction, at, entry.slot, NO_SLOT)).chain(returns).collect()
            }
            _ => vec![place(Kind::Instruction, at, entry.slot, NO_SLOT)],
        };
        Ok(Candidate { entry, exit, places })
    }

    /// Attaches `places`; gives those that are missed.
    fn hold(
        &mut self,
        scope: Scope,
        file: &Path,
        load_bias: u64,
        places: &[Place],
        slots: Vec<u32>,
    ) -> (AttachmentId, Vec<(Place, Refusal)>) {
        let mut links = Links::default();
        let mut missed = Vec::new();
        let pid = match scope {
            Scope::Process(pid) => Some(pid),
            Scope::Everywhere => None,
        };
        let target = pid.filter(|pid| self.targets.want(*pid).is_ok());
        match CString::new(file.as_os_str().as_bytes()) {
            Ok(path) if target == pid => {
                let file = File { path: &path, load_bias, pid: pid.map(|pid| pid.0) };
                self.linker.attach(file, places, &mut links, &mut missed);
            }
            Ok(_) => missed.extend(places.iter().map(|place| (*place, Refusal::TooManyTargets))),
            Err(_) => missed.extend(places.iter().map(|place| (*place, Refusal::Path))),
        }
        let id = AttachmentId(self.next);
        self.next += 1;
        self.attachments.insert(id, Attachment { target, links, slots });
        (id, missed)
    }
}

impl Candidate {
    fn slots(&self) -> impl Iterator<Item = &Slot> {
        std::iter::once(&self.entry).chain(&self.exit)
    }
}
