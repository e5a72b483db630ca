//! Records have the sizes of each release, and other versions and generations can be had.

use crate::client::flushed;
use crate::every_kind::{emit, listen};
use crate::mock::session;
use cuda_sim_cupti::entry::query::{
    cuptiGetCallbackName, cuptiGetErrorMessage, cuptiGetResultString, cuptiGetVersion,
};
use cuda_sim_cupti::status::Status;
use std::collections::BTreeMap;
use std::ffi::CStr;

/// Key, version answered, and sizes by kind: kernel, memcpy, peer memcpy, memset, memory, synchronisation, graph,
/// overhead, device, context (structs of NVIDIA's headers).
const RELEASES: [(&str, u32, [usize; 10]); 12] = [
    ("cupti_gen=9", 18, [208, 88, 96, 88, 120, 40, 48, 40, 176, 16]),
    ("cupti_version=20", 20, [208, 88, 96, 88, 120, 40, 48, 40, 184, 16]),
    ("cupti_version=21", 21, [208, 88, 96, 88, 120, 40, 56, 48, 184, 16]),
    ("cupti_gen=9,cupti_version=22", 22, [208, 88, 96, 88, 120, 40, 56, 56, 184, 24]),
    ("cupti_version=24", 24, [208, 88, 96, 88, 128, 40, 56, 56, 184, 32]),
    ("cupti_version=26", 26, [208, 96, 96, 88, 128, 56, 56, 56, 184, 32]),
    ("cupti_gen=9,cupti_version=28", 28, [208, 96, 96, 88, 128, 56, 56, 56, 184, 32]),
    ("cupti_gen=10", 130_001, [216, 96, 96, 88, 128, 56, 56, 56, 184, 32]),
    ("cupti_gen=11", 130_101, [224, 96, 96, 88, 128, 56, 56, 56, 184, 40]),
    ("cupti_version=130202", 130_202, [224, 96, 96, 88, 128, 56, 56, 56, 192, 40]),
    ("cupti_gen=12", 130_301, [232, 96, 96, 88, 128, 56, 56, 56, 192, 40]),
    ("cupti_gen=13", 130_401, [248, 112, 96, 104, 128, 56, 56, 56, 192, 40]),
];

#[test]
fn each_release_has_its_records() {
    for (text, version, sizes) in RELEASES {
        let _turn = session(text);
        let mut answered = 0;
        // SAFETY: `answered` is valid for a write.
        assert_eq!(unsafe { cuptiGetVersion(&raw mut answered) }, Status::SUCCESS);
        assert_eq!(answered, version, "{text}");
        listen(64 * 1024);
        emit();
        let mut found: BTreeMap<u32, usize> = BTreeMap::new();
        // The second flush brings the overhead of the first.
        for record in flushed().into_iter().chain(flushed()) {
            let size = record.bytes.len();
            assert_eq!(*found.entry(record.kind).or_insert(size), size, "{text}: kind {}", record.kind);
        }
        let kinds = [10, 1, 22, 2, 49, 38, 51, 17, 8, 9];
        assert_eq!(kinds.map(|kind| found[&kind]), sizes, "{text}");
        assert_eq!([4, 5, 39, 37].map(|kind| found[&kind]), [40, 40, 24, 24], "{text}: never changed");
    }
}

#[test]
fn names_are_spelled_as_in_the_real_library() {
    let _turn = session("");
    let text = |get: unsafe extern "C" fn(u32, *mut *const core::ffi::c_char) -> Status, number| {
        let mut text = core::ptr::null();
        // SAFETY: `text` is valid for a write, and then a static string.
        unsafe { (get(number, &raw mut text), CStr::from_ptr(text)) }
    };
    assert_eq!(text(cuptiGetResultString, 15), (Status::SUCCESS, c"CUPTI_ERROR_NOT_INITIALIZED"));
    assert_eq!(text(cuptiGetResultString, 4711), (Status::INVALID_PARAMETER, c"<unknown>"));
    assert_eq!(text(cuptiGetErrorMessage, 4711), (Status::SUCCESS, c"<unknown>"));
    let name = |domain, cbid| {
        let mut name = c"untouched".as_ptr();
        // SAFETY: `name` is valid for a write, and then NULL or a static string.
        unsafe {
            let status = cuptiGetCallbackName(domain, cbid, &raw mut name);
            (status, name.as_ref().map(|first| CStr::from_ptr(first)))
        }
    };
    assert_eq!(name(1, 307), (Status::SUCCESS, Some(c"cuLaunchKernel")));
    assert_eq!(name(2, 211), (Status::SUCCESS, Some(c"cudaLaunchKernel_v7000")));
    assert_eq!(name(1, 99_999), (Status::INVALID_PARAMETER, None));
    assert_eq!(name(3, 1), (Status::INVALID_PARAMETER, None));
}
