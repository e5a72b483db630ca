//! Libraries that lack functions, and a record iterator that misbehaves.

#![allow(unsafe_code, reason = "stands in for a C library")]

use std::collections::BTreeSet;
use std::ffi::{CStr, c_void};
use std::ptr::null_mut;

use super::{CallError, Cupti, FUNCTIONS};
use crate::{ActivityKind, ApiVersion, Status};

unsafe extern "C" fn version_13_0(version: *mut u32) -> Status {
    // SAFETY: the caller passes a live out-pointer.
    unsafe { *version = 130_001 };
    Status::SUCCESS
}

unsafe extern "C" fn enable_nothing(_kind: ActivityKind) -> Status {
    Status::INSUFFICIENT_PRIVILEGES
}

/// Steps of 8 bytes, to the end.
unsafe extern "C" fn next_8(buffer: *mut u8, valid_bytes: usize, record: *mut *mut u8) -> Status {
    // SAFETY: the caller passes a live out-pointer.
    let current = unsafe { *record };
    let offset = if current.is_null() { 0 } else { current.addr() - buffer.addr() + 8 };
    if offset >= valid_bytes {
        return Status::MAX_LIMIT_REACHED;
    }
    // SAFETY: as above.
    unsafe { *record = buffer.wrapping_add(offset) };
    Status::SUCCESS
}

unsafe extern "C" fn next_stands_still(buffer: *mut u8, _valid_bytes: usize, record: *mut *mut u8) -> Status {
    // SAFETY: the caller passes a live out-pointer.
    unsafe { *record = buffer };
    Status::SUCCESS
}

unsafe extern "C" fn next_runs_away(buffer: *mut u8, valid_bytes: usize, record: *mut *mut u8) -> Status {
    // SAFETY: the caller passes a live out-pointer.
    unsafe { *record = buffer.wrapping_add(valid_bytes + 64) };
    Status::SUCCESS
}

unsafe extern "C" fn next_goes_before(buffer: *mut u8, _valid_bytes: usize, record: *mut *mut u8) -> Status {
    // SAFETY: the caller passes a live out-pointer.
    unsafe { *record = buffer.wrapping_sub(64) };
    Status::SUCCESS
}

unsafe extern "C" fn next_knows_no_kind(_: *mut u8, _: usize, _: *mut *mut u8) -> Status {
    Status::INVALID_KIND
}

type Next = unsafe extern "C" fn(*mut u8, usize, *mut *mut u8) -> Status;

fn library_with(functions: &[(&CStr, *mut c_void)]) -> Cupti {
    // SAFETY: the stand-ins above have the signatures of their names.
    unsafe {
        Cupti::from_lookup(|name| {
            functions.iter().find(|(have, _)| *have == name).map_or(null_mut(), |&(_, function)| function)
        })
    }
}

fn library_that_walks_with(next: Next) -> Cupti {
    library_with(&[(c"cuptiActivityGetNextRecord", next as *mut c_void)])
}

#[test]
fn every_function_that_a_library_lacks_is_named() {
    let cupti = library_with(&[(c"cuptiGetVersion", version_13_0 as *mut c_void)]);
    let missing: Vec<_> = cupti.missing().collect();
    assert_eq!(missing.len(), FUNCTIONS.len() - 1);
    assert!(!missing.contains(&"cuptiGetVersion"));
    assert!(missing.contains(&"cuptiActivityEnableDriverApi"));
}

#[test]
fn no_function_is_looked_up_twice() {
    let names: BTreeSet<_> = FUNCTIONS.iter().map(|function| function.name).collect();
    assert_eq!(names.len(), FUNCTIONS.len());
}

#[test]
fn an_absent_function_is_an_error_that_names_it() {
    let cupti = library_with(&[]);
    let absent = CallError::Absent { function: "cuptiActivityEnable" };
    assert_eq!(cupti.activity_enable(ActivityKind::KERNEL), Err(absent));
    assert_eq!(absent.to_string(), "the loaded libcupti has no cuptiActivityEnable");
    assert_eq!(absent.status(), None);
    assert_eq!(
        cupti.records(&[]).map(|_| ()),
        Err(CallError::Absent { function: "cuptiActivityGetNextRecord" })
    );
}

#[test]
fn a_refusal_carries_the_function_and_the_status() {
    let cupti = library_with(&[
        (c"cuptiGetVersion", version_13_0 as *mut c_void),
        (c"cuptiActivityEnable", enable_nothing as *mut c_void),
    ]);
    assert_eq!(cupti.version(), Ok(ApiVersion(130_001)));
    let error = cupti.activity_enable(ActivityKind::KERNEL).unwrap_err();
    assert_eq!(error.status(), Some(Status::INSUFFICIENT_PRIVILEGES));
    assert_eq!(error.to_string(), "cuptiActivityEnable failed");
}

#[test]
fn a_library_without_cupti_in_it_lacks_everything() {
    // SAFETY: no function is called.
    let cupti = unsafe { Cupti::open("libc.so.6") }.unwrap();
    assert_eq!(cupti.missing().count(), FUNCTIONS.len());
}

#[test]
fn only_a_loaded_library_is_found_as_already_loaded() {
    // SAFETY: no function is called.
    let (loaded, not_loaded) =
        unsafe { (Cupti::already_loaded("libc.so.6"), Cupti::already_loaded("libcupti.so.9999")) };
    assert!(loaded.is_some());
    assert!(not_loaded.is_none());
}

#[test]
fn a_file_that_is_not_there_is_an_error_that_names_it() {
    // SAFETY: there is nothing to load.
    let error = unsafe { Cupti::open("/nonexistent/libcupti.so.12") }.unwrap_err();
    assert_eq!(error.to_string(), "cannot load /nonexistent/libcupti.so.12");
}

#[test]
fn records_are_walked_to_the_end_of_the_valid_part() {
    let cupti = library_that_walks_with(next_8);
    let mut buffer = [0; 24];
    buffer[8] = 3;
    let walked: Vec<_> = cupti
        .records(&buffer)
        .unwrap()
        .map(|record| record.map(|record| (record.offset, record.kind.0, record.rest.len())))
        .collect();
    assert_eq!(walked, [Ok((0, 0, 24)), Ok((8, 3, 16)), Ok((16, 0, 8))]);
}

#[test]
fn an_empty_buffer_has_no_records() {
    assert_eq!(library_that_walks_with(next_8).records(&[]).unwrap().count(), 0);
}

#[test]
fn a_library_that_goes_astray_is_stopped() {
    for next in [next_stands_still as Next, next_runs_away, next_goes_before] {
        let walked: Vec<_> = library_that_walks_with(next)
            .records(&[0; 24])
            .unwrap()
            .map(|record| record.map(|_| ()))
            .collect();
        assert_eq!(walked.last(), Some(&Err(CallError::Astray)));
        assert!(walked.len() <= 2);
    }
}

#[test]
fn a_refusal_ends_the_walk_and_is_told_once() {
    let walked: Vec<_> = library_that_walks_with(next_knows_no_kind)
        .records(&[0; 24])
        .unwrap()
        .map(|record| record.map(|_| ()).map_err(|error| error.status()))
        .collect();
    assert_eq!(walked, [Err(Some(Status::INVALID_KIND))]);
}
