//! System V, x86-64: classes of eight bytes, six general registers, eight vector registers, then the stack.

use std::ops::Range;

use super::super::signature::Signature;
use super::super::source::SpecError;
use super::super::types::{Type, Types};
use super::{Placed, Placement, Register, round, struct_numbers, unknown};

/// rdi, rsi, rdx, rcx, r8, r9.
const ARGUMENTS: [u8; 6] = [5, 4, 1, 2, 8, 9];
const VECTORS: u8 = 8;
/// rax, rdx.
const RESULTS: [u8; 2] = [0, 1];
/// The return address lies before the arguments.
const FIRST_SLOT: u32 = 8;

/// What decides where a value goes.
enum Class {
    /// Registers, one a piece.
    Pieces(Vec<Piece>),
    /// The stack.
    Memory { size: u32, align: u32 },
    /// `long double`, also alone in a struct: the stack, but as a result `st0`.
    Extended,
    /// Its address, in a general register.
    Address,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    General,
    Vector,
}

pub(super) fn place(types: &Types, signature: &Signature) -> Result<Placement, SpecError> {
    let mut general = ARGUMENTS.iter().copied();
    let mut vectors = 0..VECTORS;
    let (result, hidden) = result(types, signature)?;
    if hidden {
        general.next();
    }
    let mut stack = FIRST_SLOT;
    let mut arguments = Vec::new();
    if !signature.is_placed() {
        for argument in &signature.arguments {
            let placed = match classify(types, &argument.r#type, signature, argument.at.clone())? {
                Class::Pieces(pieces) => match take(&pieces, &mut general, &mut vectors) {
                    Some(registers) => Placed::Registers(registers),
                    None => {
                        let size = 8 * u32::try_from(pieces.len()).unwrap_or(1);
                        let align = types.extent(&argument.r#type).map_or(8, |extent| extent.align);
                        on_stack(&mut stack, size, align)
                    }
                },
                Class::Memory { size, align } => on_stack(&mut stack, size, align),
                Class::Extended => on_stack(&mut stack, 16, 16),
                Class::Address => Placed::Indirect(Box::new(match general.next() {
                    Some(register) => Placed::Registers(vec![Register::General(register)]),
                    None => on_stack(&mut stack, 8, 8),
                })),
            };
            arguments.push(placed);
        }
    }
    let hidden = hidden.then_some(Register::General(ARGUMENTS[0]));
    Ok(Placement { arguments, result, hidden })
}

/// Where the result is, and whether the caller says where it is to be written.
fn result(types: &Types, signature: &Signature) -> Result<(Option<Placed>, bool), SpecError> {
    if types.resolve(&signature.result) == Type::Void {
        return Ok((None, false));
    }
    // The address comes back in rax.
    let by_address = Placed::Indirect(Box::new(Placed::Registers(vec![Register::General(RESULTS[0])])));
    Ok(match classify(types, &signature.result, signature, signature.result_at.clone())? {
        Class::Pieces(pieces) => {
            let mut general = RESULTS.iter().copied();
            (take(&pieces, &mut general, &mut (0..2)).map(Placed::Registers), false)
        }
        Class::Extended => (Some(Placed::Registers(vec![Register::Float])), false),
        Class::Memory { .. } | Class::Address => (Some(by_address), true),
    })
}

/// Registers for all pieces, or for none.
fn take(
    pieces: &[Piece],
    general: &mut (impl Iterator<Item = u8> + Clone),
    vectors: &mut Range<u8>,
) -> Option<Vec<Register>> {
    let (mut general_after, mut vectors_after) = (general.clone(), vectors.clone());
    let mut registers = Vec::new();
    for piece in pieces {
        registers.push(match piece {
            Piece::General => Register::General(general_after.next()?),
            Piece::Vector => Register::Vector(vectors_after.next()?),
        });
    }
    (*general, *vectors) = (general_after, vectors_after);
    Some(registers)
}

fn on_stack(stack: &mut u32, size: u32, align: u32) -> Placed {
    // Slots are aligned as seen by the caller, for whom the first one is at 0.
    let at = round(*stack - FIRST_SLOT, align.max(8)) + FIRST_SLOT;
    *stack = at.saturating_add(round(size, 8));
    Placed::Stack(at)
}

fn classify(
    types: &Types,
    r#type: &Type,
    signature: &Signature,
    at: Range<usize>,
) -> Result<Class, SpecError> {
    let extent = types.extent(r#type).ok_or_else(|| unknown(types, r#type, signature, at.clone()))?;
    let resolved = types.resolve(r#type);
    let pieces = |piece, count| Class::Pieces(vec![piece; count]);
    Ok(match resolved {
        Type::Float { bytes: 16 } => Class::Extended,
        Type::Float { .. } => pieces(Piece::Vector, 1),
        Type::Integer { bytes: 16, .. } => pieces(Piece::General, 2),
        Type::Named(_) => {
            let Some(of) = types.r#struct(r#type) else { return Err(unknown(types, r#type, signature, at)) };
            let memory = Class::Memory { size: extent.size, align: extent.align };
            if of.is_class {
                return Ok(Class::Address);
            }
            if extent.size > 16 {
                return Ok(memory);
            }
            let numbers =
                struct_numbers(types, &of).ok_or_else(|| unknown(types, r#type, signature, at.clone()))?;
            let mut found: Vec<Option<Piece>> = vec![None; extent.size.div_ceil(8) as usize];
            for (offset, number) in numbers {
                let number_extent = types.extent(&number).unwrap_or(extent);
                if offset % number_extent.align != 0 {
                    return Ok(memory);
                }
                if number == (Type::Float { bytes: 16 }) {
                    return Ok(Class::Extended);
                }
                let piece = if matches!(number, Type::Float { .. }) { Piece::Vector } else { Piece::General };
                for byte in (offset..offset + number_extent.size).step_by(8) {
                    if let Some(slot) = found.get_mut((byte / 8) as usize)
                        && *slot != Some(Piece::General)
                    {
                        *slot = Some(piece);
                    }
                }
            }
            let known: Option<Vec<Piece>> = found.iter().copied().collect();
            let missing = found.iter().position(Option::is_none).unwrap_or(0) * 8;
            Class::Pieces(known.ok_or_else(|| {
                let message = format!(
                    "`{}` is taken by value, and nothing is declared in its bytes {missing} to {}",
                    of.name,
                    extent.size.min(missing as u32 + 8) - 1
                );
                signature
                    .text
                    .error(at, message)
                    .help("whether numbers or floats lie there decides the register")
            })?)
        }
        _ => pieces(Piece::General, 1),
    })
}
