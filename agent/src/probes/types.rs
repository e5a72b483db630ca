//! Types of arguments: C's and Rust's own, and those that specifications declare.
//!
//! Enters: type names as in C. Leaves: [`Type`]s, and what is declared about them. Refuses: what is no type.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::scan::{Scanner, Token};
use super::source::{SpecError, Text};

/// A type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    Void,
    Bool,
    /// `char`: a byte of text.
    Char,
    Integer {
        bytes: u32,
        signed: bool,
    },
    /// 4, 8 or 16 bytes; 16 is `long double`.
    Float {
        bytes: u32,
    },
    Pointer(Box<Self>),
    Reference(Box<Self>),
    Array(Box<Self>, u32),
    /// Declared, or known by name only.
    Named(Arc<str>),
}

/// What a specification says about a type.
#[derive(Debug, Clone)]
pub(super) enum Declared {
    Alias(Type),
    Struct(Arc<Struct>),
}

/// A struct or class.
#[derive(Debug)]
pub(super) struct Struct {
    pub(super) name: Arc<str>,
    pub(super) size: u32,
    pub(super) align: u32,
    /// Passed by its address, because it is not trivially copyable.
    pub(super) is_class: bool,
    /// By offset.
    pub(super) members: Vec<Member>,
    pub(super) tensor: Option<TensorRule>,
    pub(super) text: Option<Text>,
}

/// A member of a struct.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: Arc<str>,
    pub(super) r#type: Type,
    /// May be before the address of the struct.
    pub(super) offset: i32,
}

/// How a value is a tensor: expressions over its members.
#[derive(Debug, Clone, Default)]
pub(super) struct TensorRule {
    pub(super) of: Option<Text>,
    pub(super) shape: Option<Text>,
    pub(super) dtype: Option<Text>,
    pub(super) condition: Option<Text>,
    /// PyTorch's `TensorImpl`, of two layouts.
    pub(super) is_torch: bool,
}

/// All declared types.
#[derive(Debug, Clone, Default)]
pub(super) struct Types(pub(super) BTreeMap<Arc<str>, Declared>);

/// Size and alignment, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) size: u32,
    pub(super) align: u32,
}

impl Types {
    /// The type behind other names for it.
    pub(super) fn resolve(&self, r#type: &Type) -> Type {
        let mut found = r#type;
        // Aliases are checked when they are declared: each names an earlier one.
        while let Type::Named(name) = found
            && let Some(Declared::Alias(alias)) = self.0.get(name)
        {
            found = alias;
        }
        found.clone()
    }

    /// The struct, where the type is a declared one.
    pub(super) fn r#struct(&self, r#type: &Type) -> Option<Arc<Struct>> {
        match self.resolve(r#type) {
            Type::Named(name) => match self.0.get(&name) {
                Some(Declared::Struct(found)) => Some(found.clone()),
                _ => None,
            },
            _ => None,
        }
    }

    /// Size and alignment; none for `void` and for types that are known by name only.
    pub(super) fn extent(&self, r#type: &Type) -> Option<Extent> {
        let plain = |size| Some(Extent { size, align: size });
        match self.resolve(r#type) {
            Type::Void => None,
            Type::Bool | Type::Char => plain(1),
            Type::Integer { bytes, .. } | Type::Float { bytes } => plain(bytes),
            Type::Pointer(_) | Type::Reference(_) => plain(8),
            Type::Array(element, count) => {
                let element = self.extent(&element)?;
                Some(Extent { size: element.size.checked_mul(count)?, align: element.align })
            }
            Type::Named(_) => {
                let found = self.r#struct(r#type)?;
                Some(Extent { size: found.size, align: found.align })
            }
        }
    }

    /// Names that a by-value type may have, for messages.
    pub(super) fn declared_names(&self) -> Vec<&str> {
        self.0.keys().map(|name| &**name).collect()
    }
}

impl std::fmt::Display for Type {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Void => formatter.write_str("void"),
            Self::Bool => formatter.write_str("bool"),
            Self::Char => formatter.write_str("char"),
            Self::Integer { bytes, signed } => {
                write!(formatter, "{}{}", if *signed { "i" } else { "u" }, bytes * 8)
            }
            Self::Float { bytes: 16 } => formatter.write_str("long double"),
            Self::Float { bytes } => write!(formatter, "f{}", bytes * 8),
            Self::Pointer(to) => write!(formatter, "{to}*"),
            Self::Reference(to) => write!(formatter, "{to}&"),
            Self::Array(of, count) => write!(formatter, "{of}[{count}]"),
            Self::Named(name) => formatter.write_str(name),
        }
    }
}

/// Words that may stand before or after a type and say nothing about where it lies.
const QUALIFIERS: [&str; 10] = [
    "const",
    "volatile",
    "struct",
    "enum",
    "class",
    "union",
    "typename",
    "restrict",
    "__restrict",
    "__restrict__",
];
/// The words of which C's own types are made.
const KEYWORDS: [&str; 9] =
    ["unsigned", "signed", "long", "short", "int", "char", "float", "double", "__int128"];
/// Pointers to pointers, and arrays of arrays, at most.
const DEPTH: usize = 8;

/// Reads a type, without the `[N]` that may follow a name.
pub(super) fn parse(scanner: &mut Scanner<'_>) -> Result<Type, SpecError> {
    let mut found = base(scanner)?;
    let start = scanner.start();
    for depth in 0.. {
        if depth > DEPTH {
            return Err(scanner.error(start..scanner.end(), "too many pointers to pointers"));
        }
        skip_qualifiers(scanner)?;
        if scanner.takes("*")? {
            found = Type::Pointer(Box::new(found));
        } else if scanner.takes("&")? || scanner.takes("&&")? {
            found = Type::Reference(Box::new(found));
        } else {
            break;
        }
    }
    Ok(found)
}

/// Reads `[N]`s after a type.
pub(super) fn arrays(scanner: &mut Scanner<'_>, mut of: Type) -> Result<Type, SpecError> {
    let mut counts = Vec::new();
    while scanner.takes("[")? {
        let start = scanner.start();
        match scanner.next()? {
            Token::Number(count) if (1..=1 << 20).contains(&count) && counts.len() < DEPTH => {
                counts.push(u32::try_from(count).unwrap_or(1));
            }
            _ => {
                return Err(scanner
                    .error(start..scanner.end(), "no length of an array")
                    .help("expected a number from 1 to 1048576"));
            }
        }
        scanner.expect("]")?;
    }
    for count in counts.into_iter().rev() {
        of = Type::Array(Box::new(of), count);
    }
    Ok(of)
}

fn skip_qualifiers(scanner: &mut Scanner<'_>) -> Result<(), SpecError> {
    while let Token::Word(word) = scanner.peek()?
        && QUALIFIERS.contains(&word)
    {
        scanner.next()?;
    }
    Ok(())
}

fn base(scanner: &mut Scanner<'_>) -> Result<Type, SpecError> {
    skip_qualifiers(scanner)?;
    let start = scanner.start();
    let mut keywords = Vec::new();
    while let Token::Word(word) = scanner.peek()?
        && (KEYWORDS.contains(&word) || QUALIFIERS.contains(&word) && !keywords.is_empty())
    {
        scanner.next()?;
        if KEYWORDS.contains(&word) {
            keywords.push(word);
        }
    }
    if keywords.is_empty() {
        let name = qualified(scanner, "a type")?;
        return Ok(builtin(&name).unwrap_or_else(|| Type::Named(name.into())));
    }
    spelled(&keywords).ok_or_else(|| {
        let written = keywords.join(" ");
        scanner.error(start..scanner.end(), format!("`{written}` is no type of C"))
    })
}

/// A name with `::` and template arguments; spaces are left out, except between words.
pub(super) fn qualified(scanner: &mut Scanner<'_>, what: &str) -> Result<String, SpecError> {
    let mut name = String::new();
    scanner.takes("::")?;
    loop {
        if scanner.takes("~")? {
            name.push('~');
        }
        match scanner.peek()? {
            Token::Word(word) => name.push_str(word),
            _ => return Err(scanner.unexpected(what)),
        }
        scanner.next()?;
        if scanner.takes("<")? {
            let arguments = scanner.template()?;
            let words: Vec<&str> = arguments.split_whitespace().collect();
            name.push('<');
            name.push_str(&words.join(" ").replace(", ", ",").replace(" >", ">"));
            name.push('>');
        }
        if !scanner.takes("::")? {
            return Ok(name);
        }
        name.push_str("::");
    }
}

/// Types of C that are made of several words.
fn spelled(words: &[&str]) -> Option<Type> {
    let count = |wanted: &str| words.iter().filter(|word| **word == wanted).count();
    let (unsigned, signed, long, short) = (count("unsigned"), count("signed"), count("long"), count("short"));
    let bases: Vec<&str> = words
        .iter()
        .copied()
        .filter(|word| ["int", "char", "float", "double", "__int128"].contains(word))
        .collect();
    if unsigned + signed > 1 || short > 1 || long > 2 || bases.len() > 1 || short * long > 0 {
        return None;
    }
    let has_sign = unsigned + signed > 0;
    let integer = |bytes| Some(Type::Integer { bytes, signed: unsigned == 0 });
    match (bases.first().copied().unwrap_or("int"), long, short) {
        ("int", 0, 0) => integer(4),
        ("int", 0, _) => integer(2),
        ("int", _, _) => integer(8),
        ("char", 0, 0) => {
            if has_sign {
                integer(1)
            } else {
                Some(Type::Char)
            }
        }
        ("__int128", 0, 0) => integer(16),
        ("float", 0, 0) if !has_sign => Some(Type::Float { bytes: 4 }),
        ("double", 0, 0) if !has_sign => Some(Type::Float { bytes: 8 }),
        ("double", 1, 0) if !has_sign => Some(Type::Float { bytes: 16 }),
        _ => None,
    }
}

/// Types with names of one word.
fn builtin(name: &str) -> Option<Type> {
    let name = name.strip_prefix("std::").unwrap_or(name);
    let number = |bits: &str, signed| match bits {
        "8" => Some(Type::Integer { bytes: 1, signed }),
        "16" => Some(Type::Integer { bytes: 2, signed }),
        "32" => Some(Type::Integer { bytes: 4, signed }),
        "64" => Some(Type::Integer { bytes: 8, signed }),
        "128" => Some(Type::Integer { bytes: 16, signed }),
        "size" => Some(Type::Integer { bytes: 8, signed }),
        _ => None,
    };
    match name {
        "void" => Some(Type::Void),
        "bool" | "_Bool" => Some(Type::Bool),
        "f32" => Some(Type::Float { bytes: 4 }),
        "f64" => Some(Type::Float { bytes: 8 }),
        "size_t" | "uintptr_t" => number("size", false),
        "ssize_t" | "ptrdiff_t" | "intptr_t" => number("size", true),
        _ => {
            if let Some(bits) = name.strip_prefix("uint").and_then(|rest| rest.strip_suffix("_t")) {
                number(bits, false)
            } else if let Some(bits) = name.strip_prefix("int").and_then(|rest| rest.strip_suffix("_t")) {
                number(bits, true)
            } else if let Some(bits) = name.strip_prefix('u') {
                number(bits, false)
            } else {
                number(name.strip_prefix('i')?, true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::Source;
    use super::*;

    fn parsed(text: &str) -> Result<Type, SpecError> {
        let source = Source { file: "x".into(), text: text.into() };
        let text = Text::at(&source, text, 0..text.len());
        let mut scanner = Scanner::new(&text);
        let found = parse(&mut scanner)?;
        let found = arrays(&mut scanner, found)?;
        scanner.expect_end()?;
        Ok(found)
    }

    #[test]
    fn types_are_read_as_c_spells_them() {
        for (written, meant) in [
            ("const unsigned long long int", "u64"),
            ("long const unsigned", "u64"),
            ("short", "i16"),
            ("unsigned char", "u8"),
            ("char", "char"),
            ("long double", "long double"),
            ("float", "f32"),
            ("_Bool", "bool"),
            ("std::uint32_t", "u32"),
            ("usize", "u64"),
            ("unsigned __int128", "u128"),
            ("struct llama_context *const *", "llama_context**"),
            ("at::Tensor const &", "at::Tensor&"),
            ("const std::optional< at::Tensor > &", "std::optional<at::Tensor>&"),
            ("std::map<int, std::vector<int> >&&", "std::map<int,std::vector<int>>&"),
            ("int64_t[4]", "i64[4]"),
            ("int[2][3]", "i32[3][2]"),
            ("::CUstream", "CUstream"),
        ] {
            assert_eq!(parsed(written).unwrap().to_string(), meant, "{written}");
        }
    }

    #[test]
    fn what_is_no_type_is_refused_where_it_stands() {
        for (written, column, message) in [
            ("unsigned float", 1, "`unsigned float` is no type of C"),
            ("long long long", 1, "`long long long` is no type of C"),
            ("a::", 4, "it ends here, but a type is missing"),
            ("a<b", 2, "`<` without `>`"),
            ("int[0]", 5, "no length of an array"),
            ("int[", 5, "no length of an array"),
            ("int**********", 4, "too many pointers to pointers"),
            ("int é", 5, "`é` means nothing here"),
        ] {
            let error = parsed(written).unwrap_err();
            assert_eq!((error.column, error.message.as_str()), (column, message), "{written}");
        }
    }
}
