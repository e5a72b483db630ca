//! Programs that take orders, and the one in C.
//!
//! Enters: orders. Leaves: answers. Refuses: another answer than the expected one.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use gpu_agent_tests::programs;
use gpu_agent_tests::workload::Start;

/// A running program; killed when dropped.
pub(crate) struct Program {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Program {
    /// Starts `command`, and waits until it is ready.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut program = Self { child, orders, answers };
        assert_eq!(program.line(), "ready");
        program
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn order(&mut self, order: &str, answer: &str) {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
        assert_eq!(self.line(), answer);
    }

    /// Lets it end, which must be a good end.
    pub(crate) fn end(mut self) {
        self.orders.take();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Neither fails for a child that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The C program, on the simulated device.
pub(crate) fn compiled(simulator: &str) -> Command {
    static COMPILED: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = COMPILED.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let mut command = Command::new(compiler);
        command.args(["-O1", "-Wall", "-Werror", "-o"]).arg(&path);
        command.arg(programs::repository().join("tests/tests/attach/program.c"));
        command.arg("-L").arg(programs::simulator()).arg("-l:libcuda.so.1");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        (folder, path)
    });
    Start::new(simulator).command(path)
}
