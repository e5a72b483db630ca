//! What Linux will make of registers and frames, and the code, run by a model of the few instructions that it uses.

use std::collections::HashMap;
use std::mem::offset_of;

use super::*;
use crate::inject::mailbox::{Mailbox, Order, PAGE_BYTES, Progress, ROUNDS, SHARED_BYTES, STAY_NS};
use crate::inject::runtime::Functions;

const GADGETS: Gadgets = Gadgets { syscall: 0xffff_8000_1000, sigreturn: 0xffff_8000_2000 };
const TOP: u64 = 0xffff_f000_0000;

fn state() -> Registers {
    let mut x = [0; 31];
    for (index, register) in x.iter_mut().enumerate() {
        *register = 0x100 + index as u64;
    }
    Registers { x, sp: 0xffff_f000_1000, pc: 0xffff_8000_3000, pstate: 0x6000_0000 }
}

#[test]
fn a_thread_is_borrowed_where_linux_has_gone_back_to_the_call_it_was_seen_in() {
    let seen = |pc: u64| (0xffff_f000_1000, pc);
    assert_eq!(Aarch64::resumable(&state(), seen(0xffff_8000_3004)), Some(state()));
    assert_eq!(
        Aarch64::resumable(&state(), seen(0xffff_8000_3000)),
        None,
        "ended with EINTR, or has just begun"
    );
    assert_eq!(Aarch64::resumable(&state(), (0, 0xffff_8000_3004)), None, "on another stack");
}

#[test]
fn the_way_back_without_the_agent_is_the_frame_of_a_signal() {
    let mut vector = vec![0; 528];
    vector[0] = 0xaa;
    vector[511] = 0xbb;
    vector[512] = 0xcc;
    let frame = Aarch64::frame(&state(), &vector, 0x1234, &GADGETS, TOP);
    assert_eq!((frame.address % 16, frame.address + frame.bytes.len() as u64 <= TOP), (0, true));
    let read = SignalFrame::read_from_bytes(&frame.bytes).unwrap();
    assert_eq!((read.x, read.sp, read.pc, read.pstate), (state().x, state().sp, state().pc, state().pstate));
    assert_eq!((read.signal_mask, read.stack_flags), (0x1234, KEEP_STACK));
    assert_eq!((read.vector_head, read.end), (VECTOR_HEAD, [0, 0]));
    assert_eq!((read.vectors.as_bytes()[0], read.vectors.as_bytes()[511]), (0xaa, 0xbb));
    assert_eq!(read.vector_control, [0xcc, 0]);
}

#[test]
fn a_call_returns_into_rt_sigreturn_on_the_frame() {
    let frame = Aarch64::frame(&state(), &[0; 528], 0, &GADGETS, TOP);
    let call = Call { address: 0x4000, number: 222, arguments: [1, 2, 3, 4, 5, 6] };
    let registers = Aarch64::call(&state(), &call, &GADGETS, &frame);
    assert_eq!(registers.x[..6], [1, 2, 3, 4, 5, 6]);
    assert_eq!((registers.x[8], registers.x[30], registers.pc), (222, GADGETS.sigreturn, 0x4000));
    assert_eq!((registers.sp, registers.x[19]), (frame.address, 0x113));
    assert_eq!(Aarch64::idle(&state(), &GADGETS, &frame).pc, GADGETS.sigreturn);
}

#[test]
fn a_return_into_the_vdso_is_that_of_a_handler() {
    let vdso = 0xffff_9000_0000..0xffff_9000_2000;
    let is_in_handler = |word| Aarch64::is_in_handler(&[1, word, 2], &GADGETS, &vdso);
    assert!(is_in_handler(vdso.start + 0x8a0));
    assert!(!is_in_handler(vdso.start) && !is_in_handler(vdso.end) && !is_in_handler(0));
}

#[test]
fn gadgets_are_aligned_instructions() {
    let mut code = vec![0; 3];
    code.extend(b"\x01\x00\x00\xd4\xc0\x03\x5f\xd6\x00");
    code.extend(b"\x01\x00\x00\xd4\xc0\x03\x5f\xd6\x68\x11\x80\xd2\x01\x00\x00\xd4");
    let found = Aarch64::gadgets(&code, 0x1000).unwrap();
    assert_eq!(found, Gadgets { syscall: 0x100c, sigreturn: 0x1014 }, "not the one at an odd place");
    assert!(Aarch64::gadgets(&code[..20], 0).unwrap_err().contains("signals"));
}

/// Addresses in the model.
const BOX_AT: u64 = 0x10_0000;
const CODE_AT: u64 = 0x20_0000;
const STACK_TOP: u64 = 0x30_0000;
const TEXT_AT: u64 = 0x40_0000;
const END: u64 = 0xdead_0000;
const PTHREAD_SELF: u64 = 0x1000;
const PTHREAD_DETACH: u64 = 0x1100;
const DLOPEN: u64 = 0x1200;
const DLSYM: u64 = 0x1300;
const DLERROR: u64 = 0x1400;
const MUNMAP: u64 = 0x1500;
const ENTRY: u64 = 0x1600;
const PTHREAD_CREATE: u64 = 0x1700;

/// A processor that knows the instructions of the code, and calls of functions and of Linux by what they answer.
struct Model {
    x: [u64; 32],
    pc: u64,
    zero: bool,
    memory: HashMap<u64, u8>,
    answers: HashMap<u64, u64>,
    log: Vec<(u64, u64, u64)>,
    progress: Vec<u64>,
    /// What `pthread_create` was to start, and its argument.
    start: (u64, u64),
}

impl Model {
    /// The new thread, as the borrowed one has it made.
    fn thread(answers: &[(u64, u64)]) -> Self {
        let start = Self::new(&[]).run().start;
        assert_eq!(start.1, BOX_AT);
        let mut model = Self::new(answers);
        (model.pc, model.x[0]) = start;
        model
    }

    fn new(answers: &[(u64, u64)]) -> Self {
        let functions = Functions {
            dlopen: DLOPEN,
            dlopen_flags: 2,
            dlsym: DLSYM,
            dlerror: DLERROR,
            pthread_self: PTHREAD_SELF,
            pthread_detach: PTHREAD_DETACH,
            munmap: MUNMAP,
            pthread_create: PTHREAD_CREATE,
        };
        let mut mailbox = Mailbox::new([7, 9], functions, CODE_AT, BOX_AT);
        mailbox.order = Order::Load as u32;
        let mut model = Self {
            x: [0; 32],
            pc: CODE_AT,
            zero: false,
            memory: HashMap::new(),
            answers: answers.iter().copied().collect(),
            log: Vec::new(),
            progress: Vec::new(),
            start: (0, 0),
        };
        for (at, bytes) in [(BOX_AT, mailbox.as_bytes()), (CODE_AT, Aarch64::code())] {
            for (offset, byte) in bytes.iter().enumerate() {
                model.memory.insert(at + offset as u64, *byte);
            }
        }
        (model.x[0], model.x[31], model.x[30]) = (BOX_AT, STACK_TOP, END);
        (model.x[19], model.x[20], model.x[21]) = (0x1919, 0x2020, 0x2121);
        model
    }

    fn put(&mut self, text: &[u8]) -> &mut Self {
        for (offset, byte) in text.iter().enumerate() {
            self.memory.insert(TEXT_AT + offset as u64, *byte);
        }
        self
    }

    fn load(&self, address: u64, bytes: u64) -> u64 {
        (0..bytes).fold(0, |value, index| value | u64::from(self.memory[&(address + index)]) << (8 * index))
    }

    fn store(&mut self, address: u64, value: u64, bytes: u64) {
        for index in 0..bytes {
            self.memory.insert(address + index, (value >> (8 * index)) as u8);
        }
    }

    /// A call of a function or of Linux: noted with its first two arguments, and answered.
    fn called(&mut self, what: u64) {
        self.log.push((what, self.x[0], self.x[1]));
        self.x[0] = self.answers.get(&what).copied().unwrap_or(0);
    }

    fn run(&mut self) -> &mut Self {
        for _ in 0..500_000 {
            if self.pc == END {
                return self;
            }
            if self.pc < 0x2000 {
                let function = self.pc;
                if function == PTHREAD_CREATE {
                    assert_eq!(self.x[31], BOX_AT + SHARED_BYTES, "on the shared stack");
                    self.start = (self.x[2], self.x[3]);
                }
                self.called(function);
                // What a function may change (AAPCS64, 6.1.1).
                self.x[1..19].fill(0xbad);
                self.pc = self.x[30];
                continue;
            }
            self.step();
        }
        panic!("no end at {:#x}", self.pc)
    }

    fn step(&mut self) {
        let word = self.load(self.pc, 4) as u32;
        let (t, n, m) = ((word & 31) as usize, (word >> 5 & 31) as usize, (word >> 16 & 31) as usize);
        let twelve = u64::from(word >> 10 & 0xfff);
        let nineteen = i64::from((word << 8) as i32 >> 13) * 4;
        let mut next = self.pc + 4;
        let jumped = |distance: i64| self.pc.wrapping_add_signed(distance);
        match word {
            0xa9bd_7bfd => {
                self.x[31] -= 48;
                self.store(self.x[31], self.x[29], 8);
                self.store(self.x[31] + 8, self.x[30], 8);
            }
            0xa901_53f3 => {
                self.store(self.x[31] + 16, self.x[19], 8);
                self.store(self.x[31] + 24, self.x[20], 8);
            }
            0xf900_13f5 => self.store(self.x[31] + 32, self.x[21], 8),
            0xf940_13f5 => self.x[21] = self.load(self.x[31] + 32, 8),
            0xa941_53f3 => {
                self.x[19] = self.load(self.x[31] + 16, 8);
                self.x[20] = self.load(self.x[31] + 24, 8);
            }
            0xa8c3_7bfd => {
                self.x[29] = self.load(self.x[31], 8);
                self.x[30] = self.load(self.x[31] + 8, 8);
                self.x[31] += 48;
            }
            0xa900_27ff | 0xa900_245f => {
                self.store(self.x[n], 0, 8);
                self.store(self.x[n] + 8, self.x[9], 8);
            }
            0xb100_101f => self.zero = self.x[0].wrapping_add(4) == 0,
            0xb900_0e69 => self.store(self.x[19] + 12, self.x[9], 4),
            0x88df_fd29 => self.x[9] = self.load(self.x[9], 4),
            0x889f_fd20 => self.store(self.x[9], self.x[0], 4),
            0xd65f_03c0 => next = self.x[30],
            0xd400_0001 => self.called(self.x[8]),
            _ if word & 0xffff_fc00 == 0x889f_fc00 => {
                self.store(self.x[n], self.x[t], 4);
                self.progress.push(self.x[t]);
            }
            _ if word & 0xffc0_0000 == 0xf940_0000 => self.x[t] = self.load(self.x[n] + twelve * 8, 8),
            _ if word & 0xffc0_0000 == 0xb940_0000 => self.x[t] = self.load(self.x[n] + twelve * 4, 4),
            _ if word & 0xffc0_0000 == 0x9100_0000 => self.x[t] = self.x[n] + twelve,
            _ if word & 0xffc0_0000 == 0xd100_0000 => self.x[t] = self.x[n].wrapping_sub(twelve),
            _ if word & 0x9f00_0000 == 0x1000_0000 => self.x[t] = jumped(nineteen),
            _ if word & 0xff00_001f == 0x5400_0000 && self.zero => next = jumped(nineteen),
            _ if word & 0xff00_001f == 0x5400_0000 => {}
            _ if word & 0xffe0_ffe0 == 0xaa00_03e0 => self.x[t] = self.x[m],
            _ if word & 0xffe0_0000 == 0xd280_0000 => self.x[t] = u64::from(word >> 5 & 0xffff),
            _ if word & 0xffe0_0000 == 0xd2a0_0000 => self.x[t] = u64::from(word >> 5 & 0xffff) << 16,
            _ if word & 0xff00_0000 == 0xb400_0000 && self.x[t] == 0 => next = jumped(nineteen),
            _ if word & 0xff00_0000 == 0xb400_0000 => {}
            _ if word & 0xff00_001f == 0x5400_0001 && !self.zero => next = jumped(nineteen),
            _ if word & 0xff00_001f == 0x5400_0001 => {}
            _ if word & 0xfc00_0000 == 0x1400_0000 => next = jumped(i64::from((word << 6) as i32 >> 6) * 4),
            _ if word & 0xffff_fc1f == 0xd63f_0000 => {
                self.x[30] = next;
                next = self.x[n];
            }
            _ if word & 0xffff_fc1f == 0xd61f_0000 => next = self.x[n],
            _ if word & 0xffc0_0000 == 0xf100_0000 => {
                self.x[t] = self.x[n] - twelve;
                self.zero = self.x[t] == 0;
            }
            _ if word & 0xffff_fc00 == 0x3840_1400 => {
                self.x[t] = self.load(self.x[n], 1);
                self.x[n] += 1;
            }
            _ if word & 0xffff_fc00 == 0x3800_1400 => {
                self.store(self.x[n], self.x[t], 1);
                self.x[n] += 1;
            }
            _ => panic!("the model does not know {word:#010x} at {:#x}", self.pc - CODE_AT),
        }
        self.pc = next;
    }

    fn message(&self) -> String {
        let at = BOX_AT + offset_of!(Mailbox, message) as u64;
        let bytes = (0..Mailbox::MESSAGE_BYTES as u64).map(|index| self.memory[&(at + index)]);
        String::from_utf8(bytes.take_while(|&byte| byte != 0).collect()).unwrap()
    }

    fn called_what(&self) -> Vec<u64> {
        self.log.iter().map(|(what, ..)| *what).collect()
    }

    fn assert_is_as_called(&self) {
        assert_eq!((self.x[19], self.x[20], self.x[21]), (0x1919, 0x2020, 0x2121));
        assert_eq!(self.x[31], STACK_TOP);
    }

    /// It closed the files, unmapped mailbox and code, and returned with its caller's registers.
    fn assert_left_cleanly(&self, said: &[Progress]) {
        let last: Vec<_> =
            self.log[self.log.len() - 4..].iter().map(|(what, first, _)| (*what, *first)).collect();
        let close = Aarch64::NUMBERS.close;
        assert_eq!(last, [(close, 7), (close, 9), (Aarch64::NUMBERS.munmap, BOX_AT), (MUNMAP, CODE_AT)]);
        let lengths = self.log[self.log.len() - 2..].iter().map(|(.., second)| *second);
        assert!(lengths.eq([SHARED_BYTES, PAGE_BYTES]));
        assert_eq!(self.progress, said.iter().map(|&said| said as u64).collect::<Vec<_>>());
        self.assert_is_as_called();
    }
}

#[test]
fn the_borrowed_thread_makes_another_and_waits_on_its_own_stack_to_be_fetched() {
    let mut model = Model::new(&[(PTHREAD_CREATE, 0), (Aarch64::NUMBERS.ppoll, 0)]);
    model.run();
    assert_eq!(model.called_what(), [PTHREAD_CREATE, Aarch64::NUMBERS.ppoll]);
    assert_eq!((model.x[31], model.pc), (STACK_TOP, END), "it goes back by itself");
    assert_eq!(model.load(BOX_AT + offset_of!(Mailbox, made) as u64, 4), 1);
    assert_eq!((model.load(STACK_TOP - 16, 8), model.load(STACK_TOP - 8, 8)), (0, STAY_NS));
    assert_eq!(model.progress, [Progress::Making as u64]);
    let mut without_memory = Model::new(&[(PTHREAD_CREATE, 12)]);
    without_memory.run();
    assert_eq!(without_memory.load(BOX_AT + offset_of!(Mailbox, made) as u64, 4), 13);
}

#[test]
fn the_code_loads_the_shim_and_calls_it() {
    let mut model = Model::thread(&[(PTHREAD_SELF, 0x77), (DLOPEN, 0x88), (DLSYM, ENTRY), (ENTRY, 1)]);
    model.run();
    let unblock = Aarch64::NUMBERS.rt_sigprocmask;
    assert_eq!(
        model.called_what()[..7],
        [unblock, PTHREAD_SELF, PTHREAD_DETACH, DLOPEN, DLOPEN, DLSYM, ENTRY]
    );
    let mask = BOX_AT + offset_of!(Mailbox, unblocked) as u64;
    assert_eq!(model.log[0], (unblock, 1, mask), "the C library's signals are unblocked");
    assert_eq!(model.load(mask, 8), 1 << 31 | 1 << 32);
    assert_eq!(model.log[2].1, 0x77, "itself is detached");
    assert_eq!(model.log[3], (DLOPEN, BOX_AT + offset_of!(Mailbox, companion) as u64, 2));
    assert_eq!(model.log[4], (DLOPEN, BOX_AT + offset_of!(Mailbox, path) as u64, 2));
    assert_eq!(model.log[5], (DLSYM, 0x88, BOX_AT + offset_of!(Mailbox, entry) as u64));
    assert_eq!(model.load(BOX_AT + offset_of!(Mailbox, has_companion) as u64, 4), 1);
    model.assert_left_cleanly(&[Progress::Waiting, Progress::Loading, Progress::Done]);
}

#[test]
fn a_companion_that_is_refused_does_not_keep_the_shim_out_and_none_is_not_asked_for() {
    let mut model = Model::thread(&[]);
    model.store(BOX_AT + offset_of!(Mailbox, companion_address) as u64, 0, 8);
    model.run();
    assert_eq!(model.called_what().iter().filter(|what| **what == DLOPEN).count(), 1);
    assert_eq!(Model::thread(&[]).run().load(BOX_AT + offset_of!(Mailbox, has_companion) as u64, 4), 0);
}

#[test]
fn without_an_order_the_thread_closes_the_files_and_leaves_the_pages_to_who_may_be_on_them() {
    let mut model = Model::thread(&[]);
    model.store(BOX_AT + offset_of!(Mailbox, order) as u64, 0, 4);
    model.run();
    let called = model.called_what();
    assert_eq!(called.iter().filter(|what| **what == Aarch64::NUMBERS.ppoll).count() as u64, ROUNDS);
    assert_eq!(called[called.len() - 2..], [Aarch64::NUMBERS.close; 2]);
    assert_eq!(model.progress, [Progress::Waiting as u64, Progress::Left as u64]);
    model.assert_is_as_called();
}

#[test]
fn a_thread_that_is_told_to_leave_takes_everything_with_it() {
    let mut model = Model::thread(&[]);
    model.store(BOX_AT + offset_of!(Mailbox, order) as u64, Order::Leave as u64, 4);
    model.run().assert_left_cleanly(&[Progress::Waiting, Progress::Left]);
}

#[test]
fn the_code_tells_what_the_dynamic_linker_says() {
    let mut model = Model::thread(&[(DLERROR, TEXT_AT)]);
    model.put(b"no such file\0and more").run();
    assert_eq!(model.message(), "no such file");
    model.assert_left_cleanly(&[Progress::Waiting, Progress::Loading, Progress::Refused]);
    let mut without_entry = Model::thread(&[(DLOPEN, 0x88), (DLERROR, TEXT_AT)]);
    without_entry.put(b"undefined symbol\0").run();
    assert_eq!(without_entry.message(), "undefined symbol");
}

#[test]
fn a_long_message_is_cut_and_none_is_none() {
    let mut long = Model::thread(&[(DLERROR, TEXT_AT)]);
    long.put(&[b'x'; 4096]).run();
    assert_eq!(long.message().len(), Mailbox::MESSAGE_BYTES - 1);
    long.assert_left_cleanly(&[Progress::Waiting, Progress::Loading, Progress::Refused]);
    let mut silent = Model::thread(&[]);
    silent.run();
    assert_eq!(silent.message(), "");
    silent.assert_left_cleanly(&[Progress::Waiting, Progress::Loading, Progress::Refused]);
}
