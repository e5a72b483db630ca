//! The children of a process.
//!
//! Enters: a pid and `/proc`. Leaves: pids. Refuses: nothing; of a process that is gone there are none.

use std::fs;

use crate::event::Pid;

/// Processes that threads of `pid` have started and that still are its children (`/proc/PID/task/TID/children`).
pub(super) fn children(pid: Pid) -> Vec<Pid> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid).collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::children;
    use crate::event::Pid;

    #[test]
    fn a_child_is_seen_while_it_lives() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(children(Pid(std::process::id())).contains(&Pid(child.id())));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!children(Pid(std::process::id())).contains(&Pid(child.id())));
        assert!(children(Pid(0x3FFF_FFFF)).is_empty());
    }
}
