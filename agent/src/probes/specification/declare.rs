//! Tables and types that a specification declares.
//!
//! Enters: their TOML. Leaves: a larger [`Scope`]. Refuses: what is declared twice, types that need one declared later, members
//! past the size of their struct.

use std::sync::Arc;

use super::super::document::{Document, Short, TensorEntry, TypeEntry, Words, in_order};
use super::super::scan::Scanner;
use super::super::source::{Source, SpecError, Text};
use super::super::types::{self, Declared, Member, Struct, TensorRule, Type, Types};
use super::{Scope, Table};

/// Sizes and offsets are small; larger ones are mistakes.
const MOST_BYTES: u32 = 1 << 20;

impl Scope {
    /// Adds what a document declares.
    pub(super) fn declare(&mut self, source: &Source, document: &Document) -> Result<(), SpecError> {
        for (name, entries) in in_order(&document.tables) {
            let mut table = Table::new();
            for (number, word) in in_order(entries) {
                let parsed: i64 = number.get_ref().parse().map_err(|error| {
                    source
                        .error(number.span(), format!("`{}` is no number: {error}", number.get_ref()))
                        .help("a table maps whole numbers to words")
                })?;
                table.insert(parsed.into(), word.get_ref().as_str().into());
            }
            let key: Arc<str> = name.get_ref().as_str().into();
            // What the prelude declares may be declared anew: an engine can have its own numbers.
            self.tables.insert(key, Arc::new(table));
        }
        // A type may point to one that is declared later, but not contain it.
        for (name, entry) in in_order(&document.types) {
            let declared = match entry.get_ref() {
                Short::Text(other) => {
                    let text = Text::at(source, other, entry.span());
                    Declared::Alias(self.alias(&text)?)
                }
                Short::Table(table) => Declared::Struct(Arc::new(self.structure(source, name, table)?)),
            };
            self.types.0.insert(type_name(source, name)?, declared);
        }
        Ok(())
    }

    fn alias(&self, text: &Text) -> Result<Type, SpecError> {
        let mut scanner = Scanner::new(text);
        let found = types::parse(&mut scanner)?;
        let found = types::arrays(&mut scanner, found)?;
        scanner.expect_end()?;
        match self.types.extent(&found) {
            Some(_) => Ok(found),
            None => Err(text
                .error_whole(format!("the size of `{found}` is not known here"))
                .help("another name can be given to types that are declared before it")),
        }
    }

    fn structure(&self, source: &Source, name: &Words, entry: &TypeEntry) -> Result<Struct, SpecError> {
        let size = *entry.size.get_ref();
        if size == 0 || size > MOST_BYTES {
            return Err(source
                .error(entry.size.span(), format!("a struct of {size} bytes"))
                .help("expected 1 to 1048576"));
        }
        let mut members = Vec::new();
        let mut natural_align = 1;
        for (member_name, words) in in_order(&entry.members) {
            let member = self.member(source, member_name, words, size)?;
            natural_align =
                natural_align.max(self.types.extent(&member.r#type).map_or(1, |extent| extent.align));
            members.push(member);
        }
        members.sort_by_key(|member| member.offset);
        let align = match &entry.align {
            None => natural_align,
            Some(align) if align.get_ref().is_power_of_two() && *align.get_ref() <= 4096 => *align.get_ref(),
            Some(align) => {
                let message = format!("an alignment of {} bytes", align.get_ref());
                return Err(source.error(align.span(), message).help("expected a power of 2 up to 4096"));
            }
        };
        let tensor = entry.tensor.as_ref();
        let tensor = tensor.map(|rule| tensor_rule(source, rule.get_ref(), rule.span())).transpose()?;
        let text = entry.text.as_ref().map(|text| Text::new(source, text));
        Ok(Struct {
            name: type_name(source, name)?,
            size,
            align,
            is_class: entry.class,
            members,
            tensor,
            text,
        })
    }

    /// `TYPE @ OFFSET`.
    fn member(&self, source: &Source, name: &Words, words: &Words, size: u32) -> Result<Member, SpecError> {
        let text = Text::new(source, words);
        let mut scanner = Scanner::new(&text);
        let r#type = types::parse(&mut scanner)?;
        let r#type = types::arrays(&mut scanner, r#type)?;
        let type_end = scanner.end();
        scanner.expect("@")?;
        let is_before = scanner.takes("-")?;
        let start = scanner.start();
        let super::super::scan::Token::Number(number) = scanner.next()? else {
            return Err(scanner
                .error(start..scanner.end().max(start + 1), "no offset")
                .help("expected the member's offset in bytes"));
        };
        let at = start..scanner.end();
        scanner.expect_end()?;
        let offset = i32::try_from(number).ok().filter(|offset| *offset <= MOST_BYTES as i32);
        let offset = offset.ok_or_else(|| text.error(at.clone(), format!("an offset of {number} bytes")))?;
        let offset = if is_before { -offset } else { offset };
        let Some(extent) = self.types.extent(&r#type) else {
            let message = format!("the size of `{}` is not known here", r#type);
            return Err(text
                .error(0..type_end, message)
                .help("declare it before this type, or use a pointer to it"));
        };
        let end = i64::from(offset) + i64::from(extent.size);
        if end > i64::from(size) {
            let message = format!("bytes {offset} to {} of a struct of {size} bytes", end - 1);
            return Err(text.error(at, message));
        }
        Ok(Member { name: name.get_ref().as_str().into(), r#type, offset })
    }
}

fn type_name(source: &Source, words: &Words) -> Result<Arc<str>, SpecError> {
    let text = Text::new(source, words);
    let mut scanner = Scanner::new(&text);
    match types::parse(&mut scanner)? {
        Type::Named(name) => {
            scanner.expect_end()?;
            Ok(name)
        }
        known => Err(text.error_whole(format!("`{}` is a type already: {known}", text.value))),
    }
}

/// How a value is a tensor, as the specification says it.
pub(super) fn tensor_rule(
    source: &Source,
    entry: &Short<TensorEntry>,
    span: std::ops::Range<usize>,
) -> Result<TensorRule, SpecError> {
    let text = |words: &Option<Words>| words.as_ref().map(|words| Text::new(source, words));
    match entry {
        Short::Text(of) => Ok(TensorRule { of: Some(Text::at(source, of, span)), ..TensorRule::default() }),
        Short::Table(entry) => {
            let is_torch = match &entry.reader {
                None => false,
                Some(reader) if reader.get_ref() == "torch" => true,
                Some(reader) => {
                    let message = format!("`{}` is no reader", reader.get_ref());
                    return Err(source.error(reader.span(), message).help("expected `torch`"));
                }
            };
            Ok(TensorRule {
                of: text(&entry.of),
                shape: text(&entry.shape),
                dtype: text(&entry.dtype),
                condition: text(&entry.r#if),
                is_torch,
            })
        }
    }
}

impl Types {
    /// A member of a struct.
    pub(in super::super) fn member<'a>(of: &'a Struct, name: &str) -> Option<&'a Member> {
        of.members.iter().find(|member| *member.name == *name)
    }
}
