//! Signatures: what a function takes and returns.
//!
//! Enters: `RESULT NAME(TYPE name, TYPE name @ place, …)`. Leaves: a [`Signature`]. Refuses: variable arguments, arguments of
//! which some are placed and some are not.

use std::ops::Range;
use std::sync::Arc;

use super::scan::{Scanner, Token};
use super::source::{SpecError, Text};
use super::types::{self, Type};

/// A function.
#[derive(Debug, Clone)]
pub(super) struct Signature {
    pub(super) text: Text,
    pub(super) result: Type,
    /// Where the result's type is written.
    pub(super) result_at: Range<usize>,
    pub(super) name: String,
    pub(super) arguments: Vec<Argument>,
}

/// An argument.
#[derive(Debug, Clone)]
pub(super) struct Argument {
    /// Empty where it has none.
    pub(super) name: Arc<str>,
    pub(super) r#type: Type,
    pub(super) at: Range<usize>,
    /// Where it lies, if the specification says so: one place an architecture.
    pub(super) placed: Vec<Written>,
}

/// A written place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    /// One register, or two for 16 bytes.
    Registers(Vec<String>),
    /// Bytes past the stack pointer at the entry.
    Stack(u32),
}

impl Signature {
    pub(super) fn parse(text: &Text) -> Result<Self, SpecError> {
        let mut scanner = Scanner::new(text);
        let start = scanner.start();
        let result = types::parse(&mut scanner)?;
        let result_at = start..scanner.end();
        let name = types::qualified(&mut scanner, "the function's name")?;
        scanner.expect("(")?;
        let arguments = arguments(&mut scanner)?;
        scanner.expect_end()?;
        Ok(Self { text: text.clone(), result, result_at, name, arguments })
    }

    /// Whether the arguments' places are written instead of following from an ABI.
    pub(super) fn is_placed(&self) -> bool {
        self.arguments.iter().any(|argument| !argument.placed.is_empty())
    }

    pub(super) fn argument(&self, name: &str) -> Option<(usize, &Argument)> {
        self.arguments.iter().enumerate().find(|(_, argument)| !name.is_empty() && *argument.name == *name)
    }

    /// The names of all arguments that have one.
    pub(super) fn argument_names(&self) -> Vec<&str> {
        self.arguments.iter().map(|argument| &*argument.name).filter(|name| !name.is_empty()).collect()
    }
}

fn arguments(scanner: &mut Scanner<'_>) -> Result<Vec<Argument>, SpecError> {
    let mut arguments: Vec<Argument> = Vec::new();
    if scanner.takes(")")? {
        return Ok(arguments);
    }
    loop {
        let start = scanner.start();
        if scanner.takes("...")? {
            return Err(scanner
                .error(start..scanner.end(), "variable arguments have no fixed place")
                .help("leave the function out, or place the arguments that matter with `@`"));
        }
        let argument = argument(scanner)?;
        let is_void = argument.r#type == Type::Void;
        if is_void && argument.name.is_empty() && arguments.is_empty() && scanner.takes(")")? {
            return Ok(arguments);
        }
        if is_void {
            return Err(scanner.error(argument.at, "an argument of type void"));
        }
        if !argument.name.is_empty() && arguments.iter().any(|other| other.name == argument.name) {
            let message = format!("a second argument `{}`", argument.name);
            return Err(scanner.error(argument.at, message));
        }
        arguments.push(argument);
        if scanner.takes(")")? {
            break;
        }
        if !scanner.takes(",")? {
            return Err(scanner.unexpected("`,` or `)`"));
        }
    }
    let placed = arguments.iter().filter(|argument| !argument.placed.is_empty()).count();
    match arguments.iter().find(|argument| argument.placed.is_empty()) {
        Some(argument) if placed > 0 => {
            Err(scanner.error(argument.at.clone(), "this argument is not placed, but others are").help(
                "expected `@ REGISTER` or `@ sp+OFFSET`; an argument that does not matter can be left out",
            ))
        }
        _ => Ok(arguments),
    }
}

fn argument(scanner: &mut Scanner<'_>) -> Result<Argument, SpecError> {
    let start = scanner.start();
    let mut r#type = types::parse(scanner)?;
    let mut name = "";
    if let Token::Word(word) = scanner.peek()? {
        scanner.next()?;
        name = word;
    }
    // `int x[4]` is a pointer, as in C.
    while scanner.takes("[")? {
        if let Token::Number(_) = scanner.peek()? {
            scanner.next()?;
        }
        scanner.expect("]")?;
        r#type = Type::Pointer(Box::new(r#type));
    }
    let mut placed = Vec::new();
    if scanner.takes("@")? {
        placed.push(place(scanner)?);
        while scanner.takes("|")? {
            placed.push(place(scanner)?);
        }
    }
    Ok(Argument { name: name.into(), r#type, at: start..scanner.end(), placed })
}

fn place(scanner: &mut Scanner<'_>) -> Result<Written, SpecError> {
    let what = "a register, a pair of registers (`rsi:rdx`) or a stack slot (`sp+8`)";
    let Token::Word(first) = scanner.peek()? else { return Err(scanner.unexpected(what)) };
    scanner.next()?;
    if first == "sp" && scanner.takes("+")? {
        let start = scanner.start();
        return match scanner.next()? {
            Token::Number(offset) if offset <= 4096 => Ok(Written::Stack(u32::try_from(offset).unwrap_or(0))),
            _ => Err(scanner
                .error(start..scanner.end(), "no offset of a stack slot")
                .help("expected a number up to 4096")),
        };
    }
    let mut registers = vec![first.to_owned()];
    if scanner.takes(":")? {
        let Token::Word(second) = scanner.peek()? else { return Err(scanner.unexpected("a register")) };
        scanner.next()?;
        registers.push(second.to_owned());
    }
    Ok(Written::Registers(registers))
}

#[cfg(test)]
mod tests {
    use super::super::source::Source;
    use super::*;

    fn parsed(text: &str) -> Result<Signature, SpecError> {
        let source = Source { file: "x".into(), text: text.into() };
        Signature::parse(&Text::at(&source, text, 0..text.len()))
    }

    #[test]
    fn signatures_are_read_as_c_writes_them() {
        let read = parsed(
            "int llama_context::process_ubatch(llama_context* this, const llama_ubatch & ubatch, float x[3])",
        )
        .unwrap();
        assert_eq!(read.name, "llama_context::process_ubatch");
        assert_eq!(read.argument_names(), ["this", "ubatch", "x"]);
        let types: Vec<String> = read.arguments.iter().map(|argument| argument.r#type.to_string()).collect();
        assert_eq!(types, ["llama_context*", "llama_ubatch&", "f32*"]);
        assert!(parsed("void f(void)").unwrap().arguments.is_empty());
        assert!(parsed("void f()").unwrap().arguments.is_empty());
        assert_eq!(parsed("void f(int, long)").unwrap().arguments.len(), 2);
    }

    #[test]
    fn arguments_can_be_placed() {
        let read = parsed("usize f(K* this @ rsi|x1, str name @ rdx:rcx, u32 n @ sp+16)").unwrap();
        let pair = |names: &[&str]| Written::Registers(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(read.arguments[0].placed, [pair(&["rsi"]), pair(&["x1"])]);
        assert_eq!(read.arguments[1].placed, [pair(&["rdx", "rcx"])]);
        assert_eq!(read.arguments[2].placed, [Written::Stack(16)]);
    }

    #[test]
    fn what_is_no_signature_is_refused_where_it_stands() {
        for (written, column, message) in [
            ("void f(int a, int a)", 15, "a second argument `a`"),
            ("void f(int a, ...)", 15, "variable arguments have no fixed place"),
            ("void f(int a @ rdi, int b)", 21, "this argument is not placed, but others are"),
            ("void f(int a, void b)", 15, "an argument of type void"),
            ("void f(int a", 13, "it ends here, but `,` or `)` is missing"),
            ("void f(int a;", 13, "`;` means nothing here"),
            ("f(int a)", 2, "`(` is not expected here"),
            ("void f(int a) x", 15, "`x` is not expected here"),
            ("void f(int a @ 7)", 16, "`7` is not expected here"),
        ] {
            let error = parsed(written).unwrap_err();
            assert_eq!((error.column, error.message.as_str()), (column, message), "{written}");
        }
    }
}
