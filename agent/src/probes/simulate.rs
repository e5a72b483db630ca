//! What the BPF program does with a fetch program, in tests: on registers and memory that are made up.
//!
//! Enters: a program, registers, memory. Leaves: a payload. Refuses: nothing.

use std::collections::BTreeMap;

use gpu_agent_ebpf_abi::{FIXED, FetchProgram, Read, base, condition, kind};

use super::plan::Fetched;

/// A process.
#[derive(Debug, Clone, Default)]
pub(super) struct Process {
    pub(super) registers: BTreeMap<u8, u64>,
    pub(super) memory: BTreeMap<u64, u8>,
}

/// What a program read.
#[derive(Debug, Clone, Default)]
pub(super) struct Record {
    pub(super) present: u32,
    pub(super) faulted: u32,
    pub(super) payload: Vec<u8>,
}

impl Record {
    pub(super) fn fetched(&self) -> Fetched<'_> {
        Fetched { present: self.present, faulted: self.faulted, payload: &self.payload }
    }
}

impl Process {
    pub(super) fn store(&mut self, at: u64, bytes: &[u8]) {
        self.memory.extend(bytes.iter().zip(at..).map(|(byte, at)| (at, *byte)));
    }

    pub(super) fn store_words(&mut self, at: u64, words: &[u64]) {
        for (word, at) in words.iter().zip((at..).step_by(8)) {
            self.store(at, &word.to_le_bytes());
        }
    }

    fn load(&self, at: u64, length: usize) -> Option<Vec<u8>> {
        (0..length as u64).map(|byte| self.memory.get(&at.wrapping_add(byte)).copied()).collect()
    }

    /// Runs a program.
    pub(super) fn run(&self, program: &FetchProgram) -> Record {
        let mut record = Record { payload: vec![0xaa; program.payload_bytes.into()], ..Record::default() };
        let mut values = BTreeMap::new();
        for (number, read) in program.read.iter().take(program.reads.into()).enumerate() {
            let compared = values.get(&read.condition_read).copied();
            let holds = match (read.condition, compared) {
                (condition::ALWAYS, _) => true,
                (_, None) => false,
                (condition::EQUAL, Some(value)) => value == read.condition_value,
                (condition::NOT_EQUAL, Some(value)) => value != read.condition_value,
                (condition::AT_MOST, Some(value)) => value <= read.condition_value,
                (_, Some(value)) => value > read.condition_value,
            };
            if !holds || (read.base == base::READ && !values.contains_key(&read.index)) {
                continue;
            }
            match self.read(read, &values) {
                Some(bytes) => {
                    record.present |= 1 << number;
                    let at = usize::from(read.output);
                    record.payload[at..at + bytes.len()].copy_from_slice(&bytes);
                    if read.kind == kind::SCALAR {
                        values.insert(number as u8, u64::from_le_bytes(bytes.try_into().unwrap()));
                    }
                }
                None => record.faulted |= 1 << number,
            }
        }
        record
    }

    fn read(&self, read: &Read, values: &BTreeMap<u8, u64>) -> Option<Vec<u8>> {
        let mut address = match read.base {
            base::REGISTER => self.registers.get(&read.index).copied().unwrap_or(0),
            base::READ => values[&read.index],
            _ => read.immediate,
        };
        let size = usize::from(read.size);
        if read.steps == 0 {
            let mut bytes = address.to_le_bytes();
            bytes[size..].fill(0);
            return Some(bytes.to_vec());
        }
        let (last, before) = read.offsets[..read.steps.into()].split_last().unwrap();
        for offset in before {
            let word = self.load(address.wrapping_add_signed((*offset).into()), 8)?;
            address = u64::from_le_bytes(word.try_into().unwrap());
        }
        address = address.wrapping_add_signed((*last).into());
        let capacity = usize::from(read.capacity);
        let count = match read.count_read {
            FIXED => capacity,
            of => usize::try_from(*values.get(&of)?).unwrap_or(usize::MAX).min(capacity),
        };
        match read.kind {
            kind::SCALAR => self.load(address, size).map(|mut bytes| {
                bytes.resize(8, 0);
                bytes
            }),
            kind::ARRAY => self.load(address, count * size),
            kind::BYTES => self.load(address, count).map(|bytes| [vec![count as u8], bytes].concat()),
            _ => {
                let mut text = Vec::new();
                while text.len() < capacity {
                    match *self.memory.get(&(address + text.len() as u64))? {
                        0 => break,
                        byte => text.push(byte),
                    }
                }
                Some([vec![text.len() as u8], text].concat())
            }
        }
    }
}
