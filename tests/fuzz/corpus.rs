//! The inputs worth mutating: each went a way that no earlier one went.
//!
//! Enters: files of a folder, inputs with the ways they went. Leaves: inputs. Refuses: to grow past [`MAX_INPUTS`].

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// Inputs kept in memory.
const MAX_INPUTS: usize = 4096;

/// Inputs, and the ways seen.
pub(crate) struct Corpus {
    inputs: Vec<Vec<u8>>,
    ways: HashSet<u64>,
    loaded: usize,
}

impl Corpus {
    /// The files of `folder` in order of their names; an empty input if there are none.
    pub(crate) fn load(folder: &Path) -> Self {
        let entries = std::fs::read_dir(folder).map(Iterator::collect::<Vec<_>>).unwrap_or_default();
        let mut paths: Vec<PathBuf> =
            entries.into_iter().map(|entry| entry.expect("a corpus file").path()).collect();
        paths.sort();
        let mut inputs: Vec<Vec<u8>> =
            paths.iter().map(|path| std::fs::read(path).expect("a corpus file")).collect();
        if inputs.is_empty() {
            inputs.push(Vec::new());
        }
        Self { loaded: inputs.len(), inputs, ways: HashSet::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.inputs.len()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&[u8]> {
        self.inputs.get(index).map(Vec::as_slice)
    }

    /// Notes the ways that an input went; true if one was new and the input was added.
    pub(crate) fn learn(&mut self, ways: &[u64], input: &[u8]) -> bool {
        let mut new = false;
        for way in ways {
            new |= self.ways.insert(*way);
        }
        let known = self.inputs.iter().take(self.loaded).any(|loaded| loaded == input);
        let add = new && !known && self.inputs.len() < MAX_INPUTS;
        if add {
            self.inputs.push(input.to_vec());
        }
        add
    }
}

/// Writes `input` to a file of `folder` that is named by its content.
pub(crate) fn save(folder: &Path, input: &[u8]) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let path = folder.join(format!("{:016x}", hasher.finish()));
    std::fs::create_dir_all(folder).expect("the corpus folder");
    std::fs::write(&path, input).expect("an input file");
    path
}
