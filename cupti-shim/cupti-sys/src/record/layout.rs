//! In: nothing. Out: the types in which a view states where its fields lie, so that a test can check every one.

use crate::ApiVersion;

/// Where a view expects the fields of one family of CUPTI structs.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The family's name in the header without its generation, such as `CUpti_ActivityKernel`.
    pub family: &'static str,
    /// Shortest record that the view takes, in bytes.
    pub min_len: usize,
    /// The fields that the view reads.
    pub fields: &'static [Field],
}

/// One field: the header's name for it, and its place in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Name in the header.
    pub name: &'static str,
    /// Distance from the record's start, in bytes.
    pub offset: usize,
    /// Length in bytes.
    pub size: usize,
    /// How a reader knows that the field is there.
    pub presence: Presence,
}

/// How a reader knows that a field is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Every supported CUPTI has it.
    Always,
    /// The record's length tells.
    Late,
    /// It was padding before this version of CUPTI.
    Since(ApiVersion),
}
