//! Which functions are wanted, and how a table of half a million names is searched for them without demangling it.
//!
//! Enters: patterns. Leaves: for each, the words that a matching name must contain as it stands in the file, and the verdict on
//! one name. Refuses: globs of which nothing could be looked for.
//!
//! A mangled name spells its identifiers out: `at::_ops::addmm::call` is `_ZN2at4_ops5addmm4call…`. So a name that matches a
//! glob contains every identifier of the glob, mangled by Itanium's scheme or either of Rust's, and only names that do are
//! demangled. What schemes abbreviate ([`ABBREVIATED`]) is not looked for.

use serde::{Deserialize, Serialize};

use crate::demangle;

/// A function that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Pattern {
    /// By its name in the symbol table. With a version (`memcpy@GLIBC_2.2.5`, `memcpy@@GLIBC_2.14`) that one only, without
    /// one any.
    Exact(String),
    /// By its demangled name, in which `*` stands for any text. The name is compared without its parameters and, where the
    /// pattern has parentheses, with them too; never with a return type, a Rust hash or a crate's disambiguator.
    Demangled(String),
}

/// Words of demangled names that some scheme does not spell out: standard substitutions (Itanium C++ ABI 5.1.10), built-in
/// types, operators, keywords, and what demanglers put into words.
#[rustfmt::skip]
const ABBREVIATED: [&str; 97] = [
    // Substitutions.
    "std", "allocator", "basic_string", "string", "basic_istream", "basic_ostream", "basic_iostream", "istream",
    "ostream", "iostream", "char_traits",
    // Types of C++.
    "void", "wchar_t", "bool", "char", "signed", "unsigned", "short", "int", "long", "__int128", "float", "double",
    "half", "_Float16", "__float128", "char8_t", "char16_t", "char32_t", "nullptr_t", "auto", "decltype", "__bf16",
    "complex", "imaginary",
    // Types of Rust.
    "str", "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize", "f16", "f32", "f64",
    // What they do.
    "const", "volatile", "restrict", "operator", "new", "delete", "sizeof", "alignof", "noexcept", "throw", "true",
    "false", "mut", "dyn", "impl", "as", "for", "fn", "unsafe", "extern", "C", "where",
    // Said by demanglers.
    "anonymous", "namespace", "lambda", "closure", "shim", "vtable", "typeinfo", "guard", "variable", "clone", "abi",
    "cxx11", "unnamed", "type", "parm", "default", "arg", "non", "virtual", "thunk", "to", "covariant", "return",
    "VTT",
];

/// Longest needle: each of its bytes is a row in a table.
const MAX_NEEDLE_BYTES: usize = 64;

/// A pattern, made ready.
#[derive(Debug)]
pub(super) enum Query {
    /// A name, and the version that it must have.
    Exact { name: String, version: Option<String> },
    /// A glob, and the words that a name must contain; the first is the longest.
    Glob { glob: String, words: Vec<String>, with_parameters: bool },
}

impl Query {
    /// `None` if nothing in it can be looked for.
    pub(super) fn new(pattern: &Pattern) -> Option<Self> {
        match pattern {
            Pattern::Exact(name) => {
                let (name, version) = match split_version(name) {
                    (name, "") => (name, None),
                    (name, version) => (name, Some(version.to_owned())),
                };
                (!name.is_empty() && !name.contains('\0'))
                    .then(|| Self::Exact { name: name.to_owned(), version })
            }
            Pattern::Demangled(glob) => {
                let words = words(glob);
                (!words.is_empty()).then(|| Self::Glob {
                    with_parameters: has_parameters(glob),
                    glob: glob.clone(),
                    words,
                })
            }
        }
    }

    /// What is looked for first: the longest word, or the end of a name.
    pub(super) fn needle(&self) -> &[u8] {
        let whole = match self {
            Self::Exact { name, .. } => name.as_bytes(),
            Self::Glob { words, .. } => words.first().map_or(&[][..], |word| word.as_bytes()),
        };
        whole.get(whole.len().saturating_sub(MAX_NEEDLE_BYTES)..).unwrap_or_default()
    }

    /// Whether a name may match that has the needle in it, and after that the byte `after`: what can be said without
    /// demangling.
    pub(super) fn may_match(&self, text: &[u8], after: Option<u8>) -> bool {
        let contains = |word: &str| memchr::memmem::find(text, word.as_bytes()).is_some();
        match self {
            // Its end, its version, or the mark of a part of it.
            Self::Exact { name, .. } => {
                matches!(after, None | Some(0 | b'@' | b'.'))
                    && (name.len() <= MAX_NEEDLE_BYTES || contains(name))
            }
            Self::Glob { words, .. } => words.iter().skip(1).all(|word| contains(word)),
        }
    }

    /// Whether a function's name matches: `base` is the name without version and mark of a copy.
    pub(super) fn matches(&self, base: &str, names: &mut Demangled) -> bool {
        match self {
            Self::Exact { name, .. } => base == name,
            Self::Glob { glob, with_parameters, .. } => {
                glob_matches(glob, names.name(base))
                    || (*with_parameters && glob_matches(glob, names.signature(base)))
            }
        }
    }

    /// Whether a function of this version is wanted; `version` as in `@@GLIBC_2.14`.
    pub(super) fn wants_version(&self, version: &str) -> bool {
        match self {
            Self::Exact { version: Some(wanted), .. } => {
                wanted == version
                    || wanted.trim_start_matches('@') == version.trim_start_matches('@')
                        && !wanted.starts_with("@@")
            }
            _ => true,
        }
    }
}

/// The demangled forms of one name, made when first asked for.
#[derive(Debug, Default)]
pub(super) struct Demangled {
    name: Option<String>,
    signature: Option<String>,
}

impl Demangled {
    /// Without parameters.
    pub(super) fn name(&mut self, base: &str) -> &str {
        self.name.get_or_insert_with(|| demangle::name(base))
    }

    fn signature(&mut self, base: &str) -> &str {
        self.signature.get_or_insert_with(|| demangle::signature(base))
    }
}

/// A name and its version, which starts with `@` where there is one.
pub(super) fn split_version(name: &str) -> (&str, &str) {
    // A name may start with what is no version; nothing else of a linker's name contains the sign.
    name.find('@').filter(|at| *at > 0).map_or((name, ""), |at| name.split_at(at))
}

/// The identifiers in a glob that stand in every matching name as they are, the longest first.
fn words(glob: &str) -> Vec<String> {
    // Letters beyond ASCII are spelled by Punycode in Rust's names; a word with one is no word to look for.
    let between =
        |letter: char| letter.is_ascii() && !letter.is_ascii_alphanumeric() && letter != '_' && letter != '*';
    let mut words = Vec::new();
    for token in glob.split(between) {
        for word in token.split('*') {
            let spelled = word.is_ascii() && !word.starts_with(|letter: char| letter.is_ascii_digit());
            // Beside a star, it may be a part of a word that is not spelled out.
            let is_part = token.contains('*');
            let abbreviated = |other: &str| if is_part { other.contains(word) } else { other == word };
            if spelled && !ABBREVIATED.iter().any(|other| abbreviated(other)) && !word.is_empty() {
                words.push(word.to_owned());
            }
        }
    }
    words.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
    words.dedup();
    words
}

/// Whether a glob speaks of parameters: it has parentheses besides those of names.
fn has_parameters(glob: &str) -> bool {
    glob.replace("(anonymous namespace)", "").replace("operator()", "").contains('(')
}

/// Whether `text` is `glob`, where `*` stands for any text.
fn glob_matches(glob: &str, text: &str) -> bool {
    let Some((start, rest)) = glob.split_once('*') else { return glob == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(inner) = text.strip_suffix(end) else { return false };
    text = inner;
    // The earliest place for each piece leaves the most room for the next.
    for piece in middle.split('*') {
        let Some(at) = memchr::memmem::find(text.as_bytes(), piece.as_bytes()) else { return false };
        text = text.get(at + piece.len()..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{Demangled, Pattern, Query, glob_matches, has_parameters, words};

    #[test]
    fn a_star_stands_for_any_text() {
        for (glob, text, expected) in [
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "abcd", false),
            ("ab*ba", "aba", false),
            ("*", "", true),
            ("**", "x", true),
            ("*b*b*", "abcb", true),
            ("*b*b*", "abc", false),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a*b*c", "aXbYbZc", true),
            ("é*", "éa", true),
        ] {
            assert_eq!(glob_matches(glob, text), expected, "{glob} on {text}");
        }
    }

    #[test]
    fn the_words_are_the_identifiers_that_every_scheme_spells_out() {
        assert_eq!(words("at::_ops::addmm::call"), ["addmm", "_ops", "call", "at"]);
        assert_eq!(words("std::vector<float>::push*"), ["vector", "push"]);
        assert_eq!(words("<core::*Kv*>::append"), ["append", "core", "Kv"]);
        assert_eq!(words("f<8>::größe::g"), ["f", "g"]);
        assert_eq!(words("operator new*"), Vec::<String>::new());
        assert_eq!(words("std::alloc*::get"), ["get"]);
    }

    #[test]
    fn parentheses_of_names_are_not_those_of_parameters() {
        assert!(has_parameters("f(int)"));
        assert!(!has_parameters("(anonymous namespace)::f::operator()"));
    }

    fn matches(pattern: &Pattern, raw: &str) -> bool {
        Query::new(pattern).unwrap().matches(raw, &mut Demangled::default())
    }

    #[test]
    fn a_glob_is_compared_without_parameters_or_with_them() {
        let raw = "_ZN5flash11run_mha_fwdERNS_16Flash_fwd_paramsEP11CUstream_stb";
        for (glob, expected) in [
            ("flash::run_mha_fwd", true),
            ("flash::run_mha_fwd(flash::Flash_fwd_params&, *)", true),
            ("flash::run_mha_fwd(int)", false),
            ("run_mha_fwd", false),
            ("*::run_mha_fwd", true),
        ] {
            assert_eq!(matches(&Pattern::Demangled(glob.into()), raw), expected, "{glob}");
        }
    }

    #[test]
    fn a_version_is_wanted_only_if_it_was_said() {
        let wants =
            |name: &str, version| Query::new(&Pattern::Exact(name.into())).unwrap().wants_version(version);
        assert!(wants("memcpy", "@@GLIBC_2.14") && wants("memcpy", "@GLIBC_2.2.5") && wants("memcpy", ""));
        assert!(wants("memcpy@@GLIBC_2.14", "@@GLIBC_2.14") && wants("memcpy@GLIBC_2.14", "@@GLIBC_2.14"));
        assert!(!wants("memcpy@@GLIBC_2.14", "@GLIBC_2.14") && !wants("memcpy@GLIBC_2.2.5", "@@GLIBC_2.14"));
        assert!(!wants("memcpy@GLIBC_2.14", ""));
    }

    proptest::proptest! {
        #[test]
        fn every_word_of_a_demangled_name_stands_in_the_mangled_one(
            path in proptest::collection::vec("[a-z_][a-zA-Z0-9_]{0,12}", 1..6)
        ) {
            let parts: String = path.iter().map(|part| format!("{}{part}", part.len())).collect();
            let raw = format!("_ZN{parts}Ev");
            let query = Query::new(&Pattern::Demangled(path.join("::")));
            if let Some(query) = query {
                proptest::prop_assert!(memchr::memmem::find(raw.as_bytes(), query.needle()).is_some() && query.may_match(raw.as_bytes(), None));
                proptest::prop_assert!(query.matches(&raw, &mut Demangled::default()));
            }
        }
    }
}
