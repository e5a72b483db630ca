//! In: a buffer that CUPTI is just handing over, and where its records lie. Out: the names that they point to.
//! Refuses: to follow any other pointer, and to read more than [`MAX_NAME_BYTES`] of a name.

#![allow(unsafe_code, reason = "names are C strings of CUPTI's")]

use std::collections::BTreeMap;
use std::ffi::c_char;

use cupti_sys::ActivityKind;
use cupti_sys::record::{Device, Kernel, Memory};

use crate::format::RecordEntry;

/// Longest part of a name that is kept, bytes. Mangled names of template kernels reach several kB.
const MAX_NAME_BYTES: usize = 16 * 1024;

/// Addresses and what stands there, each once.
pub(super) fn read(valid: &[u8], records: &[RecordEntry]) -> Vec<(u64, String)> {
    let mut names = BTreeMap::new();
    for record in records {
        let bytes = valid.get(record.offset.get() as usize..).unwrap_or_default();
        if let Some(address) = address(ActivityKind(record.kind.get()), bytes).filter(|&address| address != 0)
        {
            names.entry(address).or_insert_with(|| text(address));
        }
    }
    names.into_iter().collect()
}

/// Where the name of a record lies; all these fields lie in the part of a record that every CUPTI has.
fn address(kind: ActivityKind, bytes: &[u8]) -> Option<u64> {
    match kind {
        ActivityKind::KERNEL | ActivityKind::CONCURRENT_KERNEL => Some(Kernel::new(bytes)?.name_address()),
        ActivityKind::DEVICE => Some(Device::new(bytes)?.name_address()),
        ActivityKind::MEMORY2 => Some(Memory::new(bytes)?.name_address()),
        _ => None,
    }
}

fn text(address: u64) -> String {
    let Ok(address) = usize::try_from(address) else { return String::new() };
    let start: *const c_char = std::ptr::with_exposed_provenance(address);
    // SAFETY: not null; CUPTI keeps these names, NUL-terminated, at least while it hands the record over.
    let bytes = unsafe {
        let length = libc::strnlen(start, MAX_NAME_BYTES);
        std::slice::from_raw_parts(start.cast::<u8>(), length)
    };
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{MAX_NAME_BYTES, read};
    use crate::format::RecordEntry;
    use cupti_sys::ActivityKind;
    use std::ffi::CString;

    /// A record of 200 bytes whose name stands at `address`.
    fn kernel(address: usize) -> Vec<u8> {
        let mut record = vec![0; 200];
        record[..4].copy_from_slice(&ActivityKind::CONCURRENT_KERNEL.0.to_le_bytes());
        record[104..112].copy_from_slice(&(address as u64).to_le_bytes());
        record
    }

    #[test]
    fn the_name_of_two_records_is_read_once() {
        let name = CString::new("fixture_kernel").unwrap();
        let address = name.as_ptr().expose_provenance();
        let buffer = [kernel(address), kernel(0), kernel(address)].concat();
        let records = [0, 200, 400].map(|offset| RecordEntry::new(offset, ActivityKind::CONCURRENT_KERNEL.0));
        assert_eq!(read(&buffer, &records), [(address as u64, "fixture_kernel".to_owned())]);
    }

    #[test]
    fn a_long_name_is_cut() {
        let name = CString::new(vec![b'x'; MAX_NAME_BYTES + 1]).unwrap();
        let buffer = kernel(name.as_ptr().expose_provenance());
        let names = read(&buffer, &[RecordEntry::new(0, ActivityKind::CONCURRENT_KERNEL.0)]);
        assert_eq!(names[0].1.len(), MAX_NAME_BYTES);
    }

    #[test]
    fn other_kinds_and_short_records_have_no_name() {
        let name = CString::new("fixture_kernel").unwrap();
        let buffer = kernel(name.as_ptr().expose_provenance());
        assert!(read(&buffer, &[RecordEntry::new(0, ActivityKind::DRIVER.0)]).is_empty());
        assert!(read(&buffer[..100], &[RecordEntry::new(0, ActivityKind::CONCURRENT_KERNEL.0)]).is_empty());
    }
}
