//! Compilers, and processes that say where their functions lie.
//!
//! Enters: sources, command lines. Leaves: files in a folder that goes with the test, processes that end with it. Refuses:
//! nothing.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use gpu_agent::event::Pid;
use gpu_agent::symbols::process::{self, Mapped};
use gpu_agent::symbols::{Cache, Image, Pattern, Symbol};
use tempfile::TempDir;

/// A folder for the files of one test.
pub(crate) struct Workshop(TempDir);

impl Workshop {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Compiles `source`, whose name is that of the language (`a.c`), into the file `out`.
    pub(crate) fn compile(
        &self,
        compiler: &str,
        source: (&str, &str),
        out: &str,
        options: &[&str],
    ) -> PathBuf {
        let source = self.write(source.0, source.1);
        self.run(compiler, &[&[source.to_str().unwrap(), "-o", out][..], options].concat());
        self.path(out)
    }

    /// Runs a program in the folder.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program).args(arguments).current_dir(self.0.path()).output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }
}

pub(crate) fn exact(name: &str) -> Pattern {
    Pattern::Exact(name.to_owned())
}

pub(crate) fn demangled(glob: &str) -> Pattern {
    Pattern::Demangled(glob.to_owned())
}

pub(crate) fn open(path: &Path) -> Image {
    Image::open(path, path.to_str().unwrap()).unwrap()
}

/// The functions that match.
pub(crate) fn all(image: &Image, pattern: Pattern) -> Vec<Symbol> {
    let [answer] = <[_; 1]>::try_from(image.lookup(&Cache::disabled(), &[pattern]).unwrap()).unwrap();
    answer.unwrap()
}

/// The only function that matches.
pub(crate) fn one(image: &Image, pattern: Pattern) -> Symbol {
    let found = all(image, pattern.clone());
    let [symbol] = <[_; 1]>::try_from(found).unwrap_or_else(|found| panic!("{pattern:?}: {found:?}"));
    symbol
}

/// Raw names of the functions that match, in order.
pub(crate) fn names(image: &Image, pattern: Pattern) -> Vec<Arc<str>> {
    let mut names: Vec<_> = all(image, pattern).into_iter().map(|symbol| symbol.raw).collect();
    names.sort();
    names
}

/// A process that printed one line of words, and waits.
pub(crate) struct Running {
    child: Child,
    pub(crate) words: Vec<String>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, words: line.split_whitespace().map(str::to_owned).collect() }
    }

    pub(crate) fn program(path: &Path) -> Self {
        Self::start(&mut Command::new(path))
    }

    /// The address that it printed, in hexadecimal.
    pub(crate) fn address(&self, word: usize) -> u64 {
        u64::from_str_radix(self.words[word].trim_start_matches("0x"), 16).unwrap()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid(self.child.id())
    }

    /// The file of it whose shown name contains `part`.
    pub(crate) fn file(&self, part: &str) -> Mapped {
        let files = process::mapped(self.pid()).unwrap();
        let shown: Vec<_> = files.iter().map(|file| Arc::clone(&file.shown)).collect();
        files
            .into_iter()
            .find(|file| file.shown.contains(part))
            .unwrap_or_else(|| panic!("{part} in {shown:?}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A C program that prints the address of its function `work`, then waits for the end of its input.
pub(crate) const PROGRAM: &str = r#"
#include <stdio.h>
__attribute__((noinline)) static int inner(int x) { __asm__ volatile("" : "+r"(x)); return x * 7; }
__attribute__((noinline)) int work(int x) { if (x > 3) return inner(x) + 1; __asm__ volatile(""); return x; }
int main(int argc, char **argv) {
    printf("%p %p %d\n", (void *)work, (void *)inner, work(argc));
    fflush(stdout);
    while (getchar() != EOF) {}
    return 0;
}
"#;
