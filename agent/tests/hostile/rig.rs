//! The hostile process, and the commands that look into it.
//!
//! Enters: what it maps and does. Leaves: what the commands said. Refuses: a command that does not end, that takes more memory than
//! [`MEMORY_KIB`], that ends by a signal, or that says nothing; a process that has not survived.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Longest that a command may take: it works for a second, and waits for others on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most memory that it may write to.
const MEMORY_KIB: u32 = 512 << 10;

/// Compiles `name`.c into a folder of this process's own.
fn compile(name: &str, output: &str, flags: &[&str]) -> PathBuf {
    static FOLDER: Mutex<Option<tempfile::TempDir>> = Mutex::new(None);
    let mut folder = FOLDER.lock().unwrap();
    let folder = folder.get_or_insert_with(|| tempfile::tempdir().unwrap());
    let output = folder.path().join(output);
    if !output.exists() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let mut command = Command::new(compiler);
        command.args(["-O1", "-Wall", "-Werror", "-o"]).arg(&output).arg(source).args(flags);
        let compiled = command.output().unwrap();
        assert!(compiled.status.success(), "{command:?}: {}", String::from_utf8_lossy(&compiled.stderr));
    }
    output
}

/// A library that does nothing but count. Whatever is loaded must not need a GPU: what is tested is the way there.
pub(crate) fn library() -> PathBuf {
    compile("inject/c/counter.c", "libcounter.so", &["-shared", "-fPIC"])
}

/// A copy of this test's own program, which has all there is in an ELF file, under the name of a library that is looked into.
pub(crate) fn copy(folder: &Path, name: &str) -> (PathBuf, File) {
    let path = folder.join(name);
    fs::copy("/proc/self/exe", &path).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    (path, file)
}

/// A running one; killed when dropped.
pub(crate) struct Hostile {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Hostile {
    /// One that maps the first 64 KiB of `files`, and does `work`.
    pub(crate) fn start(work: &str, files: &[PathBuf]) -> Self {
        let program = compile("hostile/c/hostile.c", "hostile", &["-lpthread"]);
        let mut command = Command::new(program);
        command.arg(work).args(files).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "{command:?}");
        Self { child, answers }
    }

    /// What both commands say; it must still answer afterwards.
    pub(crate) fn look_into(&mut self) -> [String; 2] {
        let pid = self.child.id().to_string();
        let doctor = said(&["doctor", "--pid", &pid]);
        let library = library();
        let attach = said(&[
            "attach",
            "--pid",
            &pid,
            "--inject",
            "auto",
            "--shim",
            library.to_str().unwrap(),
            "--inject-timeout",
            "2s",
            "--duration",
            "1s",
            "--listen",
            "127.0.0.1:0",
        ]);
        self.answer();
        [doctor, attach]
    }

    /// Makes sure that it still answers.
    pub(crate) fn answer(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        let mut letter = [0];
        let answer = self.answers.read_exact(&mut letter);
        assert!(answer.is_ok() && letter == *b"x", "it does not answer: {:?}", self.child.try_wait());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        // Neither fails for a child that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn said(arguments: &[&str]) -> String {
    let output = tempfile::tempfile().unwrap();
    let mut command = Command::new("sh");
    command.args([
        "-c",
        &format!("ulimit -d {MEMORY_KIB}; exec \"$@\""),
        "sh",
        env!("CARGO_BIN_EXE_gpu-agent"),
    ]);
    command.args(arguments).stdin(Stdio::null());
    command.stdout(output.try_clone().unwrap()).stderr(output.try_clone().unwrap());
    let mut child = command.spawn().unwrap();
    let started = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if started.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(20)),
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("{arguments:?} did not end: {}", read(&output));
            }
        }
    };
    let text = read(&output);
    assert!(status.code().is_some() && !text.contains("panicked"), "{arguments:?}: {status}: {text}");
    assert!(!text.trim().is_empty(), "{arguments:?} said nothing");
    let strange = text.chars().find(|letter| letter.is_control() && *letter != '\n');
    assert_eq!(strange, None, "{arguments:?} said {text:?}");
    text
}

fn read(output: &File) -> String {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; 1 << 20];
    let length = output.read_at(&mut bytes, 0).unwrap();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}
