//! Programs that are probed, and that say what they computed.
//!
//! Enters: a program that works in rounds: it says "ready", then for each line on its stdin a line with a checksum. Leaves: the
//! checksums, and the bytes of its functions as they are in its memory. Refuses: to believe the agent's own ELF reader; functions
//! are found here with another one.

pub mod pairs;
pub mod prober;
pub mod reads;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use object::{Object, ObjectSection, ObjectSymbol};

use crate::process::{Finished, Running};

/// A program at work.
#[derive(Debug)]
pub struct Target {
    running: Running,
    program: PathBuf,
    rounds: usize,
}

/// A function of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Function {
    /// File offset of its first instruction.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

/// Where a program's code lies in its memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Opens the very file, whatever has become of its name.
    pub file: PathBuf,
    /// Where the file's first byte would be.
    pub bias: u64,
}

impl Function {
    /// Looks a function up in the symbol table of `program`.
    #[must_use]
    pub fn of(program: &Path, name: &str) -> Self {
        let bytes = fs::read(program).unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let file = object::File::parse(&*bytes).expect("an ELF file");
        let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name)).expect(name);
        let section = file.section_by_index(symbol.section_index().expect(name)).expect(name);
        let (start, _) = section.file_range().expect("a section with bytes");
        Self { offset: symbol.address() - section.address() + start, size: symbol.size() }
    }
}

impl Target {
    /// Starts `program` and waits until it is ready.
    #[must_use]
    pub fn start(program: &Path, arguments: &[&str]) -> Self {
        let mut running = Running::start(Command::new(program).args(arguments));
        running.until("being ready", |running| running.stdout().starts_with("ready\n").then_some(()));
        Self { running, program: program.to_owned(), rounds: 0 }
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Its file.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Starts a round.
    pub fn begin(&mut self) {
        self.rounds += 1;
        self.running.say("\n");
    }

    /// The checksum of the round that was begun last, if it is over.
    #[must_use]
    pub fn answer(&mut self) -> Option<String> {
        // An answer that the end of the process has cut off has no newline.
        let stdout = self.running.stdout();
        let answer = stdout.split_inclusive('\n').nth(self.rounds).and_then(|line| line.strip_suffix('\n'));
        let answer = answer.map(str::to_owned);
        if answer.is_none() {
            assert_eq!(self.running.status(), None, "it ended: {stdout} {}", self.running.stderr());
        }
        answer
    }

    /// Works one round, and returns its checksum.
    pub fn round(&mut self) -> String {
        self.begin();
        self.await_answer()
    }

    /// Waits for the checksum of the round that was begun last.
    pub fn await_answer(&mut self) -> String {
        let rounds = self.rounds;
        self.running.until("an answer", |running| {
            let stdout = running.stdout();
            stdout
                .split_inclusive('\n')
                .nth(rounds)
                .and_then(|line| line.strip_suffix('\n'))
                .map(str::to_owned)
        })
    }

    /// One of its functions.
    #[must_use]
    pub fn function(&self, name: &str) -> Function {
        // The very file, whatever has become of its name.
        Function::of(Path::new(&format!("/proc/{}/exe", self.pid())), name)
    }

    /// Where its code is mapped.
    #[must_use]
    pub fn code(&self) -> Mapping {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid())).expect("its maps");
        let number = |digits: &str| u64::from_str_radix(digits, 16).expect("a hexadecimal number");
        let program = self.program.to_string_lossy();
        let line = maps.lines().find(|line| line.contains("r-xp") && line.contains(&*program));
        let mut fields = line.expect("the program's code is mapped").split_whitespace();
        let (range, offset) = (fields.next().expect("a range"), number(fields.nth(1).expect("an offset")));
        let start = number(range.split_once('-').expect("a range").0);
        Mapping {
            file: format!("/proc/{}/map_files/{range}", self.pid()).into(),
            bias: start.wrapping_sub(offset),
        }
    }

    /// The bytes of one of its functions, as they are in its memory now.
    #[must_use]
    pub fn text(&self, function: &str) -> Vec<u8> {
        let function = self.function(function);
        let mut bytes = vec![0; function.size.try_into().expect("a size")];
        let memory = fs::File::open(format!("/proc/{}/mem", self.pid())).expect("its memory");
        memory.read_exact_at(&mut bytes, self.code().bias.wrapping_add(function.offset)).expect("its code");
        bytes
    }

    /// Closes its stdin and waits for its end.
    #[must_use]
    pub fn finish(self) -> Finished {
        self.running.finish()
    }

    /// Closes its stdin and waits for its end, which must be a good one.
    pub fn end(self) {
        let program = self.program.clone();
        let finished = self.finish();
        assert!(finished.status.success(), "{}: {} {}", program.display(), finished.status, finished.stderr);
    }
}
