//! Whether the shim can be loaded into the process while it runs: each check that would refuse it, by name.
//!
//! Enters: the process and its mapped files. Leaves: a line for each refusal, or one that says that there is none. Refuses: to
//! try it out.

use super::shim::Shim;
use crate::capability::Capabilities;
use crate::doctor::Line;
use crate::identity::Process;
use crate::inject::arch::Native;
use crate::inject::cupti::Candidate;
use crate::inject::door::Linux;
use crate::inject::runtime::Runtime;
use crate::inject::{Error, Refusal, checks};
use crate::symbols::process::Mapped;

const TOPIC: &str = "loading";

pub(super) fn lines(
    process: &Process,
    files: &[Mapped],
    shim: &Shim,
    cupti: Option<&Candidate>,
) -> Vec<Line> {
    if !shim.is_absent() {
        return vec![Line::ok(TOPIC, "not needed")];
    }
    let own = Capabilities::own();
    let (refusal, checked) = match checks::check(process) {
        Ok(checked) => (None, Some(checked)),
        Err(error) => (Some(refused(&error)), None),
    };
    let has_filter = checked.is_some_and(|checked| checked.has_seccomp);
    let is_on_disk = checked.is_some_and(|checked| !checked.has_memory_files);
    let library = Runtime::find::<Linux, Native>(&Linux, process.pid, files).err();
    let graphs = cupti.filter(|cupti| cupti.is_before_12_6 == Some(true));
    let is_own = process.uid == rustix::process::geteuid().as_raw();
    let mut lines: Vec<Line> = [
        refusal,
        library.as_ref().map(refused),
        rights(own, is_own),
        has_filter.then(|| filter(own)),
        is_on_disk.then(on_disk),
        graphs.map(|cupti| {
            of_text(&Refusal::GraphsUnsafe { library: cupti.path.display().to_string() }.to_string())
        }),
    ]
    .into_iter()
    .flatten()
    .collect();
    if lines.is_empty() {
        lines.push(Line::ok(TOPIC, "the shim can be loaded while it runs"));
    }
    lines
}

/// What is needed beyond tracing, which the checks look after.
fn rights(own: Capabilities, is_own: bool) -> Option<Line> {
    let reason = "which thread may be borrowed is in files that only the process's user may read, and this agent lacks CAP_DAC_READ_SEARCH";
    let is_denied = own.sys_ptrace && !is_own && !own.dac_read_search;
    is_denied.then(|| Line::no(TOPIC, reason, "run it as root, or give it that capability"))
}

fn filter(own: Capabilities) -> Line {
    if own.sys_admin {
        return Line::degraded(
            TOPIC,
            "a seccomp filter is in force; whether it lets the shim in is read when it is loaded, with a thread stopped",
            "nothing must be done; if it is refused then, allow in the filter what the refusal names",
        );
    }
    of_text(&Refusal::SeccompUnknown.to_string())
}

fn on_disk() -> Line {
    Line::degraded(
        TOPIC,
        "vm.memfd_noexec is 2, so the shim comes as a file in the process's /tmp, /dev/shm, /var/tmp or /run, which loses its name at once",
        "nothing must be done; or set vm.memfd_noexec to 1",
    )
}

fn refused(error: &Error) -> Line {
    match error {
        Error::Refused { refusal, .. } => of_text(&refusal.to_string()),
        error => Line::no(TOPIC, error.to_string(), "start it with `gpu-agent run`"),
    }
}

/// A refusal says why, and after a semicolon what to do.
fn of_text(text: &str) -> Line {
    let (reason, fix) = text.split_once("; ").unwrap_or((text, "start it with `gpu-agent run`"));
    Line::no(TOPIC, reason, fix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_seccomp_filter_that_cannot_be_read_is_a_refusal() {
        let admin = Capabilities { sys_admin: true, ..Capabilities::default() };
        assert_eq!(filter(admin).verdict, Verdict::Degraded);
        let line = filter(Capabilities::default());
        assert_eq!(line.verdict, Verdict::No);
        assert!(line.fix.contains("--inject force"), "{line:?}");
    }

    #[test]
    fn another_users_threads_take_one_capability_more() {
        let tracer = Capabilities { sys_ptrace: true, ..Capabilities::default() };
        assert!(rights(tracer, false).is_some());
        assert!(rights(tracer, true).is_none());
        assert!(rights(Capabilities { dac_read_search: true, ..tracer }, false).is_none());
    }
}
