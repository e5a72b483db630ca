//! Expressions over a signature, compiled to fetch programs and a reader.
//!
//! Enters: an [`Instance`], an architecture. Leaves: a [`Compiled`] probe. Refuses: what does not type-check, and what cannot be
//! read: floats in registers, results that are not kept, more reads than a program holds.

mod lvalue;
mod tensor;
#[cfg(test)]
mod tests;
mod value;

use gpu_agent_ebpf_abi::{FetchProgram, phase};

use super::abi::{Arch, Placed, Placement};
use super::fetch::{Fetch, FetchError, Place};
use super::reader::{CallReader, FieldReader, Phase};
use super::signature::Signature;
use super::source::{SpecError, Text};
use super::specification::{Instance, Scope, Specification};
use super::types::{Struct, Type};

use lvalue::Located;

/// A probe for one architecture.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) placement: Placement,
    pub(super) entry: FetchProgram,
    pub(super) exit: FetchProgram,
    /// What each read is for, at the entry and at the return.
    pub(super) purposes: [Vec<String>; 2],
    pub(super) reader: CallReader,
}

/// What names mean in an expression.
#[derive(Debug, Clone, Copy)]
enum Names<'a> {
    /// A function's arguments, and `return`.
    Arguments,
    /// The members of a value.
    Members { of: &'a Struct, at: &'a Located },
}

/// The state of one compilation.
struct Compiler<'a> {
    scope: &'a Scope,
    signature: &'a Signature,
    arch: Arch,
    placement: Placement,
    entry: Fetch,
    exit: Fetch,
    /// PyTorch tensors, whose sizes on the heap are read if there is room in the end.
    torch: Vec<tensor::Window>,
    /// Tensors compiled so far.
    tensors: usize,
}

impl Instance {
    /// Compiles the probe for an architecture.
    pub(super) fn compile(&self, scope: &Scope, arch: Arch) -> Result<Compiled, SpecError> {
        let placement = arch.place(&scope.types, &self.signature)?;
        let mut compiler = Compiler {
            scope,
            signature: &self.signature,
            arch,
            placement,
            entry: Fetch::default(),
            exit: Fetch::default(),
            torch: Vec::new(),
            tensors: 0,
        };
        let mut reader = CallReader::default();
        compiler.condition(self.condition.as_ref(), Names::Arguments, &mut reader.conditions)?;
        for (name, whole, rule) in &self.tensors {
            reader.tensors.push(compiler.tensor(name, whole, rule)?);
        }
        for (name, field) in &self.fields {
            let mut conditions = Vec::new();
            compiler.condition(field.condition.as_ref(), Names::Arguments, &mut conditions)?;
            let value = compiler.field(&field.of)?;
            reader.fields.push(FieldReader { name: name.clone(), conditions, value });
        }
        compiler.read_heaps(&mut reader.tensors);
        Ok(Compiled {
            entry: compiler.entry.finish(phase::ENTRY),
            exit: compiler.exit.finish(phase::RETURN),
            purposes: [compiler.entry.purposes, compiler.exit.purposes],
            placement: compiler.placement,
            reader,
        })
    }
}

impl Specification {
    /// Compiles everything once: an error on every architecture is one of the specification.
    pub(super) fn check(&self) -> Result<(), SpecError> {
        let variants = self.probes.iter().flat_map(|probe| &probe.variants);
        for instance in variants.flat_map(|variant| &variant.instances) {
            let mut first = None;
            for arch in Arch::ALL {
                match instance.compile(&self.scope, arch) {
                    Ok(_) => first = None,
                    Err(error) => {
                        first.get_or_insert(error);
                        continue;
                    }
                }
                break;
            }
            if let Some(error) = first {
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Compiler<'_> {
    fn fetch(&mut self, phase: Phase) -> &mut Fetch {
        match phase {
            Phase::Entry => &mut self.entry,
            Phase::Exit => &mut self.exit,
        }
    }

    /// Where an argument or the result is.
    fn placed(&self, placed: &Placed) -> Result<Place, FetchError> {
        match placed {
            Placed::Registers(registers) => Ok(Place::Registers { registers: registers.clone(), offset: 0 }),
            Placed::Stack(offset) => Ok(Place::Memory {
                base: super::fetch::Base::Register(self.arch.stack_pointer()),
                loads: Vec::new(),
                offset: i32::try_from(*offset).map_err(|_large| FetchError::Offset)?,
            }),
            Placed::Indirect(address) => Fetch::default().dereference(&self.placed(address)?, ""),
        }
    }

    /// An error of a fetch program, in the words of a user.
    fn refused(&self, text: &Text, at: std::ops::Range<usize>, error: FetchError) -> SpecError {
        let shown = text.value.get(at.clone()).unwrap_or_default().to_owned();
        let message = match error {
            FetchError::Register(register) => {
                format!(
                    "`{shown}` lies in {}, which a uprobe does not see",
                    self.arch.register_name(register)
                )
            }
            FetchError::Reads | FetchError::Payload(_) => error.to_string(),
            FetchError::Split | FetchError::Offset => format!("`{shown}` cannot be read: {error}"),
        };
        text.error(at, message)
    }
}

/// A type, or what a reference refers to.
fn referred(r#type: Type) -> (Type, bool) {
    match r#type {
        Type::Reference(to) => (*to, true),
        other => (other, false),
    }
}
