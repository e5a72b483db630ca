//! The last few records of a sort, one for each thing they describe.
//!
//! Enters: device and context records. Leaves: the same, oldest first. Refuses: to grow: the oldest makes room.

/// Up to `N` records.
#[derive(Debug)]
pub(super) struct Recent<T, const N: usize> {
    records: Vec<T>,
}

impl<T, const N: usize> Recent<T, N> {
    pub(super) fn new() -> Self {
        Self { records: Vec::with_capacity(N) }
    }

    /// Keeps `record`, in the place of one that `is_same` says describes the same thing.
    pub(super) fn remember(&mut self, record: T, is_same: impl Fn(&T) -> bool) {
        match self.records.iter_mut().find(|known| is_same(known)) {
            Some(known) => *known = record,
            None => {
                if self.records.len() >= N {
                    self.records.remove(0);
                }
                self.records.push(record);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.records.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_kept_once_and_the_oldest_makes_room() {
        let mut recent = Recent::<(u32, char), 3>::new();
        for record in [(1, 'a'), (2, 'b'), (1, 'c'), (3, 'd'), (4, 'e')] {
            recent.remember(record, |known| known.0 == record.0);
        }
        assert_eq!(recent.iter().copied().collect::<Vec<_>>(), [(2, 'b'), (3, 'd'), (4, 'e')]);
    }
}
