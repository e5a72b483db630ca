//! Values out of payloads.
//!
//! Enters: what was read at a function's entry and at its return. Leaves: [`Values`]. Refuses: values that were not read, and those
//! that contradict themselves; it leaves them out and counts them. The bytes are a hostile process's.

mod number;
mod shape;
pub(super) mod torch;

use std::sync::Arc;

use super::dtype::Dtype;
use super::plan::{Fetched, Reader, Values};
use super::specification::Table;
use crate::event::{FieldValue, Tensor};

pub(super) use number::{Load, Number};
pub(super) use shape::{Elements, Shape};
pub(super) use torch::{Heap, Torch};

/// Where something was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Entry,
    Exit,
}

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// There is none to be had: a null pointer, an `if` that does not hold, a return that was not seen.
    Absent,
    /// There should be one.
    Unreadable,
}

/// What was read at both places.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payloads<'a> {
    pub(super) entry: Fetched<'a>,
    pub(super) exit: Option<Fetched<'a>>,
}

impl<'a> Payloads<'a> {
    /// `length` bytes of a read's value.
    pub(super) fn bytes(&self, phase: Phase, read: u8, at: u16, length: usize) -> Result<&'a [u8], Missing> {
        let fetched = match phase {
            Phase::Entry => self.entry,
            Phase::Exit => self.exit.ok_or(Missing::Absent)?,
        };
        if fetched.present & 1_u32.checked_shl(read.into()).unwrap_or(0) == 0 {
            return Err(Missing::Unreadable);
        }
        let start = usize::from(at);
        fetched.payload.get(start..start + length).ok_or(Missing::Unreadable)
    }
}

/// A function's values.
#[derive(Debug, Default)]
pub(super) struct CallReader {
    /// If one of these is 0, the call is none of the probe's.
    pub(super) conditions: Vec<Number>,
    pub(super) tensors: Vec<TensorReader>,
    pub(super) fields: Vec<FieldReader>,
}

/// A tensor.
#[derive(Debug)]
pub(super) struct TensorReader {
    pub(super) name: Arc<str>,
    /// None of these may be 0.
    pub(super) conditions: Vec<Number>,
    pub(super) shape: Shape,
    pub(super) dtype: Type,
}

/// An element type.
#[derive(Debug)]
pub(super) enum Type {
    Unknown,
    Always(&'static Dtype),
    /// By a number of the engine.
    Coded(Number, Arc<Table>),
    /// The tensor itself says it, by a number of the engine.
    Own(Arc<Table>),
}

/// A field.
#[derive(Debug)]
pub(super) struct FieldReader {
    pub(super) name: Arc<str>,
    pub(super) conditions: Vec<Number>,
    pub(super) value: Value,
}

/// What a field is made of.
#[derive(Debug)]
pub(super) enum Value {
    Integer(Number),
    Boolean(Number),
    /// 4 or 8 bytes.
    Float(Load),
    Word(Number, Arc<Table>),
    Text(Text),
}

/// Text: a byte of length, then the bytes.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) phase: Phase,
    pub(super) read: u8,
    pub(super) at: u16,
    pub(super) capacity: u8,
}

impl Reader for CallReader {
    fn values(&self, entry: Fetched<'_>, exit: Option<Fetched<'_>>) -> Values {
        let payloads = Payloads { entry, exit };
        let mut values = Values::default();
        let mut unreadable = 0;
        match hold(&self.conditions, &payloads) {
            Err(Missing::Absent) => return Values { is_excluded: true, ..values },
            Err(Missing::Unreadable) => unreadable += 1,
            Ok(()) => {}
        }
        for tensor in &self.tensors {
            match tensor.read(&payloads) {
                Ok(tensor) => values.tensors.push(tensor),
                Err(missing) => unreadable += u32::from(missing == Missing::Unreadable),
            }
        }
        for field in &self.fields {
            match hold(&field.conditions, &payloads).and_then(|()| field.value.read(&payloads)) {
                Ok(value) => values.fields.push((field.name.clone(), value)),
                Err(missing) => unreadable += u32::from(missing == Missing::Unreadable),
            }
        }
        values.unreadable = unreadable;
        values
    }
}

/// Whether none of the conditions is 0.
fn hold(conditions: &[Number], payloads: &Payloads<'_>) -> Result<(), Missing> {
    conditions.iter().try_for_each(|condition| match condition.read(payloads)? {
        0 => Err(Missing::Absent),
        _ => Ok(()),
    })
}

impl TensorReader {
    fn read(&self, payloads: &Payloads<'_>) -> Result<Tensor, Missing> {
        hold(&self.conditions, payloads)?;
        let (shape, own_dtype) = self.shape.read(payloads)?;
        let dtype = match &self.dtype {
            Type::Unknown => None,
            Type::Always(dtype) => Some(*dtype),
            // A number that nobody declared is a type that is not known yet.
            Type::Coded(number, table) => {
                table.get(&number.read(payloads)?).and_then(|name| super::dtype::find(name))
            }
            Type::Own(table) => {
                own_dtype.and_then(|code| table.get(&code)).and_then(|name| super::dtype::find(name))
            }
        };
        let elements = shape.iter().try_fold(1_u64, |product, size| product.checked_mul(*size));
        let elements = elements.ok_or(Missing::Unreadable)?;
        Ok(Tensor {
            name: self.name.clone(),
            shape,
            dtype: dtype.map(|dtype| dtype.name),
            size_bytes: dtype.and_then(|dtype| dtype.size_bytes(elements)),
        })
    }
}

impl Value {
    fn read(&self, payloads: &Payloads<'_>) -> Result<FieldValue, Missing> {
        Ok(match self {
            Self::Integer(number) => {
                let value = number.read(payloads)?;
                match i64::try_from(value) {
                    Ok(value) => FieldValue::Integer(value),
                    Err(_) => FieldValue::Unsigned(
                        u64::try_from(value).map_err(|_past_64_bits| Missing::Unreadable)?,
                    ),
                }
            }
            Self::Boolean(number) => FieldValue::Boolean(number.read(payloads)? != 0),
            Self::Float(load) => FieldValue::Number(load.float(payloads)?),
            Self::Word(number, table) => {
                let value = number.read(payloads)?;
                FieldValue::Text(table.get(&value).cloned().unwrap_or_else(|| value.to_string().into()))
            }
            Self::Text(text) => FieldValue::Text(text.read(payloads)?),
        })
    }
}

impl Text {
    fn read(&self, payloads: &Payloads<'_>) -> Result<Arc<str>, Missing> {
        let bytes = payloads.bytes(self.phase, self.read, self.at, 1 + usize::from(self.capacity))?;
        let (length, bytes) = bytes.split_first().ok_or(Missing::Unreadable)?;
        let bytes = bytes.get(..usize::from(*length)).ok_or(Missing::Unreadable)?;
        // What does not end within the capacity may be cut in the middle of a character.
        let cut = usize::from(*length) == usize::from(self.capacity);
        let bytes = match std::str::from_utf8(bytes) {
            Err(error) if cut && error.error_len().is_none() => {
                bytes.get(..error.valid_up_to()).unwrap_or_default()
            }
            _ => bytes,
        };
        Ok(String::from_utf8_lossy(bytes).into())
    }
}
