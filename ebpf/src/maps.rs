//! The maps, which the agent creates, fills and reads.
//!
//! Enters: nothing. Leaves: maps. Refuses: nothing.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, RingBuf};
use gpu_agent_ebpf_abi::{Counters, FetchProgram, MAX_SLOTS, RING_BYTES, SiteKey};

/// Processes of which records are wanted, by tgid.
#[map(name = "TARGETS")]
pub static TARGETS: HashMap<u32, u8> = HashMap::with_max_entries(4096, 0);

/// Control groups of whose processes records are wanted, by id.
#[map(name = "CGROUPS")]
pub static CGROUPS: HashMap<u64, u8> = HashMap::with_max_entries(4096, 0);

/// Fetch programs by slot; one whose phase is zero is none.
#[map(name = "PROGRAMS")]
pub static PROGRAMS: Array<FetchProgram> = Array::with_max_entries(MAX_SLOTS, 0);

/// Slots by place, where Linux has no attach cookies.
#[map(name = "SITES")]
pub static SITES: HashMap<SiteKey, u32> = HashMap::with_max_entries(16384, 0);

/// Records on their way to the agent; it may choose another size.
#[map(name = "RECORDS")]
pub static RECORDS: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

/// What became of hits.
#[map(name = "COUNTERS")]
pub static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);
