//! Which CUPTI is simulated: its version number, its record structs, what it has and lacks.
//!
//! Enters: the keys `cupti_gen` and `cupti_version`, and the file name under which this library was loaded.
//! Leaves: a [`Release`] and the number that `cuptiGetVersion` answers. Refuses: nothing; an unlisted version is taken
//! for the newest listed one below it.

use crate::status::Status;
use cuda_sim_abi::config::Config;

/// One CUPTI release: what a client can tell it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Release {
    /// `CUPTI_API_VERSION`.
    pub(crate) api_version: u32,
    /// Key of its structs in `tests/fixtures/cupti-layouts.json`.
    pub(crate) fixture: &'static str,
    /// Suffix of its kernel record struct.
    pub(crate) kernel_generation: u32,
    /// Greatest activity kind of its headers.
    pub(crate) newest_kind: u32,
}

const fn release(api: u32, fixture: &'static str, kernel: u32, newest_kind: u32) -> Release {
    Release { api_version: api, fixture, kernel_generation: kernel, newest_kind }
}

/// From the headers of each release; 12.0 and 12.1 both call themselves 18, as 11.8 does.
pub(crate) const RELEASES: &[Release] = &[
    release(18, "12.0.146", 9, 52),
    release(20, "12.2.142", 9, 52),
    release(21, "12.3.101", 9, 52),
    release(22, "12.4.127", 9, 52),
    release(23, "12.5.82", 9, 52),
    release(24, "12.6.80", 9, 52),
    release(26, "12.8.90", 9, 54),
    release(28, "12.9.79", 9, 54),
    release(130_001, "13.0.85", 10, 54),
    release(130_101, "13.1.115", 11, 58),
    release(130_202, "13.2.86", 11, 59),
    release(130_301, "13.3.75", 12, 59),
    release(130_401, "13.4.92", 13, 59),
    release(130_500, "13.5.25", 13, 59),
];

/// The release simulated, and the version it claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Whose structs and rules hold.
    pub(crate) release: Release,
    /// What `cuptiGetVersion` answers.
    pub(crate) version: u32,
}

impl Identity {
    /// Without keys, the generation is 10 when this file is called `libcupti.so.13…`, else 9. A version whose
    /// release has another generation than asked for is only what `cuptiGetVersion` answers.
    pub(crate) fn choose(config: &Config, file_name: &str) -> Self {
        let by_version = config.cupti_version.map(of_version);
        let generation = config
            .cupti_gen
            .or(by_version.map(|release| release.kernel_generation))
            .unwrap_or(if file_name.contains(".so.13") { 10 } else { 9 });
        let release = by_version
            .filter(|release| release.kernel_generation == generation)
            .unwrap_or_else(|| of_generation(generation));
        Self { release, version: config.cupti_version.unwrap_or(release.api_version) }
    }
}

impl Release {
    /// What functions answer before `libcuda` is there: 15 in CUPTI 12, 999 in CUPTI 13.
    pub(crate) fn not_initialized(&self) -> Status {
        if self.api_version < 130_000 { Status::NOT_INITIALIZED } else { Status::UNKNOWN }
    }

    /// From 13.2 on, even `cuptiGetVersion` wants `libcuda` (13.2 itself then crashes; this answers 999).
    pub(crate) fn needs_driver_always(&self) -> bool {
        self.api_version >= 130_200
    }

    /// Whether `bufferRequested` may decline: from API version 27 on.
    pub(crate) fn takes_null_buffer(&self) -> bool {
        self.api_version >= 27
    }

    /// Whether requests for buffers are reported as overhead: from 12.6 on.
    pub(crate) fn reports_buffer_requests(&self) -> bool {
        self.api_version >= 24
    }

    /// Whether `cuptiFinalize` leaves a process with graphs alive: from 12.6 on.
    pub(crate) fn survives_finalize_with_graphs(&self) -> bool {
        self.api_version >= 24
    }

    /// Default of `CUPTI_ACTIVITY_ATTR_PER_THREAD_ACTIVITY_BUFFER`: 0 in 12.3 to 12.9, 1 from 13.0 on.
    pub(crate) fn buffers_per_thread(&self) -> bool {
        self.api_version >= 130_000
    }
}

fn of_version(version: u32) -> Release {
    let known = RELEASES.iter().rev().find(|release| release.api_version <= version);
    known.or(RELEASES.first()).copied().unwrap_or(release(18, "12.0.146", 9, 52))
}

fn of_generation(generation: u32) -> Release {
    let known = RELEASES.iter().find(|release| release.kernel_generation == generation);
    known.copied().unwrap_or_else(|| of_version(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(text: &str, file: &str) -> (u32, &'static str) {
        let identity = Identity::choose(&text.parse().unwrap(), file);
        (identity.version, identity.release.fixture)
    }

    #[test]
    fn generation_implies_a_version() {
        assert_eq!(chosen("cupti_gen=9", ""), (18, "12.0.146"));
        assert_eq!(chosen("cupti_gen=10", ""), (130_001, "13.0.85"));
        assert_eq!(chosen("cupti_gen=11", ""), (130_101, "13.1.115"));
        assert_eq!(chosen("cupti_gen=12", ""), (130_301, "13.3.75"));
        assert_eq!(chosen("cupti_gen=13", ""), (130_401, "13.4.92"));
    }

    #[test]
    fn version_of_the_same_generation_selects_its_release() {
        assert_eq!(chosen("cupti_gen=9,cupti_version=22", ""), (22, "12.4.127"));
        assert_eq!(chosen("cupti_version=28", ""), (28, "12.9.79"));
        assert_eq!(chosen("cupti_version=27", ""), (27, "12.8.90"));
    }

    #[test]
    fn version_of_another_generation_is_only_what_it_claims() {
        assert_eq!(chosen("cupti_gen=10,cupti_version=28", ""), (28, "13.0.85"));
    }

    #[test]
    fn without_keys_the_file_name_decides() {
        assert_eq!(chosen("", "/x/libcupti.so.12").0, 18);
        assert_eq!(chosen("", "/x/libcupti.so.13").0, 130_001);
    }
}
