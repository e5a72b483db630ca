//! Where the value of an expression lies.
//!
//! Enters: names, members, pointers followed. Leaves: a [`Located`]. Refuses: names that mean nothing, members of what has none.

use std::ops::Range;

use super::{Compiler, Names, Phase, referred};
use crate::probes::expression::{Expression, Node};
use crate::probes::fetch::Place;
use crate::probes::source::{SpecError, Text, expected};
use crate::probes::types::{Struct, Type, Types};

/// A value that lies somewhere.
#[derive(Debug, Clone)]
pub(super) struct Located {
    pub(super) phase: Phase,
    pub(super) place: Place,
    pub(super) r#type: Type,
}

impl Compiler<'_> {
    /// Finds a value. `text` is what the expression was read from.
    pub(super) fn locate(
        &mut self,
        text: &Text,
        expression: &Expression,
        names: Names<'_>,
    ) -> Result<Located, SpecError> {
        let at = expression.at.clone();
        match &expression.node {
            Node::Name(name) => self.name(text, at, name, names),
            Node::Return => self.result(text, at, names),
            Node::Dereference(of) => {
                let pointer = self.locate(text, of, names)?;
                self.follow(text, at, pointer)
            }
            Node::Member { of, name, name_at, is_arrow } => {
                let mut value = self.locate(text, of, names)?;
                let (r#type, _) = referred(self.scope.types.resolve(&value.r#type));
                let is_pointer = matches!(self.scope.types.resolve(&r#type), Type::Pointer(_));
                if is_pointer != *is_arrow {
                    let written = if *is_arrow { "->" } else { "." };
                    let right = if *is_arrow { "." } else { "->" };
                    let message =
                        format!("`{written}` after a {}", if is_pointer { "pointer" } else { "value" });
                    let error = text.error(of.at.end..name_at.start, message);
                    return Err(error.help(format!("expected `{right}`: its type is {type}")));
                }
                if is_pointer {
                    value = self.follow(text, of.at.clone(), value)?;
                }
                let value = self.through_reference(text, of.at.clone(), value)?;
                let of = self.scope.types.r#struct(&value.r#type).ok_or_else(|| {
                    text.error(
                        name_at.clone(),
                        format!("`{}` has no members that are declared", value.r#type),
                    )
                    .help("declare them under [types]")
                })?;
                self.member(text, name_at.clone(), &of, &value, name)
            }
            Node::Index { of, index } => {
                let Node::Number(index_value) = index.node else {
                    return Err(text
                        .error(index.at.clone(), "an index that is no number")
                        .help("expected e.g. `[0]`"));
                };
                let value = self.locate(text, of, names)?;
                let element = match self.scope.types.resolve(&value.r#type) {
                    Type::Array(element, count) if index_value < count.into() => *element,
                    Type::Array(_, count) => {
                        return Err(text.error(index.at.clone(), format!("the array has {count} elements")));
                    }
                    Type::Pointer(element) => *element,
                    other => {
                        return Err(
                            text.error(of.at.clone(), format!("`{other}` is neither an array nor a pointer"))
                        );
                    }
                };
                let size = self.scope.types.extent(&element).map_or(0, |extent| u64::from(extent.size));
                let offset = i32::try_from(index_value.saturating_mul(size));
                let (Ok(offset), 1..) = (offset, size) else {
                    return Err(text.error(
                        index.at.clone(),
                        format!("element {index_value} of `{element}` cannot be reached"),
                    ));
                };
                let start = self.elements(text, of.at.clone(), value, element)?;
                let place = start.place.member(offset).map_err(|error| self.refused(text, at, error))?;
                Ok(Located { place, ..start })
            }
            _ => Err(text
                .error(at, "this is computed, and lies nowhere")
                .help("expected an argument or a member")),
        }
    }

    /// The first element of an array, or behind a pointer.
    pub(super) fn elements(
        &mut self,
        text: &Text,
        at: Range<usize>,
        value: Located,
        element: Type,
    ) -> Result<Located, SpecError> {
        match self.scope.types.resolve(&value.r#type) {
            Type::Array(..) => Ok(Located { r#type: element, ..value }),
            _ => self.follow(text, at, value),
        }
    }

    fn name(
        &self,
        text: &Text,
        at: Range<usize>,
        name: &str,
        names: Names<'_>,
    ) -> Result<Located, SpecError> {
        if let Names::Members { of, at: value } = names {
            return self.member(text, at, of, value, name);
        }
        let Some((index, argument)) = self.signature.argument(name) else {
            let known = self.signature.argument_names();
            let message = format!("`{name}` is no argument of {}", self.signature.name);
            return Err(text.error(at, message).help(expected("one of", &known)));
        };
        let placed = self.placement.arguments.get(index);
        let placed = placed.ok_or_else(|| text.error(at.clone(), format!("`{name}` has no place")))?;
        let place = self.placed(placed).map_err(|error| self.refused(text, at, error))?;
        Ok(Located { phase: Phase::Entry, place, r#type: argument.r#type.clone() })
    }

    fn result(&self, text: &Text, at: Range<usize>, names: Names<'_>) -> Result<Located, SpecError> {
        if let Names::Members { of, .. } = names {
            return Err(text.error(at, format!("`return` means nothing in `{}`", of.name)));
        }
        let Some(placed) = &self.placement.result else {
            let message = match self.signature.result {
                Type::Void => format!("{} returns nothing", self.signature.name),
                _ => format!("the address of the result is not kept on {}", self.arch.name()),
            };
            return Err(text.error(at, message));
        };
        let place = self.placed(placed).map_err(|error| self.refused(text, at, error))?;
        Ok(Located { phase: Phase::Exit, place, r#type: self.signature.result.clone() })
    }

    fn member(
        &self,
        text: &Text,
        at: Range<usize>,
        of: &Struct,
        value: &Located,
        name: &str,
    ) -> Result<Located, SpecError> {
        let member = Types::member(of, name).ok_or_else(|| {
            let known: Vec<&str> = of.members.iter().map(|member| &*member.name).collect();
            text.error(at.clone(), format!("`{name}` is no member of {}", of.name))
                .help(expected("one of", &known))
        })?;
        let place = value.place.member(member.offset).map_err(|error| self.refused(text, at, error))?;
        Ok(Located { phase: value.phase, place, r#type: member.r#type.clone() })
    }

    /// What a pointer points to.
    pub(super) fn follow(
        &mut self,
        text: &Text,
        at: Range<usize>,
        value: Located,
    ) -> Result<Located, SpecError> {
        let value = self.through_reference(text, at.clone(), value)?;
        let Type::Pointer(to) = self.scope.types.resolve(&value.r#type) else {
            return Err(text.error(at, format!("`{}` is no pointer", value.r#type)));
        };
        self.dereference(text, at, value, *to)
    }

    /// The value that a reference refers to; other values are left as they are.
    pub(super) fn through_reference(
        &mut self,
        text: &Text,
        at: Range<usize>,
        value: Located,
    ) -> Result<Located, SpecError> {
        match self.scope.types.resolve(&value.r#type) {
            Type::Reference(to) => self.dereference(text, at, value, *to),
            _ => Ok(value),
        }
    }

    fn dereference(
        &mut self,
        text: &Text,
        at: Range<usize>,
        value: Located,
        to: Type,
    ) -> Result<Located, SpecError> {
        let purpose = text.value.get(at.clone()).unwrap_or_default().to_owned();
        let place = self.fetch(value.phase).dereference(&value.place, &purpose);
        let place = place.map_err(|error| self.refused(text, at, error))?;
        Ok(Located { phase: value.phase, place, r#type: to })
    }
}
