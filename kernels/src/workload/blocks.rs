//! Which cache blocks each sequence has. Enter: sequence and index; leave: block numbers. Each sequence owns a
//! spare block, with which a block of it can change places.

use super::options::Sizes;

/// Block tables of a lane.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    tables: Vec<Vec<i32>>,
    spares: Vec<i32>,
}

impl Blocks {
    /// Gives out the blocks in turn, so that neighbours in a sequence are not neighbours in memory.
    pub(super) fn new(sizes: &Sizes) -> Self {
        let (batch, per_seq) = (sizes.batch, sizes.blocks_per_seq());
        let tables =
            (0..batch).map(|seq| (0..per_seq).map(|index| (index * batch + seq) as i32).collect()).collect();
        let spares = (0..batch).map(|seq| (per_seq * batch + seq) as i32).collect();
        Self { tables, spares }
    }

    /// The table of a sequence.
    pub(super) fn of(&self, seq: usize) -> &[i32] {
        self.tables.get(seq).map_or(&[], Vec::as_slice)
    }

    /// Exchanges a block of a sequence with its spare: (block before, block from now on).
    pub(super) fn relocate(&mut self, seq: usize, index: usize) -> Option<(usize, usize)> {
        let block = self.tables.get_mut(seq)?.get_mut(index)?;
        let spare = self.spares.get_mut(seq)?;
        std::mem::swap(block, spare);
        Some((*spare as usize, *block as usize))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::Blocks;
    use crate::workload::options::Options;

    #[test]
    fn no_block_is_given_out_twice_also_after_relocations() {
        let sizes = Options::parse_from(["workload", "--batch", "3", "--prompt", "40"]).sizes().unwrap();
        let mut blocks = Blocks::new(&sizes);
        let (from, to) = blocks.relocate(1, 2).unwrap();
        assert_ne!(from, to);
        assert_eq!(blocks.of(1)[2], to as i32);
        assert_eq!(blocks.relocate(1, 2), Some((to, from)));
        blocks.relocate(2, 0).unwrap();
        let mut all: Vec<i32> = (0..3).flat_map(|seq| blocks.of(seq).to_vec()).collect();
        all.extend(&blocks.spares);
        all.sort_unstable();
        assert!(all.into_iter().eq(0..sizes.num_blocks() as i32));
        assert_eq!(blocks.relocate(3, 0), None);
    }
}
