//! `/proc/PID/maps`, line by line.
//!
//! Enters: the text, which the process shapes: it names its files and says how many mappings it has. Leaves: mappings. Refuses:
//! more text than [`MAX_TEXT_BYTES`]; lines that are none are passed over.

use std::io::{self, BufRead};

/// Longest text that is read. Linux gives a process 65,530 mappings (vm.max_map_count), of some 100 bytes each.
pub const MAX_TEXT_BYTES: u64 = 64 << 20;

/// One mapping (proc_pid_maps(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping<'a> {
    /// First address.
    pub start: u64,
    /// The address after the last.
    pub end: u64,
    /// Whether its instructions can be executed.
    pub executable: bool,
    /// Where in its file it starts, bytes.
    pub offset: u64,
    /// Device of its file, major and minor.
    pub device: (u32, u32),
    /// Inode of its file, 0 if it has none.
    pub inode: u64,
    /// Path or name, as bytes of any kind, with newlines as `\012`.
    pub path: &'a [u8],
}

impl Mapping<'_> {
    /// Name of its entry in `/proc/PID/map_files`, which has no leading zeros, as the addresses in `maps` have.
    #[must_use]
    pub fn entry_name(&self) -> String {
        format!("{:x}-{:x}", self.start, self.end)
    }
}

/// Calls `each` for every mapping in `text`.
pub fn for_each(text: impl BufRead, mut each: impl FnMut(Mapping<'_>)) -> io::Result<()> {
    let mut text = io::Read::take(text, MAX_TEXT_BYTES);
    let mut line = Vec::new();
    while text.read_until(b'\n', &mut line)? > 0 {
        if let Some(mapping) = parse(line.strip_suffix(b"\n").unwrap_or(&line)) {
            each(mapping);
        }
        line.clear();
    }
    if text.limit() == 0 {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "more mappings than are looked at"));
    }
    Ok(())
}

/// `start-end perms offset device inode  path`
fn parse(line: &[u8]) -> Option<Mapping<'_>> {
    let mut rest = line;
    let mut next = || {
        let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        let (field, tail) = rest.split_at(end);
        rest = tail.strip_prefix(b" ").unwrap_or(tail);
        std::str::from_utf8(field).ok()
    };
    let (range, permissions, offset, device, inode) = (next()?, next()?, next()?, next()?, next()?);
    let (start, end) = range.split_once('-')?;
    let (major, minor) = device.split_once(':')?;
    Some(Mapping {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        executable: permissions.as_bytes().get(2) == Some(&b'x'),
        offset: u64::from_str_radix(offset, 16).ok()?,
        device: (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?),
        inode: inode.parse().ok()?,
        path: rest.trim_ascii_start(),
    })
}

#[cfg(test)]
mod tests {
    use std::io::{self, BufRead, BufReader, Read};

    use super::{Mapping, for_each};

    fn ranges(text: impl BufRead) -> io::Result<Vec<(u64, u64, Vec<u8>)>> {
        let mut found = Vec::new();
        for_each(text, |mapping| found.push((mapping.start, mapping.end, mapping.path.to_vec())))?;
        Ok(found)
    }

    #[test]
    fn a_line_has_all_its_fields() {
        let text =
            "7f01-7f02 r-xp 00002000 fe:1a 77                         /opt/with  space/\u{e9}.so (deleted)\n";
        let mut seen = 0;
        for_each(text.as_bytes(), |mapping| {
            seen += 1;
            let expected = Mapping {
                start: 0x7f01,
                end: 0x7f02,
                executable: true,
                offset: 0x2000,
                device: (0xfe, 0x1a),
                inode: 77,
                path: "/opt/with  space/\u{e9}.so (deleted)".as_bytes(),
            };
            assert_eq!(mapping, expected);
            assert_eq!(mapping.entry_name(), "7f01-7f02");
        })
        .unwrap();
        assert_eq!(seen, 1);
    }

    #[test]
    fn a_mapping_without_a_path_is_one_and_garbage_is_none() {
        let text = b"\xff\xfe\n\n - - - \nno fields\n10-20 rw-p 0 00:00 0 \n30-40 rw-p 0 00:00 0\n50-60 r-xp zz 00:00 0 /x";
        assert_eq!(ranges(&text[..]).unwrap(), [(0x10, 0x20, vec![]), (0x30, 0x40, vec![])]);
    }

    #[test]
    fn a_text_without_end_is_an_error() {
        let endless = BufReader::new(io::repeat(b'a'));
        assert_eq!(ranges(endless).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        let lines = BufReader::new(io::repeat(b'\n').take(1 << 20));
        assert_eq!(ranges(lines).unwrap(), []);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            let _ = ranges(&text[..]);
        }
    }
}
