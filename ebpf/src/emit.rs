//! Records into the ring buffer.
//!
//! Enters: a hit and its fetch program. Leaves: one record, or one loss. Refuses: to wait.
//!
//! A record is filled where the reader will find it: a thread may be preempted in a program, so nothing that belongs to a
//! CPU could hold it, and the stack is too small. What is reserved must have a constant size, so there are two.

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use gpu_agent_ebpf_abi::{FetchProgram, Header, MAX_PAYLOAD, WAKE_BYTES};

use crate::counts::Counts;
use crate::fetch::{self, Fetched};
use crate::hit::Hit;
use crate::maps::RECORDS;

/// A record with room for `ROOM` bytes of payload.
#[repr(C)]
struct Record<const ROOM: usize> {
    header: Header,
    payload: [u8; ROOM],
}

/// Makes the record of `hit`.
#[inline(always)]
pub fn record(hit: &Hit, slot: u32, program: &FetchProgram, counts: Counts) {
    let faulted = match program.payload_bytes {
        0..=64 => sized::<64>(hit, slot, program),
        _ => sized::<MAX_PAYLOAD>(hit, slot, program),
    };
    match faulted {
        None => counts.lost(),
        Some(0) => counts.emitted(),
        Some(faulted) => {
            counts.emitted();
            counts.faulted_reads(faulted.count_ones());
        }
    }
}

/// Makes it with room for `ROOM` bytes; gives the mask of faulted reads, or nothing if the ring is full.
#[inline(never)]
fn sized<const ROOM: usize>(hit: &Hit, slot: u32, program: &FetchProgram) -> Option<u32> {
    let mut entry = RECORDS.reserve::<Record<ROOM>>(0)?;
    let record = entry.as_mut_ptr();
    // SAFETY: the reserved bytes; they are written before they are submitted, but for the payload of reads that have no
    // value, in which bytes of earlier records may remain: those were for the agent's eyes too.
    let Fetched { present, faulted } =
        unsafe { fetch::run::<ROOM>(hit.registers, program, (&raw mut (*record).payload).cast()) };
    let header = Header {
        ktime_ns: hit.ktime_ns,
        stack_pointer: hit.registers.stack_pointer(),
        process: hit.process(),
        thread: hit.thread(),
        slot,
        present,
        faulted,
        phase: program.phase,
        reserved: 0,
        payload_bytes: program.payload_bytes,
        generation: program.generation,
        reserved2: 0,
    };
    // SAFETY: as above.
    unsafe { (&raw mut (*record).header).write(header) };
    let wake = RECORDS.query(u64::from(BPF_RB_AVAIL_DATA)) > WAKE_BYTES;
    entry.submit(u64::from(if wake { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP }));
    Some(faulted)
}
