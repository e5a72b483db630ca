//! The one environment variable that configures the simulated device: its grammar and its strict parser.
//!
//! Enters: the text of [`VARIABLE`]. Leaves: a [`Config`], or a [`ConfigError`] that names the offending part.
//! Refuses: unknown keys, repeated keys, empty values, numbers out of range; nothing is guessed or ignored.
//!
//! ```text
//! text  = [ pair { "," pair } ]
//! pair  = key "=" value                       no white space
//! fail  = rule { ";" rule }                   the value of the key `fail`
//! rule  = FUNCTION ":" STATUS [ "@" N ]       every call, or the Nth call only (from 1)
//! slow  = delay { ";" delay }                 the value of the key `slow`
//! delay = FUNCTION ":" MS
//! ```
//!
//! Every key, its values and its default stand in `tests/cuda-sim/README.md` and at the fields below.

use std::str::FromStr;

/// Name of the environment variable.
pub const VARIABLE: &str = "GPU_AGENT_CUDA_SIM";

/// What the simulated libraries do. [`Config::default`] is what an unset or empty variable means.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `devices=N`, 0 to 16: number of simulated devices; with 0, `cuInit` returns `CUDA_ERROR_NO_DEVICE`. Default 2.
    pub devices: u32,
    /// `driver=N`: what `cuDriverGetVersion` answers, 11000 to 19999. Default 12040.
    pub driver_version: i32,
    /// `memory_gib=N`, 1 to 1024: memory of one device, GiB. Host memory is taken only as it is allocated. Default 16.
    pub memory_gib: u64,
    /// `compute_capability=MAJOR.MINOR`. Default 8.0.
    pub compute_capability: (u32, u32),
    /// `compute=on|off|model`. Default `on`.
    pub compute: Compute,
    /// `clock=spin|sleep|virtual`. Default `spin`.
    pub clock: Clock,
    /// `kernel_us=F`, 0 to 1e7: microseconds that a kernel takes which is not computed. Default 5.
    pub kernel_us: f64,
    /// `kernel_jitter=P`, 0 to 100: per cent by which that time varies, drawn from [`Config::seed`]. Default 0.
    pub kernel_jitter_percent: u32,
    /// `binary=accept|refuse`: whether module images that are not PTX text (cubin, fatbin) load. Default `accept`.
    pub binary: Binary,
    /// `quiet=on|off`: no line on stderr for kernels that are not computed. Default `off`.
    pub quiet: bool,
    /// `seed=N`: seed of every pseudo-random choice. Default 1.
    pub seed: u64,
    /// `cupti_gen=9|10|11|12|13`: generation of the CUPTI records; unset: what the library's soname implies.
    pub cupti_gen: Option<u32>,
    /// `cupti_version=N`: what `cuptiGetVersion` answers; unset: what the generation implies.
    pub cupti_version: Option<u32>,
    /// `buffers=global|thread`; unset: the default of that CUPTI version, global below 13.0, thread from 13.0 on.
    pub buffers: Option<Buffers>,
    /// `late_ms=N`: milliseconds after the end of device work before CUPTI has its timestamps. Default 0.
    pub late_ms: u64,
    /// `partial=on|off`: buffers are handed out before they are full. Default `off`.
    pub partial: bool,
    /// `drop_every=N`: every Nth record is dropped and counted; 0: none. Default 0.
    pub drop_every: u64,
    /// `reorder=on|off`: the records of a buffer are shuffled before it is handed out. Default `off`.
    pub reorder: bool,
    /// `incomplete=on|off`: one device record in 16 keeps start = end = 0, as when a device lacks memory for its
    /// timestamps. (A forced flush hands out unfinished records whatever this says.) Default `off`.
    pub incomplete: bool,
    /// `subscriber=free|busy|busy:MS`: `busy` means that another profiler holds CUPTI (error 39), for ever or until
    /// MS milliseconds after the first `cuptiSubscribe`. Default `free`.
    pub subscriber: Subscriber,
    /// `larger=BYTES`, a multiple of 8 up to 4096: records are that much longer than the generation's. Default 0.
    pub larger_bytes: usize,
    /// `unknown_kind=on|off`: records of a kind that no CUPTI has are emitted too. Default `off`.
    pub unknown_kind: bool,
    /// `slow_complete_us=N`: microseconds that CUPTI's own thread takes before each `bufferCompleted`. Default 0.
    pub slow_complete_us: u64,
    /// `slow=FUNCTION:MS[;…]`: functions of libcupti that return that many milliseconds after their work. Default none.
    pub slow: Vec<Delay>,
    /// `fail=FUNCTION:STATUS[@N][;…]`: functions of any of the three libraries that return an error. Default none.
    pub fail: Vec<Failure>,
}

/// Value of the key `compute`: what happens to kernels that the simulator knows by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compute {
    /// Computed on the CPU; the record shows the CPU time that this took.
    On,
    /// Not computed; the kernel takes [`Config::kernel_us`].
    Off,
    /// Computed, but the record shows [`Config::kernel_us`], so that durations are the same in every run.
    Model,
}

/// Value of the key `clock`: how the time of a kernel passes that is not computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The stream's thread spins: exact, takes a CPU.
    Spin,
    /// The stream's thread sleeps: cheap, exact to about 60 µs.
    Sleep,
    /// Nothing waits: work completes at once and its timestamps are laid back to back on the stream. They run ahead
    /// of the clock where more time is enqueued than passes.
    Virtual,
}

/// Value of the key `binary`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// Any image loads; every function name is found in one that is not PTX text.
    Accept,
    /// Such an image is refused with `CUDA_ERROR_NO_BINARY_FOR_GPU`.
    Refuse,
}

/// Value of the key `buffers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buffers {
    /// One activity buffer for the process, the default of CUPTI below 13.0.
    Global,
    /// One activity buffer for each thread that makes API calls.
    Thread,
}

/// Value of the key `subscriber`: whether another profiler holds CUPTI's one subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscriber {
    /// Nobody does.
    Free,
    /// Another does, and stays.
    Busy,
    /// Another does until this many milliseconds after the first `cuptiSubscribe`.
    BusyForMs(u64),
}

/// One rule of the key `fail`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Exported name, for example `cuptiActivityEnable` or `cuMemAlloc_v2`.
    pub function: String,
    /// Status returned instead of doing the work.
    pub status: i32,
    /// The one call that fails, from 1; `None`: every call.
    pub nth: Option<u64>,
}

/// One delay of the key `slow`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delay {
    /// Exported name, for example `cuptiEnableDomain`.
    pub function: String,
    /// Milliseconds, 1 to 600000.
    pub ms: u64,
}

/// Why the variable's text is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The variable does not hold UTF-8.
    #[error("{VARIABLE} is not UTF-8")]
    NotUtf8,
    /// A part has no `=`.
    #[error("{VARIABLE}: \"{0}\" is not of the form key=value")]
    NotAPair(String),
    /// No such key.
    #[error("{VARIABLE}: unknown key \"{0}\"; tests/cuda-sim/README.md lists the keys")]
    UnknownKey(String),
    /// The key stands twice.
    #[error("{VARIABLE}: key \"{0}\" is given twice")]
    Repeated(String),
    /// The value is not one of those the key takes.
    #[error("{VARIABLE}: {key}={value}: expected {expected}")]
    BadValue {
        /// The key.
        key: String,
        /// The value as given.
        value: String,
        /// What the key takes.
        expected: &'static str,
    },
}

impl Default for Config {
    fn default() -> Self {
        Self {
            devices: 2,
            driver_version: 12040,
            memory_gib: 16,
            compute_capability: (8, 0),
            compute: Compute::On,
            clock: Clock::Spin,
            kernel_us: 5.0,
            kernel_jitter_percent: 0,
            binary: Binary::Accept,
            quiet: false,
            seed: 1,
            cupti_gen: None,
            cupti_version: None,
            buffers: None,
            late_ms: 0,
            partial: false,
            drop_every: 0,
            reorder: false,
            incomplete: false,
            subscriber: Subscriber::Free,
            larger_bytes: 0,
            unknown_kind: false,
            slow_complete_us: 0,
            slow: Vec::new(),
            fail: Vec::new(),
        }
    }
}

impl Config {
    /// Reads [`VARIABLE`] from the environment; unset or empty is the default.
    ///
    /// # Errors
    /// As [`Config::from_str`], and when the variable is not UTF-8.
    pub fn from_env() -> Result<Self, ConfigError> {
        match std::env::var(VARIABLE) {
            Ok(text) => text.parse(),
            Err(std::env::VarError::NotPresent) => Ok(Self::default()),
            Err(std::env::VarError::NotUnicode(_)) => Err(ConfigError::NotUtf8),
        }
    }

    /// The rule that applies to the `call`th call (from 1) of `function`, if one does: its status.
    #[must_use]
    pub fn failure(&self, function: &str, call: u64) -> Option<i32> {
        self.fail
            .iter()
            .find(|rule| rule.function == function && rule.nth.is_none_or(|nth| nth == call))
            .map(|rule| rule.status)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        match key {
            "devices" => self.devices = number(key, value, 0, 16, "a number from 0 to 16")?,
            "driver" => self.driver_version = number(key, value, 11000, 19999, "a version such as 12040")?,
            "memory_gib" => self.memory_gib = number(key, value, 1, 1024, "GiB from 1 to 1024")?,
            "compute_capability" => self.compute_capability = capability(key, value)?,
            "compute" => {
                let values = [("on", Compute::On), ("off", Compute::Off), ("model", Compute::Model)];
                self.compute = one_of(key, value, &values, "on, off or model")?;
            }
            "clock" => {
                let values = [("spin", Clock::Spin), ("sleep", Clock::Sleep), ("virtual", Clock::Virtual)];
                self.clock = one_of(key, value, &values, "spin, sleep or virtual")?;
            }
            "kernel_us" => self.kernel_us = number(key, value, 0.0, 1e7, "microseconds from 0 to 1e7")?,
            "kernel_jitter" => {
                self.kernel_jitter_percent = number(key, value, 0, 100, "per cent from 0 to 100")?;
            }
            "binary" => {
                let values = [("accept", Binary::Accept), ("refuse", Binary::Refuse)];
                self.binary = one_of(key, value, &values, "accept or refuse")?;
            }
            "quiet" => self.quiet = switch(key, value)?,
            "seed" => self.seed = number(key, value, 0, u64::MAX, "a number")?,
            "cupti_gen" => self.cupti_gen = Some(number(key, value, 9, 13, "9, 10, 11, 12 or 13")?),
            "cupti_version" => {
                self.cupti_version = Some(number(key, value, 1, 999_999, "a CUPTI API version")?)
            }
            "buffers" => {
                let values = [("global", Buffers::Global), ("thread", Buffers::Thread)];
                self.buffers = Some(one_of(key, value, &values, "global or thread")?);
            }
            "late_ms" => self.late_ms = number(key, value, 0, 600_000, "milliseconds from 0 to 600000")?,
            "partial" => self.partial = switch(key, value)?,
            "drop_every" => self.drop_every = number(key, value, 0, u64::MAX, "a number")?,
            "reorder" => self.reorder = switch(key, value)?,
            "incomplete" => self.incomplete = switch(key, value)?,
            "subscriber" => {
                self.subscriber = subscriber(key, value)?;
            }
            "larger" => self.larger_bytes = larger(key, value)?,
            "unknown_kind" => self.unknown_kind = switch(key, value)?,
            "slow_complete_us" => {
                self.slow_complete_us =
                    number(key, value, 0, 600_000_000, "microseconds from 0 to 600000000")?;
            }
            "slow" => {
                self.slow = value.split(';').map(|rule| delay(key, rule)).collect::<Result<_, _>>()?;
            }
            "fail" => {
                self.fail = value.split(';').map(|rule| failure(key, rule)).collect::<Result<_, _>>()?;
            }
            _ => return Err(ConfigError::UnknownKey(key.to_owned())),
        }
        Ok(())
    }
}

impl FromStr for Config {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        if text.is_empty() {
            return Ok(config);
        }
        let mut seen = Vec::new();
        for pair in text.split(',') {
            let (key, value) = pair.split_once('=').ok_or_else(|| ConfigError::NotAPair(pair.to_owned()))?;
            config.set(key, value)?;
            if seen.contains(&key) {
                return Err(ConfigError::Repeated(key.to_owned()));
            }
            seen.push(key);
        }
        Ok(config)
    }
}

fn bad(key: &str, value: &str, expected: &'static str) -> ConfigError {
    ConfigError::BadValue { key: key.to_owned(), value: value.to_owned(), expected }
}

fn number<T: FromStr + PartialOrd>(
    key: &str,
    value: &str,
    least: T,
    most: T,
    expected: &'static str,
) -> Result<T, ConfigError> {
    match value.parse::<T>() {
        Ok(number) if number >= least && number <= most => Ok(number),
        _ => Err(bad(key, value, expected)),
    }
}

fn one_of<T: Copy>(
    key: &str,
    value: &str,
    values: &[(&str, T)],
    expected: &'static str,
) -> Result<T, ConfigError> {
    values.iter().find(|(name, _)| *name == value).map(|(_, v)| *v).ok_or_else(|| bad(key, value, expected))
}

fn switch(key: &str, value: &str) -> Result<bool, ConfigError> {
    one_of(key, value, &[("on", true), ("off", false)], "on or off")
}

fn capability(key: &str, value: &str) -> Result<(u32, u32), ConfigError> {
    const EXPECTED: &str = "MAJOR.MINOR such as 8.0";
    let (major, minor) = value.split_once('.').ok_or_else(|| bad(key, value, EXPECTED))?;
    match (major.parse(), minor.parse()) {
        (Ok(major @ 3..=20), Ok(minor @ 0..=9)) => Ok((major, minor)),
        _ => Err(bad(key, value, EXPECTED)),
    }
}

fn subscriber(key: &str, value: &str) -> Result<Subscriber, ConfigError> {
    const EXPECTED: &str = "free, busy, or busy:MS with 1 to 600000 milliseconds";
    match value.split_once(':') {
        None => one_of(key, value, &[("free", Subscriber::Free), ("busy", Subscriber::Busy)], EXPECTED),
        Some(("busy", ms)) => number(key, ms, 1, 600_000, EXPECTED).map(Subscriber::BusyForMs),
        Some(_) => Err(bad(key, value, EXPECTED)),
    }
}

fn larger(key: &str, value: &str) -> Result<usize, ConfigError> {
    const EXPECTED: &str = "a multiple of 8 up to 4096";
    let bytes: usize = number(key, value, 0, 4096, EXPECTED)?;
    if bytes.is_multiple_of(8) { Ok(bytes) } else { Err(bad(key, value, EXPECTED)) }
}

fn failure(key: &str, rule: &str) -> Result<Failure, ConfigError> {
    const EXPECTED: &str = "FUNCTION:STATUS or FUNCTION:STATUS@N, joined by \";\"";
    let refused = || bad(key, rule, EXPECTED);
    let (function, rest) = rule.split_once(':').ok_or_else(refused)?;
    let (status, nth) = match rest.split_once('@') {
        Some((status, nth)) => (status, Some(number(key, nth, 1, u64::MAX, EXPECTED)?)),
        None => (rest, None),
    };
    match status.parse() {
        Ok(status @ 1..) if is_function(function) => {
            Ok(Failure { function: function.to_owned(), status, nth })
        }
        _ => Err(refused()),
    }
}

fn delay(key: &str, rule: &str) -> Result<Delay, ConfigError> {
    const EXPECTED: &str = "FUNCTION:MS with 1 to 600000 milliseconds, joined by \";\"";
    match rule.split_once(':') {
        Some((function, ms)) if is_function(function) => {
            Ok(Delay { function: function.to_owned(), ms: number(key, ms, 1, 600_000, EXPECTED)? })
        }
        _ => Err(bad(key, rule, EXPECTED)),
    }
}

fn is_function(name: &str) -> bool {
    name.starts_with("cu") && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY_KEY: &str = "devices=3,driver=13000,memory_gib=2,compute_capability=9.0,compute=model,clock=virtual,\
        kernel_us=0.5,kernel_jitter=20,binary=refuse,quiet=on,seed=7,cupti_gen=11,cupti_version=22,\
        buffers=thread,late_ms=3,partial=on,drop_every=4,reorder=on,incomplete=on,subscriber=busy:250,larger=16,\
        unknown_kind=on,slow_complete_us=9,slow=cuptiEnableDomain:5,fail=cuptiActivityEnable:7@2;cuMemAlloc_v2:2";

    #[test]
    fn empty_text_is_the_default() {
        assert_eq!("".parse(), Ok(Config::default()));
    }

    #[test]
    fn every_key_sets_its_field() {
        let fail = vec![
            Failure { function: "cuptiActivityEnable".into(), status: 7, nth: Some(2) },
            Failure { function: "cuMemAlloc_v2".into(), status: 2, nth: None },
        ];
        let expected = Config {
            devices: 3,
            driver_version: 13000,
            memory_gib: 2,
            compute_capability: (9, 0),
            compute: Compute::Model,
            clock: Clock::Virtual,
            kernel_us: 0.5,
            kernel_jitter_percent: 20,
            binary: Binary::Refuse,
            quiet: true,
            seed: 7,
            cupti_gen: Some(11),
            cupti_version: Some(22),
            buffers: Some(Buffers::Thread),
            late_ms: 3,
            partial: true,
            drop_every: 4,
            reorder: true,
            incomplete: true,
            subscriber: Subscriber::BusyForMs(250),
            larger_bytes: 16,
            unknown_kind: true,
            slow_complete_us: 9,
            slow: vec![Delay { function: "cuptiEnableDomain".into(), ms: 5 }],
            fail,
        };
        assert_eq!(EVERY_KEY.parse(), Ok(expected));
    }

    #[test]
    fn failure_applies_to_the_nth_call_only_or_to_all() {
        let config: Config = "fail=cuA:7@2;cuB:9".parse().unwrap();
        assert_eq!([1, 2, 3].map(|n| config.failure("cuA", n)), [None, Some(7), None]);
        assert_eq!(config.failure("cuB", 12), Some(9));
        assert_eq!(config.failure("cuC", 1), None);
    }

    #[test]
    fn the_readme_lists_every_key_and_no_other() {
        let first_cell =
            |line: &'static str| line.strip_prefix("| `")?.split_once("` |").map(|(cell, _)| cell);
        let mut listed: Vec<_> = include_str!("../../README.md")
            .lines()
            .filter_map(first_cell)
            .filter(|cell| !cell.contains('/'))
            .collect();
        let mut keys: Vec<_> = EVERY_KEY.split(',').map(|pair| pair.split('=').next().unwrap()).collect();
        listed.sort_unstable();
        keys.sort_unstable();
        assert_eq!(listed, keys);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for text in [
            "nonsense=1",
            "devices",
            "devices=",
            "devices=17",
            "devices=1,devices=2",
            "kernel_us=NaN",
            "larger=12",
            "devices=1,",
            "compute=maybe",
            "compute_capability=8",
            "fail=cuA",
            "fail=cuA:0",
            "fail=x y:1",
            "fail=cuA:1@0",
            "slow=cuA",
            "slow=cuA:0",
            "slow=x y:1",
            "cupti_gen=14",
            "subscriber=busy:",
            "subscriber=free:5",
            " devices=1",
        ] {
            assert!(text.parse::<Config>().is_err(), "{text}");
        }
    }
}
