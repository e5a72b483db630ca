//! What a user may say about collecting.
//!
//! Enters: flags, variables, the `[collect]` table. Leaves: a [`super::Config`]. Refuses: lease times that would end between
//! two renewals or outlive a dead agent for long, flushes without a pause, and flushes so rare that records could not be matched.

use std::path::PathBuf;
use std::time::Duration;

use super::Config;
use crate::aggregate::Limits;
use crate::classes::{ClassError, Classifier};
use crate::config::options;
use crate::config::value::Millis;
use crate::source::cupti::{Lease, Mode};

options! {
    /// What is collected from the targets, and how much of it is kept.
    pub struct Options["collect"] {
        /// What to collect: kernels, kernels+api, or graph (whole graph launches instead of their kernels).
        mode: Mode, "mode", "GPU_AGENT_MODE", default "kernels+api", value_name = "MODE";
        /// Time between flushes in the target, 1 ms to 1 s: how old a record gets before the agent sees it.
        flush_period_ms: Millis, "flush-period-ms", "GPU_AGENT_FLUSH_PERIOD_MS", default "100", value_name = "TIME";
        /// How long the shim stays armed if the agent dies, 2 s to 60 s; it is renewed each second.
        lease_ms: Millis, "lease-ms", "GPU_AGENT_LEASE_MS", default "3000", value_name = "TIME";
        /// Share of one core that the shim may spend on copying records, parts per million; 0 is no limit.
        budget_ppm: u32, "budget-ppm", "GPU_AGENT_BUDGET_PPM", default "0", value_name = "PPM";
        /// Series held at most, over all targets; kernels past it are counted under `_other`.
        max_series: usize, "max-series", "GPU_AGENT_MAX_SERIES", default "10000", value_name = "COUNT";
        /// Allocations remembered at most, for the memory in use.
        max_allocations: usize, "max-allocations", "GPU_AGENT_MAX_ALLOCATIONS", default "262144", value_name = "COUNT";
        /// How long the series of a process that has ended are still shown.
        grace_ms: Millis, "grace-ms", "GPU_AGENT_GRACE_MS", default "300000", value_name = "TIME";
        /// More rules that class kernels, asked before the bundled ones (agent/classes/kernels.toml).
        classes: PathBuf, "classes", "GPU_AGENT_CLASSES", default "none", value_name = "FILE";
    }
}

/// A lease is renewed each second, and one renewal may be missed.
const SHORTEST_LEASE: Duration = Duration::from_secs(2);
/// A shim whose agent died writes for nobody, and no other agent can arm it, until the lease ends.
const LONGEST_LEASE: Duration = Duration::from_secs(60);
/// The longest time between flushes: halves of a v2 call are taken for orphans if they come much later than each other.
const LONGEST_FLUSH_PERIOD: Duration = Duration::from_secs(1);

/// Why the options cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lease would end before it is renewed, or the shim would stay armed for long without an agent.
    #[error("a lease of {0:?} is out of range; give 2000 ms to 60000 ms")]
    Lease(Duration),
    /// The target would be flushed without a pause, or records would come too late to be matched.
    #[error("a flush period of {0:?} is out of range; give 1 ms to 1000 ms")]
    FlushPeriod(Duration),
    /// The file of classes cannot be read.
    #[error("cannot read the kernel classes in {path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file of classes is wrong.
    #[error(transparent)]
    Classes(#[from] ClassError),
}

impl Options {
    /// With defaults.
    pub fn resolve(self) -> Result<Config, Error> {
        let lease = Lease::default();
        let limits = Limits::default();
        let duration = self.lease_ms.map_or(lease.duration, Millis::duration);
        if !(SHORTEST_LEASE..=LONGEST_LEASE).contains(&duration) {
            return Err(Error::Lease(duration));
        }
        let flush_period = self.flush_period_ms.map_or(lease.flush_period, Millis::duration);
        if flush_period.is_zero() || flush_period > LONGEST_FLUSH_PERIOD {
            return Err(Error::FlushPeriod(flush_period));
        }
        let files = self.classes.map(|path| match std::fs::read_to_string(&path) {
            Ok(text) => Ok((path.display().to_string(), text)),
            Err(source) => Err(Error::Unreadable { path, source }),
        });
        let files: Vec<_> = files.transpose()?.into_iter().collect();
        let grace = self.grace_ms.map(|grace| u64::try_from(grace.duration().as_nanos()).unwrap_or(u64::MAX));
        Ok(Config {
            lease: Lease {
                mode: self.mode.unwrap_or_default(),
                flush_period,
                duration,
                budget_ppm: self.budget_ppm.unwrap_or(lease.budget_ppm),
                finalize: lease.finalize,
            },
            limits: Limits {
                series: self.max_series.unwrap_or(limits.series),
                allocations: self.max_allocations.unwrap_or(limits.allocations),
                grace_ns: grace.unwrap_or(limits.grace_ns),
            },
            classifier: Classifier::with_files(&files)?,
            stop_timeout: Duration::from_secs(2),
            retry: Duration::from_secs(5),
            probes: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, Millis, Options};

    #[test]
    fn times_that_cannot_work_are_refused_with_the_range() {
        for flush_period_ms in [0, 1001] {
            let options = Options { flush_period_ms: Some(Millis(flush_period_ms)), ..Options::default() };
            let error = options.resolve().unwrap_err();
            assert!(matches!(error, Error::FlushPeriod(_)) && error.to_string().contains("1 ms to 1000 ms"));
        }
        for lease_ms in [0, 1999, 60_001, u64::MAX] {
            let options = Options { lease_ms: Some(Millis(lease_ms)), ..Options::default() };
            let error = options.resolve().unwrap_err();
            assert!(matches!(error, Error::Lease(_)) && error.to_string().contains("2000 ms to 60000 ms"));
        }
        for lease_ms in [2000, 60_000] {
            let options = Options { lease_ms: Some(Millis(lease_ms)), ..Options::default() };
            assert!(options.resolve().is_ok());
        }
        for flush_period_ms in [1, 1000] {
            let options = Options { flush_period_ms: Some(Millis(flush_period_ms)), ..Options::default() };
            assert!(options.resolve().is_ok());
        }
    }
}
