//! The checks, in their order.
//!
//! Enters: this Linux. Leaves: verdicts. Refuses nothing.

use std::fs;

use gpu_agent::source::ebpf::{Config, Features};
use gpu_agent_tests::probed::prober::{Prober, Way};

use crate::verdicts::Verdicts;

mod counting;
mod refusals;

pub(crate) use refusals::load_and_say;

/// Runs them all.
pub(crate) fn run(verdicts: &mut Verdicts) {
    verdicts.fact("linux", rustix::system::uname().release().to_string_lossy());
    verdicts.fact("lockdown", lockdown());
    let features = match Prober::load() {
        Ok(prober) => prober.features(),
        Err(why) => {
            verdicts.check("the probes load", || panic!("{}", refusals::in_full(&why)));
            return;
        }
    };
    let word = |has: bool| if has { "yes" } else { "no" };
    verdicts.fact("cookies", word(features.cookies));
    verdicts.fact("multi", word(features.multi));
    verdicts.fact("session", word(features.session));

    for (name, used) in ladder(features) {
        let config = Config { features: used, ..Config::default() };
        verdicts.check(&format!("calls, {name}"), || counting::exactly(config, Way::Instructions));
        if used.cookies {
            verdicts
                .check(&format!("calls, {name}, uretprobes"), || counting::exactly(config, Way::Trampoline));
        }
    }
    verdicts.check("one process of two", counting::only_of_targets);
    verdicts.check("a full ring", counting::what_is_lost);
    verdicts.check("nothing remains", counting::nothing_remains);
    verdicts.check("no BTF", refusals::without_btf);
    verdicts.check("no permission", refusals::unprivileged);
    verdicts.fact("events", counting::events());
}

/// Each way to attach that this Linux has: the best one, and those that older ones have to do with.
fn ladder(best: Features) -> Vec<(&'static str, Features)> {
    let ways = [
        ("one by one, by address", Features { cookies: false, multi: false, session: false }),
        ("one by one, with cookies", Features { cookies: true, multi: false, session: false }),
        ("many by one link", Features { cookies: true, multi: true, session: false }),
        ("sessions", Features { cookies: true, multi: true, session: true }),
    ];
    let has = |wanted: bool, there: bool| !wanted || there;
    let is_there = |used: &Features| {
        has(used.cookies, best.cookies) && has(used.multi, best.multi) && has(used.session, best.session)
    };
    ways.into_iter().filter(|(_, used)| is_there(used)).collect()
}

/// `none`, `integrity` or `confidentiality`.
fn lockdown() -> String {
    let modes = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    let mode = modes.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    mode.map_or("not built in", |(mode, _)| mode).to_owned()
}
