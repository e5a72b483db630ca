//! Slots: where fetch programs lie in the kernel.
//!
//! Enters: fetch programs. Leaves: slots and generations. Refuses: programs that contradict themselves, which the BPF side
//! would run differently from what they say.

use gpu_agent_ebpf_abi::{
    FIXED, FetchProgram, MAX_ELEMENTS, MAX_PAYLOAD, MAX_READS, MAX_SLOTS, MAX_STEPS, MAX_STRING,
    NUMBERS_PAYLOAD, Read, base, condition, kind,
};
use zerocopy::IntoBytes;

use super::object::Programs;
use super::refusal::Refusal;

/// The slots.
pub(super) struct Slots {
    programs: Programs,
    free: Vec<u32>,
    /// Slots below this one were taken once.
    fresh: u32,
    generation: u32,
}

impl Slots {
    pub(super) fn new(programs: Programs) -> Self {
        Self { programs, free: Vec::new(), fresh: 0, generation: 0 }
    }

    /// Puts `program` into a slot; gives the slot and the generation.
    pub(super) fn load(&mut self, program: &FetchProgram) -> Result<(u32, u32), Refusal> {
        check(program).map_err(Refusal::Program)?;
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.fresh < MAX_SLOTS => {
                self.fresh += 1;
                self.fresh - 1
            }
            None => return Err(Refusal::NoSlot(MAX_SLOTS)),
        };
        self.generation = self.generation.wrapping_add(1);
        let mut program = *program;
        program.generation = self.generation;
        program.payload_bytes = payload_bytes(&program);
        if let Err(error) = self.put(slot, &program) {
            self.free.push(slot);
            return Err(error);
        }
        Ok((slot, self.generation))
    }

    /// Empties `slot`, which places may still mean: their hits make no records.
    pub(super) fn clear(&mut self, slot: u32) -> bool {
        let nothing = FetchProgram { phase: 0, ..FetchProgram::default() };
        self.put(slot, &nothing).is_ok()
    }

    /// Gives back `slot`, which no place means any more. One that cannot be emptied is not given to another program.
    pub(super) fn free(&mut self, slot: u32) {
        if self.clear(slot) {
            self.free.push(slot);
        }
    }

    fn put(&mut self, slot: u32, program: &FetchProgram) -> Result<(), Refusal> {
        let mut bytes = [0; size_of::<FetchProgram>()];
        bytes.copy_from_slice(program.as_bytes());
        Ok(self.programs.set(slot, bytes, 0)?)
    }
}

/// Bytes of payload, so that the BPF side makes room for what is no number.
fn payload_bytes(program: &FetchProgram) -> u16 {
    let numbers_only = reads(program).all(|read| read.kind == kind::SCALAR);
    if numbers_only { program.payload_bytes } else { program.payload_bytes.max(NUMBERS_PAYLOAD + 8) }
}

fn reads(program: &FetchProgram) -> impl Iterator<Item = &Read> {
    program.read.iter().take(usize::from(program.reads))
}

/// What is wrong with `program`.
fn check(program: &FetchProgram) -> Result<(), &'static str> {
    if usize::from(program.reads) > MAX_READS {
        return Err("too many reads");
    }
    if program.phase == 0 {
        return Err("it has no phase");
    }
    if usize::from(program.payload_bytes) > MAX_PAYLOAD || !program.payload_bytes.is_multiple_of(8) {
        return Err("its payload is too long, or no multiple of 8 bytes");
    }
    // A string is followed by a NUL, which may be the first byte of the next value: that must be written later.
    if !reads(program).is_sorted_by_key(|read| read.output) {
        return Err("its values do not lie in the order of its reads");
    }
    reads(program).enumerate().try_for_each(|(number, read)| check_read(program, number, read))
}

fn check_read(program: &FetchProgram, number: usize, read: &Read) -> Result<(), &'static str> {
    let earlier_number = |other: u8| {
        let other = usize::from(other);
        other < number && program.read.get(other).is_some_and(|read| read.kind == kind::SCALAR)
    };
    if (read.reserved, read.reserved2) != (0, 0) {
        return Err("a reserved field of a read is not zero");
    }
    if usize::from(read.steps) > MAX_STEPS {
        return Err("too many loads in a read");
    }
    if read.base > base::READ || read.base == base::READ && !earlier_number(read.index) {
        return Err("a read starts from something that is no register, constant or earlier number");
    }
    if read.condition > condition::LESS | condition::EQUAL | condition::MORE_THAN
        || read.condition != condition::ALWAYS && !earlier_number(read.condition_read)
    {
        return Err("a condition looks at something that is no earlier number");
    }
    let counted = matches!(read.kind, kind::ARRAY | kind::BYTES);
    if counted && read.count_read != FIXED && !earlier_number(read.count_read) {
        return Err("a count is something that is no earlier number");
    }
    if matches!(read.kind, kind::SCALAR | kind::ARRAY) && !matches!(read.size, 1 | 2 | 4 | 8) {
        return Err("a number has no size of 1, 2, 4 or 8 bytes");
    }
    if read.kind != kind::SCALAR && read.steps == 0 {
        return Err("a string or an array is read from no address");
    }
    let capacity = usize::from(read.capacity);
    let bytes = match read.kind {
        kind::SCALAR => 8,
        kind::ARRAY if (1..=MAX_ELEMENTS).contains(&capacity) => capacity * usize::from(read.size),
        kind::STRING | kind::BYTES if (1..=MAX_STRING).contains(&capacity) => 1 + capacity,
        _ => return Err("the kind of a read, or its capacity"),
    };
    let output = usize::from(read.output);
    if !output.is_multiple_of(8) || output + bytes > usize::from(program.payload_bytes) {
        return Err("a value lies outside the payload, or not on a multiple of 8 bytes");
    }
    Ok(())
}
