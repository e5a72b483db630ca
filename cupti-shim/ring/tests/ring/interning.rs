//! Names: by pointer, by text, full, cut.

use std::ffi::{CStr, CString};

use gpu_agent_ring::layout::MAX_NAME_BYTES;
use gpu_agent_ring::writer::Identity;
use gpu_agent_ring::{Geometry, Reader, Writer};

fn ring(names_bytes: u32) -> (Writer, Reader) {
    let writer = Writer::create(Geometry { slots: 2, names_bytes }, Identity::default()).unwrap();
    let reader = Reader::open(writer.file().unwrap()).unwrap();
    (writer, reader)
}

fn intern(writer: &mut Writer, name: &CStr) -> u32 {
    // SAFETY: a C string that lives during the call.
    unsafe { writer.intern(name.as_ptr()) }
}

#[test]
fn equal_names_have_one_id_whatever_their_pointer() {
    let (mut writer, reader) = ring(4096);
    let (first, second) = (CString::new("kernel").unwrap(), CString::new("kernel").unwrap());
    let id = intern(&mut writer, &first);
    assert_ne!(id, 0);
    assert_eq!(intern(&mut writer, &first), id);
    assert_eq!(intern(&mut writer, &second), id);
    assert_eq!(writer.intern_text("kernel"), id);
    assert_eq!(reader.name(id).as_deref(), Some("kernel"));
}

#[test]
fn a_pointer_that_leads_to_another_string_now_gets_another_id() {
    let (mut writer, reader) = ring(4096);
    let mut bytes = *b"first\0";
    let first = intern(&mut writer, CStr::from_bytes_with_nul(&bytes).unwrap());
    bytes.copy_from_slice(b"other\0");
    let other = intern(&mut writer, CStr::from_bytes_with_nul(&bytes).unwrap());
    assert_ne!(first, other);
    // A prefix of what was there is another name too.
    bytes.copy_from_slice(b"oth\0r\0");
    let prefix = intern(&mut writer, CStr::from_bytes_until_nul(&bytes).unwrap());
    assert!(prefix != other && prefix != first);
    for (id, name) in [(first, "first"), (other, "other"), (prefix, "oth")] {
        assert_eq!(reader.name(id).as_deref(), Some(name));
    }
}

#[test]
fn more_pointers_than_the_table_holds_still_find_their_names() {
    let (mut writer, reader) = ring(1 << 20);
    let names: Vec<CString> = (0..10_000).map(|n| CString::new(format!("kernel_{n}")).unwrap()).collect();
    let ids: Vec<u32> = names.iter().map(|name| intern(&mut writer, name)).collect();
    for (name, id) in names.iter().zip(&ids) {
        assert_eq!(intern(&mut writer, name), *id);
        assert_eq!(reader.name(*id).as_deref(), name.to_str().ok());
    }
    let distinct: std::collections::HashSet<u32> = ids.iter().copied().collect();
    assert_eq!(distinct.len(), names.len());
}

#[test]
fn a_full_region_gives_id_0_and_keeps_what_it_has() {
    let (mut writer, reader) = ring(4096);
    // 8 unused bytes, 169 names of 24 bytes, and two of 16 fill the region to its last byte.
    let kept: Vec<u32> = (0..169).map(|number| writer.intern_text(&format!("name {number:04}"))).collect();
    assert!(kept.iter().all(|&id| id != 0));
    assert_ne!(writer.intern_text("fits"), 0);
    let last = intern(&mut writer, c"exactly");
    assert_ne!(last, 0);
    for name in [c"", c"one more", c"one more"] {
        assert_eq!(intern(&mut writer, name), 0);
    }
    assert_eq!(writer.intern_text("name 0000"), kept[0]);
    assert_eq!(reader.name(kept[168]).as_deref(), Some("name 0168"));
    assert_eq!(reader.name(last).as_deref(), Some("exactly"));
}

#[test]
fn null_and_id_0_are_no_name_and_the_empty_name_is_one() {
    let (mut writer, reader) = ring(4096);
    // SAFETY: null is allowed.
    assert_eq!(unsafe { writer.intern(core::ptr::null()) }, 0);
    assert_eq!(reader.name(0), None);
    let empty = intern(&mut writer, c"");
    assert_ne!(empty, 0);
    assert_eq!(intern(&mut writer, c""), empty);
    assert_eq!(reader.name(empty).as_deref(), Some(""));
    for id in [empty + 2, 4096 / 8, u32::MAX] {
        assert_eq!(reader.name(id), None, "id {id} leads nowhere");
    }
}

#[test]
fn a_long_name_is_cut_at_a_character_and_interned_once() {
    let (mut writer, reader) = ring(1 << 20);
    for lead in 0..4 {
        let long = format!("{}{}", "x".repeat(lead), "é€😀".repeat(2_000));
        let c_string = CString::new(long.clone()).unwrap();
        let id = intern(&mut writer, &c_string);
        let stored = reader.name(id).unwrap();
        assert!(long.starts_with(&stored), "cut inside a character");
        assert!(stored.len() <= MAX_NAME_BYTES && stored.len() > MAX_NAME_BYTES - 4);
        assert_eq!(intern(&mut writer, &c_string), id);
        assert_eq!(writer.intern_text(&long), id);
    }
}

#[test]
fn text_ends_at_its_first_nul_and_is_stored_once() {
    let (mut writer, reader) = ring(4096);
    let id = writer.intern_text("before\0after");
    assert_eq!(reader.name(id).as_deref(), Some("before"));
    assert_eq!(writer.intern_text("before\0after"), id);
    assert_eq!(writer.intern_text("before"), id);
}

#[test]
fn bytes_that_are_no_utf8_are_replaced_on_reading() {
    let (mut writer, reader) = ring(4096);
    let id = intern(&mut writer, c"a\xFFb");
    assert_eq!(reader.name(id).as_deref(), Some("a\u{FFFD}b"));
}
