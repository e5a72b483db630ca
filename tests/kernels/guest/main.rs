//! The first and only program of a guest that `tests/kernels/run.sh` boots: proves the probes on its Linux, then turns it off.
//!
//! Enters: the kernel's command line, the target program beside this one. Leaves: lines on the console, one a verdict:
//!
//! ```text
//! fact NAME: VALUE
//! ok NAME: what was seen
//! failed NAME: what was expected, and what was seen
//! end: N ok, N failed
//! ```
//!
//! Refuses: to guess. A guest that ends without its last line has failed, whatever it printed before.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test: whatever goes wrong is to end it, with words"
)]

mod checks;
mod init;
mod verdicts;

use verdicts::Verdicts;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("load") {
        return checks::load_and_say();
    }
    let is_init = std::process::id() == 1;
    if is_init {
        init::set_up();
    }
    // The firmware's last line has no end.
    println!();
    let mut verdicts = Verdicts::default();
    checks::run(&mut verdicts);
    verdicts.end();
    if is_init {
        init::power_off();
    }
}
