//! What the borrowed thread, and the one that it makes, run on x86-64.
//!
//! Enters: the address of a [`Mailbox`]. Leaves: a loaded shim, or the words of the dynamic linker; neither descriptor nor
//! mapping. Refuses: to load before the agent's order, and to wait for it, or for the agent, for ever.
#![allow(unsafe_code, reason = "assembly, and the borders of it")]

use core::mem::offset_of;

use super::X86_64;
use crate::inject::arch::{Arch, MASK_BYTES, SIG_UNBLOCK};
use crate::inject::mailbox::{Mailbox, Order, PAGE_BYTES, PAUSE_NS, Progress, ROUNDS, SHARED_BYTES, STAY_NS};
use crate::inject::runtime::Functions;

const FUNCTIONS: usize = offset_of!(Mailbox, functions);

// Position independent. The borrowed thread begins at the top with the mailbox in `rdi` and, at its stack pointer, the way
// back; all its registers come back from there.
core::arch::global_asm!(
    ".pushsection .rodata.gpu_agent_inject, \"a\", @progbits",
    // The code that looks for them may be in another unit, or in another crate that has inlined it.
    ".globl gpu_agent_inject_code, gpu_agent_inject_code_end",
    ".hidden gpu_agent_inject_code, gpu_agent_inject_code_end",
    "gpu_agent_inject_code:",
    "    mov rbx, rdi",
    "    mov rbp, rsp",
    "    mov rsp, qword ptr [rbx + {stack_top}]",
    "    mov dword ptr [rbx + {progress}], {making}",
    "    lea rdi, [rbx + {thread}]",
    "    xor esi, esi",
    "    lea rdx, [rip + 10f]",
    "    mov rcx, rbx",
    "    call qword ptr [rbx + {pthread_create}]",
    // On its own stack again, where the agent fetches it. Linux counts the time down here, and a handler ends the call.
    "    lea rsp, [rbp - 16]",
    "    inc eax",
    "    mov dword ptr [rbx + {made}], eax",
    "    mov qword ptr [rsp], 0",
    "    mov qword ptr [rsp + 8], {stay}",
    "1:  xor edi, edi",
    "    xor esi, esi",
    "    mov rdx, rsp",
    "    xor r10d, r10d",
    "    mov r8d, {mask_bytes}",
    "    mov eax, {ppoll}",
    "    syscall",
    "    cmp rax, -{eintr}",
    "    je 1b",
    "    mov rsp, rbp",
    "    ret",
    // The new thread is called like any function, with the stack aligned after three pushes.
    "10: push rbx",
    "    push r12",
    "    push r13",
    "    mov rbx, rdi",
    // The C library's own signals, before anything that could take a lock.
    "    mov edi, {unblock}",
    "    lea rsi, [rbx + {unblocked}]",
    "    xor edx, edx",
    "    mov r10d, {mask_bytes}",
    "    mov eax, {sigprocmask}",
    "    syscall",
    "    mov dword ptr [rbx + {progress}], {waiting}",
    // Nobody joins this thread.
    "    call qword ptr [rbx + {pthread_self}]",
    "    mov rdi, rax",
    "    call qword ptr [rbx + {pthread_detach}]",
    "    mov r13d, {left}",
    "    mov r12d, {rounds}",
    "6:  mov eax, dword ptr [rbx + {order}]",
    "    cmp eax, {load}",
    "    je 7f",
    "    cmp eax, {leave}",
    "    je 4f",
    "    mov qword ptr [rbx + {pause}], 0",
    "    mov qword ptr [rbx + {pause} + 8], {pause_ns}",
    "    xor edi, edi",
    "    xor esi, esi",
    "    lea rdx, [rbx + {pause}]",
    "    xor r10d, r10d",
    "    mov r8d, {mask_bytes}",
    "    mov eax, {ppoll}",
    "    syscall",
    "    dec r12d",
    "    jnz 6b",
    "    jmp 4f",
    "7:  mov dword ptr [rbx + {progress}], {loading}",
    "    mov rdi, qword ptr [rbx + {companion_address}]",
    "    test rdi, rdi",
    "    jz 8f",
    "    mov rsi, qword ptr [rbx + {dlopen_flags}]",
    "    call qword ptr [rbx + {dlopen}]",
    "    test rax, rax",
    "    setnz byte ptr [rbx + {has_companion}]",
    "8:  mov rdi, qword ptr [rbx + {path_address}]",
    "    mov rsi, qword ptr [rbx + {dlopen_flags}]",
    "    call qword ptr [rbx + {dlopen}]",
    "    test rax, rax",
    "    jz 2f",
    "    mov rdi, rax",
    "    mov rsi, qword ptr [rbx + {entry_address}]",
    "    call qword ptr [rbx + {dlsym}]",
    "    test rax, rax",
    "    jz 2f",
    "    call rax",
    "    mov r13d, {done}",
    "    jmp 4f",
    // What the dynamic linker says, as far as there is room; a C library without dlerror says nothing.
    "2:  mov rax, qword ptr [rbx + {dlerror}]",
    "    test rax, rax",
    "    jz 3f",
    "    call rax",
    "    test rax, rax",
    "    jz 3f",
    "    mov rsi, rax",
    "    lea rdi, [rbx + {message}]",
    "    mov ecx, {message_bytes} - 1",
    "5:  lodsb",
    "    stosb",
    "    test al, al",
    "    loopnz 5b",
    "3:  mov r13d, {refused}",
    "4:  mov edi, dword ptr [rbx + {descriptors}]",
    "    mov eax, {close}",
    "    syscall",
    "    mov edi, dword ptr [rbx + {descriptors} + 4]",
    "    mov eax, {close}",
    "    syscall",
    // The last word to the agent, then all pages are given back; that of the code by the C library, which returns to the
    // end of the thread because it was jumped to. Without an order the borrowed thread may still be at work: they stay.
    "    mov r9, qword ptr [rbx + {code_address}]",
    "    mov r8, qword ptr [rbx + {munmap}]",
    "    mov rdi, qword ptr [rbx + {own_address}]",
    "    mov dword ptr [rbx + {progress}], r13d",
    "    test r12d, r12d",
    "    jz 9f",
    "    mov esi, {shared}",
    "    mov eax, {sys_munmap}",
    "    syscall",
    "    mov rdi, r9",
    "    mov esi, {page}",
    "    pop r13",
    "    pop r12",
    "    pop rbx",
    "    jmp r8",
    "9:  pop r13",
    "    pop r12",
    "    pop rbx",
    "    ret",
    "gpu_agent_inject_code_end:",
    ".popsection",
    progress = const offset_of!(Mailbox, progress),
    made = const offset_of!(Mailbox, made),
    order = const offset_of!(Mailbox, order),
    has_companion = const offset_of!(Mailbox, has_companion),
    descriptors = const offset_of!(Mailbox, descriptors),
    companion_address = const offset_of!(Mailbox, companion_address),
    stack_top = const offset_of!(Mailbox, stack_top),
    thread = const offset_of!(Mailbox, thread),
    pause = const offset_of!(Mailbox, pause),
    pthread_create = const FUNCTIONS + offset_of!(Functions, pthread_create),
    path_address = const offset_of!(Mailbox, path_address),
    entry_address = const offset_of!(Mailbox, entry_address),
    dlopen = const FUNCTIONS + offset_of!(Functions, dlopen),
    dlopen_flags = const FUNCTIONS + offset_of!(Functions, dlopen_flags),
    dlsym = const FUNCTIONS + offset_of!(Functions, dlsym),
    dlerror = const FUNCTIONS + offset_of!(Functions, dlerror),
    pthread_self = const FUNCTIONS + offset_of!(Functions, pthread_self),
    pthread_detach = const FUNCTIONS + offset_of!(Functions, pthread_detach),
    munmap = const FUNCTIONS + offset_of!(Functions, munmap),
    code_address = const offset_of!(Mailbox, code_address),
    own_address = const offset_of!(Mailbox, own_address),
    message = const offset_of!(Mailbox, message),
    message_bytes = const Mailbox::MESSAGE_BYTES,
    unblocked = const offset_of!(Mailbox, unblocked),
    unblock = const SIG_UNBLOCK,
    mask_bytes = const MASK_BYTES,
    sigprocmask = const X86_64::NUMBERS.rt_sigprocmask,
    ppoll = const X86_64::NUMBERS.ppoll,
    eintr = const libc::EINTR,
    stay = const STAY_NS,
    pause_ns = const PAUSE_NS,
    rounds = const ROUNDS,
    load = const Order::Load as u32,
    leave = const Order::Leave as u32,
    making = const Progress::Making as u32,
    waiting = const Progress::Waiting as u32,
    loading = const Progress::Loading as u32,
    left = const Progress::Left as u32,
    done = const Progress::Done as u32,
    refused = const Progress::Refused as u32,
    close = const X86_64::NUMBERS.close,
    sys_munmap = const X86_64::NUMBERS.munmap,
    page = const PAGE_BYTES,
    shared = const SHARED_BYTES,
);

unsafe extern "C" {
    #[link_name = "gpu_agent_inject_code"]
    static START: u8;
    #[link_name = "gpu_agent_inject_code_end"]
    static END: u8;
}

/// Its bytes.
pub(super) fn code() -> &'static [u8] {
    // SAFETY: the two symbols are the borders of one read-only section of this program.
    unsafe {
        let length = (&raw const END).addr() - (&raw const START).addr();
        core::slice::from_raw_parts(&raw const START, length)
    }
}
