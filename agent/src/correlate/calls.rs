//! What the slots of records mean.
//!
//! Enters: slots as `source::ebpf` gave them out. Leaves: look-ups. Refuses: a slot of an earlier generation: it may have been
//! another function's.

use std::collections::HashMap;
use std::sync::Arc;

use crate::probes::plan::Call;

/// All slots in use.
#[derive(Debug, Default)]
pub struct Calls {
    slots: HashMap<u32, Slot, foldhash::fast::RandomState>,
}

/// One slot.
#[derive(Debug)]
pub(super) struct Slot {
    generation: u32,
    /// Whose records.
    pub(super) call: Arc<Call>,
    /// Whether returns of the call are probed.
    pub(super) has_exit: bool,
}

impl Calls {
    /// A slot means `call` from now on; `has_exit` says whether its returns are probed, by this slot or another.
    pub fn insert(&mut self, slot: u32, generation: u32, call: Arc<Call>, has_exit: bool) {
        self.slots.insert(slot, Slot { generation, call, has_exit });
    }

    /// A slot means nothing any more, unless it has another meaning already.
    pub fn remove(&mut self, slot: u32, generation: u32) {
        if self.knows(slot, generation) {
            self.slots.remove(&slot);
        }
    }

    /// Whether a slot means something.
    #[must_use]
    pub fn knows(&self, slot: u32, generation: u32) -> bool {
        self.get(slot, generation).is_some()
    }

    pub(super) fn get(&self, slot: u32, generation: u32) -> Option<&Slot> {
        self.slots.get(&slot).filter(|known| known.generation == generation)
    }
}
