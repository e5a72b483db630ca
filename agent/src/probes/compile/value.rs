//! Numbers, text and conditions.
//!
//! Enters: expressions. Leaves: what reads them. Refuses: arithmetic on what is no whole number.

use std::ops::Range;
use std::sync::Arc;

use gpu_agent_ebpf_abi::{FIXED, kind};

use super::lvalue::Located;
use super::{Compiler, Names};
use crate::probes::expression::{Expression, Node};
use crate::probes::fetch::{TEXT_BYTES, Wanted};
use crate::probes::reader::{self, Load, Number, Value};
use crate::probes::source::{SpecError, Text, expected};
use crate::probes::specification::Table;
use crate::probes::types::Type;

/// Types that stand for text through others, at most.
const DEPTH: usize = 8;

impl Compiler<'_> {
    /// A field.
    pub(super) fn field(&mut self, text: &Text) -> Result<Value, SpecError> {
        let expression = Expression::parse(text)?;
        if let Some((table, number)) = self.lookup(text, &expression, Names::Arguments)? {
            return Ok(Value::Word(number, table));
        }
        match &expression.node {
            Node::Binary { operator, .. } if operator.is_comparison() => {
                Ok(Value::Boolean(self.number(text, &expression, Names::Arguments)?))
            }
            Node::Slice { .. } => self.text(text, &expression, Names::Arguments, 0).map(Value::Text),
            Node::Number(_) | Node::Binary { .. } | Node::Negate(_) => {
                Ok(Value::Integer(self.number(text, &expression, Names::Arguments)?))
            }
            Node::List(_) | Node::Reverse(_) => {
                Err(text.error(expression.at, "an array is no field").help("expected a number or text"))
            }
            _ => {
                let value = self.locate(text, &expression, Names::Arguments)?;
                self.located_field(text, &expression, value)
            }
        }
    }

    fn located_field(
        &mut self,
        text: &Text,
        expression: &Expression,
        value: Located,
    ) -> Result<Value, SpecError> {
        let at = expression.at.clone();
        let is_char = |types: &crate::probes::types::Types, of: &Type| types.resolve(of) == Type::Char;
        let value = self.through_reference(text, at.clone(), value)?;
        let types = &self.scope.types;
        match types.resolve(&value.r#type) {
            Type::Bool => Ok(Value::Boolean(self.load(text, at, &value).map(Number::Load)?)),
            Type::Float { bytes: 4 | 8 } => Ok(Value::Float(self.load(text, at, &value)?)),
            Type::Pointer(to) if is_char(types, &to) => self.characters(text, at, value).map(Value::Text),
            Type::Array(of, _) if is_char(types, &of) => self.characters(text, at, value).map(Value::Text),
            Type::Integer { .. } | Type::Char | Type::Pointer(_) => {
                Ok(Value::Integer(self.load(text, at, &value).map(Number::Load)?))
            }
            Type::Named(_) => self.text_of(text, at, value, 0).map(Value::Text),
            other => Err(text.error(at, format!("`{other}` is no field")).help("expected a number or text")),
        }
    }

    /// A condition that must not be 0.
    pub(super) fn condition(
        &mut self,
        text: Option<&Text>,
        names: Names<'_>,
        conditions: &mut Vec<Number>,
    ) -> Result<(), SpecError> {
        if let Some(text) = text {
            conditions.push(self.number(text, &Expression::parse(text)?, names)?);
        }
        Ok(())
    }

    /// `TABLE[expression]`: which table, and the number to look up.
    pub(super) fn lookup(
        &mut self,
        text: &Text,
        expression: &Expression,
        names: Names<'_>,
    ) -> Result<Option<(Arc<Table>, Number)>, SpecError> {
        let Node::Index { of, index } = &expression.node else { return Ok(None) };
        let Node::Name(name) = &of.node else { return Ok(None) };
        let Some(table) = self.scope.tables.get(name.as_str()).cloned() else {
            let is_value = match names {
                Names::Arguments => self.signature.argument(name).is_some(),
                Names::Members { of, .. } => of.members.iter().any(|member| *member.name == **name),
            };
            if is_value {
                return Ok(None);
            }
            let known: Vec<&str> = self.scope.tables.keys().map(|name| &**name).collect();
            let message = format!("`{name}` is neither a table nor a value here");
            return Err(text.error(of.at.clone(), message).help(expected("one of the tables", &known)));
        };
        Ok(Some((table, self.number(text, index, names)?)))
    }

    /// A whole number.
    pub(super) fn number(
        &mut self,
        text: &Text,
        expression: &Expression,
        names: Names<'_>,
    ) -> Result<Number, SpecError> {
        match &expression.node {
            Node::Number(number) => Ok(Number::Constant((*number).into())),
            Node::Negate(of) => Ok(Number::Negate(Box::new(self.number(text, of, names)?))),
            Node::Binary { operator, left, right } => Ok(Number::Binary {
                operator: *operator,
                left: Box::new(self.number(text, left, names)?),
                right: Box::new(self.number(text, right, names)?),
            }),
            Node::Slice { .. } | Node::List(_) | Node::Reverse(_) => {
                Err(text.error(expression.at.clone(), "an array is no number"))
            }
            _ => {
                let value = self.locate(text, expression, names)?;
                let value = self.through_reference(text, expression.at.clone(), value)?;
                match self.scope.types.resolve(&value.r#type) {
                    Type::Bool | Type::Char | Type::Integer { .. } | Type::Pointer(_) => {
                        self.load(text, expression.at.clone(), &value).map(Number::Load)
                    }
                    other => Err(text
                        .error(expression.at.clone(), format!("`{other}` is no whole number"))
                        .help("expected an integer, a bool or a pointer")),
                }
            }
        }
    }

    /// Reads a number of up to 8 bytes.
    fn load(&mut self, text: &Text, at: Range<usize>, value: &Located) -> Result<Load, SpecError> {
        let signed = matches!(self.scope.types.resolve(&value.r#type), Type::Integer { signed: true, .. });
        let size = self.scope.types.extent(&value.r#type).and_then(|extent| u8::try_from(extent.size).ok());
        let size = size.filter(|size| [1, 2, 4, 8].contains(size)).ok_or_else(|| {
            text.error(at.clone(), format!("`{}` is no number of up to 8 bytes", value.r#type))
        })?;
        let purpose = text.value.get(at.clone()).unwrap_or_default().to_owned();
        let read = self.fetch(value.phase).number(&value.place, size, &purpose);
        let (output, shift) = read.map_err(|error| self.refused(text, at, error))?;
        Ok(Load { phase: value.phase, read: output.read, at: output.at, bytes: size, signed, shift })
    }

    /// Text of an expression.
    fn text(
        &mut self,
        text: &Text,
        expression: &Expression,
        names: Names<'_>,
        depth: usize,
    ) -> Result<reader::Text, SpecError> {
        let at = expression.at.clone();
        let Node::Slice { of, count } = &expression.node else {
            let value = self.locate(text, expression, names)?;
            return self.text_of(text, at, value, depth);
        };
        let value = self.locate(text, of, names)?;
        let element = self.element(text, of.at.clone(), &value)?;
        if self.scope.types.resolve(&element) != Type::Char {
            return Err(text
                .error(at, format!("an array of `{element}` is no field"))
                .help("expected one of `char`"));
        }
        let capacity = self.capacity(&value, TEXT_BYTES);
        let start = self.elements(text, of.at.clone(), value, element)?;
        let (count_read, capacity) = match &count.node {
            Node::Number(number) => (FIXED, capacity.min(u8::try_from(*number).unwrap_or(u8::MAX))),
            _ => (self.count(text, count, names, &start)?.0, capacity),
        };
        let wanted = Wanted { kind: kind::BYTES, size: 1, capacity, count_read, condition: None };
        self.text_read(text, at, &start, wanted)
    }

    /// Text of a value.
    fn text_of(
        &mut self,
        text: &Text,
        at: Range<usize>,
        value: Located,
        depth: usize,
    ) -> Result<reader::Text, SpecError> {
        let value = self.through_reference(text, at.clone(), value)?;
        let rule = self.scope.types.r#struct(&value.r#type);
        if let Some(of) = rule.filter(|of| of.text.is_some() && depth < DEPTH)
            && let Some(rule) = &of.text
        {
            let names = Names::Members { of: &of, at: &value };
            return self.text(rule, &Expression::parse(rule)?, names, depth + 1);
        }
        match self.scope.types.resolve(&value.r#type) {
            Type::Pointer(to) | Type::Array(to, _) if self.scope.types.resolve(&to) == Type::Char => {
                self.characters(text, at, value)
            }
            other => Err(text
                .error(at, format!("`{other}` is neither a number nor text"))
                .help("name one of its members, or declare how it is text under [types]")),
        }
    }

    /// Characters up to a NUL.
    fn characters(
        &mut self,
        text: &Text,
        at: Range<usize>,
        value: Located,
    ) -> Result<reader::Text, SpecError> {
        let capacity = self.capacity(&value, TEXT_BYTES);
        let start = self.elements(text, at.clone(), value, Type::Char)?;
        let wanted = Wanted { kind: kind::STRING, size: 1, capacity, count_read: FIXED, condition: None };
        self.text_read(text, at, &start, wanted)
    }

    fn text_read(
        &mut self,
        text: &Text,
        at: Range<usize>,
        start: &Located,
        wanted: Wanted,
    ) -> Result<reader::Text, SpecError> {
        let purpose = text.value.get(at.clone()).unwrap_or_default().to_owned();
        let read = self.fetch(start.phase).read(&start.place, wanted, &purpose);
        let output = read.map_err(|error| self.refused(text, at, error))?;
        Ok(reader::Text { phase: start.phase, read: output.read, at: output.at, capacity: wanted.capacity })
    }

    /// The type of the elements of an array, or behind a pointer.
    pub(super) fn element(&self, text: &Text, at: Range<usize>, value: &Located) -> Result<Type, SpecError> {
        match self.scope.types.resolve(&value.r#type) {
            Type::Array(element, _) | Type::Pointer(element) => Ok(*element),
            other => Err(text.error(at, format!("`{other}` is neither an array nor a pointer"))),
        }
    }

    /// Elements of an array, as far as they are read.
    pub(super) fn capacity(&self, value: &Located, most: u32) -> u8 {
        let count = match self.scope.types.resolve(&value.r#type) {
            Type::Array(_, count) => count,
            _ => most,
        };
        count.min(most) as u8
    }

    /// A length, which must have been read at the same place: its read, and the number.
    pub(super) fn count(
        &mut self,
        text: &Text,
        expression: &Expression,
        names: Names<'_>,
        start: &Located,
    ) -> Result<(u8, Number), SpecError> {
        let number = self.number(text, expression, names)?;
        match &number {
            Number::Load(load) if load.shift == 0 && load.phase == start.phase => Ok((load.read, number)),
            _ => Err(text
                .error(expression.at.clone(), "a length that is computed")
                .help("expected a number, an argument or a member")),
        }
    }
}
