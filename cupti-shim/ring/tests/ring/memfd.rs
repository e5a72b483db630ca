//! Ring files made by hand.
//!
//! Enters: bytes and seals. Leaves: memfds with them. Refuses: nothing, since bad files are the point.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use gpu_agent_ring::writer::Identity;
use gpu_agent_ring::{Geometry, Writer};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// The seals without which a reader refuses a file.
pub(crate) const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// The smallest geometry that a writer makes.
pub(crate) const SMALL: Geometry = Geometry { slots: 8, names_bytes: 4096 };

/// A memfd with `bytes`, sealed with `seals`.
pub(crate) fn sealed(bytes: &[u8], seals: SealFlags) -> OwnedFd {
    let fd = memfd_create("gpu-agent-ring", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    let file = File::from(fd);
    file.write_all_at(bytes, 0).unwrap();
    fcntl_add_seals(&file, seals).unwrap();
    file.into()
}

/// The bytes of a ring with `records` records and one name, as its writer made them.
pub(crate) fn image(geometry: Geometry, records: u64) -> Vec<u8> {
    let identity = Identity { ring_id: 7, pid: 8, start_time_ticks: 9, simulated: true };
    let mut writer = Writer::create(geometry, identity).unwrap();
    assert_eq!(writer.intern_text("a name"), 1);
    for number in 0..records {
        writer.push_payload(&[number; 11]);
    }
    let file = File::from(writer.file().unwrap().try_clone().unwrap());
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Splitmix64: the next number of a sequence that `state` carries.
pub(crate) fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
