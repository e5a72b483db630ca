//! What the shim's first thread runs on x86-64.
//!
//! Enters: the address of a [`Mailbox`], in a thread that `pthread_create` has made. Leaves: a loaded shim, or the words of
//! the dynamic linker; neither descriptor nor mapping. Refuses: nothing; it is a list of calls.
#![allow(unsafe_code, reason = "assembly, and the borders of it")]

use core::mem::offset_of;

use super::X86_64;
use crate::inject::arch::{Arch, MASK_BYTES, SIG_UNBLOCK};
use crate::inject::mailbox::{Mailbox, PAGE_BYTES, Progress};
use crate::inject::runtime::Functions;

const FUNCTIONS: usize = offset_of!(Mailbox, functions);

// Position independent, and called like any function: `rdi` holds the argument, the stack is aligned after one push.
core::arch::global_asm!(
    ".pushsection .rodata.gpu_agent_inject, \"a\", @progbits",
    // The code that looks for them may be in another unit, or in another crate that has inlined it.
    ".globl gpu_agent_inject_code, gpu_agent_inject_code_end",
    ".hidden gpu_agent_inject_code, gpu_agent_inject_code_end",
    "gpu_agent_inject_code:",
    "    push rbx",
    "    mov rbx, rdi",
    // The C library's own signals, before anything that could take a lock.
    "    mov edi, {unblock}",
    "    lea rsi, [rbx + {unblocked}]",
    "    xor edx, edx",
    "    mov r10d, {mask_bytes}",
    "    mov eax, {sigprocmask}",
    "    syscall",
    "    mov dword ptr [rbx + {progress}], {started}",
    // Nobody joins this thread.
    "    call qword ptr [rbx + {pthread_self}]",
    "    mov rdi, rax",
    "    call qword ptr [rbx + {pthread_detach}]",
    "    mov rdi, qword ptr [rbx + {path_address}]",
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
    "    mov r8d, {done}",
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
    "3:  mov r8d, {refused}",
    "4:  mov edi, dword ptr [rbx + {descriptor}]",
    "    mov eax, {close}",
    "    syscall",
    // The last word to the agent, then both pages are given back; the second one by the C library, which returns to the
    // end of the thread because it was jumped to.
    "    mov dword ptr [rbx + {progress}], r8d",
    "    mov r9, qword ptr [rbx + {code_address}]",
    "    mov r8, qword ptr [rbx + {munmap}]",
    "    mov rdi, qword ptr [rbx + {own_address}]",
    "    mov esi, {page}",
    "    mov eax, {sys_munmap}",
    "    syscall",
    "    mov rdi, r9",
    "    mov esi, {page}",
    "    pop rbx",
    "    jmp r8",
    "gpu_agent_inject_code_end:",
    ".popsection",
    progress = const offset_of!(Mailbox, progress),
    descriptor = const offset_of!(Mailbox, descriptor),
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
    started = const Progress::Started as u32,
    done = const Progress::Done as u32,
    refused = const Progress::Refused as u32,
    close = const X86_64::NUMBERS.close,
    sys_munmap = const X86_64::NUMBERS.munmap,
    page = const PAGE_BYTES,
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
