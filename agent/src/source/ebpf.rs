//! Probes in processes: load the BPF programs, attach plans, drain records.
//!
//! Enters: plans ([`Plan`](crate::probes::plan::Plan)), and which processes are wanted. Leaves: records, a header and a
//! payload each, with exact counts of what became of every hit. Refuses: to interpret payloads, and to keep the state of
//! calls: a call's entry and its return are two records.
//!
//! ```text
//!  Plan ─► Attacher ─┬─ slots      fetch programs, into the kernel
//!                    ├─ targets    whose hits make records
//!                    └─ links      uprobes: many places by one link, or one by one
//!                           │ a hit
//!                           ▼
//!                    BPF program ─► ring buffer ─► Drain ─► (Header, payload)
//! ```
//!
//! The [`Attacher`] lives where symbols are resolved, which may take seconds; the [`Drain`] on the thread that handles
//! records. They share nothing but the kernel's maps.

mod attach;
mod drain;
mod features;
mod link;
mod object;
mod refusal;
mod slots;
mod sys;
mod targets;
mod unsupported;

pub use attach::{Attached, Attacher, AttachmentId, Refused, Scope, Slot};
pub use drain::{Counters, Drain};
pub use features::Features;
pub use refusal::Refusal;
pub use unsupported::Unsupported;

/// How to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Size of the ring buffer; rounded up to a power of two, a page at least.
    pub ring_bytes: u32,
    /// What may be used of what this Linux can do.
    pub features: Features,
}

impl Default for Config {
    fn default() -> Self {
        Self { ring_bytes: gpu_agent_ebpf_abi::RING_BYTES, features: Features::ALL }
    }
}

/// Creates the maps and loads the programs. Nothing is attached yet.
pub fn load(config: Config) -> Result<(Attacher, Drain), Unsupported> {
    unsupported::check_host()?;
    let unit = link::Unit::read().map_err(Unsupported::NoUprobes)?;
    let ring_bytes = config.ring_bytes.max(4096).next_power_of_two();
    let (maps, code) = object::open(ring_bytes)?;
    let features = Features::of_this_linux().and(config.features);
    let targets = targets::Targets::new(maps.targets, maps.cgroups);
    let linker = link::Linker::new(&code, features, unit, maps.sites)?;
    let attacher = Attacher::new(slots::Slots::new(maps.programs), targets, linker);
    Ok((attacher, Drain::new(maps.records, maps.counters)))
}
