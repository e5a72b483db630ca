//! What the first process of a Linux system owes the others.
//!
//! Enters: a bare root. Leaves: `/dev`, `/proc`, `/sys` and `/tmp`, and in the end a machine that is off. Refuses: to raise
//! any limit: the agent has to cope with the kernel's defaults.

use std::io::Write;

use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot};

/// Mounts what programs expect.
pub(crate) fn set_up() {
    for (kind, folder) in [
        ("devtmpfs", "/dev"),
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("securityfs", "/sys/kernel/security"),
        ("tmpfs", "/tmp"),
    ] {
        mount(kind, folder, kind, MountFlags::empty(), None)
            .unwrap_or_else(|error| panic!("{folder}: {error}"));
    }
}

/// Turns the machine off.
pub(crate) fn power_off() {
    std::io::stdout().flush().expect("the console");
    reboot(RebootCommand::PowerOff).expect("no one but the first process turns the machine off");
}
