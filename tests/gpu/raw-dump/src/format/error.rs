//! In: nothing. Out: why a file is refused, with the place. Refuses nothing.

/// A file that is not a recording.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// It does not begin with the magic.
    #[error("the file does not begin with CUPTIRAW, so it is no recording")]
    NotARecording,
    /// Another version of the format.
    #[error("expected version {expected} of the format, found {found}")]
    Version {
        /// [`super::VERSION`].
        expected: u32,
        /// What the file says.
        found: u32,
    },
    /// The file ends in the middle of a piece.
    #[error("{piece} at byte {at} is cut off")]
    CutOff {
        /// Which piece.
        piece: &'static str,
        /// Where it begins in the file, in bytes.
        at: usize,
    },
    /// A section of a tag that the format does not have.
    #[error("unknown section {tag:02x?} at byte {at}")]
    UnknownSection {
        /// The tag.
        tag: [u8; 4],
        /// Where the section begins in the file, in bytes.
        at: usize,
    },
    /// A section whose content breaks a rule of the format.
    #[error("section at byte {at}: {rule}")]
    Broken {
        /// The rule.
        rule: &'static str,
        /// Where the section begins in the file, in bytes.
        at: usize,
    },
    /// No `END ` section: the process did not come to its end.
    #[error("the recording has no end")]
    NoEnd,
}
