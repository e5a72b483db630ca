//! The configured failures of driver functions. Enters: a callback id. Leaves: the status that this call returns
//! instead of doing its work. Refuses: nothing; a rule for a function that does not exist never applies.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use cuda_sim_abi::config::Config;

use crate::cbid;
use crate::error::Error;

struct Rule {
    cbid: u32,
    status: i32,
    nth: Option<u64>,
    calls: AtomicU64,
}

static RULES: OnceLock<Vec<Rule>> = OnceLock::new();

/// Keeps the rules of `config` that name driver functions; tells whether there are any.
pub(crate) fn configure(config: &Config) -> bool {
    let rules = RULES.get_or_init(|| {
        let of_driver = config.fail.iter().filter_map(|rule| {
            let cbid = cbid::of(&rule.function)?;
            Some(Rule { cbid, status: rule.status, nth: rule.nth, calls: AtomicU64::new(0) })
        });
        of_driver.collect()
    });
    !rules.is_empty()
}

/// The error of this call of `cbid`, counting it.
pub(crate) fn applies(cbid: u32) -> Option<Error> {
    let mut failed = None;
    for rule in RULES.get()?.iter().filter(|rule| rule.cbid == cbid) {
        let call = rule.calls.fetch_add(1, Ordering::Relaxed) + 1;
        if rule.nth.is_none_or(|nth| nth == call) {
            failed = failed.or(Some(Error(rule.status)));
        }
    }
    failed
}
