//! Runs a fetch program.
//!
//! Enters: registers, a fetch program, room for the payload. Leaves: the payload, and which reads have a value or met an
//! address that cannot be read. Refuses: reads that the room has no place for; they have no value.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_probe_read_user, bpf_probe_read_user_str};
use gpu_agent_ebpf_abi::{
    FIXED, FetchProgram, MAX_ELEMENTS, MAX_READS, MAX_STEPS, MAX_STRING, Read, base, condition, kind,
};

use crate::registers::Registers;

/// Most bytes that a read writes: a string, the byte of its length, and a NUL. Where a payload's last 8 bytes are followed by
/// so many, a value may begin in them.
pub const LONGEST: usize = MAX_STRING + 8;

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
/// `payload` has `ROOM` bytes, a power of two, and `LONGEST` more if `LONG`.
#[inline(always)]
pub unsafe fn run<const ROOM: usize, const LONG: bool>(
    registers: Registers,
    program: &FetchProgram,
    payload: *mut u8,
) -> Fetched {
    // Zeros; see the field.
    let zero = program.read[0].reserved2;
    let fetched = Fetched { present: zero, faulted: zero };
    let mut fetch = Fetch::<ROOM, LONG> { registers, program, payload, fetched };
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

struct Fetch<'a, const ROOM: usize, const LONG: bool> {
    registers: Registers,
    program: &'a FetchProgram,
    payload: *mut u8,
    fetched: Fetched,
}

impl<const ROOM: usize, const LONG: bool> Fetch<'_, ROOM, LONG> {
    #[inline(always)]
    fn read(&self, read: &Read) -> Result<(), Missing> {
        self.check(read)?;
        let start = match read.base {
            base::REGISTER => self.registers.get(read.index).ok_or(Absent)?,
            base::IMMEDIATE => read.immediate,
            base::READ => self.value(read.index)?,
            _ => return Err(Absent),
        };
        let to = self.place_of(read);
        if read.steps == 0 {
            // SAFETY: a number has its place in the payload.
            return if read.kind == kind::SCALAR {
                unsafe { put(to, cut(start, read.size)) }
            } else {
                Err(Absent)
            };
        }
        let address = follow(start, read)?;
        // SAFETY: a number has its place in the payload; with `LONG`, anything has.
        unsafe {
            match read.kind {
                kind::SCALAR => number(to, read, address),
                kind::STRING if LONG => string(to, read, address),
                kind::ARRAY if LONG => array(to, read, self.count(read)?, address),
                kind::BYTES if LONG => bytes(to, self.count(read)?, address),
                _ => Err(Absent),
            }
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
        // SAFETY: `number` is within the array, and its place within the payload.
        Ok(unsafe { self.place_of(self.program.read.get_unchecked(number)).cast::<u64>().read() })
    }

    /// How many elements or bytes are to be read.
    #[inline(always)]
    fn count(&self, read: &Read) -> Result<u64, Missing> {
        let capacity = u64::from(read.capacity);
        if read.count_read == FIXED { Ok(capacity) } else { Ok(self.value(read.count_read)?.min(capacity)) }
    }

    /// Where a value goes: a multiple of 8, and 8 bytes at least before the end.
    #[inline(always)]
    fn place_of(&self, read: &Read) -> *mut u8 {
        // SAFETY: within the payload.
        unsafe { self.payload.add(usize::from(read.output) & (ROOM - 8)) }
    }
}

/// # Safety
/// `to` has 8 bytes.
#[inline(always)]
unsafe fn put(to: *mut u8, value: u64) -> Result<(), Missing> {
    // SAFETY: by the caller.
    unsafe { to.cast::<u64>().write(value) };
    Ok(())
}

/// # Safety
/// `to` has 8 bytes.
#[inline(always)]
unsafe fn number(to: *mut u8, read: &Read, address: u64) -> Result<(), Missing> {
    // SAFETY: by the caller.
    unsafe {
        put(to, 0)?;
        load(to, number_size(read.size), address)
    }
}

/// # Safety
/// `to` has `LONGEST` bytes.
#[inline(always)]
unsafe fn array(to: *mut u8, read: &Read, count: u64, address: u64) -> Result<(), Missing> {
    let size = (count * u64::from(read.size)).min((MAX_ELEMENTS * 8) as u64);
    // SAFETY: by the caller.
    unsafe { load(to, size as u32, address) }
}

/// # Safety
/// `to` has `LONGEST` bytes.
#[inline(always)]
unsafe fn bytes(to: *mut u8, count: u64, address: u64) -> Result<(), Missing> {
    let size = count.min(MAX_STRING as u64);
    // SAFETY: by the caller.
    unsafe {
        to.write(size as u8);
        load(to.add(1), size as u32, address)
    }
}

/// # Safety
/// `to` has `LONGEST` bytes.
#[inline(always)]
unsafe fn string(to: *mut u8, read: &Read, address: u64) -> Result<(), Missing> {
    let capacity = u32::from(read.capacity).min(MAX_STRING as u32);
    // SAFETY: by the caller. The helper ends what it copies with a NUL, which may be one byte more than the capacity.
    unsafe {
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
    let unused = 64 - 8 * number_size(size);
    value << unused >> unused
}

/// Bytes of a number: 1 to 8, whatever `size` says.
#[inline(always)]
fn number_size(size: u8) -> u32 {
    (u32::from(size).wrapping_sub(1) & 7) + 1
}
