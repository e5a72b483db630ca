//! Where lines go: stdout, or a file that is rotated by size.
//!
//! Enters: whole lines. Leaves: whole lines: what a full disk cut short is cut back to the last line that fits.
//! Refuses: to wait for space. Lines that cannot be written are counted and forgotten; when the disk takes bytes
//! again, so does the log.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

/// Bytes and lines that were written, and lines that were not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Written {
    pub(super) bytes: u64,
    pub(super) lines: u64,
    pub(super) refused: u64,
}

/// Something lines can be appended to.
pub(super) trait Output: Send {
    /// Appends a part of `bytes`, as [`Write::write`] does.
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Takes the last `count` bytes back; `false` where that is not possible.
    fn retract(&mut self, count: u64) -> bool;
    /// Called before a block of whole lines.
    fn prepare(&mut self, block_bytes: u64) -> io::Result<()>;
}

impl Output for Box<dyn Output> {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (**self).append(bytes)
    }

    fn retract(&mut self, count: u64) -> bool {
        (**self).retract(count)
    }

    fn prepare(&mut self, block_bytes: u64) -> io::Result<()> {
        (**self).prepare(block_bytes)
    }
}

/// Writes blocks of lines to an output and keeps it a sequence of whole lines.
pub(super) struct Sink<O> {
    output: O,
    /// A cut line that could not be taken back: a newline has to come before the next.
    torn: bool,
    failing: bool,
}

impl<O: Output> Sink<O> {
    pub(super) fn new(output: O) -> Self {
        Self { output, torn: false, failing: false }
    }

    /// Writes `block`, whole lines, as far as the output takes it.
    pub(super) fn write(&mut self, block: &[u8]) -> Written {
        let lines = count_lines(block);
        let mut done = 0;
        let result = self.append_all(block, &mut done);
        if let Err(error) = result {
            let whole = block.get(..done).and_then(|part| part.iter().rposition(|byte| *byte == b'\n'));
            let whole = whole.map_or(0, |last| last + 1);
            let cut = done - whole;
            self.torn = cut > 0 && !self.output.retract(cut as u64);
            let kept = count_lines(block.get(..whole).unwrap_or_default());
            if !self.failing {
                warn!(%error, "the JSON log cannot be written; lines are counted as failed until it can");
            }
            self.failing = true;
            return Written { bytes: whole as u64, lines: kept, refused: lines - kept };
        }
        if std::mem::take(&mut self.failing) {
            info!("the JSON log is written again");
        }
        Written { bytes: block.len() as u64, lines, refused: 0 }
    }

    fn append_all(&mut self, block: &[u8], done: &mut usize) -> io::Result<()> {
        self.output.prepare(block.len() as u64)?;
        if self.torn {
            if self.output.append(b"\n")? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.torn = false;
        }
        while let Some(rest) = block.get(*done..).filter(|rest| !rest.is_empty()) {
            match self.output.append(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => *done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn count_lines(block: &[u8]) -> u64 {
    block.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// The agent's stdout, past the standard library's buffer: what it did not take is known.
pub(super) struct Stdout(File);

impl Stdout {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self(io::stdout().as_fd().try_clone_to_owned()?.into()))
    }
}

impl Output for Stdout {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn retract(&mut self, _count: u64) -> bool {
        false
    }

    fn prepare(&mut self, _block_bytes: u64) -> io::Result<()> {
        Ok(())
    }
}

/// A file, and older ones beside it: `log.json`, `log.json.1` (newer) … `log.json.N` (oldest).
#[derive(Debug)]
pub(super) struct Rotating {
    path: PathBuf,
    file: File,
    size: u64,
    max_bytes: u64,
    keep: u32,
}

impl Rotating {
    /// Opens (or creates) the file and appends to it.
    pub(super) fn open(path: PathBuf, max_bytes: u64, keep: u32) -> io::Result<Self> {
        let file = open(&path)?;
        let metadata = file.metadata()?;
        // A device or a pipe has no size to rotate by.
        let max_bytes = if metadata.is_file() { max_bytes } else { 0 };
        Ok(Self { size: metadata.len(), path, file, max_bytes, keep })
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.keep == 0 {
            self.file.set_len(0)?;
            self.size = 0;
            return Ok(());
        }
        for number in (1..self.keep).rev() {
            match std::fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        std::fs::rename(&self.path, self.numbered(1))?;
        self.file = open(&self.path)?;
        self.size = 0;
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        name.into()
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

impl Output for Rotating {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.size += count as u64;
        Ok(count)
    }

    fn retract(&mut self, count: u64) -> bool {
        let Some(size) = self.size.checked_sub(count) else { return false };
        // Somebody else may have appended, or truncated: then the end is not ours to cut.
        if self.file.metadata().is_ok_and(|metadata| metadata.len() != self.size) {
            return false;
        }
        let cut = self.file.set_len(size).is_ok();
        if cut {
            self.size = size;
        }
        cut
    }

    fn prepare(&mut self, block_bytes: u64) -> io::Result<()> {
        if self.max_bytes > 0 && self.size > 0 && self.size + block_bytes > self.max_bytes {
            self.rotate()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `space` bytes, then says that the disk is full.
    struct Disk {
        content: Vec<u8>,
        space: usize,
        retracts: bool,
    }

    impl Output for &mut Disk {
        fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.space);
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.space -= count;
            self.content.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn retract(&mut self, count: u64) -> bool {
            if self.retracts {
                self.content.truncate(self.content.len() - count as usize);
                self.space += count as usize;
            }
            self.retracts
        }

        fn prepare(&mut self, _block_bytes: u64) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_costs_whole_lines_and_the_log_goes_on_when_there_is_space() {
        let mut disk = Disk { content: Vec::new(), space: 6, retracts: true };
        let mut sink = Sink::new(&mut disk);
        assert_eq!(sink.write(b"one\ntwo\nthree\n"), Written { bytes: 4, lines: 1, refused: 2 });
        assert_eq!(sink.write(b"four\n"), Written { bytes: 0, lines: 0, refused: 1 });
        sink.output.space = 100;
        assert_eq!(sink.write(b"five\n"), Written { bytes: 5, lines: 1, refused: 0 });
        assert_eq!(disk.content, b"one\nfive\n");
    }

    #[test]
    fn where_a_cut_line_cannot_be_taken_back_it_is_ended_before_the_next() {
        let mut disk = Disk { content: Vec::new(), space: 6, retracts: false };
        let mut sink = Sink::new(&mut disk);
        assert_eq!(sink.write(b"one\ntwo\n"), Written { bytes: 4, lines: 1, refused: 1 });
        sink.output.space = 100;
        sink.write(b"three\n");
        assert_eq!(disk.content, b"one\ntw\nthree\n");
    }

    #[test]
    fn a_device_that_is_always_full_takes_nothing_and_nothing_breaks() {
        let mut sink = Sink::new(Rotating::open("/dev/full".into(), 100, 1).unwrap());
        for _ in 0..3 {
            assert_eq!(sink.write(b"line\n"), Written { bytes: 0, lines: 0, refused: 1 });
        }
    }

    #[test]
    fn a_file_is_rotated_before_it_grows_past_its_limit_and_so_many_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.json");
        let mut sink = Sink::new(Rotating::open(path.clone(), 10, 2).unwrap());
        for line in [b"aaaa\n", b"bbbb\n", b"cccc\n", b"dddd\n", b"eeee\n", b"ffff\n", b"gggg\n"] {
            sink.write(line);
        }
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("log.json"), "gggg\n");
        assert_eq!(read("log.json.1"), "eeee\nffff\n");
        assert_eq!(read("log.json.2"), "cccc\ndddd\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn an_existing_file_is_appended_to_and_counts_towards_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.json");
        std::fs::write(&path, "old line\n").unwrap();
        let mut sink = Sink::new(Rotating::open(path.clone(), 20, 1).unwrap());
        sink.write(b"new\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old line\nnew\n");
        sink.write(b"a longer line\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a longer line\n");
    }
}
