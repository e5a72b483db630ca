//! What a linker wrote to tell one build of a file from all others.
//!
//! Enters: the notes of a file. Leaves: its build-id. Refuses: notes beyond [`MAX_NOTE_BYTES`], identifiers beyond
//! [`MAX_BUILD_ID_BYTES`].

use std::fmt;

use object::LittleEndian as Le;
use object::elf::{NT_GNU_BUILD_ID, NoteHeader64};

use super::elf::{Headers, Section, first};
use super::reader::Reader;

/// Longest run of notes that is read.
const MAX_NOTE_BYTES: u64 = 64 << 10;
/// Longest identifier; linkers write 8 to 32 bytes.
const MAX_BUILD_ID_BYTES: usize = 64;

/// The identifier of a build (NT_GNU_BUILD_ID). Shows as hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BuildId(Box<[u8]>);

impl BuildId {
    /// That in the notes of a file: the mapped ones, or the section, which separate debug files have.
    pub(super) fn read(reader: &Reader, headers: &Headers) -> Option<Self> {
        let mapped = headers.notes.iter().copied();
        let place = |section: &Section| (section.offset, section.size_bytes);
        let section = headers.section(".note.gnu.build-id").map(place);
        mapped.chain(section).find_map(|(offset, size_bytes)| {
            Self::find(&reader.read(offset, size_bytes, MAX_NOTE_BYTES, "notes").ok()?)
        })
    }

    /// `namesz descsz type name desc`, name and desc padded to four bytes (gABI, "Note Section").
    fn find(mut notes: &[u8]) -> Option<Self> {
        loop {
            let header = first::<NoteHeader64<Le>>(notes).ok()?;
            let padded = |length: u32| (length as usize).checked_next_multiple_of(4);
            let rest = notes.get(size_of::<NoteHeader64<Le>>()..)?;
            let content = rest.get(padded(header.n_namesz.get(Le))?..)?;
            let is_ours = header.n_type.get(Le) == NT_GNU_BUILD_ID && header.n_namesz.get(Le) == 4;
            if is_ours && rest.starts_with(b"GNU\0") {
                let id = content.get(..header.n_descsz.get(Le) as usize)?;
                return (1..=MAX_BUILD_ID_BYTES).contains(&id.len()).then(|| Self(id.into()));
            }
            notes = content.get(padded(header.n_descsz.get(Le))?..)?;
        }
    }

    /// Where debug files with this identifier lie: a folder by the first byte, a file by the others.
    pub(super) fn debug_path(&self) -> Option<String> {
        let digits = self.to_string();
        let (folder, file) = digits.split_at_checked(2).filter(|(_, file)| !file.is_empty())?;
        Some(format!("usr/lib/debug/.build-id/{folder}/{file}.debug"))
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::BuildId;

    fn note(name: &[u8], kind: u32, content: &[u8]) -> Vec<u8> {
        let mut note = Vec::new();
        for number in [name.len() as u32, content.len() as u32, kind] {
            note.extend(number.to_le_bytes());
        }
        for part in [name, content] {
            note.extend(part);
            note.resize(note.len().next_multiple_of(4), 0);
        }
        note
    }

    #[test]
    fn it_is_found_behind_other_notes() {
        let notes =
            [note(b"GNU\0", 5, b"xyz"), note(b"Other\0", 3, b"1"), note(b"GNU\0", 3, &[0xAB, 0xCD, 0x01])]
                .concat();
        let id = BuildId::find(&notes).unwrap();
        assert_eq!(id.to_string(), "abcd01");
        assert_eq!(id.debug_path().unwrap(), "usr/lib/debug/.build-id/ab/cd01.debug");
    }

    #[test]
    fn notes_that_lie_about_sizes_hold_none() {
        assert_eq!(BuildId::find(&[]), None);
        assert_eq!(BuildId::find(&[0xFF; 64]), None);
        assert_eq!(BuildId::find(&note(b"GNU\0", 3, &[])), None);
        assert_eq!(BuildId::find(&note(b"GNU\0", 3, &[1; 65])), None);
        let whole = note(b"GNU\0", 3, &[1; 20]);
        assert_eq!(BuildId::find(&whole[..whole.len() - 1]), None);
    }
}
