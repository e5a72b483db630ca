//! A process that looks to the agent like one with the shim in it: for tests.
//!
//! Enters: arguments, commands on stdin. Leaves: a real ring with real records, or a forged one. Refuses: nothing; a command
//! that it does not know ends it.
//!
//! ```text
//! fake_target [--slots N] [--forge KIND] [--map FILE] [--no-ring]
//!
//! push N NAME   writes N kernel records and says `pushed N`
//! flood         writes kernel records until it is killed
//! exec          runs itself again, with the same arguments
//! state         says `armed` or `dormant`, by the lease
//! fail          fails until the present lease is over, as a shim does whose CUPTI has failed
//! (end)         exits
//! ```
//!
//! A target whose environment names an announcement socket (`GPU_AGENT_ANNOUNCE`) announces itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's process that cannot go on must say so at once"
)]

use std::io::{BufRead, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gpu_agent::event::Pid;
use gpu_agent::identity;
use gpu_agent_ring::control::{ShimState, mono_ns};
use gpu_agent_ring::layout::{
    CONTROL_NAME, Counter, FORMAT_VERSION, PAGE_BYTES, RING_MAGIC, RING_NAME, SLOT_BYTES,
};
use gpu_agent_ring::record::{self, kind};
use gpu_agent_ring::writer::Identity;
use gpu_agent_ring::{Geometry, ShimControl, Writer};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap};

const RING_ID: u64 = 0x00C0_FFEE;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value =
        |name: &str| arguments.iter().position(|known| known == name).map(|at| arguments[at + 1].clone());
    let mapped = value("--map").map(|path| map_file(&std::fs::File::open(path).unwrap().into(), 4096));
    let forged = value("--forge").map(|kind| forge(&kind));
    let own = (forged.is_none() && !arguments.contains(&"--no-ring".to_owned())).then(|| {
        let slots = value("--slots").map_or(1 << 12, |slots| slots.parse().unwrap());
        Shim::new(slots)
    });
    println!("ready");
    obey(own);
    drop((mapped, forged));
}

/// A ring, a control page, and a thread that answers the lease as the shim would.
struct Shim {
    writer: Writer,
    control: Arc<ShimControl>,
    has_failed: Arc<AtomicBool>,
}

impl Shim {
    fn new(slots: u32) -> Self {
        let pid = std::process::id();
        let start_time_ticks = identity::start_time_ticks(Pid(pid)).unwrap();
        let identity = Identity { ring_id: RING_ID, pid, start_time_ticks, simulated: true };
        let writer = Writer::create(Geometry { slots, names_bytes: 1 << 16 }, identity).unwrap();
        let control = Arc::new(ShimControl::create(RING_ID).unwrap());
        let answering = Arc::clone(&control);
        let has_failed = Arc::new(AtomicBool::new(false));
        let failed = Arc::clone(&has_failed);
        std::thread::spawn(move || {
            loop {
                let wish = answering.wish();
                let state = match (wish.deadline_ns > mono_ns(), failed.load(Ordering::Acquire)) {
                    (true, true) => ShimState::Failed,
                    (true, false) => ShimState::Armed,
                    (false, _) => {
                        failed.store(false, Ordering::Release);
                        ShimState::Dormant
                    }
                };
                answering.report(state, wish.generation, wish.kinds);
                answering.wait(wish.generation, Some(Duration::from_millis(20)));
            }
        });
        if let Ok(name) = std::env::var("GPU_AGENT_ANNOUNCE") {
            let files = (writer.file().unwrap().as_fd(), control.file().unwrap().as_fd());
            gpu_agent_ring::announce(&name, RING_ID, files.0, files.1).unwrap();
        }
        Self { writer, control, has_failed }
    }

    fn push(&mut self, name_id: u32) {
        let start_ns = mono_ns();
        let record = record::Kernel {
            kind: kind::KERNEL,
            start_ns,
            end_ns: start_ns + 1000,
            name_id,
            ..Default::default()
        };
        self.control.add(Counter::Seen, 1);
        self.writer.push(&record);
        self.control.add(Counter::Emitted, 1);
    }
}

fn obey(mut shim: Option<Shim>) {
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words.as_slice(), &mut shim) {
            (["push", count, name], Some(shim)) => {
                let name = shim.writer.intern_text(name);
                for _ in 0..count.parse::<u64>().unwrap() {
                    shim.push(name);
                }
                println!("pushed {count}");
            }
            (["flood"], Some(shim)) => {
                println!("flooding");
                std::io::stdout().flush().unwrap();
                let name = shim.writer.intern_text("gemm_f16");
                loop {
                    shim.push(name);
                }
            }
            (["state"], Some(shim)) => {
                let armed = shim.control.wish().deadline_ns > mono_ns();
                println!("{}", if armed { "armed" } else { "dormant" });
            }
            (["fail"], Some(shim)) => {
                shim.has_failed.store(true, Ordering::Release);
                println!("failed");
            }
            (["exec"], _) => {
                let executable = std::env::current_exe().unwrap();
                let error = std::process::Command::new(executable).args(std::env::args().skip(1)).exec();
                panic!("exec: {error}");
            }
            _ => panic!("unknown command {line:?}"),
        }
    }
}

/// A ring with something wrong about it, and a control page.
fn forge(kind: &str) -> (OwnedFd, OwnedFd) {
    const NAMES: u64 = 4096;
    let slots = 64_u64;
    let bytes = PAGE_BYTES as u64 + NAMES + slots * SLOT_BYTES as u64;
    let pid = std::process::id();
    let start = identity::start_time_ticks(Pid(pid)).unwrap();
    let mut fields: Vec<(usize, Vec<u8>)> = vec![
        (0, RING_MAGIC.to_le_bytes().into()),
        (8, FORMAT_VERSION.to_le_bytes().into()),
        (16, bytes.to_le_bytes().into()),
        (24, (PAGE_BYTES as u64).to_le_bytes().into()),
        (32, NAMES.to_le_bytes().into()),
        (40, (PAGE_BYTES as u64 + NAMES).to_le_bytes().into()),
        (48, (SLOT_BYTES as u32).to_le_bytes().into()),
        (52, (slots as u32).to_le_bytes().into()),
        (56, RING_ID.to_le_bytes().into()),
        (64, pid.to_le_bytes().into()),
        (72, start.to_le_bytes().into()),
    ];
    let mut set = |offset: usize, value: &[u8]| fields.push((offset, value.to_vec()));
    let mut size = bytes;
    let mut seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL;
    match kind {
        "magic" => set(0, b"NOTARING"),
        "version" => set(8, &(FORMAT_VERSION + 1).to_le_bytes()),
        "truncated" => size = bytes - 4096,
        "tiny" => size = 100,
        "unsealed" => seals = SealFlags::empty(),
        "foreign" => set(64, &1_u32.to_le_bytes()),
        "slots" => set(52, &3_u32.to_le_bytes()),
        "offsets" => set(40, &u64::MAX.to_le_bytes()),
        "names" => set(32, &u64::MAX.to_le_bytes()),
        // Valid, but every record and every counter is a lie.
        "garbage" => {
            set(1024, &u64::MAX.to_le_bytes());
            set(1088, &u64::MAX.to_le_bytes());
            for slot in 0..slots {
                let at = PAGE_BYTES + NAMES as usize + slot as usize * SLOT_BYTES;
                set(at, &(u64::MAX - slots + slot + 1).to_le_bytes());
                set(at + 8, &[slot as u8 % 14, 0xFF]);
                set(at + 10, &[0xFF; 60]);
            }
        }
        other => panic!("cannot forge {other:?}"),
    }
    let ring = memfd(RING_NAME, size, &fields, seals);
    // A control page that says the same ring id; what the agent refuses is the ring.
    let control = ShimControl::create(RING_ID).unwrap();
    let control_fd = control.file().unwrap().try_clone().unwrap();
    std::mem::forget(control);
    assert!(!CONTROL_NAME.is_empty());
    (ring, control_fd)
}

fn memfd(name: &str, bytes: u64, fields: &[(usize, Vec<u8>)], seals: SealFlags) -> OwnedFd {
    let file = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&file, bytes).unwrap();
    for (offset, value) in fields {
        if *offset as u64 + value.len() as u64 <= bytes {
            assert_eq!(rustix::io::pwrite(&file, value, *offset as u64).unwrap(), value.len());
        }
    }
    map_file(&file, bytes as usize);
    fcntl_add_seals(&file, seals).unwrap();
    file
}

/// Maps a file for the life of the process, so that it shows in `/proc/PID/maps`.
#[allow(unsafe_code, reason = "a mapping that nothing reads")]
fn map_file(file: &OwnedFd, bytes: usize) {
    // SAFETY: a fresh mapping at an address of Linux's choice aliases nothing; it is never dereferenced.
    let mapped = unsafe { mmap(std::ptr::null_mut(), bytes, ProtFlags::READ, MapFlags::SHARED, file, 0) };
    mapped.expect("a mapping");
}
