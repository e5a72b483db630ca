//! Tests in a pid namespace of their own, where no process of another test is to be seen.
//!
//! Enters: a test. Leaves: nothing. Refuses: to run it among others; without the right to make a namespace it is skipped.

use std::process::Command;

/// Tells a test that it is in its own namespace.
const INSIDE: &str = "GPU_AGENT_TEST_ALONE";

/// Runs `test`, which is a closure in the test function: the same test program is started again, for that function only, as
/// the first process of a new pid namespace. What it leaves running ends with it.
pub fn alone(test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    if !rustix::process::geteuid().is_root() {
        println!("skipped: a pid namespace needs root");
        return;
    }
    let function = std::any::type_name_of_val(&test).split_once("::").expect("a closure in a function").1;
    let name = function.trim_end_matches("::{{closure}}");
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    command.arg(std::env::current_exe().expect("this test program")).args(["--exact", name, "--nocapture"]);
    let done = command.env(INSIDE, "yes").output().expect("unshare, of util-linux");
    let words = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    println!("{words}");
    assert!(done.status.success() && words.contains("1 passed"), "{name}, alone: {}", done.status);
}
