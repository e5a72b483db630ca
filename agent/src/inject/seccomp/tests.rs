//! Filters as containers have them.

use super::calls::CALLS;
use super::program::ARCHITECTURE;
use super::*;

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const KILL_PROCESS: u32 = 0x8000_0000;

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// `verdict` for calls of this number, `otherwise` for others: as libseccomp writes it, the architecture first.
fn filter(number: libc::c_long, verdict: u32, otherwise: u32) -> Vec<Instruction> {
    vec![
        instruction(0x20, 0, 0, 4),
        instruction(0x15, 0, 3, ARCHITECTURE),
        instruction(0x20, 0, 0, 0),
        instruction(0x15, 0, 1, number as u32),
        instruction(0x06, 0, 0, verdict),
        instruction(0x06, 0, 0, otherwise),
    ]
}

/// `verdict` for calls of this number with one of these bits in the lower word of argument `argument`; all else is allowed.
fn masked(number: libc::c_long, argument: u32, mask: u32, verdict: u32) -> Vec<Instruction> {
    vec![
        instruction(0x20, 0, 0, 0),
        instruction(0x15, 0, 3, number as u32),
        instruction(0x20, 0, 0, 16 + argument * 8),
        instruction(0x45, 0, 1, mask),
        instruction(0x06, 0, 0, verdict),
        instruction(0x06, 0, 0, ALLOW),
    ]
}

fn denied(filters: &[Vec<Instruction>]) -> Option<(&'static str, How)> {
    first_denied(filters, By::MemoryFile, false).map(|denied| (denied.call, denied.how))
}

#[test]
fn a_filter_that_denies_what_is_needed_is_found_with_its_way_of_denying() {
    assert_eq!(denied(&[]), None);
    assert_eq!(denied(&[filter(libc::SYS_reboot, KILL_PROCESS, ALLOW)]), None);
    assert_eq!(denied(&[filter(libc::SYS_memfd_create, EPERM, ALLOW)]), Some(("memfd_create", How::Fails)));
    assert_eq!(denied(&[filter(libc::SYS_mprotect, KILL_PROCESS, ALLOW)]), Some(("mprotect", How::Kills)));
    assert_eq!(denied(&[filter(libc::SYS_read, ALLOW, KILL_PROCESS)]), Some(("memfd_create", How::Kills)));
}

#[test]
fn a_call_with_another_way_may_fail_and_must_not_kill() {
    assert_eq!(denied(&[filter(libc::SYS_clone3, EPERM, ALLOW)]), None);
    assert_eq!(denied(&[filter(libc::SYS_clone3, KILL_PROCESS, ALLOW)]), Some(("clone3", How::Kills)));
}

#[test]
fn of_several_filters_the_strictest_counts() {
    let filters = [filter(libc::SYS_mmap, EPERM, ALLOW), filter(libc::SYS_mmap, KILL_PROCESS, ALLOW)];
    assert_eq!(denied(&filters), Some(("mmap", How::Kills)));
}

#[test]
fn filters_that_look_at_arguments_are_shown_the_real_ones() {
    // Docker and containerd: no new namespaces.
    assert_eq!(denied(&[masked(libc::SYS_clone, 0, 0x7e02_0000, EPERM)]), None);
    // systemd's MemoryDenyWriteExecute=: no memory that is executable and writable, none that becomes executable.
    assert_eq!(denied(&[masked(libc::SYS_mprotect, 2, 4, EPERM)]), None);
    assert_eq!(denied(&[masked(libc::SYS_mmap, 2, 4, EPERM)]), Some(("mmap", How::Fails)));
    assert_eq!(denied(&[masked(libc::SYS_openat, 2, 3, EPERM)]), None, "nothing is opened for writing");
    assert_eq!(denied(&[masked(libc::SYS_prctl, 0, 0x8000_0000, KILL_PROCESS)]), None);
}

#[test]
fn what_depends_on_an_address_is_told_and_passes_only_by_force() {
    let by_address = masked(libc::SYS_munmap, 0, 0x1000, KILL_PROCESS);
    assert_eq!(denied(core::slice::from_ref(&by_address)), Some(("munmap", How::Depends)));
    assert_eq!(first_denied(core::slice::from_ref(&by_address), By::MemoryFile, true), None);
    let also_denied = [by_address, filter(libc::SYS_exit, EPERM, ALLOW)];
    let forced = first_denied(&also_denied, By::MemoryFile, true);
    assert_eq!(forced, Some(Denied { call: "exit", how: How::Fails }));
}

#[test]
fn a_filter_against_executable_memory_files_alone_leaves_the_way_by_a_file() {
    let executable = [masked(libc::SYS_memfd_create, 1, 0x10, EPERM)];
    assert_eq!(denied(&executable), Some(("memfd_create", How::Fails)));
    assert_eq!(first_denied(&executable, By::File, false), None);
    let any = [filter(libc::SYS_memfd_create, EPERM, ALLOW)];
    assert_eq!(
        first_denied(&any, By::File, false).map(|denied| denied.call),
        Some("memfd_create"),
        "the ring"
    );
    let writing = [masked(libc::SYS_openat, 2, 2, EPERM)];
    assert_eq!(first_denied(&writing, By::File, false).map(|denied| denied.call), Some("openat"));
}

#[test]
fn each_call_of_the_table_is_missed_where_it_is_the_only_one_denied() {
    for call in CALLS.iter().filter(|call| call.need != Need::File) {
        let number = call.data()[0].unwrap();
        let found = denied(&[filter(number.into(), KILL_PROCESS, ALLOW)]);
        assert_eq!(found, Some((call.name, How::Kills)));
    }
}
