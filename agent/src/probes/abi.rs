//! Where arguments and results lie, by the ABIs of x86-64 and AArch64 Linux.
//!
//! Enters: a [`Signature`]. Leaves: a [`Placement`]. Refuses: arguments by value of types whose size or content nobody declared.
//!
//! Sources: System V ABI, AMD64 supplement 1.0, section 3.2.3 ([`sysv`]); Procedure Call Standard for the Arm 64-bit Architecture
//! 2023Q3, section 6.8.2 ([`aapcs`]); Itanium C++ ABI, section 3.1.2.3 (classes that are not trivially copyable go by their address).

mod aapcs;
#[cfg(test)]
mod oracle;
mod sysv;
#[cfg(test)]
mod tests;

use super::signature::{Argument, Signature, Written};
use super::source::{SpecError, expected};
use super::types::{Extent, Struct, Type, Types};

/// An architecture, with its one Linux ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arch {
    /// System V.
    X86_64,
    /// AAPCS64.
    Aarch64,
}

/// A register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Register {
    /// By DWARF number: a uprobe sees it.
    General(u8),
    /// `xmm0` …, `v0` …: a uprobe does not.
    Vector(u8),
    /// `st0`: a uprobe does not.
    Float,
}

/// Where a value lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Placed {
    /// Eight bytes in each register (in vector registers of AArch64: one number in each).
    Registers(Vec<Register>),
    /// So many bytes past the stack pointer at the entry.
    Stack(u32),
    /// Its address lies there.
    Indirect(Box<Self>),
}

/// A function's arguments and result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placement {
    pub(super) arguments: Vec<Placed>,
    /// At the return; none for `void`, and where the address of the result is not kept.
    pub(super) result: Option<Placed>,
    /// The register with the address that the result is to be written to.
    pub(super) hidden: Option<Register>,
}

impl Placed {
    /// For people: `rdi`, `rax:rdx`, `sp+8`, `*rsi` for a value whose address lies there.
    pub(super) fn shown(&self, arch: Arch) -> String {
        match self {
            Self::Registers(registers) => {
                let names: Vec<String> =
                    registers.iter().map(|register| arch.register_name(*register)).collect();
                names.join(":")
            }
            Self::Stack(offset) => format!("sp+{offset}"),
            Self::Indirect(address) => format!("*{}", address.shown(arch)),
        }
    }
}

const X86_64: [&str; 17] = [
    "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15", "rip",
];

impl Arch {
    /// Both.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// The architecture that this agent runs on; none where it knows no ABI.
    #[must_use]
    pub fn own() -> Option<Self> {
        Self::ALL.into_iter().find(|arch| arch.name() == std::env::consts::ARCH)
    }

    /// Its name, as `uname -m` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// DWARF number of the stack pointer.
    pub(super) fn stack_pointer(self) -> u8 {
        match self {
            Self::X86_64 => 7,
            Self::Aarch64 => 31,
        }
    }

    /// The name of a register.
    pub(super) fn register_name(self, register: Register) -> String {
        match (self, register) {
            (Self::X86_64, Register::General(number)) => {
                X86_64.get(usize::from(number)).copied().unwrap_or("?").to_owned()
            }
            (Self::Aarch64, Register::General(31)) => "sp".to_owned(),
            (Self::Aarch64, Register::General(number)) => format!("x{number}"),
            (Self::X86_64, Register::Vector(number)) => format!("xmm{number}"),
            (Self::Aarch64, Register::Vector(number)) => format!("v{number}"),
            (_, Register::Float) => "st0".to_owned(),
        }
    }

    /// The general register of a name.
    fn register(self, name: &str) -> Option<Register> {
        let found = (0..32).map(Register::General).find(|register| self.register_name(*register) == name);
        found.filter(|_| name != "?")
    }

    /// Where the arguments of a function lie when it is entered, and its result when it returns.
    pub(super) fn place(self, types: &Types, signature: &Signature) -> Result<Placement, SpecError> {
        let mut placement = match self {
            Self::X86_64 => sysv::place(types, signature)?,
            Self::Aarch64 => aapcs::place(types, signature)?,
        };
        if signature.is_placed() {
            placement.hidden = None;
            placement.arguments = signature
                .arguments
                .iter()
                .map(|argument| self.written(types, signature, argument))
                .collect::<Result<_, _>>()?;
        }
        Ok(placement)
    }

    /// The place that an argument's `@` says.
    fn written(self, types: &Types, signature: &Signature, argument: &Argument) -> Result<Placed, SpecError> {
        let refuse = |message: String| signature.text.error(argument.at.clone(), message);
        let extent = extent(types, signature, argument)?;
        for written in &argument.placed {
            match written {
                Written::Stack(offset) => return Ok(Placed::Stack(*offset)),
                Written::Registers(names) => {
                    let found: Option<Vec<_>> = names.iter().map(|name| self.register(name)).collect();
                    let Some(registers) = found else { continue };
                    if extent.size as usize > registers.len() * 8 {
                        return Err(refuse(format!(
                            "{} bytes do not fit into {} of 8 bytes",
                            extent.size,
                            if registers.len() == 1 { "a register" } else { "two registers" }
                        )));
                    }
                    return Ok(Placed::Registers(registers));
                }
            }
        }
        let other = argument.placed.iter().any(|written| match written {
            Written::Registers(names) => {
                Self::ALL.into_iter().any(|arch| names.iter().all(|name| arch.register(name).is_some()))
            }
            Written::Stack(_) => true,
        });
        let name = self.name();
        Err(if other {
            refuse(format!("`{}` is not placed for {name}", argument.name))
        } else {
            refuse(format!("no register of {name}"))
                .help("expected a 64-bit register, e.g. rdi, rsi, r8 or x0, x1")
        })
    }
}

/// Size and alignment of an argument.
fn extent(types: &Types, signature: &Signature, argument: &Argument) -> Result<Extent, SpecError> {
    types
        .extent(&argument.r#type)
        .ok_or_else(|| unknown(types, &argument.r#type, signature, argument.at.clone()))
}

/// A type by value that nobody declared.
fn unknown(types: &Types, r#type: &Type, signature: &Signature, at: std::ops::Range<usize>) -> SpecError {
    let name = match types.resolve(r#type) {
        Type::Array(of, _) => of.to_string(),
        other => other.to_string(),
    };
    signature.text.error(at, format!("the type `{name}` is taken by value, but its size is not known")).help(
        format!(
            "declare it under [types]; {}",
            expected("one of the declared types", &types.declared_names())
        ),
    )
}

/// The numbers in a value, with their offsets; none for what is not made of declared numbers.
fn numbers(types: &Types, r#type: &Type, at: u32, found: &mut Vec<(u32, Type)>) -> Option<()> {
    const MOST: usize = 64;
    if found.len() > MOST {
        return None;
    }
    match types.resolve(r#type) {
        Type::Void => None,
        Type::Array(of, count) => {
            let size = types.extent(&of)?.size;
            (0..count)
                .try_for_each(|index| numbers(types, &of, at.checked_add(index.checked_mul(size)?)?, found))
        }
        Type::Named(_) => {
            let found_struct = types.r#struct(r#type)?;
            found_struct.members.iter().try_for_each(|member| {
                numbers(types, &member.r#type, at.checked_add_signed(member.offset)?, found)
            })
        }
        number => {
            found.push((at, number));
            Some(())
        }
    }
}

/// A struct's numbers.
fn struct_numbers(types: &Types, of: &Struct) -> Option<Vec<(u32, Type)>> {
    let mut found = Vec::new();
    numbers(types, &Type::Named(of.name.clone()), 0, &mut found)?;
    Some(found)
}

/// Rounds up to a multiple.
fn round(value: u32, to: u32) -> u32 {
    value.checked_next_multiple_of(to.max(1)).unwrap_or(value)
}
