//! What was found in files, kept on disk.
//!
//! Enters: answers to patterns. Leaves: the same, later. Refuses: nothing yet kept.

/// Answers of earlier searches.
#[derive(Debug, Default)]
pub struct Cache {}

impl Cache {
    /// Keeps nothing.
    #[must_use]
    pub fn disabled() -> Self {
        Self::default()
    }
}
