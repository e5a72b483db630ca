//! AAPCS64: eight general registers, eight vector registers, then the stack; larger structs by their address.

use std::ops::Range;

use super::super::signature::Signature;
use super::super::source::SpecError;
use super::super::types::{Struct, Type, Types};
use super::{Placed, Placement, Register, round, struct_numbers, unknown};

const REGISTERS: u8 = 8;
/// x8: where a result that does not fit into registers is to be written. It need not be kept.
const RESULT_ADDRESS: Register = Register::General(8);

/// What decides where a value goes.
enum Class {
    /// So many general registers; the first one is even if the value is aligned to 16 bytes.
    General { size: u32, align: u32 },
    /// So many vector registers.
    Vector { count: u8, size: u32, align: u32 },
    /// Its address, in a general register.
    Address,
}

/// Next general register, next vector register, next stack slot.
#[derive(Default)]
struct Next {
    general: u8,
    vector: u8,
    stack: u32,
}

pub(super) fn place(types: &Types, signature: &Signature) -> Result<Placement, SpecError> {
    let mut next = Next::default();
    let mut arguments = Vec::new();
    if !signature.is_placed() {
        for argument in &signature.arguments {
            let class = classify(types, &argument.r#type, signature, argument.at.clone())?;
            arguments.push(match class {
                Class::General { size, align } => next.general(size, align),
                Class::Vector { count, size, align } => next.vector(count, size, align),
                Class::Address => Placed::Indirect(Box::new(next.general(8, 8))),
            });
        }
    }
    if types.resolve(&signature.result) == Type::Void {
        return Ok(Placement { arguments, result: None, hidden: None });
    }
    let mut next = Next::default();
    Ok(match classify(types, &signature.result, signature, signature.result_at.clone())? {
        Class::General { size, align } => {
            Placement { arguments, result: Some(next.general(size, align)), hidden: None }
        }
        Class::Vector { count, size, align } => {
            Placement { arguments, result: Some(next.vector(count, size, align)), hidden: None }
        }
        Class::Address => Placement { arguments, result: None, hidden: Some(RESULT_ADDRESS) },
    })
}

impl Next {
    fn general(&mut self, size: u32, align: u32) -> Placed {
        let count = u8::try_from(size.div_ceil(8)).unwrap_or(REGISTERS);
        if align == 16 {
            self.general += self.general % 2;
        }
        if self.general + count > REGISTERS {
            // None of the rest comes back into registers.
            self.general = REGISTERS;
            return self.slot(size, align);
        }
        let first = self.general;
        self.general += count;
        Placed::Registers((first..first + count).map(Register::General).collect())
    }

    fn vector(&mut self, count: u8, size: u32, align: u32) -> Placed {
        if self.vector + count > REGISTERS {
            self.vector = REGISTERS;
            return self.slot(size, align);
        }
        let first = self.vector;
        self.vector += count;
        Placed::Registers((first..first + count).map(Register::Vector).collect())
    }

    fn slot(&mut self, size: u32, align: u32) -> Placed {
        let at = round(self.stack, align.clamp(8, 16));
        self.stack = at.saturating_add(round(size, 8));
        Placed::Stack(at)
    }
}

fn classify(
    types: &Types,
    r#type: &Type,
    signature: &Signature,
    at: Range<usize>,
) -> Result<Class, SpecError> {
    let extent = types.extent(r#type).ok_or_else(|| unknown(types, r#type, signature, at.clone()))?;
    let (size, align) = (extent.size, extent.align);
    Ok(match types.resolve(r#type) {
        Type::Float { bytes } => Class::Vector { count: 1, size: bytes, align: bytes },
        Type::Named(_) => {
            let Some(of) = types.r#struct(r#type) else { return Err(unknown(types, r#type, signature, at)) };
            if of.is_class {
                return Ok(Class::Address);
            }
            match floats(types, &of) {
                Some(count) => Class::Vector { count, size, align },
                None if size > 16 => Class::Address,
                None => Class::General { size, align },
            }
        }
        _ => Class::General { size, align },
    })
}

/// For a homogeneous floating-point aggregate (one to four floats of one size and nothing else): how many.
fn floats(types: &Types, of: &Struct) -> Option<u8> {
    let numbers = struct_numbers(types, of)?;
    let Type::Float { bytes } = numbers.first()?.1 else { return None };
    let is_homogeneous = numbers
        .iter()
        .zip((0..).step_by(bytes as usize))
        .all(|((offset, number), wanted)| *number == Type::Float { bytes } && *offset == wanted);
    let count = u8::try_from(numbers.len()).ok().filter(|count| *count <= 4)?;
    (is_homogeneous && of.size == u32::from(count) * bytes).then_some(count)
}
