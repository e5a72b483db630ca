//! Whole numbers: loads, and arithmetic on them, checked.
//!
//! Enters: payloads. Leaves: numbers. Refuses: what overflows 128 bits or divides by zero.

use super::{Missing, Payloads, Phase};
use crate::probes::expression::Operator;

/// A number in a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::probes) struct Load {
    pub(in crate::probes) phase: Phase,
    pub(in crate::probes) read: u8,
    pub(in crate::probes) at: u16,
    pub(in crate::probes) bytes: u8,
    pub(in crate::probes) signed: bool,
    /// Bits of other things below it.
    pub(in crate::probes) shift: u8,
}

/// An expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::probes) enum Number {
    Constant(i128),
    Load(Load),
    Negate(Box<Self>),
    Binary { operator: Operator, left: Box<Self>, right: Box<Self> },
}

impl Load {
    fn bits(&self, payloads: &Payloads<'_>) -> Result<u64, Missing> {
        let bytes = payloads.bytes(self.phase, self.read, self.at, 8)?;
        let whole = u64::from_le_bytes(bytes.try_into().map_err(|_length| Missing::Unreadable)?);
        let value = whole.checked_shr(self.shift.into()).unwrap_or(0);
        let unused = 64 - 8 * u32::from(self.bytes.clamp(1, 8));
        Ok(value << unused >> unused)
    }

    fn integer(&self, payloads: &Payloads<'_>) -> Result<i128, Missing> {
        let bits = self.bits(payloads)?;
        let unused = 64 - 8 * u32::from(self.bytes.clamp(1, 8));
        Ok(if self.signed { ((bits << unused) as i64 >> unused).into() } else { bits.into() })
    }

    /// Its bits as a float of its size.
    pub(super) fn float(&self, payloads: &Payloads<'_>) -> Result<f64, Missing> {
        let bits = self.bits(payloads)?;
        Ok(if self.bytes == 4 { f32::from_bits(bits as u32).into() } else { f64::from_bits(bits) })
    }
}

impl Number {
    pub(super) fn read(&self, payloads: &Payloads<'_>) -> Result<i128, Missing> {
        match self {
            Self::Constant(value) => Ok(*value),
            Self::Load(load) => load.integer(payloads),
            Self::Negate(of) => of.read(payloads)?.checked_neg().ok_or(Missing::Unreadable),
            Self::Binary { operator, left, right } => {
                apply(*operator, left.read(payloads)?, right.read(payloads)?).ok_or(Missing::Unreadable)
            }
        }
    }
}

fn apply(operator: Operator, left: i128, right: i128) -> Option<i128> {
    match operator {
        Operator::Add => left.checked_add(right),
        Operator::Subtract => left.checked_sub(right),
        Operator::Multiply => left.checked_mul(right),
        Operator::Divide => left.checked_div(right),
        Operator::Remainder => left.checked_rem(right),
        Operator::Equal => Some((left == right).into()),
        Operator::NotEqual => Some((left != right).into()),
        Operator::Less => Some((left < right).into()),
        Operator::AtMost => Some((left <= right).into()),
        Operator::More => Some((left > right).into()),
        Operator::AtLeast => Some((left >= right).into()),
    }
}
