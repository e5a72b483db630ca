//! Texts that say they are `/proc/PID/task/TID/syscall` or `/proc/PID/status`.
//!
//! Enters: any bytes. Leaves: the ways they went. Refuses: a thread at rest on another stack than one of its own, or in code where none
//! may be borrowed.

use gpu_agent::inject::arch::Native;
use gpu_agent::inject::checks::Status;
use gpu_agent::inject::threads::{Memory, at_rest};

use super::Run;
use super::program::Ways;

pub(super) fn make() -> Run {
    let memory = Memory {
        anonymous: vec![0x7ffd_0000_0000..0x7ffd_0010_0000, 0..0x10_0000, u64::MAX - 0x10_0000..u64::MAX],
        forbidden: vec![0x7f10_0000_0000..0x7f10_0003_0000, 0x1000..0x2000],
        ..Memory::default()
    };
    Box::new(move |input| {
        let text = String::from_utf8_lossy(input);
        let mut ways = Ways::default();
        let found = at_rest::<Native>(&text, &memory);
        if let Some((_, (stack, code))) = found {
            assert!(memory.anonymous.iter().any(|range| range.contains(&stack)));
            assert!(!memory.forbidden.iter().any(|range| range.contains(&code)));
        }
        ways.note(found.map(|(rest, _)| rest as u8));
        let status = Status::parse(&text);
        ways.note((status.stopped, status.tracer.min(1), status.seccomp.min(3), status.shadow_stack));
        ways.note(status.refusal().map(|refusal| refusal.to_string().chars().take(20).collect::<String>()));
        ways.into_numbers()
    })
}
