//! Records into the ring buffer.
//!
//! Enters: a hit and its fetch program. Leaves: one record, or one loss. Refuses: to wait.
//!
//! A record is filled where the reader will find it: a thread may be preempted in a program, so nothing that belongs to a
//! CPU could hold it, and the stack is too small. What is reserved must have a constant size, so there are three.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use gpu_agent_ebpf_abi::{Counters, FetchProgram, Header, MAX_PAYLOAD, WAKE_BYTES};

use crate::fetch::{self, Fetched};
use crate::hit::Hit;
use crate::maps::RECORDS;

/// A record with room for `ROOM` bytes of payload.
#[repr(C)]
struct Record<const ROOM: usize> {
    header: Header,
    payload: [u8; ROOM],
}

/// Adds one. Atomically: a thread that is preempted here, and another on the same CPU, must both be counted.
#[inline(always)]
pub fn count(counter: *mut u64) {
    add(counter, 1);
}

#[inline(always)]
fn add(counter: *mut u64, amount: u64) {
    // SAFETY: the counters lie in a map's value, aligned, and are used through atomics only.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, amount) };
}

/// Makes the record of `hit`.
#[inline(always)]
pub fn record(hit: &Hit, slot: u32, program: &FetchProgram, counters: *mut Counters) {
    let emitted = match program.payload_bytes {
        0..=64 => sized::<64>(hit, slot, program),
        65..=256 => sized::<256>(hit, slot, program),
        _ => sized::<MAX_PAYLOAD>(hit, slot, program),
    };
    // SAFETY: this CPU's counters, only ever added to.
    let (emitted_counter, lost, faulted_reads) = unsafe {
        (&raw mut (*counters).emitted, &raw mut (*counters).lost, &raw mut (*counters).faulted_reads)
    };
    match emitted {
        None => count(lost),
        Some(faulted) => {
            count(emitted_counter);
            if faulted != 0 {
                add(faulted_reads, u64::from(faulted.count_ones()));
            }
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
    let wake = RECORDS.query(u64::from(aya_ebpf::bindings::BPF_RB_AVAIL_DATA)) > WAKE_BYTES;
    entry.submit(u64::from(if wake { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP }));
    Some(faulted)
}
