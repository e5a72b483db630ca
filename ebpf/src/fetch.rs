//! Runs a fetch program.
//!
//! Enters: registers, a fetch program, room for the payload. Leaves: the payload, and which reads have a value or met an
//! address that cannot be read. Refuses: reads that would lie outside the room; they have no value.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_probe_read_user, bpf_probe_read_user_str};
use gpu_agent_ebpf_abi::{
    FIXED, FetchProgram, MAX_READS, MAX_STEPS, MAX_STRING, Read, base, condition, kind,
};

use crate::registers::Registers;

/// Most bytes of a value that is no number, with the byte of its length.
const LONGEST: usize = MAX_STRING + 8;

/// Bit n tells of read n.
#[derive(Clone, Copy)]
pub struct Fetched {
    pub present: u32,
    pub faulted: u32,
}

/// Why a read has no value.
enum Missing {
    Absent,
    Faulted,
}

use Missing::{Absent, Faulted};

/// Runs `program`.
///
/// # Safety
/// `payload` has `ROOM` bytes.
#[inline(always)]
pub unsafe fn run<const ROOM: usize>(
    registers: Registers,
    program: &FetchProgram,
    payload: *mut u8,
) -> Fetched {
    let mut fetch = Fetch::<ROOM> {
        registers,
        program,
        payload,
        fetched: Fetched { present: program.read[0].reserved2, faulted: program.read[0].reserved2 },
    };
    for number in 0..MAX_READS {
        if number >= usize::from(program.reads) {
            break;
        }
        // SAFETY: `number` is within the array.
        let read = unsafe { program.read.get_unchecked(number) };
        match fetch.read(read) {
            Ok(()) => fetch.fetched.present |= 1 << number,
            Err(Faulted) => fetch.fetched.faulted |= 1 << number,
            Err(Absent) => {}
        }
    }
    fetch.fetched
}

struct Fetch<'a, const ROOM: usize> {
    registers: Registers,
    program: &'a FetchProgram,
    payload: *mut u8,
    fetched: Fetched,
}

impl<const ROOM: usize> Fetch<'_, ROOM> {
    #[inline(always)]
    fn read(&self, read: &Read) -> Result<(), Missing> {
        self.check(read)?;
        let start = match read.base {
            base::REGISTER => self.registers.get(read.index).ok_or(Absent)?,
            base::IMMEDIATE => read.immediate,
            base::READ => self.value(read.index)?,
            _ => return Err(Absent),
        };
        if read.steps == 0 {
            return if read.kind == kind::SCALAR {
                self.put(read, cut(start, read.size))
            } else {
                Err(Absent)
            };
        }
        let address = follow(start, read)?;
        let number = number_at::<ROOM>(read);
        if read.kind == kind::SCALAR {
            let size = (u32::from(read.size).wrapping_sub(1) & 7) + 1;
            // SAFETY: 8 bytes within the payload.
            return unsafe {
                let to = self.payload.add(number);
                to.cast::<u64>().write(0);
                load(to, size, address)
            };
        }
        if number + LONGEST > ROOM {
            return Err(Absent);
        }
        // SAFETY: `LONGEST` bytes within the payload.
        let to = unsafe { self.payload.add(number) };
        if read.kind == kind::STRING {
            return unsafe { string(to, read, address) };
        }
        let count = if read.count_read == FIXED { u64::MAX } else { self.value(read.count_read)? };
        let count = count.min(u64::from(read.capacity));
        if read.kind == kind::ARRAY {
            let size = (count * u64::from(read.size)).min(MAX_STRING as u64) as u32;
            return unsafe { load(to, size, address) };
        }
        let size = count.min(MAX_STRING as u64) as u32;
        unsafe {
            to.write(size as u8);
            load(to.add(1), size, address)
        }
    }

    /// If the read's condition holds.
    #[inline(always)]
    fn check(&self, read: &Read) -> Result<(), Missing> {
        if read.condition == condition::ALWAYS {
            return Ok(());
        }
        let value = self.value(read.condition_read)?;
        let relation = if value < read.condition_value {
            condition::LESS
        } else if value == read.condition_value {
            condition::EQUAL
        } else {
            condition::MORE_THAN
        };
        let holds = read.condition & relation != 0;
        if holds { Ok(()) } else { Err(Absent) }
    }

    /// The value of an earlier read; it lies in the payload already.
    #[inline(always)]
    fn value(&self, number: u8) -> Result<u64, Missing> {
        let number = usize::from(number) & (MAX_READS - 1);
        if self.fetched.present & 1 << number == 0 {
            return Err(if self.fetched.faulted & 1 << number == 0 { Absent } else { Faulted });
        }
        // SAFETY: `number` is within the array, and `number_at` within the payload.
        unsafe {
            let read = self.program.read.get_unchecked(number);
            Ok(self.payload.add(number_at::<ROOM>(read)).cast::<u64>().read())
        }
    }

    #[inline(always)]
    fn put(&self, read: &Read, value: u64) -> Result<(), Missing> {
        // SAFETY: within the payload.
        unsafe { self.payload.add(number_at::<ROOM>(read)).cast::<u64>().write(value) };
        Ok(())
    }
}

/// # Safety
/// `to` has `LONGEST` bytes.
#[inline(always)]
unsafe fn string(to: *mut u8, read: &Read, address: u64) -> Result<(), Missing> {
    let capacity = u32::from(read.capacity).min(MAX_STRING as u32);
    // SAFETY: by the caller.
    unsafe {
        // The helper ends what it copies with a NUL, which may take one byte more than the capacity.
        let copied = bpf_probe_read_user_str(to.add(1).cast(), capacity + 1, address as *const c_void);
        if copied <= 0 {
            return Err(Faulted);
        }
        to.write(copied as u8 - 1);
    }
    Ok(())
}

/// Makes all loads but the last, and adds the last offset.
#[inline(always)]
fn follow(start: u64, read: &Read) -> Result<u64, Missing> {
    let mut address = start;
    for step in 0..MAX_STEPS {
        // SAFETY: `step` is within the array.
        address = address.wrapping_add_signed(i64::from(unsafe { *read.offsets.get_unchecked(step) }));
        if step + 1 >= usize::from(read.steps) {
            break;
        }
        let mut next = 0u64;
        // SAFETY: 8 bytes of the stack.
        unsafe { load((&raw mut next).cast(), 8, address)? };
        address = next;
    }
    Ok(address)
}

/// # Safety
/// `to` has `size` bytes.
#[inline(always)]
unsafe fn load(to: *mut u8, size: u32, address: u64) -> Result<(), Missing> {
    // SAFETY: by the caller; the helper refuses addresses that are not the process's.
    if unsafe { bpf_probe_read_user(to.cast(), size, address as *const c_void) } == 0 {
        Ok(())
    } else {
        Err(Faulted)
    }
}

/// `value` as a number of `size` bytes.
#[inline(always)]
fn cut(value: u64, size: u8) -> u64 {
    let unused = 64 - 8 * ((u32::from(size).wrapping_sub(1) & 7) + 1);
    value << unused >> unused
}

/// Where a number lies in the payload: a multiple of 8 that leaves room for 8 bytes.
#[inline(always)]
fn number_at<const ROOM: usize>(read: &Read) -> usize {
    usize::from(read.output) & (ROOM - 8)
}
