//! Child processes whose output is read line by line, and that never outlive their test.
//!
//! Enters: commands. Leaves: lines, exit codes. Refuses: to wait without end.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up; far above what it takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running child; killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
    stdout: Lines,
    stderr: Lines,
}

/// Lines that a thread collects.
#[derive(Debug)]
struct Lines {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Lines {
    fn collect(stream: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let shared = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(stream.read_until(b'\n', &mut line), Ok(1..)) {
                shared.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn now(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.now()
    }
}

/// What a child left behind.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All it printed.
    pub stdout: String,
    /// All it complained about.
    pub stderr: String,
}

impl Running {
    /// Starts `command`.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let stdout = Lines::collect(child.stdout.take().unwrap());
        let stderr = Lines::collect(child.stderr.take().unwrap());
        Self { child, name, stdout, stderr }
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.now()
    }

    /// What it has complained about so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.now()
    }

    /// Writes to its standard input and closes it.
    pub fn tell(&mut self, text: &str) {
        use std::io::Write;
        let mut stdin = self.child.stdin.take().expect("told once");
        stdin.write_all(text.as_bytes()).unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Its standard input, for a caller that tells it more than one thing.
    #[must_use]
    pub fn take_stdin(&mut self) -> std::process::ChildStdin {
        self.child.stdin.take().expect("taken once")
    }

    /// Waits until `look` finds what it looks for in the child's output.
    pub fn until<T>(&mut self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            let ended = self.child.try_wait().unwrap();
            if let Some(found) = look(self) {
                return found;
            }
            if ended.is_some() || started.elapsed() > PATIENCE {
                panic!(
                    "{} did not come to: {what} ({ended:?} after {:?})\n-- stdout\n{}\n-- stderr\n{}",
                    self.name,
                    started.elapsed(),
                    self.stdout(),
                    self.stderr()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid().cast_signed()).expect("a pid");
        rustix::process::kill_process(pid, signal).unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Waits for its end.
    #[must_use]
    pub fn finish(mut self) -> Finished {
        drop(self.child.stdin.take());
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{} does not end\n-- stdout\n{}\n-- stderr\n{}",
                self.name,
                self.stdout(),
                self.stderr()
            );
            std::thread::sleep(Duration::from_millis(2));
        };
        Finished { status, stdout: self.stdout.whole(), stderr: self.stderr.whole() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Neither fails for a child that has ended; nothing could be done about another failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
