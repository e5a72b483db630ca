//! What Linux and the processor will make of the registers and frames.

use super::*;

const GADGETS: Gadgets = Gadgets { syscall: 0x7f00_0000_1000, sigreturn: 0x7f00_0000_2000 };
const TOP: u64 = 0x7ffd_0000_f000;

fn stopped(number: u64, outcome: i64) -> Registers {
    Registers {
        orig_rax: number,
        rax: outcome.cast_unsigned(),
        rip: 0x7f00_0000_3002,
        rsp: 0x7ffd_0001_0000,
        rbx: 0xb,
        r15: 0xf,
        rdi: 0xd1,
        eflags: 0x746,
        cs: 0x33,
        ss: 0x2b,
        ..Registers::new_zeroed()
    }
}

/// As a thread that was seen where it is.
fn resumable(stopped: &Registers) -> Option<Registers> {
    X86_64::resumable(stopped, X86_64::position(stopped))
}

/// A state of `length` bytes with these features in use.
fn vector(length: usize, in_use: u64) -> Vec<u8> {
    let mut bytes = vec![0x5a; length];
    bytes[FEATURES_AT..FEATURES_AT + 8].copy_from_slice(&0x602e7_u64.to_le_bytes());
    bytes[IN_USE_AT..IN_USE_AT + 8].copy_from_slice(&in_use.to_le_bytes());
    bytes
}

fn read_frame(frame: &Frame) -> SignalFrame {
    SignalFrame::read_from_prefix(&frame.bytes).unwrap().0
}

#[test]
fn a_call_that_linux_restarts_is_left_to_linux() {
    for outcome in [-512, -513, -514, -516] {
        let registers = stopped(7, outcome);
        assert_eq!(resumable(&registers), Some(registers), "{outcome}");
    }
}

#[test]
fn a_call_that_linux_gives_up_is_started_again_by_going_back_one_instruction() {
    let again = resumable(&stopped(232, EINTR)).unwrap();
    assert_eq!((again.rax, again.rip, again.orig_rax), (232, 0x7f00_0000_3000, u64::MAX));
}

#[test]
fn a_thread_outside_of_a_call_or_after_it_is_not_borrowed() {
    assert_eq!(resumable(&stopped(u64::MAX, -512)), None, "runs");
    assert_eq!(resumable(&stopped(0, 17)), None, "has read 17 bytes");
    assert_eq!(resumable(&stopped(0, -9)), None, "has failed");
    assert_eq!(
        X86_64::resumable(&stopped(7, -512), (0x7ffd_0001_0000, 0x4000)),
        None,
        "in another call by now"
    );
}

#[test]
fn the_way_back_without_the_agent_is_the_frame_of_a_signal() {
    let state = stopped(202, -512);
    let frame = X86_64::frame(&state, &vector(832, 7), 0x1234, &GADGETS, TOP);
    let read = read_frame(&frame);
    assert_eq!(read.return_address, GADGETS.sigreturn, "a return leads to rt_sigreturn");
    assert_eq!((read.rip, read.rax), (0x7f00_0000_3000, 202), "the call is made again");
    assert_eq!((read.rsp, read.rbx, read.r8_to_r15[7], read.rdi), (state.rsp, 0xb, 0xf, 0xd1));
    assert_eq!((read.cs, read.ss, read.signal_mask), (0x33, 0x2b, 0x1234));
    assert_eq!(read.stack_flags, KEEP_STACK);
}

#[test]
fn a_call_with_a_time_out_or_that_any_handler_ends_ends_with_eintr_without_the_agent() {
    for (number, outcome) in [(230, -516), (7, -514)] {
        let frame = X86_64::frame(&stopped(number, outcome), &vector(832, 7), 0, &GADGETS, TOP);
        let read = read_frame(&frame);
        assert_eq!((read.rip, read.rax.cast_signed()), (0x7f00_0000_3002, EINTR), "{outcome}");
    }
}

#[test]
fn calls_that_would_end_with_a_part_of_what_they_were_to_do_are_no_rest() {
    let flags = WAIT_ALL;
    assert_eq!(X86_64::rest(45, &[3, 0, 0, flags, 0, 0]), None, "recv of all that was asked for");
    assert_eq!(X86_64::rest(47, &[3, 0, flags, 0, 0, 0]), None, "recvmsg of all that was asked for");
    assert_eq!(X86_64::rest(45, &[3, 0, 0, 0, 0, 0]), Some(Rest::Endless));
    assert_eq!(X86_64::rest(426, &[3, 1, 1, 1, 0, 0]), None, "an io_uring that has submitted something");
    assert_eq!(X86_64::rest(426, &[3, 0, 1, 1, 0, 0]), Some(Rest::Fragile));
}

#[test]
fn a_frame_of_a_signal_is_told_from_what_sigaction_leaves_on_the_stack() {
    let frame = X86_64::frame(&stopped(7, -512), &vector(832, 7), 0, &GADGETS, TOP);
    let (words, _) = frame.bytes.as_chunks::<8>();
    let mut stack = vec![1, 2, 3];
    stack.extend(words.iter().map(|word| u64::from_le_bytes(*word)));
    let is_in_handler = |stack: &[u64]| X86_64::is_in_handler(stack, &GADGETS, &(0..0));
    assert!(is_in_handler(&stack));
    let mut left = vec![0; 64];
    (left[7], left[8], left[9]) = (0x5555_0000_1234, 0x0c00_0004, GADGETS.sigreturn);
    assert!(!is_in_handler(&left));
}

#[test]
fn calls_in_which_handlers_wait_are_no_rest() {
    assert_eq!((X86_64::rest(34, &[0; 6]), X86_64::rest(130, &[0; 6])), (None, None));
}

#[test]
fn a_call_that_is_not_known_to_be_harmless_twice_is_not_started_again() {
    assert_eq!(resumable(&stopped(42, EINTR)), None, "connect");
}

#[test]
fn a_frame_lies_below_its_top_with_the_alignment_that_functions_and_the_processor_want() {
    for top in TOP - 64..TOP {
        let frame = X86_64::frame(&stopped(7, -512), &vector(2696, 7), 0, &GADGETS, top);
        assert!(frame.address + frame.bytes.len() as u64 <= top, "{top:#x}");
        assert_eq!(frame.address % 16, 8, "as after a call");
        assert_eq!(read_frame(&frame).vector_address % 64, 0, "as XRSTOR wants");
    }
}

#[test]
fn a_vector_state_carries_its_size_between_two_magic_numbers() {
    let bytes = vector_for_signal(&vector(2696, 7));
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!((word(464), word(468), word(480)), (VECTOR_MAGIC[0], 2700, 2696));
    assert_eq!((word(2696), bytes.len()), (VECTOR_MAGIC[1], 2700));
    assert_eq!(word(472), 0x2e7, "without the tiles, which the process has not asked for");
    assert!(bytes[484..512].iter().all(|&byte| byte == 0));
}

#[test]
fn tiles_are_left_out_unless_they_are_in_use() {
    assert_eq!(vector_for_signal(&vector(11_008, 7)).len(), WITHOUT_TILES_BYTES + 4);
    assert_eq!(vector_for_signal(&vector(11_008, 7 | TILE_FEATURES)).len(), 11_008 + 4);
}

#[test]
fn a_call_has_its_arguments_where_functions_and_linux_look_and_is_no_restart() {
    let state = stopped(7, -512);
    let frame = X86_64::frame(&state, &vector(832, 7), 0, &GADGETS, TOP);
    let call = Call { address: 0x4000, number: 9, arguments: [1, 2, 3, 4, 5, 6] };
    let registers = X86_64::call(&state, &call, &GADGETS, &frame);
    assert_eq!((registers.rip, registers.rax, registers.orig_rax), (0x4000, 9, u64::MAX));
    assert_eq!((registers.rdi, registers.rsi, registers.rdx), (1, 2, 3));
    assert_eq!((registers.rcx, registers.r10, registers.r8, registers.r9), (4, 4, 5, 6));
    assert_eq!(registers.rsp, frame.address);
    assert_eq!(registers.eflags & 0x500, 0, "neither single steps nor backwards");
}

#[test]
fn gadgets_are_found_by_their_bytes_or_missed_by_name() {
    let code = b"\x90\x90\x0f\x05\xc3\x90\x48\xc7\xc0\x0f\x00\x00\x00\x0f\x05";
    let found = X86_64::gadgets(code, 0x1000).unwrap();
    assert_eq!(found, Gadgets { syscall: 0x1002, sigreturn: 0x1006 });
    assert!(X86_64::gadgets(&code[..8], 0).unwrap_err().contains("signals"));
    assert!(X86_64::gadgets(b"", 0).unwrap_err().contains("system call"));
}

#[test]
fn the_code_is_one_page_at_most() {
    let code = X86_64::code();
    assert!((64..4096).contains(&code.len()), "{} bytes", code.len());
}
