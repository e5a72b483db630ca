//! In: `tests/fixtures/cupti-layouts.json`. Out: the structs of each CUPTI release, with sizes and offsets in bytes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a broken fixture has to fail the test")]

use std::collections::BTreeMap;

use cupti_sys::{ActivityKind, ApiVersion};
use serde_json::Value;

use crate::versions::API_VERSIONS;

/// One release of CUPTI.
pub(crate) struct Release {
    /// Such as `12.9.79`.
    pub(crate) name: String,
    /// What its `cuptiGetVersion` answers.
    pub(crate) version: ApiVersion,
    structs: Vec<Struct>,
}

/// One struct in a release's headers.
pub(crate) struct Struct {
    /// Such as `CUpti_ActivityKernel9`.
    pub(crate) name: String,
    /// `sizeof`.
    pub(crate) size: usize,
    /// Offset and size of each field.
    pub(crate) fields: BTreeMap<String, (usize, usize)>,
}

/// The kinds that a view reads, with the family of their struct.
pub(crate) const KINDS: &[(ActivityKind, &str)] = &[
    (ActivityKind::MEMCPY, "CUpti_ActivityMemcpy"),
    (ActivityKind::MEMSET, "CUpti_ActivityMemset"),
    (ActivityKind::KERNEL, "CUpti_ActivityKernel"),
    (ActivityKind::DRIVER, "CUpti_ActivityAPI"),
    (ActivityKind::RUNTIME, "CUpti_ActivityAPI"),
    (ActivityKind::DEVICE, "CUpti_ActivityDevice"),
    (ActivityKind::CONTEXT, "CUpti_ActivityContext"),
    (ActivityKind::CONCURRENT_KERNEL, "CUpti_ActivityKernel"),
    (ActivityKind::OVERHEAD, "CUpti_ActivityOverhead"),
    (ActivityKind::MEMCPY2, "CUpti_ActivityMemcpyPtoP"),
    (ActivityKind::STREAM, "CUpti_ActivityStream"),
    (ActivityKind::SYNCHRONIZATION, "CUpti_ActivitySynchronization"),
    (ActivityKind::EXTERNAL_CORRELATION, "CUpti_ActivityExternalCorrelation"),
    (ActivityKind::MEMORY2, "CUpti_ActivityMemory"),
    (ActivityKind::GRAPH_TRACE, "CUpti_ActivityGraphTrace"),
];

/// Every release in the fixture.
pub(crate) fn all() -> Vec<Release> {
    let fixture: Value =
        serde_json::from_str(include_str!("../../../../tests/fixtures/cupti-layouts.json")).unwrap();
    let fixture = fixture.as_object().unwrap();
    assert_eq!(fixture.len(), API_VERSIONS.len(), "a release without its CUPTI_API_VERSION");
    API_VERSIONS
        .iter()
        .map(|&(name, version)| Release {
            name: name.to_owned(),
            version: ApiVersion(version),
            structs: fixture[name]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| read(name, value))
                .collect(),
        })
        .collect()
}

fn read(name: &str, value: &Value) -> Struct {
    let bytes = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    let fields = value["fields"].as_object().unwrap().iter();
    Struct {
        name: name.to_owned(),
        size: bytes(&value["size"]),
        fields: fields.map(|(name, place)| (name.clone(), (bytes(&place[0]), bytes(&place[1])))).collect(),
    }
}

impl Release {
    /// The generations of one struct, such as `CUpti_ActivityKernel4` to `9`, in no order.
    pub(crate) fn family<'a>(&'a self, family: &'a str) -> Vec<&'a Struct> {
        self.structs.iter().filter(|record| generation(&record.name, family).is_some()).collect()
    }

    /// The newest generation: the one that the library writes.
    pub(crate) fn emitted<'a>(&'a self, family: &'a str) -> &'a Struct {
        self.family(family).into_iter().max_by_key(|record| generation(&record.name, family)).unwrap()
    }
}

/// 9 for `CUpti_ActivityKernel9`, 1 for a name without a number, `None` for another family.
fn generation(name: &str, family: &str) -> Option<u32> {
    match name.strip_prefix(family)? {
        "" => Some(1),
        number => number.parse().ok(),
    }
}
