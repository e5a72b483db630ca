//! A target's kernel names: from ids in its ring to small, dense indexes.
//!
//! Enters: name ids as records carry them. Leaves: [`NameId`]s, and each new name once, classed. Refuses: more names
//! than [`MAX_NAMES`] or more text than [`MAX_TEXT_BYTES`]: a hostile target could make up both.

use std::collections::HashMap;
use std::sync::Arc;

use gpu_agent_ring::Reader;

use crate::classes::{Classifier, KernelName};
use crate::decode::cupti::Names;
use crate::event::NameId;

/// Names kept for one target.
const MAX_NAMES: usize = 1 << 16;
/// Ring ids remembered for one target; several may mean one name.
const MAX_IDS: usize = 2 * MAX_NAMES;
/// Text kept for one target, bytes.
const MAX_TEXT_BYTES: usize = 8 << 20;
/// Shown for a kernel whose name did not fit into the ring.
const UNNAMED: &str = "(unnamed)";
/// Shown for all names past the limits.
const TOO_MANY: &str = "(too many names)";

/// A name that was met for the first time.
#[derive(Debug, Clone)]
pub struct NewName {
    /// Its index.
    pub id: NameId,
    /// What it is.
    pub name: Arc<KernelName>,
}

/// The names of one target.
#[derive(Debug)]
pub struct NameTable {
    classifier: Arc<Classifier>,
    by_ring_id: HashMap<u32, NameId, foldhash::fast::RandomState>,
    by_text: HashMap<Arc<str>, NameId, foldhash::fast::RandomState>,
    text_bytes: usize,
    new: Vec<NewName>,
}

/// The names of one target together with the ring that they are read from.
pub(super) struct LookUp<'a> {
    pub(super) table: &'a mut NameTable,
    pub(super) reader: &'a Reader,
}

impl NameTable {
    /// A table without names.
    #[must_use]
    pub fn new(classifier: Arc<Classifier>) -> Self {
        Self {
            classifier,
            by_ring_id: HashMap::default(),
            by_text: HashMap::default(),
            text_bytes: 0,
            new: Vec::new(),
        }
    }

    /// Names met since the last call, in ascending order of their indexes. They must be told on before the events that
    /// mean them.
    pub fn take_new(&mut self) -> Vec<NewName> {
        std::mem::take(&mut self.new)
    }

    /// Whether [`Self::take_new`] has something.
    #[inline]
    #[must_use]
    pub fn has_new(&self) -> bool {
        !self.new.is_empty()
    }

    #[cold]
    fn admit(&mut self, ring_id: u32, text: Option<String>) -> NameId {
        let text = text.unwrap_or_else(|| UNNAMED.to_owned());
        let id = match self.by_text.get(text.as_str()) {
            Some(&id) => id,
            None if self.by_text.len() < MAX_NAMES && self.text_bytes + text.len() <= MAX_TEXT_BYTES => {
                self.add(&text)
            }
            None => match self.by_text.get(TOO_MANY) {
                Some(&id) => id,
                None => self.add(TOO_MANY),
            },
        };
        if self.by_ring_id.len() < MAX_IDS {
            self.by_ring_id.insert(ring_id, id);
        }
        id
    }

    fn add(&mut self, text: &str) -> NameId {
        // Cannot exceed MAX_NAMES + 1.
        let id = NameId(self.by_text.len() as u32);
        self.text_bytes += text.len();
        let name = Arc::new(self.classifier.classify(text));
        self.by_text.insert(Arc::clone(&name.raw), id);
        self.new.push(NewName { id, name });
        id
    }
}

impl Names for LookUp<'_> {
    #[inline]
    fn kernel(&mut self, ring_id: u32) -> NameId {
        match self.table.by_ring_id.get(&ring_id) {
            Some(&id) => id,
            None => self.table.admit(ring_id, self.reader.name(ring_id)),
        }
    }

    fn text(&mut self, ring_id: u32) -> String {
        self.reader.name(ring_id).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{MAX_NAMES, NameTable, TOO_MANY, UNNAMED};
    use crate::classes::{Class, Classifier};
    use crate::event::NameId;

    fn table() -> NameTable {
        NameTable::new(Arc::new(Classifier::bundled().unwrap()))
    }

    #[test]
    fn a_name_is_told_once_whatever_ids_mean_it() {
        let mut table = table();
        assert_eq!(table.admit(1, Some("gemm_f16".into())), NameId(0));
        assert_eq!(table.admit(9, Some("gemm_f16".into())), NameId(0));
        assert_eq!(table.admit(0, None), NameId(1));
        let new = table.take_new();
        assert_eq!(new.iter().map(|new| &*new.name.raw).collect::<Vec<_>>(), ["gemm_f16", UNNAMED]);
        assert_eq!(new[0].name.class, Class::Gemm);
        assert!(!table.has_new());
    }

    #[test]
    fn names_past_the_limits_are_one() {
        let mut table = table();
        let long = "x".repeat(8000);
        for id in 0..2000 {
            table.admit(id, Some(format!("{long}{id}")));
        }
        let new = table.take_new();
        assert!(new.len() < 1060, "8 MiB of text hold {} names", new.len());
        assert_eq!(&*new[new.len() - 1].name.raw, TOO_MANY);
        assert!(new.len() < MAX_NAMES);
        assert!(new.iter().enumerate().all(|(index, new)| new.id.0 as usize == index));
    }
}
