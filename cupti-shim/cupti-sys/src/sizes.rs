//! In: the version of a loaded CUPTI, a kind, the bytes from a record's start to the end of its buffer. Out: those
//! bytes that surely belong to the record. Refuses a CUPTI older than 11.8.
//!
//! `cuptiActivityGetNextRecord` hands out a pointer and no length. Most of a record is read without one, but whether
//! a late field is there must be known, or the next record's bytes would be taken for it. The sizes are lower bounds:
//! 12.0 and 12.1 answer the version of 11.8, so they are taken for 11.8, and a CUPTI newer than this table for the
//! newest in it; both only hide late fields.

use crate::{ActivityKind, ApiVersion};

/// One more than the largest kind that has a view.
const KINDS: usize = 52;

/// Sizes of one record in bytes, each from the first version on that surely has it, oldest first.
type Growth = &'static [(ApiVersion, u16)];

const KERNEL: Growth = &[
    (ApiVersion::V11_8, 200),
    (ApiVersion::V12_2, 208),
    (ApiVersion::V13_0, 216),
    (ApiVersion::V13_1, 224),
    (ApiVersion::V13_3, 232),
    (ApiVersion::V13_4, 248),
];
const MEMCPY: Growth = &[(ApiVersion::V11_8, 88), (ApiVersion::V12_8, 96), (ApiVersion::V13_4, 112)];
const MEMSET: Growth = &[(ApiVersion::V11_8, 88), (ApiVersion::V13_4, 104)];
const MEMORY: Growth = &[(ApiVersion::V11_8, 120), (ApiVersion::V12_6, 128)];
const SYNCHRONIZATION: Growth = &[(ApiVersion::V11_8, 40), (ApiVersion::V12_8, 56)];
const GRAPH_TRACE: Growth = &[(ApiVersion::V11_8, 48), (ApiVersion::V12_3, 56)];
const OVERHEAD: Growth = &[(ApiVersion::V11_8, 40), (ApiVersion::V12_3, 48), (ApiVersion::V12_4, 56)];
const DEVICE: Growth = &[(ApiVersion::V11_8, 176), (ApiVersion::V12_2, 184), (ApiVersion::V13_2, 192)];
const CONTEXT: Growth =
    &[(ApiVersion::V11_8, 16), (ApiVersion::V12_4, 24), (ApiVersion::V12_5, 32), (ApiVersion::V13_1, 40)];

/// Every kind that has a view, with its growth.
const TABLE: &[(ActivityKind, Growth)] = &[
    (ActivityKind::MEMCPY, MEMCPY),
    (ActivityKind::MEMSET, MEMSET),
    (ActivityKind::KERNEL, KERNEL),
    (ActivityKind::DRIVER, &[(ApiVersion::V11_8, 40)]),
    (ActivityKind::RUNTIME, &[(ApiVersion::V11_8, 40)]),
    (ActivityKind::DEVICE, DEVICE),
    (ActivityKind::CONTEXT, CONTEXT),
    (ActivityKind::CONCURRENT_KERNEL, KERNEL),
    (ActivityKind::OVERHEAD, OVERHEAD),
    (ActivityKind::MEMCPY2, &[(ApiVersion::V11_8, 96)]),
    (ActivityKind::STREAM, &[(ApiVersion::V11_8, 24)]),
    (ActivityKind::SYNCHRONIZATION, SYNCHRONIZATION),
    (ActivityKind::EXTERNAL_CORRELATION, &[(ApiVersion::V11_8, 24)]),
    (ActivityKind::MEMORY2, MEMORY),
    (ActivityKind::GRAPH_TRACE, GRAPH_TRACE),
];

/// How long the records of one CUPTI are. Made once a session; asked once a record.
#[derive(Clone, Debug)]
pub struct RecordSizes {
    by_kind: [u16; KINDS],
}

impl RecordSizes {
    /// The sizes that a CUPTI of this version surely writes; `None` before 11.8, which is not supported.
    #[must_use]
    pub fn for_version(version: ApiVersion) -> Option<Self> {
        if version < ApiVersion::V11_8 {
            return None;
        }
        let mut by_kind = [0; KINDS];
        for &(kind, growth) in TABLE {
            let size = growth.iter().rev().find(|(since, _)| *since <= version).map_or(0, |&(_, size)| size);
            if let Some(slot) = by_kind.get_mut(kind.0 as usize) {
                *slot = size;
            }
        }
        Some(Self { by_kind })
    }

    /// Bytes that a record of this kind has at least; `None` for a kind without a view.
    #[inline(always)]
    #[must_use]
    pub fn of(&self, kind: ActivityKind) -> Option<usize> {
        match self.by_kind.get(kind.0 as usize) {
            Some(&size) if size != 0 => Some(usize::from(size)),
            _ => None,
        }
    }

    /// Cuts `rest`, which runs from a record's start to the end of its buffer's valid part, to the record. Nothing
    /// is left for a kind without a view.
    #[inline(always)]
    #[must_use]
    pub fn cut<'a>(&self, kind: ActivityKind, rest: &'a [u8]) -> &'a [u8] {
        let size = self.of(kind).unwrap_or(0);
        rest.get(..size).unwrap_or(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::{KINDS, RecordSizes, TABLE};
    use crate::{ActivityKind, ApiVersion};

    #[test]
    fn every_kind_of_the_table_fits_and_grows_with_the_versions() {
        for &(kind, growth) in TABLE {
            assert!((kind.0 as usize) < KINDS, "{kind}");
            assert_eq!(growth[0].0, ApiVersion::V11_8, "{kind}");
            assert!(growth.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1), "{kind}");
        }
    }

    #[test]
    fn a_cupti_before_11_8_is_refused() {
        assert!(RecordSizes::for_version(ApiVersion(17)).is_none());
    }

    #[test]
    fn a_cupti_newer_than_the_table_is_read_like_the_newest_in_it() {
        let newest = RecordSizes::for_version(ApiVersion::V13_5).unwrap();
        let newer = RecordSizes::for_version(ApiVersion(140_000)).unwrap();
        assert_eq!(newest.by_kind, newer.by_kind);
    }

    #[test]
    fn a_record_is_cut_to_its_size_or_to_what_the_buffer_still_holds() {
        let sizes = RecordSizes::for_version(ApiVersion::V13_0).unwrap();
        assert_eq!(sizes.cut(ActivityKind::CONCURRENT_KERNEL, &[0; 500]).len(), 216);
        assert_eq!(sizes.cut(ActivityKind::CONCURRENT_KERNEL, &[0; 100]).len(), 100);
    }

    #[test]
    fn a_kind_without_a_view_yields_no_bytes() {
        let sizes = RecordSizes::for_version(ApiVersion::V13_0).unwrap();
        for kind in [ActivityKind::INVALID, ActivityKind::MARKER, ActivityKind::JIT, ActivityKind(u32::MAX)] {
            assert_eq!(sizes.of(kind), None, "{kind}");
            assert!(sizes.cut(kind, &[0; 500]).is_empty(), "{kind}");
        }
    }
}
