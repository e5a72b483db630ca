//! In: the environment. Out: what to record, and where. Refuses: a limit that is not a number in its range.

use std::env::{VarError, var, var_os};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::recorder::Recorder;

/// The file to make; unset or empty: nothing is recorded.
const OUTPUT: &str = "GPU_AGENT_RAW_DUMP";
/// Most bytes of the file.
const LIMIT: &str = "GPU_AGENT_RAW_DUMP_LIMIT_BYTES";
/// Path of the libcupti to use.
const CUPTI: &str = "GPU_AGENT_RAW_DUMP_CUPTI";

const LIMITS: RangeInclusive<usize> = Recorder::LEAST_LIMIT_BYTES..=1_000_000;
const DEFAULT_LIMIT_BYTES: usize = 100_000;

/// What to record, and where.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) output: PathBuf,
    pub(super) limit_bytes: usize,
    pub(super) cupti: Option<PathBuf>,
}

/// A limit that is refused.
#[derive(Debug, thiserror::Error)]
#[error("{LIMIT} is not a number from {} to {}", LIMITS.start(), LIMITS.end())]
pub(super) struct SettingsError {
    output: PathBuf,
}

impl Settings {
    /// `None` where nothing is to be recorded.
    pub(super) fn from_env() -> Result<Option<Self>, SettingsError> {
        let path = |name| var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let Some(output) = path(OUTPUT) else { return Ok(None) };
        let limit_bytes = match var(LIMIT) {
            Err(VarError::NotPresent) => Some(DEFAULT_LIMIT_BYTES),
            Err(VarError::NotUnicode(_)) => None,
            Ok(text) => text.parse().ok().filter(|limit| LIMITS.contains(limit)),
        };
        match limit_bytes {
            Some(limit_bytes) => Ok(Some(Self { output, limit_bytes, cupti: path(CUPTI) })),
            None => Err(SettingsError { output }),
        }
    }
}

impl SettingsError {
    /// Settings that suffice to tell the error in the file.
    pub(super) fn with_defaults(self) -> (Settings, Self) {
        let settings =
            Settings { output: self.output.clone(), limit_bytes: DEFAULT_LIMIT_BYTES, cupti: None };
        (settings, self)
    }
}
