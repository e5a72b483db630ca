//! Every offset that a view reads, and every record size, against the structs of 16 CUPTI releases.
//!
//! The numbers in `tests/fixtures/cupti-layouts.json` are `offsetof` and `sizeof` of each release's own headers.

use std::collections::BTreeSet;

use cupti_sys::record::{Field, LAYOUTS, Layout, Presence};
use cupti_sys::{ActivityKind, ApiVersion, RecordSizes};

#[path = "shared/releases.rs"]
mod releases;
#[path = "shared/versions.rs"]
mod versions;
use releases::{Release, Struct};

/// One struct of one release, with the view that reads it.
fn each_struct(mut check: impl FnMut(&Release, &Layout, &Struct)) {
    for release in &releases::all() {
        for layout in LAYOUTS {
            let structs = release.family(layout.family);
            assert!(!structs.is_empty(), "CUPTI {} has no {}", release.name, layout.family);
            for record in structs {
                check(release, layout, record);
            }
        }
    }
}

#[test]
fn every_field_lies_where_every_release_puts_it() {
    each_struct(|release, layout, record| {
        for field in layout.fields {
            if let Some(&place) = record.fields.get(field.name) {
                let expected = (field.offset, field.size);
                assert_eq!(place, expected, "{} of {} in CUPTI {}", field.name, record.name, release.name);
            }
        }
    });
}

#[test]
fn an_always_present_field_is_in_every_struct_that_a_supported_cupti_emits() {
    for release in &releases::all() {
        for layout in LAYOUTS {
            let emitted = release.emitted(layout.family);
            assert!(emitted.size >= layout.min_len, "{} in CUPTI {}", emitted.name, release.name);
            for field in layout.fields.iter().filter(|field| field.presence == Presence::Always) {
                let place = emitted.fields.get(field.name);
                assert!(place.is_some(), "{} of {} in CUPTI {}", field.name, emitted.name, release.name);
            }
        }
    }
}

#[test]
fn the_length_of_a_struct_tells_whether_a_late_field_is_in_it() {
    each_struct(|release, layout, record| {
        for field in layout.fields.iter().filter(|field| field.presence == Presence::Late) {
            let fits = field.offset + field.size <= record.size;
            let present = record.fields.contains_key(field.name);
            assert_eq!(present, fits, "{} of {} in CUPTI {}", field.name, record.name, release.name);
        }
    });
}

#[test]
fn the_version_tells_whether_a_field_was_still_padding() {
    let mut seen = 0;
    for release in &releases::all() {
        for layout in LAYOUTS {
            for field in layout.fields {
                let Presence::Since(since) = field.presence else { continue };
                let emitted = release.emitted(layout.family);
                if field.offset + field.size > emitted.size {
                    continue;
                }
                seen += 1;
                let present = emitted.fields.contains_key(field.name);
                assert_eq!(
                    present,
                    release.version >= since,
                    "{} of {} in CUPTI {}",
                    field.name,
                    emitted.name,
                    release.name
                );
            }
        }
    }
    assert!(seen > 0, "no struct has room for any of these fields");
}

#[test]
fn every_field_exists_in_some_release() {
    let releases = releases::all();
    for layout in LAYOUTS {
        for Field { name, .. } in layout.fields {
            let known =
                releases.iter().any(|release| release.emitted(layout.family).fields.contains_key(*name));
            assert!(known, "{name} of {}", layout.family);
        }
    }
}

#[test]
fn no_two_fields_of_a_view_overlap() {
    for layout in LAYOUTS {
        let bytes: Vec<_> =
            layout.fields.iter().flat_map(|field| field.offset..field.offset + field.size).collect();
        let distinct: BTreeSet<_> = bytes.iter().collect();
        assert_eq!(distinct.len(), bytes.len(), "{}", layout.family);
        assert!(bytes.iter().all(|&byte| byte >= 4), "{}: the kind comes first", layout.family);
    }
}

#[test]
fn the_size_of_a_record_is_never_overstated_and_exact_where_the_version_is_unambiguous() {
    for release in &releases::all() {
        let sizes = RecordSizes::for_version(release.version).expect("supported");
        for &(kind, family) in releases::KINDS {
            let stated = sizes.of(kind).expect("has a view");
            let real = release.emitted(family).size;
            assert!(stated <= real, "{kind} of CUPTI {}: {stated} > {real}", release.name);
            if release.version > ApiVersion::V11_8 || release.name.starts_with("11.8") {
                assert_eq!(stated, real, "{kind} of CUPTI {}", release.name);
            }
        }
    }
}

#[test]
fn every_kind_with_a_size_is_checked_above() {
    let sizes = RecordSizes::for_version(ApiVersion::V13_5).expect("supported");
    let sized: BTreeSet<_> =
        ActivityKind::NAMED.iter().copied().filter(|&kind| sizes.of(kind).is_some()).collect();
    let checked: BTreeSet<_> = releases::KINDS.iter().map(|&(kind, _)| kind).collect();
    assert_eq!(sized, checked);
}
