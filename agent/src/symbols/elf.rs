//! The headers of an ELF file: which machine, segments, sections.
//!
//! Enters: the first bytes and the two header tables. Leaves: what of them symbols need. Refuses: by name what is no 64-bit
//! little-endian ELF file for x86-64 or AArch64 that a process can map, and tables beyond the limits below.

use object::LittleEndian as Le;
use object::elf::{
    EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC, FileHeader64, PF_X, PT_LOAD, PT_NOTE, ProgramHeader64,
    SectionHeader64, SectionType,
};
use object::pod;

use super::Problem;
use super::reader::Reader;

/// Most program headers; linkers write a dozen.
const MAX_SEGMENTS: u64 = 1024;
/// Most section headers; with more, `e_shnum` would not hold their number.
const MAX_SECTIONS: u64 = 0xFF00;
/// Longest table of section names.
const MAX_SECTION_NAMES_BYTES: u64 = 4 << 20;

/// What its instructions are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Machine {
    /// 64-bit x86.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

/// A part of the file that is mapped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) address: u64,
    pub(super) offset: u64,
    pub(super) size_bytes: u64,
    pub(super) executable: bool,
}

/// A section.
#[derive(Debug, Clone)]
pub(super) struct Section {
    pub(super) name: Box<str>,
    pub(super) kind: SectionType,
    pub(super) offset: u64,
    pub(super) size_bytes: u64,
    pub(super) link: u32,
}

/// The headers of a file.
#[derive(Debug)]
pub(super) struct Headers {
    pub(super) machine: Machine,
    pub(super) segments: Vec<Segment>,
    /// Offsets and sizes of the notes that are mapped.
    pub(super) notes: Vec<(u64, u64)>,
    pub(super) sections: Vec<Section>,
}

impl Headers {
    pub(super) fn read(reader: &Reader) -> Result<Self, Problem> {
        let mut bytes = [0; size_of::<FileHeader64<Le>>()];
        reader.fill(0, &mut bytes, "ELF header")?;
        if !bytes.starts_with(b"\x7fELF") {
            return Err(Problem::NotElf);
        }
        let unsupported = |what, found: u64| Problem::Unsupported { what, found };
        let header = first::<FileHeader64<Le>>(&bytes)?;
        match header.e_ident {
            ident if ident.class.0 != 2 => {
                return Err(unsupported("class (2 is 64 bits)", ident.class.0.into()));
            }
            ident if ident.data.0 != 1 => {
                return Err(unsupported("byte order (1 is little-endian)", ident.data.0.into()));
            }
            _ => {}
        }
        let machine = match header.e_machine.get(Le) {
            EM_X86_64 => Machine::X86_64,
            EM_AARCH64 => Machine::Aarch64,
            other => return Err(unsupported("machine (62 is x86-64, 183 is AArch64)", other.0.into())),
        };
        let kind = header.e_type.get(Le);
        if kind != ET_EXEC && kind != ET_DYN {
            return Err(unsupported("type (2 is an executable, 3 a shared object)", kind.0.into()));
        }
        let mut headers = Self { machine, segments: Vec::new(), notes: Vec::new(), sections: Vec::new() };
        headers.read_segments(reader, header)?;
        headers.read_sections(reader, header)?;
        Ok(headers)
    }

    fn read_segments(&mut self, reader: &Reader, header: &FileHeader64<Le>) -> Result<(), Problem> {
        let count = header.e_phnum.get(Le);
        let entry = (header.e_phentsize.get(Le), "size of a program header");
        let table = Table { offset: header.e_phoff.get(Le), count: count.into(), limit: MAX_SEGMENTS };
        for segment in table.read::<ProgramHeader64<Le>>(reader, entry, "program headers")? {
            let (offset, size_bytes) = (segment.p_offset.get(Le), segment.p_filesz.get(Le));
            match segment.p_type.get(Le) {
                PT_LOAD => self.segments.push(Segment {
                    address: segment.p_vaddr.get(Le),
                    offset,
                    size_bytes,
                    executable: segment.p_flags.get(Le).0 & PF_X.0 != 0,
                }),
                PT_NOTE => self.notes.push((offset, size_bytes)),
                _ => {}
            }
        }
        Ok(())
    }

    fn read_sections(&mut self, reader: &Reader, header: &FileHeader64<Le>) -> Result<(), Problem> {
        let count = header.e_shnum.get(Le);
        let entry = (header.e_shentsize.get(Le), "size of a section header");
        let table = Table { offset: header.e_shoff.get(Le), count: count.into(), limit: MAX_SECTIONS };
        let sections = table.read::<SectionHeader64<Le>>(reader, entry, "section headers")?;
        let names = match sections.get(usize::from(header.e_shstrndx.get(Le).0)) {
            Some(names) => {
                let (offset, size_bytes) = (names.sh_offset.get(Le), names.sh_size.get(Le));
                reader.read(offset, size_bytes, MAX_SECTION_NAMES_BYTES, "section names")?
            }
            None => Vec::new(),
        };
        self.sections.extend(sections.iter().map(|section| Section {
            name: text_at(&names, section.sh_name.get(Le)).into(),
            kind: section.sh_type.get(Le),
            offset: section.sh_offset.get(Le),
            size_bytes: section.sh_size.get(Le),
            link: section.sh_link.get(Le),
        }));
        Ok(())
    }

    /// Where in the file an instruction lies: that of the executable segment which holds `address`.
    pub(super) fn code_offset(&self, address: u64) -> Option<u64> {
        let within = |segment: &&Segment| {
            segment.executable
                && address.checked_sub(segment.address).is_some_and(|at| at < segment.size_bytes)
        };
        let segment = self.segments.iter().find(within)?;
        segment.offset.checked_add(address - segment.address)
    }

    /// The section with this name.
    pub(super) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| &*section.name == name)
    }

    /// The first section of this kind.
    pub(super) fn section_of_kind(&self, kind: SectionType) -> Option<&Section> {
        self.sections.iter().find(|section| section.kind == kind)
    }
}

/// A table of headers.
struct Table {
    offset: u64,
    count: u64,
    limit: u64,
}

impl Table {
    fn read<T: pod::Pod>(
        &self,
        reader: &Reader,
        (entry_bytes, entry): (u16, &'static str),
        what: &'static str,
    ) -> Result<Vec<T>, Problem> {
        if self.count == 0 {
            return Ok(Vec::new());
        }
        if usize::from(entry_bytes) != size_of::<T>() {
            return Err(Problem::Unsupported { what: entry, found: entry_bytes.into() });
        }
        if self.count > self.limit {
            return Err(Problem::TooLarge { what, found: self.count, limit: self.limit });
        }
        let size_bytes = self.count * u64::from(entry_bytes);
        let bytes = reader.read(self.offset, size_bytes, size_bytes, what)?;
        Ok(all::<T>(&bytes).to_vec())
    }
}

/// The `T` at the start of `bytes`.
pub(super) fn first<T: pod::Pod>(bytes: &[u8]) -> Result<&T, Problem> {
    pod::from_bytes(bytes).map(|(value, _)| value).map_err(|()| Problem::NotElf)
}

/// All whole `T` in `bytes`. The types of `object::elf` are made of bytes, so that any place will do.
pub(super) fn all<T: pod::Pod>(bytes: &[u8]) -> &[T] {
    let whole = bytes.len() / size_of::<T>();
    pod::slice_from_bytes(bytes, whole).map(|(values, _)| values).unwrap_or_default()
}

/// The text at `offset` of a table of strings; empty where there is none.
pub(super) fn text_at(strings: &[u8], offset: u32) -> &str {
    let tail = strings.get(offset as usize..).unwrap_or_default();
    let end = memchr::memchr(0, tail).unwrap_or(tail.len());
    tail.get(..end).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
}
