//! The configured failures of runtime functions. Enters: a function's name. Leaves: the error that this call returns
//! instead of doing its work. Refuses: nothing; a configuration that does not parse is `cuInit`'s to refuse.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use cuda_sim_abi::config::{Config, Failure};

use crate::error::Error;

/// The rules for runtime functions, each with its count of calls.
static RULES: OnceLock<Vec<(Failure, AtomicU64)>> = OnceLock::new();

fn read() -> Vec<(Failure, AtomicU64)> {
    let rules = Config::from_env().map(|config| config.fail).unwrap_or_default();
    let of_runtime = rules.into_iter().filter(|rule| rule.function.starts_with("cuda"));
    of_runtime.map(|rule| (rule, AtomicU64::new(0))).collect()
}

/// The error of this call of `function`, counting it.
pub(crate) fn applies(function: &str) -> Option<Error> {
    let mut failed = None;
    for (rule, calls) in RULES.get_or_init(read).iter().filter(|(rule, _)| rule.function == function) {
        let call = calls.fetch_add(1, Ordering::Relaxed) + 1;
        if rule.nth.is_none_or(|nth| nth == call) {
            failed = failed.or(Some(Error(rule.status)));
        }
    }
    failed
}
