//! The environment variables of the shim, all of them, and how each is read.
//!
//! Enters: the target's environment, once, when its CUDA driver calls [`crate::entry`]. Leaves: [`Settings`]. Refuses:
//! to complain: a value that cannot be used counts as unset, because a shim must not print into somebody's program.
//!
//! | variable | value | without it |
//! |---|---|---|
//! | `GPU_AGENT_SHIM` | `off`: the shim does nothing at all in this process | it works |
//! | `GPU_AGENT_RING_SLOTS` | records the ring holds, a power of two from 1,024 to 4,194,304 | 65,536 (6 MiB) |
//! | `GPU_AGENT_NAMES_KIB` | KiB for kernel names, a multiple of 4 from 4 to 65,536 | 1,024 |
//! | `GPU_AGENT_ARM` | what to collect from the first kernel on: words of [`KIND_WORDS`] or a number, joined by `,` | dormant |
//! | `GPU_AGENT_ARM_LEASE_MS` | how long that first lease lasts, ms, 1 to 600,000 | 10,000 |
//! | `GPU_AGENT_ANNOUNCE` | abstract Unix socket to tell of the new ring ([`mod@gpu_agent_ring::announce`]) | nobody is told |
//! | `GPU_AGENT_CUPTI` | path of the libcupti to load when the process brings none | none |
//!
//! `CUDA_INJECTION64_PATH` is NVIDIA's: the constructor sets it to the shim's own path where it is unset.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use gpu_agent_ring::layout::kinds;
use gpu_agent_ring::{Geometry, Lease};

/// Switches the shim off.
pub const SHIM: &str = "GPU_AGENT_SHIM";
/// Number of slots of the ring.
pub const RING_SLOTS: &str = "GPU_AGENT_RING_SLOTS";
/// Size of the names region, KiB.
pub const NAMES_KIB: &str = "GPU_AGENT_NAMES_KIB";
/// Kinds of the first lease.
pub const ARM: &str = "GPU_AGENT_ARM";
/// Duration of the first lease, ms.
pub const ARM_LEASE_MS: &str = "GPU_AGENT_ARM_LEASE_MS";
/// Abstract socket to announce the ring at.
pub const ANNOUNCE: &str = "GPU_AGENT_ANNOUNCE";
/// Last libcupti to try.
pub const CUPTI: &str = "GPU_AGENT_CUPTI";
/// NVIDIA's: the library that libcuda loads in `cuInit`.
pub const CUDA_INJECTION: &str = "CUDA_INJECTION64_PATH";

/// Words of [`ARM`], and the bits of [`kinds`] they stand for: the three modes, then single kinds.
pub const KIND_WORDS: [(&str, u32); 9] = [
    ("kernels", kinds::KERNEL | kinds::MEMCPY | kinds::MEMSET | kinds::MEMORY),
    ("api", kinds::API | kinds::SYNC | kinds::OVERHEAD),
    ("graph", kinds::GRAPH),
    ("kernel", kinds::KERNEL),
    ("memcpy", kinds::MEMCPY),
    ("memset", kinds::MEMSET),
    ("memory", kinds::MEMORY),
    ("sync", kinds::SYNC),
    ("overhead", kinds::OVERHEAD),
];

/// Time between flushes until an agent says otherwise.
const FIRST_FLUSH_PERIOD: Duration = Duration::from_millis(100);
const FIRST_LEASE_MS: u64 = 10_000;

/// What the environment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Size of the ring.
    pub geometry: Geometry,
    /// The lease that the shim grants itself.
    pub first_lease: Option<Lease>,
    /// Where to announce the ring.
    pub announce: Option<String>,
    /// The libcupti to try last.
    pub cupti: Option<PathBuf>,
}

impl Settings {
    /// Reads the process's environment; `None` where it switches the shim off.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        Self::read(|name| std::env::var_os(name))
    }

    /// Reads the variables through `lookup`.
    #[must_use]
    pub fn read(lookup: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        if lookup(SHIM).is_some_and(|value| value == "off") {
            return None;
        }
        let text = |name| lookup(name).and_then(|value| value.into_string().ok());
        let number = |name| text(name).and_then(|value| value.parse::<u32>().ok());
        let default = Geometry::default();
        let slots = number(RING_SLOTS)
            .filter(|slots| slots.is_power_of_two() && (1 << 10..=1 << 22).contains(slots))
            .unwrap_or(default.slots);
        let names_bytes = number(NAMES_KIB)
            .filter(|kib| kib.is_multiple_of(4) && (4..=65_536).contains(kib))
            .map_or(default.names_bytes, |kib| kib * 1024);
        let lease_ms =
            number(ARM_LEASE_MS).filter(|ms| (1..=600_000).contains(ms)).map_or(FIRST_LEASE_MS, u64::from);
        let first_lease = text(ARM).and_then(|words| parse_kinds(&words)).map(|kinds| Lease {
            kinds,
            flush_period: FIRST_FLUSH_PERIOD,
            budget_ppm: 0,
            duration: Duration::from_millis(lease_ms),
            ending: 0,
        });
        Some(Self {
            geometry: Geometry { slots, names_bytes },
            first_lease,
            announce: text(ANNOUNCE).filter(|name| !name.is_empty()),
            cupti: lookup(CUPTI).filter(|path| !path.is_empty()).map(PathBuf::from),
        })
    }
}

/// Bits of `words`; `None` if one of them is unknown, or if there is none.
fn parse_kinds(words: &str) -> Option<u32> {
    words.split(',').try_fold(0, |bits, word| {
        let named = KIND_WORDS.iter().find(|(name, _)| *name == word).map(|&(_, bits)| bits);
        Some(bits | named.or_else(|| word.parse().ok())?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Option<Settings> {
        Settings::read(|name| {
            variables.iter().find(|(have, _)| *have == name).map(|&(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn an_empty_environment_is_a_dormant_shim_with_the_default_ring() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.geometry, Geometry::default());
        assert_eq!((settings.first_lease, settings.announce, settings.cupti), (None, None, None));
    }

    #[test]
    fn off_is_off_and_nothing_else_is() {
        assert_eq!(read(&[(SHIM, "off")]), None);
        assert!(read(&[(SHIM, "on")]).is_some());
        assert!(read(&[(SHIM, "")]).is_some());
    }

    #[test]
    fn every_variable_sets_its_setting() {
        let settings = read(&[
            (RING_SLOTS, "1024"),
            (NAMES_KIB, "64"),
            (ARM, "kernels,api"),
            (ARM_LEASE_MS, "250"),
            (ANNOUNCE, "somewhere"),
            (CUPTI, "/opt/libcupti.so.12"),
        ])
        .unwrap();
        assert_eq!(settings.geometry, Geometry { slots: 1024, names_bytes: 65_536 });
        let lease = settings.first_lease.unwrap();
        assert_eq!((lease.kinds, lease.duration), (0x7f, Duration::from_millis(250)));
        assert_eq!(settings.announce.as_deref(), Some("somewhere"));
        assert_eq!(settings.cupti, Some(PathBuf::from("/opt/libcupti.so.12")));
    }

    #[test]
    fn an_unusable_value_counts_as_unset() {
        for value in ["", "0", "-1", "1000", "8388608", "99999999999999", "many"] {
            assert_eq!(read(&[(RING_SLOTS, value)]).unwrap().geometry, Geometry::default(), "{value}");
        }
        for value in ["", "0", "3", "6", "131072"] {
            assert_eq!(read(&[(NAMES_KIB, value)]).unwrap().geometry, Geometry::default(), "{value}");
        }
        for value in ["", "everything", "kernels,", "kernels api"] {
            assert_eq!(read(&[(ARM, value)]).unwrap().first_lease, None, "{value}");
        }
        let lease = read(&[(ARM, "kernel"), (ARM_LEASE_MS, "0")]).unwrap().first_lease.unwrap();
        assert_eq!(lease.duration, Duration::from_millis(FIRST_LEASE_MS));
    }

    #[test]
    fn kinds_are_words_or_a_number() {
        assert_eq!(parse_kinds("kernel"), Some(kinds::KERNEL));
        assert_eq!(parse_kinds("graph,sync"), Some(kinds::GRAPH | kinds::SYNC));
        assert_eq!(parse_kinds("255"), Some(255));
        assert_eq!(parse_kinds("255,nothing"), None);
    }
}
