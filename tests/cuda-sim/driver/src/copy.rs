//! Copies and memsets. Enters: addresses and sizes, checked against the memory table. Leaves: bytes moved.
//! Refuses: device ranges that no allocation holds (`CUDA_ERROR_INVALID_VALUE`).
#![allow(unsafe_code, reason = "moves bytes between raw addresses")]

use std::sync::Arc;

use cuda_sim_abi::{Activity, activity};

use crate::clock::now_ns;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::hooks;
use crate::memory::{self, Block, Kind};
use crate::stream::Stream;
use crate::work::{Trace, Work};

/// Pageable sources up to this size are copied aside at once, so that the caller may reuse them; larger ones make the
/// call wait (as `cuda.h` says of asynchronous copies from pageable memory).
const STAGED_BYTES: u64 = 64 << 10;

/// One end of a copy.
#[derive(Clone)]
pub(crate) struct Place {
    address: u64,
    pitch: u64,
    kind: Kind,
    /// Held while the copy is under way; `None` for memory that CUDA does not know.
    block: Option<Arc<Block>>,
}

/// Rows of equal length; a linear copy is one row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// Bytes of a row.
    pub(crate) width: u64,
    /// Rows.
    pub(crate) rows: u64,
}

/// One copy.
pub(crate) struct Copy {
    source: Place,
    destination: Place,
    extent: Extent,
    staged: Option<Box<[u8]>>,
    is_async: bool,
}

/// One memset.
pub(crate) struct Set {
    destination: Place,
    extent: Extent,
    value: u32,
    unit_bytes: u64,
    is_async: bool,
}

impl Extent {
    /// One row.
    pub(crate) fn linear(width: u64) -> Self {
        Self { width, rows: 1 }
    }

    /// Bytes moved.
    pub(crate) fn bytes(self) -> u64 {
        self.width * self.rows
    }

    /// Bytes from the first to the last, with rows `pitch` apart.
    fn span(self, pitch: u64) -> Outcome<u64> {
        let before_last = self.rows.saturating_sub(1).checked_mul(pitch).ok_or(Error::INVALID_VALUE)?;
        before_last.checked_add(self.width).ok_or(Error::INVALID_VALUE)
    }
}

impl Place {
    /// Memory that must be allocated through CUDA.
    pub(crate) fn device(address: u64, pitch: u64, extent: Extent) -> Outcome<Self> {
        let block = memory::find_range(address, extent.span(pitch)?)?;
        Ok(Self { address, pitch, kind: block.kind, block: Some(block) })
    }

    /// Memory of the host, which CUDA may know; NULL is refused.
    pub(crate) fn host(address: u64, pitch: u64, extent: Extent) -> Outcome<Self> {
        if address == 0 {
            return Err(Error::INVALID_VALUE);
        }
        match memory::find(address) {
            Some(_) => Self::device(address, pitch, extent),
            None => Ok(Self { address, pitch, kind: Kind::Pageable, block: None }),
        }
    }

    fn is_host(&self) -> bool {
        self.block.as_ref().is_none_or(|block| block.is_host())
    }

    fn device_and_context(&self) -> Option<(u32, u32)> {
        let block = self.block.as_ref().filter(|block| !block.is_host())?;
        Some((block.device.ordinal, block.context_id))
    }
}

impl Copy {
    /// A copy of a checked extent.
    pub(crate) fn new(source: Place, destination: Place, extent: Extent, is_async: bool) -> Self {
        Self { source, destination, extent, staged: None, is_async }
    }

    /// Enqueues it in `stream` with the waiting that the kinds of memory ask for.
    pub(crate) fn submit(mut self, stream: &'static Stream) -> Outcome {
        if self.extent.bytes() == 0 {
            return Ok(());
        }
        let capturing = stream.capturing.load(std::sync::atomic::Ordering::Relaxed);
        let from_pageable = self.source.kind == Kind::Pageable && !self.destination.is_host();
        let mut waits = !self.is_async || self.destination.kind == Kind::Pageable;
        if self.is_async && from_pageable && !capturing {
            if self.extent.rows == 1 && self.extent.bytes() <= STAGED_BYTES {
                self.stage();
            } else {
                waits = true;
            }
        }
        if capturing && !self.is_async {
            return Err(crate::capture::invalidate(stream));
        }
        match self.devices() {
            // "Does not start until all commands previously issued to either device have completed and runs to
            // completion before any commands issued after": CUDA C++ programming guide, peer-to-peer memory copy.
            Some((from, to)) if stream.is_default() => stream.submit_between(Work::Copy(self), [from, to])?,
            _ => stream.submit(Work::Copy(self))?,
        }
        if waits && !capturing {
            stream.drain();
            stream.context.check()?;
        }
        Ok(())
    }

    /// Source and destination device, when they differ.
    fn devices(&self) -> Option<(u32, u32)> {
        let (from, _) = self.source.device_and_context()?;
        let (to, _) = self.destination.device_and_context()?;
        (from != to).then_some((from, to))
    }

    fn stage(&mut self) {
        // SAFETY: the program vouches for the source of its copy; it is not device memory.
        let source =
            unsafe { std::slice::from_raw_parts(pointer(self.source.address), self.extent.width as usize) };
        self.staged = Some(source.into());
    }

    /// Fills the fields of its record.
    pub(crate) fn describe(&self, record: &mut Activity) {
        let source = self.source.device_and_context();
        let destination = self.destination.device_and_context();
        record.kind = activity::MEMCPY;
        record.bytes = self.extent.bytes();
        record.source_kind = self.source.kind as u32;
        record.destination_kind = self.destination.kind as u32;
        record.is_async = u32::from(self.is_async);
        // Values of `CUpti_ActivityMemcpyKind`.
        record.operation = match (source, destination) {
            (None, None) => 9,
            (None, Some(_)) => 1,
            (Some(_), None) => 2,
            (Some((from, _)), Some((to, _))) if from != to => 10,
            (Some(_), Some(_)) => 8,
        };
        if let (Some((from, from_context)), Some((to, to_context))) = (source, destination)
            && from != to
        {
            (record.device_id, record.context_id) = (from, from_context);
            (record.peer_device_id, record.peer_context_id) = (to, to_context);
        }
    }

    /// Moves the bytes.
    pub(crate) fn run(&self, stream: &'static Stream, trace: Trace) {
        let (start_ns, _) = stream.lay_out(0);
        for row in 0..self.extent.rows {
            let from = match &self.staged {
                Some(bytes) => bytes.as_ptr(),
                None => pointer(self.source.address + row * self.source.pitch),
            };
            let to = pointer(self.destination.address + row * self.destination.pitch).cast_mut();
            // SAFETY: device ranges were checked and their blocks are held; host ranges are vouched for by the
            // program, as for the real driver. `copy` allows overlap.
            unsafe { std::ptr::copy(from, to, self.extent.width as usize) };
        }
        finish(stream, trace, start_ns, |record| self.describe(record));
    }
}

impl Set {
    /// A memset of elements of `unit_bytes` (1, 2 or 4) with `value`; `count` elements a row.
    pub(crate) fn new(
        address: u64,
        pitch: u64,
        (value, unit_bytes): (u32, u64),
        (count, rows): (usize, usize),
        is_async: bool,
    ) -> Outcome<Self> {
        let width = (count as u64).checked_mul(unit_bytes).ok_or(Error::INVALID_VALUE)?;
        let extent = Extent { width, rows: rows as u64 };
        if !address.is_multiple_of(unit_bytes) {
            return Err(Error::INVALID_VALUE);
        }
        let destination = Place::device(address, pitch, extent)?;
        Ok(Self { destination, extent, value, unit_bytes, is_async })
    }

    /// Enqueues it; the synchronous form is asynchronous for device memory too.
    pub(crate) fn submit(self, stream: &'static Stream) -> Outcome {
        if self.extent.bytes() == 0 {
            return Ok(());
        }
        if !self.is_async && stream.capturing.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(crate::capture::invalidate(stream));
        }
        let waits = !self.is_async && self.destination.is_host();
        stream.submit(Work::Set(self))?;
        if waits {
            stream.drain();
        }
        Ok(())
    }

    /// Fills the fields of its record.
    pub(crate) fn describe(&self, record: &mut Activity) {
        record.kind = activity::MEMSET;
        record.bytes = self.extent.bytes();
        record.address = u64::from(self.value);
        record.destination_kind = self.destination.kind as u32;
        record.source_kind = self.destination.kind as u32;
        record.is_async = u32::from(self.is_async);
    }

    /// Sets the bytes.
    pub(crate) fn run(&self, stream: &'static Stream, trace: Trace) {
        let (start_ns, _) = stream.lay_out(0);
        let pattern = self.value.to_le_bytes();
        let pattern = pattern.get(..self.unit_bytes as usize).unwrap_or(&pattern);
        for row in 0..self.extent.rows {
            let start = pointer(self.destination.address + row * self.destination.pitch).cast_mut();
            // SAFETY: the range was checked and its block is held. Concurrent kernels on it are the program's race.
            let bytes = unsafe { std::slice::from_raw_parts_mut(start, self.extent.width as usize) };
            match pattern {
                [byte] => bytes.fill(*byte),
                _ => bytes.chunks_exact_mut(pattern.len()).for_each(|unit| unit.copy_from_slice(pattern)),
            }
        }
        finish(stream, trace, start_ns, |record| self.describe(record));
    }
}

/// Ends work that took real time, and reports it.
fn finish(stream: &'static Stream, trace: Trace, start_ns: u64, describe: impl FnOnce(&mut Activity)) {
    let end_ns = now_ns().max(start_ns + 1);
    stream.ended_at(end_ns);
    if trace.sequence != 0 {
        let mut record = crate::work::blank(stream, trace);
        describe(&mut record);
        (record.start_ns, record.end_ns) = (start_ns, end_ns);
        hooks::activity(&record);
    }
}

fn pointer(address: u64) -> *const u8 {
    std::ptr::with_exposed_provenance(address as usize)
}

/// Both ends of a copy between the memory of two contexts, which must be theirs.
pub(crate) fn check_peer(place: &Place, context: &Context) -> Outcome {
    match place.device_and_context() {
        Some((device, _)) if device == context.device.ordinal => Ok(()),
        _ => Err(Error::INVALID_VALUE),
    }
}
