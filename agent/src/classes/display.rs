//! The short form of a kernel's name, of bounded length.
//!
//! Enters: a name as CUPTI gives it, and demangled. Leaves: what tables and labels show. Refuses: to let two kernels share a
//! short form.

use std::fmt::Write;

/// Longest short form, characters.
pub const DISPLAY_CHARS: usize = 128;
/// Characters of the mark that tells shortened names apart: `#` and 32 bits in hexadecimal.
const MARK_CHARS: usize = 9;
/// Operators made of characters that otherwise open or close template arguments, the longest first.
const OPERATORS: [&str; 11] = ["<=>", "<<=", ">>=", "->*", "<<", ">>", "<=", ">=", "->", "<", ">"];

/// The short form of a name: at most [`DISPLAY_CHARS`] characters.
///
/// Template arguments give way first, the innermost before the outermost, then the end of the name. A name that lost
/// anything ends in a mark made of `raw`, so that two kernels never share a short form, in this run or another.
#[must_use]
pub(super) fn display_name(raw: &str, full: &str) -> String {
    let full = full.strip_prefix("void ").unwrap_or(full);
    if full.chars().count() <= DISPLAY_CHARS {
        return full.to_owned();
    }
    let room = DISPLAY_CHARS - MARK_CHARS;
    let mut short = [2, 1]
        .into_iter()
        .map(|depth| fold_arguments(full, depth))
        .find(|short| short.chars().count() <= room)
        .unwrap_or_else(|| fold_arguments(full, 1).chars().take(room).collect());
    // Infallible: a String takes any text.
    let _ = write!(short, "#{:08x}", mark(raw));
    short
}

/// Replaces what lies `depth` or more template brackets deep by one ellipsis a bracket.
fn fold_arguments(name: &str, depth: usize) -> String {
    let mut out = String::with_capacity(name.len());
    let mut level = 0_usize;
    let mut rest = name;
    while let Some(character) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("operator") {
            let symbol =
                OPERATORS.iter().find(|symbol| after.starts_with(**symbol)).map_or(0, |symbol| symbol.len());
            let (operator, tail) = rest.split_at("operator".len() + symbol);
            if level < depth {
                out.push_str(operator);
            }
            rest = tail;
            continue;
        }
        rest = rest.get(character.len_utf8()..).unwrap_or_default();
        match character {
            '<' => {
                level += 1;
                if level <= depth {
                    out.push('<');
                }
                if level == depth {
                    out.push('…');
                }
            }
            '>' => {
                if level > 0 && level <= depth {
                    out.push('>');
                }
                level = level.saturating_sub(1);
            }
            _ if level < depth => out.push(character),
            _ => {}
        }
    }
    out
}

/// FNV-1a, 32 bits.
fn mark(raw: &str) -> u32 {
    raw.bytes().fold(0x811C_9DC5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::{DISPLAY_CHARS, display_name, fold_arguments};
    use crate::demangle;

    #[test]
    fn arguments_fold_from_the_inside() {
        assert_eq!(fold_arguments("a::k<b<c, d<e>>, f>::g", 2), "a::k<b<…>, f>::g");
        assert_eq!(fold_arguments("a::k<b<c, d<e>>, f>::g", 1), "a::k<…>::g");
        assert_eq!(fold_arguments("a::operator<<<b>", 1), "a::operator<<<…>", "an operator opens nothing");
    }

    #[test]
    fn short_names_are_shown_whole_and_long_ones_are_told_apart() {
        let long = |last: &str| format!("kernel<{}, {last}>", "argument, ".repeat(40));
        let (first, second) = (long("1"), long("2"));
        assert_eq!(display_name("k", "kernel<1>"), "kernel<1>");
        let shown = display_name(&first, &first);
        assert!(shown.starts_with("kernel<…>#") && shown.chars().count() <= DISPLAY_CHARS, "{shown}");
        assert_ne!(shown, display_name(&second, &second));
    }

    #[test]
    fn a_long_plain_name_is_cut() {
        let plain = "x".repeat(8192);
        assert_eq!(display_name(&plain, &plain).chars().count(), DISPLAY_CHARS);
    }

    proptest::proptest! {
        #[test]
        fn any_text_has_a_bounded_short_form(raw in ".{0,400}") {
            let full = demangle::name(&raw);
            proptest::prop_assert!(display_name(&raw, &full).chars().count() <= DISPLAY_CHARS);
        }

        #[test]
        fn anything_that_looks_mangled_has_one_too(tail in "[A-Za-z0-9_]{0,300}") {
            let raw = format!("_Z{tail}");
            proptest::prop_assert!(display_name(&raw, &demangle::name(&raw)).chars().count() <= DISPLAY_CHARS);
        }
    }
}
