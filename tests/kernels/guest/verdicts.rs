//! Verdicts, on the console.
//!
//! Enters: what checks say. Leaves: lines; see `main.rs`. Refuses: a verdict of more than one line.

use std::fmt::Display;

/// What has been said so far.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    ok: u32,
    failed: u32,
}

impl Verdicts {
    /// Says something about this Linux that is neither right nor wrong.
    #[allow(clippy::unused_self, reason = "all that is said is said here")]
    pub(crate) fn fact(&self, name: &str, value: impl Display) {
        println!("fact {name}: {value}");
    }

    /// Runs a check: it says what it saw, or panics with what it saw instead.
    pub(crate) fn check(&mut self, name: &str, check: impl FnOnce() -> String) {
        let started = std::time::Instant::now();
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)) {
            Ok(seen) => {
                self.ok += 1;
                println!("ok {name}: {seen} ({} ms)", started.elapsed().as_millis());
            }
            Err(panic) => {
                self.failed += 1;
                let words = panic.downcast_ref::<String>().map_or("", String::as_str);
                let words = panic.downcast_ref::<&str>().copied().unwrap_or(words);
                println!("failed {name}: {}", words.replace('\n', "; "));
            }
        }
    }

    /// The last line.
    pub(crate) fn end(&self) {
        println!("end: {} ok, {} failed", self.ok, self.failed);
    }
}
