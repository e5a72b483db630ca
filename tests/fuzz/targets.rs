//! What is fuzzed.
//!
//! Enters: nothing. Leaves: the table of targets. Refuses: targets that need a GPU, root or a network.

mod announce;
mod configuration;
mod control;
mod cuda;
mod decode;
mod elf;
mod mailbox;
mod maps;
mod names;
mod payloads;
mod probe_records;
mod program;
mod ring;
mod seccomp;
mod shared;
mod simulator;
mod specifications;
mod threads;

/// Runs one input and tells which ways it went.
pub(crate) type Run = Box<dyn FnMut(&[u8]) -> Vec<u64>>;

/// A thing that reads what others wrote.
pub(crate) struct Target {
    /// Its name, which is that of its corpus folder.
    pub(crate) name: &'static str,
    /// Makes what its runs share (files, sockets).
    pub(crate) make: fn() -> Run,
}

/// All targets.
pub(crate) const TARGETS: &[Target] = &[
    Target { name: "ring", make: ring::make },
    Target { name: "control", make: control::make },
    Target { name: "announce", make: announce::make },
    Target { name: "decode", make: decode::make },
    Target { name: "names", make: names::make },
    Target { name: "probe_records", make: probe_records::make },
    Target { name: "configuration", make: configuration::make },
    Target { name: "elf", make: elf::make },
    Target { name: "maps", make: maps::make },
    Target { name: "cuda", make: cuda::make },
    Target { name: "seccomp", make: seccomp::make },
    Target { name: "threads", make: threads::make },
    Target { name: "mailbox", make: mailbox::make },
    Target { name: "simulator", make: simulator::make },
    Target { name: "specifications", make: specifications::make },
    Target { name: "payloads", make: payloads::make },
];
