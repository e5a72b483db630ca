//! The text of a specification, and errors that point into it.
//!
//! Enters: a file's name and text, spans. Leaves: [`SpecError`], which shows the line. Refuses: nothing.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;

/// A specification's text.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) file: Arc<str>,
    pub(super) text: Arc<str>,
}

/// Why a specification is refused: what is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SpecError {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What was expected, or what to do.
    pub help: Option<String>,
    /// The line itself.
    shown: String,
    /// Characters that are wrong.
    width: usize,
}

impl SpecError {
    /// Adds what was expected, or what to do.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(formatter, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        writeln!(formatter, " {margin} |")?;
        writeln!(formatter, " {number} | {}", self.shown)?;
        let indent = " ".repeat(self.column - 1);
        write!(formatter, " {margin} | {indent}{}", "^".repeat(self.width))?;
        match &self.help {
            Some(help) => write!(formatter, " {help}"),
            None => Ok(()),
        }
    }
}

impl Source {
    /// An error at a span of bytes.
    pub(super) fn error(&self, span: Range<usize>, message: impl Into<String>) -> SpecError {
        let start = floor(&self.text, span.start);
        let before = self.text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = self.text.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default();
        let in_line = start - line_start;
        let end = floor(&self.text, span.end.min(line_start + line.len())).max(start);
        let wrong = self.text.get(start..end).unwrap_or_default();
        SpecError {
            file: self.file.clone(),
            line: before.matches('\n').count() + 1,
            column: line.get(..in_line).unwrap_or(line).chars().count() + 1,
            message: message.into(),
            help: None,
            // A tab would move the carets away from what they point at.
            shown: line.replace('\t', " "),
            width: wrong.chars().count().max(1),
        }
    }

    /// An error of the TOML parser, or of the schema.
    pub(super) fn toml(&self, error: &toml::de::Error) -> SpecError {
        let mut lines = error.message().lines();
        let message = lines.next().unwrap_or("not a specification");
        let error = self.error(error.span().unwrap_or(0..0), message);
        match lines.collect::<Vec<_>>().join("; ") {
            help if help.is_empty() => error,
            help => error.help(help),
        }
    }
}

/// The nearest boundary of characters at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// A string of a specification, which knows where it stands.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) source: Source,
    pub(super) value: String,
    /// The whole string, with its quotes.
    span: Range<usize>,
    /// Where `value` begins in the file; none where it is not written there letter by letter (escapes, `${…}`).
    content: Option<usize>,
}

impl Text {
    pub(super) fn new(source: &Source, string: &Spanned<String>) -> Self {
        Self::at(source, string.get_ref(), string.span())
    }

    pub(super) fn at(source: &Source, value: &str, span: Range<usize>) -> Self {
        let written = source.text.get(span.clone()).unwrap_or_default();
        let openings = ["\"\"\"\r\n", "\"\"\"\n", "\"\"\"", "'''\r\n", "'''\n", "'''", "\"", "'", ""];
        let opening = openings.iter().find(|opening| written.starts_with(**opening)).map_or(0, |o| o.len());
        let is_verbatim = written.get(opening..).is_some_and(|content| content.starts_with(value));
        let content = is_verbatim.then_some(span.start + opening);
        Self { source: source.clone(), value: value.to_owned(), span, content }
    }

    /// A text that is not written, but meant by what stands here.
    pub(super) fn meaning(&self, value: &str) -> Self {
        Self { value: value.to_owned(), content: None, ..self.clone() }
    }

    /// The text with `${name}` replaced by words. A name that is not among them is an error.
    pub(super) fn expand(&self, words: &[(Arc<str>, Arc<str>)]) -> Result<Self, SpecError> {
        let Some(first) = self.value.find("${") else { return Ok(self.clone()) };
        let mut value = String::new();
        let mut rest = self.value.as_str();
        let mut at = first;
        while let Some((before, after)) = rest.split_once("${") {
            value.push_str(before);
            let (name, after) =
                after.split_once('}').ok_or_else(|| self.error(at..at + 2, "`${` without `}`"))?;
            let word = words.iter().find(|(known, _)| **known == *name);
            let (_, word) = word.ok_or_else(|| {
                let known: Vec<&str> = words.iter().map(|(name, _)| &**name).collect();
                self.error(at..at + name.len() + 3, format!("`{name}` is not declared in `each`"))
                    .help(expected("a name of `each`", &known))
            })?;
            value.push_str(word);
            rest = after;
            at = self.value.len() - rest.len() + rest.find("${").unwrap_or(0);
        }
        value.push_str(rest);
        Ok(self.meaning(&value))
    }

    /// An error at bytes of the value.
    pub(super) fn error(&self, at: Range<usize>, message: impl Into<String>) -> SpecError {
        let Some(content) = self.content else {
            let message = message.into();
            let error = self.source.error(self.span.clone(), message);
            return if self.value.len() <= 200 {
                error.help(format!("in: {}", self.value.split_whitespace().collect::<Vec<_>>().join(" ")))
            } else {
                error
            };
        };
        self.source.error(content + at.start..content + at.end, message)
    }

    /// An error about the whole.
    pub(super) fn error_whole(&self, message: impl Into<String>) -> SpecError {
        self.source.error(self.span.clone(), message)
    }
}

/// `expected WHAT: a, b, c`, with a bound on the list.
pub(super) fn expected(what: &str, known: &[&str]) -> String {
    const MOST: usize = 24;
    match known.len() {
        0 => format!("there is no {}", what.trim_start_matches("one of ").trim_start_matches("a ")),
        length if length > MOST => {
            format!("expected {what}: {}, …", known.iter().take(MOST).copied().collect::<Vec<_>>().join(", "))
        }
        _ => format!("expected {what}: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { file: "engine.toml".into(), text: text.into() }
    }

    #[test]
    fn an_error_shows_the_line_and_points_at_the_word() {
        let source = source("a = 1\nshape = \"[née, y]\"\n");
        let at = source.text.find("y]").unwrap();
        let shown = source.error(at..at + 1, "`y` is no argument").help("expected one of: x").to_string();
        assert_eq!(
            shown,
            "engine.toml:2:16: `y` is no argument\n   |\n 2 | shape = \"[née, y]\"\n   |                ^ expected one of: x"
        );
    }

    #[test]
    fn text_of_every_kind_of_string_knows_where_it_begins() {
        #[derive(serde::Deserialize)]
        struct File {
            a: Spanned<String>,
        }
        for (toml, content) in
            [("a = \"xy\"", 5), ("a = 'xy'", 5), ("a = \"\"\"\nxy\"\"\"", 8), ("a = '''xy'''", 7)]
        {
            let file: File = toml::from_str(toml).unwrap();
            assert_eq!(Text::new(&source(toml), &file.a).content, Some(content), "{toml}");
        }
        let escaped = "a = \"x\\u0079\"";
        let file: File = toml::from_str(escaped).unwrap();
        let text = Text::new(&source(escaped), &file.a);
        assert_eq!((text.value.as_str(), text.content), ("xy", None));
        assert_eq!(text.error(1..2, "no").column, 5, "the whole string, where parts cannot be told");
    }

    #[test]
    fn words_replace_their_names_and_no_other() {
        let toml = "\"x_${a}_${b}\"";
        let text = Text::at(&source(toml), "x_${a}_${b}", 0..toml.len());
        let words = [("a".into(), "1".into()), ("b".into(), "2".into())];
        assert_eq!(text.expand(&words).unwrap().value, "x_1_2");
        let error = text.expand(&words[..1]).unwrap_err();
        assert_eq!((error.column, error.message.as_str()), (9, "`b` is not declared in `each`"));
        assert!(Text::at(&source("\"${a\""), "${a", 0..5).expand(&words).is_err());
    }

    #[test]
    fn spans_that_cut_characters_or_leave_the_text_are_no_panic() {
        let source = source("é");
        for (start, end) in [(1, 1), (0, 1), (5, 9), (9, 5)] {
            assert_eq!(source.error(start..end, "x").line, 1);
        }
    }
}
