//! In: the bytes of a file. Out: its sections, in order. Refuses: what [`FormatError`] lists.

use cupti_sys::{ActivityKind, ApiVersion, ContextHandle, Status};
use zerocopy::little_endian::{I32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::{
    BufferHead, EndEntry, FORCED, FileHead, FormatError, KindEntry, MAGIC, RecordEntry, SIMULATED,
    SectionHead, VERSION, tag,
};

/// A whole file.
#[derive(Debug, Clone)]
pub struct Recording<'a> {
    /// What `cuptiGetVersion` answered; 0 where it was not asked.
    pub cupti_version: ApiVersion,
    /// What `cuDriverGetVersion` answered, such as 12040; 0 where it was not asked.
    pub driver_version: u32,
    /// Whether the device was simulated.
    pub simulated: bool,
    /// File name of libcupti; empty where none was found.
    pub library: &'a str,
    /// Kinds that were asked for, in order.
    pub kinds: Vec<KindAsked>,
    /// Steps that failed, in order.
    pub failures: Vec<Failure<'a>>,
    /// Buffers in the order in which CUPTI completed them.
    pub buffers: Vec<Buffer<'a>>,
    /// What is missing.
    pub left_out: LeftOut,
    names: Vec<Name<'a>>,
}

/// A kind that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindAsked {
    /// The kind.
    pub kind: ActivityKind,
    /// What CUPTI answered.
    pub status: Status,
    /// Whether what already existed was asked for too (`cuptiActivityEnableAndDump`).
    pub dumped: bool,
}

/// A step that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure<'a> {
    /// The function or the condition.
    pub step: &'a str,
    /// What CUPTI answered, where it was asked.
    pub status: Status,
}

/// What an address in records means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a> {
    /// The address.
    pub address: u64,
    /// The text behind it.
    pub text: &'a str,
}

/// One completed buffer.
#[derive(Debug, Clone)]
pub struct Buffer<'a> {
    /// Context that CUPTI named.
    pub context: ContextHandle,
    /// When it was completed, ns of `CLOCK_MONOTONIC`.
    pub completed_ns: u64,
    /// Stream id that CUPTI named.
    pub stream_id: u32,
    /// Thread that CUPTI completed it on.
    pub thread_id: u32,
    /// Whether it came with the forced flush at exit.
    pub forced: bool,
    /// Status with which `cuptiActivityGetNextRecord` ended.
    pub walk_end: Status,
    /// Bytes that CUPTI was given.
    pub size_bytes: u32,
    /// Where CUPTI's own iterator found records, ascending, each with at least the 4 bytes of its kind.
    pub records: &'a [RecordEntry],
    /// The valid bytes.
    pub valid: &'a [u8],
    /// How many of the names stand before it.
    names: usize,
}

/// What a recording does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeftOut {
    /// Buffers beyond the limit.
    pub buffers: u64,
    /// Valid bytes in them.
    pub bytes: u64,
    /// Records in them.
    pub records: u64,
    /// Records of API calls among those.
    pub api_records: u64,
    /// Records that CUPTI found no buffer for.
    pub dropped: u64,
}

impl<'a> Recording<'a> {
    /// Reads a whole file.
    ///
    /// # Errors
    /// Where the file is not exactly in the format.
    pub fn parse(file: &'a [u8]) -> Result<Self, FormatError> {
        let mut cursor = Cursor { file, at: 0 };
        if !file.starts_with(&MAGIC) {
            return Err(FormatError::NotARecording);
        }
        let head: &FileHead = cursor.take("the head")?;
        if head.version.get() != VERSION {
            return Err(FormatError::Version { expected: VERSION, found: head.version.get() });
        }
        let mut recording = Self {
            cupti_version: ApiVersion(head.cupti_version.get()),
            driver_version: head.driver_version.get(),
            simulated: head.flags.get() & SIMULATED != 0,
            library: "",
            kinds: Vec::new(),
            failures: Vec::new(),
            buffers: Vec::new(),
            left_out: LeftOut::default(),
            names: Vec::new(),
        };
        while !cursor.is_at_end() {
            let section = cursor.section()?;
            if recording.add(section)? {
                let rule = "nothing follows the end";
                return if cursor.is_at_end() { Ok(recording) } else { Err(cursor.broken(rule)) };
            }
        }
        Err(FormatError::NoEnd)
    }

    /// What a record in `buffer` means by `address`.
    #[must_use]
    pub fn name(&self, buffer: &Buffer<'_>, address: u64) -> Option<&'a str> {
        let known = self.names.get(..buffer.names)?;
        known.iter().rev().find(|name| name.address == address).map(|name| name.text)
    }

    /// Adds a section; whether it was the end.
    fn add(&mut self, (tag, mut payload): ([u8; 4], Cursor<'a>)) -> Result<bool, FormatError> {
        match tag {
            tag::LIBRARY => self.library = payload.text()?,
            tag::KIND => {
                let entry: &KindEntry = payload.take("a kind")?;
                self.kinds.push(KindAsked {
                    kind: ActivityKind(entry.kind.get()),
                    status: Status(entry.status.get()),
                    dumped: entry.dumped.get() != 0,
                });
            }
            tag::FAILURE => {
                let status: &I32 = payload.take("a status")?;
                self.failures.push(Failure { status: Status(status.get()), step: payload.text()? });
            }
            tag::NAME => {
                let address: &U64 = payload.take("an address")?;
                self.names.push(Name { address: address.get(), text: payload.text()? });
            }
            tag::BUFFER => self.buffers.push(payload.buffer(self.names.len())?),
            tag::END => {
                let entry: &EndEntry = payload.take("the end")?;
                self.left_out = LeftOut {
                    buffers: entry.buffers.get(),
                    bytes: entry.bytes.get(),
                    records: entry.records.get(),
                    api_records: entry.api_records.get(),
                    dropped: entry.dropped.get(),
                };
            }
            tag => return Err(FormatError::UnknownSection { tag, at: payload.at }),
        }
        if !payload.is_at_end() {
            return Err(payload.broken("a section is as long as its content"));
        }
        Ok(tag == tag::END)
    }
}

/// What is left of a file or of one section.
struct Cursor<'a> {
    file: &'a [u8],
    /// Bytes before it.
    at: usize,
}

impl<'a> Cursor<'a> {
    fn is_at_end(&self) -> bool {
        self.file.is_empty()
    }

    fn broken(&self, rule: &'static str) -> FormatError {
        FormatError::Broken { rule, at: self.at }
    }

    fn bytes(&mut self, length: usize, piece: &'static str) -> Result<&'a [u8], FormatError> {
        let cut_off = FormatError::CutOff { piece, at: self.at };
        let (taken, rest) = self.file.split_at_checked(length).ok_or(cut_off)?;
        self.file = rest;
        self.at += length;
        Ok(taken)
    }

    fn take<T: FromBytes + Immutable + KnownLayout + zerocopy::Unaligned>(
        &mut self,
        piece: &'static str,
    ) -> Result<&'a T, FormatError> {
        let at = self.at;
        T::ref_from_bytes(self.bytes(size_of::<T>(), piece)?).ok().ok_or(FormatError::CutOff { piece, at })
    }

    /// All that is left, as text.
    fn text(&mut self) -> Result<&'a str, FormatError> {
        let at = self.at;
        let bytes = self.bytes(self.file.len(), "a text")?;
        std::str::from_utf8(bytes).ok().ok_or(FormatError::Broken { rule: "texts are UTF-8", at })
    }

    fn section(&mut self) -> Result<([u8; 4], Cursor<'a>), FormatError> {
        let head: &SectionHead = self.take("the head of a section")?;
        let at = self.at;
        let payload = self.bytes(head.length.get() as usize, "a section")?;
        Ok((head.tag, Cursor { file: payload, at }))
    }

    fn buffer(&mut self, names: usize) -> Result<Buffer<'a>, FormatError> {
        let head: &BufferHead = self.take("the head of a buffer")?;
        let count = head.records.get() as usize;
        let length = count.checked_mul(size_of::<RecordEntry>());
        let table = self.bytes(length.unwrap_or(usize::MAX), "a table of records")?;
        let Ok(records) = <[RecordEntry]>::ref_from_bytes(table) else {
            return Err(self.broken("a table holds whole records"));
        };
        let valid = self.bytes(head.valid_bytes.get() as usize, "the valid bytes")?;
        if head.valid_bytes > head.size_bytes {
            return Err(self.broken("no more bytes are valid than the buffer has"));
        }
        if !records.is_sorted_by(|one, next| one.offset < next.offset) {
            return Err(self.broken("records ascend"));
        }
        let inside = |record: &RecordEntry| {
            (record.offset.get() as usize).checked_add(4).is_some_and(|end| end <= valid.len())
        };
        if !records.iter().all(inside) {
            return Err(self.broken("records lie in the valid bytes"));
        }
        Ok(Buffer {
            context: ContextHandle(usize::try_from(head.context.get()).unwrap_or(usize::MAX)),
            completed_ns: head.completed_ns.get(),
            stream_id: head.stream_id.get(),
            thread_id: head.thread_id.get(),
            forced: head.flags.get() & FORCED != 0,
            walk_end: Status(head.walk_end.get()),
            size_bytes: head.size_bytes.get(),
            records,
            valid,
            names,
        })
    }
}
