//! Records into the ring buffer.
//!
//! Enters: a hit and its fetch program. Leaves: one record, or one loss. Refuses: to wait.
//!
//! A record is filled where the reader will find it: a thread may be preempted in a program, so nothing that belongs to a
//! CPU could hold it, and the stack is too small. What is reserved must have a constant size, so there are two.

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use gpu_agent_ebpf_abi::{FetchProgram, Header, MAX_PAYLOAD, NUMBERS_PAYLOAD, WAKE_BYTES};

use crate::counts::Counts;
use crate::fetch::{self, Fetched, LONGEST};
use crate::hit::Hit;
use crate::maps::RECORDS;

/// A record.
#[repr(C)]
struct Record<Payload> {
    header: Header,
    payload: Payload,
}

/// Room for numbers only.
type Numbers = [u8; NUMBERS_PAYLOAD as usize];
/// Room for anything.
type Anything = [u8; MAX_PAYLOAD + LONGEST];

/// Makes the record of `hit`.
#[inline(always)]
pub fn record(hit: &Hit, slot: u32, program: &FetchProgram, counts: Counts) {
    let faulted = if program.payload_bytes <= NUMBERS_PAYLOAD {
        sized::<Numbers, { NUMBERS_PAYLOAD as usize }, false>(hit, slot, program)
    } else {
        sized::<Anything, MAX_PAYLOAD, true>(hit, slot, program)
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

/// Makes it with a payload of this type; gives the mask of faulted reads, or nothing if the ring is full.
#[inline(never)]
fn sized<Payload: 'static, const ROOM: usize, const LONG: bool>(
    hit: &Hit,
    slot: u32,
    program: &FetchProgram,
) -> Option<u32> {
    let mut entry = RECORDS.reserve::<Record<Payload>>(0)?;
    let record = entry.as_mut_ptr();
    // SAFETY: the reserved bytes, `ROOM` of payload, and `LONGEST` more if `LONG`. Of values that are not there, bytes of
    // earlier records remain: they were for the agent's eyes too.
    let Fetched { present, faulted } =
        unsafe { fetch::run::<ROOM, LONG>(hit.registers, program, (&raw mut (*record).payload).cast()) };
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
