//! What was found in files, kept on disk.
//!
//! Enters: answers to patterns, with the identity of the file. Leaves: the same, after a restart too. Refuses: entries that are
//! not what was asked for, that are broken or of another format, or that the file does not confirm: each is counted and
//! written anew; more bytes on disk than its limit, the oldest entries give way.
//!
//! One entry is one file of JSON, replaced as a whole, so agents may share a folder. Names of files come of a hash; what
//! they are for is said inside and compared there.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::image::Answer;
use super::pattern::Pattern;
use super::reader::Reader;

/// Version of what entries hold and of how it was found: entries of another one are found anew.
const FORMAT: u32 = 1;
/// Largest entry.
const MAX_ENTRY_BYTES: u64 = 4 << 20;
/// Bytes on disk, unless said otherwise.
const DEFAULT_LIMIT_BYTES: u64 = 16 << 20;
/// How an entry's name ends.
const ENTRY: &str = "symbols";
/// How the name of one that is being written ends.
const UNFINISHED: &str = "unfinished";

/// Answers of earlier searches.
#[derive(Debug, Default)]
pub struct Cache {
    /// `None` keeps nothing.
    folder: Option<PathBuf>,
    limit_bytes: u64,
    unfinished: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    rejected: AtomicU64,
    evicted: AtomicU64,
    failed: AtomicU64,
}

/// What became of questions and answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Questions with an answer.
    pub hits: u64,
    /// Questions without one.
    pub misses: u64,
    /// Entries that were broken, foreign or not confirmed; each question that met one is also a miss.
    pub rejected: u64,
    /// Entries that gave way to others.
    pub evicted: u64,
    /// Answers that could not be written.
    pub failed: u64,
}

/// A file on disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<Patterns, Answers> {
    format: u32,
    file: String,
    patterns: Patterns,
    answers: Answers,
}

impl Cache {
    /// Keeps nothing.
    #[must_use]
    pub fn disabled() -> Self {
        Self::default()
    }

    /// Keeps answers in `folder`, which is made when the first is written. Nobody else may write there.
    #[must_use]
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()), limit_bytes: DEFAULT_LIMIT_BYTES, ..Self::default() }
    }

    /// With another limit of bytes on disk.
    #[must_use]
    pub fn with_limit(self, limit_bytes: u64) -> Self {
        Self { limit_bytes, ..self }
    }

    /// What became of questions and answers so far.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheStats {
            hits: load(&self.hits),
            misses: load(&self.misses),
            rejected: load(&self.rejected),
            evicted: load(&self.evicted),
            failed: load(&self.failed),
        }
    }

    /// The answers that were given for `file`, if there are any and `confirms` says that they hold.
    pub(super) fn get(
        &self,
        file: &str,
        patterns: &[Pattern],
        confirms: impl FnOnce(&[Answer]) -> bool,
    ) -> Option<Vec<Answer>> {
        let path = self.folder.as_ref()?.join(entry_name(file, patterns));
        let found = Reader::open(&path).map(|reader| {
            let bytes = reader.read(0, reader.size_bytes(), MAX_ENTRY_BYTES, "entry").ok()?;
            let entry: Entry<Vec<Pattern>, Vec<Answer>> = serde_json::from_slice(&bytes).ok()?;
            let is_asked = entry.format == FORMAT && entry.file == file && entry.patterns == patterns;
            (is_asked && entry.answers.len() == patterns.len() && confirms(&entry.answers))
                .then_some(entry.answers)
        });
        let counter = match &found {
            Ok(Some(_)) => &self.hits,
            Ok(None) => {
                self.rejected.fetch_add(1, Ordering::Relaxed);
                &self.misses
            }
            Err(_) => &self.misses,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        found.ok().flatten()
    }

    /// Keeps answers. That this may fail, on a full disk say, costs time later, and is counted.
    pub(super) fn put(&self, file: &str, patterns: &[Pattern], answers: &[Answer]) {
        let Some(folder) = &self.folder else { return };
        let entry = Entry { format: FORMAT, file: file.to_owned(), patterns, answers };
        let written = serde_json::to_vec(&entry).map_err(io::Error::from).and_then(|bytes| {
            if bytes.len() as u64 > MAX_ENTRY_BYTES.min(self.limit_bytes) {
                return Err(io::Error::from(io::ErrorKind::FileTooLarge));
            }
            self.write(folder, &entry_name(file, patterns), &bytes)?;
            self.evict(folder)
        });
        if written.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes an entry beside the others, then moves it among them: a reader sees all of it or nothing.
    fn write(&self, folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let number = self.unfinished.fetch_add(1, Ordering::Relaxed);
        let unfinished = folder.join(format!("{}-{number}.{UNFINISHED}", std::process::id()));
        // One that an agent with this pid left behind is in the way.
        let _ = fs::remove_file(&unfinished);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        let moved = file.write_all(bytes).and_then(|()| fs::rename(&unfinished, folder.join(name)));
        if moved.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        moved
    }

    /// Removes the oldest entries until the rest is within the limit. Files of other names are left alone.
    fn evict(&self, folder: &Path) -> io::Result<()> {
        let mut entries: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for file in fs::read_dir(folder)? {
            let path = file?.path();
            let is_ours = path.extension().is_some_and(|end| end == ENTRY || end == UNFINISHED);
            // Another agent may be faster.
            if is_ours && let Ok(metadata) = fs::symlink_metadata(&path) {
                entries.push((metadata.modified()?, metadata.len(), path));
            }
        }
        entries.sort();
        let mut size_bytes: u64 = entries.iter().map(|(_, size_bytes, _)| size_bytes).sum();
        for (_, entry_bytes, path) in entries {
            if size_bytes <= self.limit_bytes {
                break;
            }
            size_bytes -= entry_bytes;
            if fs::remove_file(path).is_ok() {
                self.evicted.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

/// FNV-1a, 64 bits: the same in every build. Two questions of one name would take turns; they are told apart inside.
fn entry_name(file: &str, patterns: &[Pattern]) -> String {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes.iter().chain(&[0]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    };
    add(&FORMAT.to_le_bytes());
    add(file.as_bytes());
    for pattern in patterns {
        match pattern {
            Pattern::Exact(name) => add(name.as_bytes()),
            Pattern::Demangled(glob) => {
                add(b"*");
                add(glob.as_bytes());
            }
        }
    }
    format!("{hash:016x}.{ENTRY}")
}

#[cfg(test)]
mod tests;
