//! Record structs as numbers: size, and offset and size of each field, of one CUPTI release.
//!
//! Enters: `tests/fixtures/cupti-layouts.json`, which was measured with `offsetof` on NVIDIA's headers. Leaves: the newest
//! struct of a family ([`Structs::newest`]), its filled-in [`Template`], and typed [`Field`]s. Refuses: a family or a
//! field that the fixture lacks, a field of another size than the writer's type, a struct over [`CAPACITY`].
//!
//! The offsets come from no other crate of this project, so that readers are tested against an independent source.

use core::marker::PhantomData;
use std::collections::HashMap;

/// Greatest record written, bytes; `CUpti_ActivityKernel13` is 248.
pub(crate) const CAPACITY: usize = 256;

/// What stands in padding: a reader that takes it for a value notices.
pub(crate) const GARBAGE: u8 = 0xA5;

const FIXTURE: &str = include_str!("../../../fixtures/cupti-layouts.json");

/// Why a release cannot be simulated: the fixture and the writers disagree.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayoutError {
    /// The fixture is not what it should be.
    #[error("tests/fixtures/cupti-layouts.json is not a map of releases")]
    Json(#[from] serde_json::Error),
    /// No structs of that release.
    #[error("tests/fixtures/cupti-layouts.json has no release {0}")]
    Release(String),
    /// No struct of that family.
    #[error("tests/fixtures/cupti-layouts.json has no CUpti_Activity{0} in that release")]
    Family(&'static str),
    /// A field that the writers need is missing or has another size.
    #[error("CUpti_Activity{family}: no field {field} of {bytes} bytes")]
    Field {
        /// The family.
        family: &'static str,
        /// The field.
        field: &'static str,
        /// The size expected.
        bytes: usize,
    },
    /// A struct longer than [`CAPACITY`].
    #[error("CUpti_Activity{family} has {bytes} bytes, more than this library writes")]
    TooLong {
        /// The family.
        family: &'static str,
        /// Its size.
        bytes: usize,
    },
}

#[derive(serde::Deserialize)]
struct Struct {
    size: usize,
    fields: HashMap<String, (u16, u16)>,
}

/// The structs of one release.
pub(crate) struct Structs(HashMap<String, Struct>);

impl Structs {
    /// Reads those of `release`, a key such as `12.4.127`.
    pub(crate) fn of(release: &str) -> Result<Self, LayoutError> {
        let mut releases: HashMap<String, HashMap<String, Struct>> = serde_json::from_str(FIXTURE)?;
        releases.remove(release).map(Self).ok_or_else(|| LayoutError::Release(release.to_owned()))
    }

    /// The struct of `family` with the greatest number after its name (`Memcpy` < `Memcpy3` < `Memcpy6`).
    pub(crate) fn newest(&self, family: &'static str) -> Result<Family<'_>, LayoutError> {
        let number = |name: &str| match name.strip_prefix("CUpti_Activity")?.strip_prefix(family)? {
            "" => Some(1),
            digits => digits.parse::<u32>().ok(),
        };
        let newest = self.0.iter().filter_map(|(name, found)| Some((number(name)?, found)));
        let (_, found) = newest.max_by_key(|(number, _)| *number).ok_or(LayoutError::Family(family))?;
        if found.size > CAPACITY {
            return Err(LayoutError::TooLong { family, bytes: found.size });
        }
        Ok(Family { family, found })
    }
}

/// One struct, by its family's name.
pub(crate) struct Family<'a> {
    family: &'static str,
    found: &'a Struct,
}

impl Family<'_> {
    /// The field, which must be there with the size of `T`.
    pub(crate) fn field<T: Scalar>(&self, name: &'static str) -> Result<Field<T>, LayoutError> {
        self.sized(name, T::BYTES).map(|offset| Field { offset, of: PhantomData }).ok_or(LayoutError::Field {
            family: self.family,
            field: name,
            bytes: T::BYTES,
        })
    }

    /// The field, or one that [`Record::put`] passes over where this generation lacks it.
    pub(crate) fn later_field<T: Scalar>(&self, name: &'static str) -> Field<T> {
        Field { offset: self.sized(name, T::BYTES).unwrap_or(u16::MAX), of: PhantomData }
    }

    /// A record of this struct with `kind`: fields zero, everything between them [`GARBAGE`].
    pub(crate) fn template(&self, kind: u32) -> Template {
        let mut bytes = [GARBAGE; CAPACITY];
        for (offset, size) in self.found.fields.values() {
            let range = usize::from(*offset)..usize::from(*offset) + usize::from(*size);
            if let Some(field) = bytes.get_mut(range) {
                field.fill(0);
            }
        }
        let mut record = Record { bytes, len: self.found.size };
        record.put(Field { offset: 0, of: PhantomData }, kind);
        Template(record)
    }

    fn sized(&self, name: &str, bytes: usize) -> Option<u16> {
        let (offset, size) = self.found.fields.get(name)?;
        (usize::from(*size) == bytes).then_some(*offset)
    }
}

/// A type that record fields have.
pub(crate) trait Scalar: Copy {
    /// Its size.
    const BYTES: usize;
    /// Writes it in native byte order; `to` has [`Scalar::BYTES`] bytes.
    fn store(self, to: &mut [u8]);
}

macro_rules! scalars {
    ($($t:ty),*) => {$(
        impl Scalar for $t {
            const BYTES: usize = size_of::<$t>();
            #[inline]
            fn store(self, to: &mut [u8]) {
                to.copy_from_slice(&self.to_ne_bytes());
            }
        }
    )*};
}
scalars!(u8, u16, u32, u64);

impl<const N: usize> Scalar for [u8; N] {
    const BYTES: usize = N;
    #[inline]
    fn store(self, to: &mut [u8]) {
        to.copy_from_slice(&self);
    }
}

/// Where a field of type `T` stands.
pub(crate) struct Field<T> {
    offset: u16,
    of: PhantomData<fn(T)>,
}

impl<T> Clone for Field<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Field<T> {}

/// A record to start from.
pub(crate) struct Template(Record);

impl Template {
    /// A copy to fill in.
    #[inline]
    pub(crate) fn record(&self) -> Record {
        self.0.clone()
    }

    /// The struct's size, bytes.
    pub(crate) fn size(&self) -> usize {
        self.0.len
    }
}

/// One record being written.
#[derive(Clone)]
pub(crate) struct Record {
    bytes: [u8; CAPACITY],
    len: usize,
}

impl Record {
    /// Writes one field; passes over a field that this generation lacks.
    #[inline]
    pub(crate) fn put<T: Scalar>(&mut self, field: Field<T>, value: T) {
        let start = usize::from(field.offset);
        if let Some(bytes) = self.bytes.get_mut(start..start + T::BYTES) {
            value.store(bytes);
        }
    }

    /// The record's bytes, without what the fault `larger` appends.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}

impl<T: Scalar> Field<T> {
    /// Overwrites the field in a record that already stands in a client's buffer.
    #[inline]
    pub(crate) fn put_in(self, record: &mut [u8], value: T) {
        let start = usize::from(self.offset);
        if let Some(bytes) = record.get_mut(start..start + T::BYTES) {
            value.store(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::RELEASES;

    /// Sizes of the newest structs, from the headers of each release.
    #[test]
    fn newest_struct_of_each_family_has_the_size_of_the_headers() {
        const FAMILIES: [&str; 10] = [
            "Kernel",
            "Memcpy",
            "MemcpyPtoP",
            "Memset",
            "Memory",
            "Synchronization",
            "GraphTrace",
            "Overhead",
            "Device",
            "Context",
        ];
        let sizes = |api_version: u32| match api_version {
            18 => [208, 88, 96, 88, 120, 40, 48, 40, 176, 16],
            20 => [208, 88, 96, 88, 120, 40, 48, 40, 184, 16],
            21 => [208, 88, 96, 88, 120, 40, 56, 48, 184, 16],
            22 => [208, 88, 96, 88, 120, 40, 56, 56, 184, 24],
            23 => [208, 88, 96, 88, 120, 40, 56, 56, 184, 32],
            24 => [208, 88, 96, 88, 128, 40, 56, 56, 184, 32],
            26 | 28 => [208, 96, 96, 88, 128, 56, 56, 56, 184, 32],
            130_001 => [216, 96, 96, 88, 128, 56, 56, 56, 184, 32],
            130_101 => [224, 96, 96, 88, 128, 56, 56, 56, 184, 40],
            130_202 => [224, 96, 96, 88, 128, 56, 56, 56, 192, 40],
            130_301 => [232, 96, 96, 88, 128, 56, 56, 56, 192, 40],
            _ => [248, 112, 96, 104, 128, 56, 56, 56, 192, 40],
        };
        for release in RELEASES {
            let structs = Structs::of(release.fixture).unwrap();
            let found = FAMILIES.map(|family| structs.newest(family).unwrap().found.size);
            assert_eq!(found, sizes(release.api_version), "{}", release.fixture);
        }
    }

    #[test]
    fn padding_is_garbage_and_fields_are_zero() {
        let structs = Structs::of("12.0.146").unwrap();
        let template = structs.newest("API").unwrap().template(5);
        assert_eq!(template.size(), 40);
        assert_eq!(template.record().bytes()[..8], [5, 0, 0, 0, 0, 0, 0, 0]);
        let kernel = structs.newest("Kernel").unwrap().template(10);
        assert_eq!(kernel.record().bytes()[112..120], [GARBAGE; 8], "reserved0 of the kernel record");
    }

    #[test]
    fn a_field_of_another_size_is_refused() {
        let structs = Structs::of("12.0.146").unwrap();
        let kernel = structs.newest("Kernel").unwrap();
        assert!(kernel.field::<u64>("start").is_ok());
        assert!(matches!(kernel.field::<u32>("start"), Err(LayoutError::Field { .. })));
        assert!(matches!(kernel.field::<u32>("priority"), Err(LayoutError::Field { .. })));
    }

    #[test]
    fn a_field_of_a_later_generation_is_passed_over() {
        let structs = Structs::of("12.0.146").unwrap();
        let kernel = structs.newest("Kernel").unwrap();
        let mut record = kernel.template(10).record();
        let before = record.bytes().to_vec();
        record.put(kernel.later_field::<u64>("sourceGraphNodeId"), 7);
        assert_eq!(record.bytes(), before);
    }
}
