//! What the driver needs from PTX text. Enters: the text of a module. Leaves: its kernels with their parameters, its
//! variables, version and target. Refuses: text without a `.version` line, parameters it cannot size.
//!
//! Only declarations are read (PTX ISA 8.8, "Kernel and Function Directives", "Parameter State Space"); the body of a
//! kernel is skipped.

/// A module's declarations.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Declarations {
    /// `.version`, as major × 10 + minor.
    pub(crate) version: u32,
    /// Number of `.target sm_NN`.
    pub(crate) target: u32,
    /// Kernels.
    pub(crate) entries: Vec<Entry>,
    /// `.global` and `.const` variables: name and size in bytes.
    pub(crate) variables: Vec<(String, u64)>,
}

/// One `.entry`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Name.
    pub(crate) name: String,
    /// Parameters, in order.
    pub(crate) parameters: Vec<Parameter>,
    /// Bytes of the `.shared` variables of its body.
    pub(crate) shared_bytes: u32,
}

/// One kernel parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parameter {
    /// Offset in the parameter block, bytes.
    pub(crate) offset: usize,
    /// Size, bytes.
    pub(crate) size: usize,
}

/// Reads the declarations; `None` when this is no PTX that can be understood.
pub(crate) fn parse(text: &str) -> Option<Declarations> {
    let text = without_comments(text);
    let version = after(&text, ".version").and_then(|rest| {
        let (major, minor) = rest.split_whitespace().next()?.split_once('.')?;
        Some(major.parse::<u32>().ok()? * 10 + minor.parse::<u32>().ok()?)
    })?;
    let target = after(&text, ".target sm_").map(leading_number).unwrap_or_default();
    let mut declarations = Declarations { version, target, entries: Vec::new(), variables: Vec::new() };
    let mut rest = text.as_str();
    while let Some(next) = statement(rest) {
        let (head, body, tail) = next;
        if let Some(signature) = after(head, ".entry") {
            declarations.entries.push(entry(signature, body)?);
        } else if !has_word(head, ".func") && !has_word(head, ".extern") {
            declarations.variables.extend(variable(head, &[".global", ".const"]));
        }
        rest = tail;
    }
    Some(declarations)
}

/// Whether this looks like PTX text at all.
pub(crate) fn is_text(start: &[u8]) -> bool {
    start.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| matches!(byte, b'.' | b'/'))
}

/// Splits off the next module-level statement: its head, the text between its braces, and what follows. Directives
/// that end with their line (`.version`, `.target`, `.address_size`) stand at the front of the next head.
fn statement(text: &str) -> Option<(&str, &str, &str)> {
    let end = text.find([';', '{'])?;
    let (head, rest) = text.split_at(end);
    if rest.starts_with(';') {
        return Some((head, "", rest.get(1..)?));
    }
    let mut depth = 0_u32;
    for (index, byte) in rest.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((head, rest.get(1..index)?, rest.get(index + 1..)?));
        }
    }
    None
}

fn entry(signature: &str, body: &str) -> Option<Entry> {
    let trimmed = signature.trim_start();
    let name: String = trimmed.chars().take_while(|c| is_name(*c)).collect();
    let list = trimmed.get(name.len()..)?.trim_start();
    let mut parameters = Vec::new();
    if let Some(list) = list.strip_prefix('(') {
        let mut offset = 0_usize;
        for declaration in list.split(')').next()?.split(',').filter(|text| !text.trim().is_empty()) {
            let (size, alignment) = sized(declaration)?;
            offset = offset.next_multiple_of(alignment);
            parameters.push(Parameter { offset, size });
            offset += size;
        }
    }
    let shared =
        body.split(';').filter_map(|line| variable(line, &[".shared"])).map(|(_, bytes)| bytes as u32);
    (!name.is_empty()).then(|| Entry { shared_bytes: shared.sum(), name, parameters })
}

/// A variable in one of these state spaces: name and size.
fn variable(declaration: &str, spaces: &[&str]) -> Option<(String, u64)> {
    let declaration = declaration.split('=').next()?;
    if !spaces.iter().any(|space| has_word(declaration, space)) {
        return None;
    }
    let (size, _) = sized(declaration)?;
    let name = declaration.split('[').next()?.split_whitespace().next_back()?;
    Some((name.to_owned(), size as u64))
}

/// Size and alignment of a declaration such as `.param .align 8 .b8 name[32]`.
fn sized(declaration: &str) -> Option<(usize, usize)> {
    let (before, dimensions) = declaration.split_once('[').unwrap_or((declaration, ""));
    let element = before.split_whitespace().filter_map(type_bytes).next()?;
    let alignment = after(before, ".align ").filter(|_| !has_word(before, ".ptr")).map(leading_number);
    let mut size = element;
    for dimension in dimensions.split('[').filter(|text| !text.is_empty()) {
        size = size.checked_mul(leading_number(dimension) as usize)?;
    }
    Some((size, (alignment.unwrap_or(0) as usize).max(element)))
}

fn type_bytes(word: &str) -> Option<usize> {
    match word {
        ".b8" | ".u8" | ".s8" => Some(1),
        ".b16" | ".u16" | ".s16" | ".f16" | ".bf16" => Some(2),
        ".b32" | ".u32" | ".s32" | ".f32" | ".f16x2" => Some(4),
        ".b64" | ".u64" | ".s64" | ".f64" | ".texref" | ".samplerref" | ".surfref" => Some(8),
        ".b128" => Some(16),
        _ => None,
    }
}

fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("//").into_iter().chain(rest.find("/*")).min() {
        let (code, comment) = rest.split_at(start);
        out.push_str(code);
        let end = if comment.starts_with("//") {
            comment.find('\n')
        } else {
            comment.find("*/").map(|end| end + 2)
        };
        rest = end.and_then(|end| comment.get(end..)).unwrap_or("");
    }
    out.push_str(rest);
    out
}

fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.find(word).and_then(|start| text.get(start + word.len()..))
}

fn has_word(text: &str, word: &str) -> bool {
    text.split_whitespace().any(|other| other == word)
}

fn leading_number(text: &str) -> u32 {
    let digits: String = text.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_default()
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '%')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "// comment with .entry nothing(\n.version 7.3\n.target sm_52, debug\n.address_size 64\n\
        .extern .func (.param .b32 r) vprintf (.param .b64 a, .param .b64 b);\n\
        .global .align 4 .b8 table[24] = {65, 144, 67};\n\
        .visible .const .align 4 .b8 coefficients[16];\n.global .align 1 .b8 $str[3] = {37, 100, 0};\n\
        .visible .entry first(\n\t.param .u64 .ptr .global .align 16 first_0,\n\t.param .u32 first_1,\n\
        \t.param .align 8 .b8 first_2[24],\n\t.param .u8 first_3\n)\n.maxntid 128, 1, 1\n{\n\
        .shared .align 4 .b8 tile[2][64];\n{ bra x; }\nret; /* } */ }\n\
        .entry second()\n{ ret; }\n.visible .entry third { ret; }";

    #[test]
    fn entries_have_names_parameters_and_shared_memory() {
        let declarations = parse(TEXT).unwrap();
        assert_eq!((declarations.version, declarations.target), (73, 52));
        let names: Vec<_> = declarations.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["first", "second", "third"]);
        let parameters: Vec<_> =
            declarations.entries[0].parameters.iter().map(|p| (p.offset, p.size)).collect();
        assert_eq!(parameters, [(0, 8), (8, 4), (16, 24), (40, 1)]);
        assert_eq!(declarations.entries[0].shared_bytes, 128);
        assert!(declarations.entries[1].parameters.is_empty());
    }

    #[test]
    fn variables_have_their_size() {
        let variables = parse(TEXT).unwrap().variables;
        let expected = [("table", 24), ("coefficients", 16), ("$str", 3)];
        assert_eq!(variables, expected.map(|(name, bytes)| (name.to_owned(), bytes)));
    }

    #[test]
    fn text_that_is_no_ptx_is_refused() {
        for text in ["", "hello", ".version x", ".version 7.0\n.entry f(.param .foo x) {}"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
