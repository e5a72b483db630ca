//! The words and marks of signatures, types and expressions.
//!
//! Enters: a [`Text`]. Leaves: tokens, one at a time, with their places. Refuses: characters that none of the three
//! languages has.

use std::ops::Range;

use super::source::{SpecError, Text};

/// A token; marks are the longest that fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Word(&'a str),
    Number(u64),
    Mark(&'a str),
    End,
}

const MARKS: [&str; 30] = [
    "...", "->", "::", "..", "==", "!=", "<=", ">=", "&&", "*", "&", "(", ")", "[", "]", ",", ".", "@", "|",
    ":", "+", "-", "/", "%", "<", ">", "~", "#", "$", "=",
];

/// Reads a text from left to right.
#[derive(Debug, Clone)]
pub(super) struct Scanner<'a> {
    pub(super) text: &'a Text,
    at: usize,
    /// Where the latest token that was taken ended.
    end: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a Text) -> Self {
        Self { text, at: 0, end: 0 }
    }

    fn rest(&self) -> &'a str {
        self.text.value.get(self.at..).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Where the next token begins.
    pub(super) fn start(&mut self) -> usize {
        self.skip_space();
        self.at
    }

    /// Where the latest token ended.
    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// The next token, left where it is.
    pub(super) fn peek(&mut self) -> Result<Token<'a>, SpecError> {
        self.clone().next()
    }

    /// Takes the next token.
    pub(super) fn next(&mut self) -> Result<Token<'a>, SpecError> {
        self.skip_space();
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Token::End) };
        let in_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let token = if in_word(first) {
            let length = rest.find(|letter| !in_word(letter)).unwrap_or(rest.len());
            let word = rest.get(..length).unwrap_or_default();
            self.at += length;
            if first.is_ascii_digit() { Token::Number(self.number(word)?) } else { Token::Word(word) }
        } else {
            let mark = MARKS.iter().find(|mark| rest.starts_with(**mark)).ok_or_else(|| {
                self.text.error(self.at..self.at + first.len_utf8(), format!("`{first}` means nothing here"))
            })?;
            self.at += mark.len();
            Token::Mark(mark)
        };
        self.end = self.at;
        Ok(token)
    }

    fn number(&self, word: &str) -> Result<u64, SpecError> {
        let parsed = match word.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => word.parse(),
        };
        parsed.map_err(|error| {
            self.text.error(self.at - word.len()..self.at, format!("`{word}` is no number: {error}"))
        })
    }

    /// Takes the mark if it is next.
    pub(super) fn takes(&mut self, mark: &str) -> Result<bool, SpecError> {
        let is_next = self.peek()? == Token::Mark(mark);
        if is_next {
            self.next()?;
        }
        Ok(is_next)
    }

    /// Takes the mark, which must be next.
    pub(super) fn expect(&mut self, mark: &str) -> Result<(), SpecError> {
        if self.takes(mark)? { Ok(()) } else { Err(self.unexpected(&format!("`{mark}`"))) }
    }

    /// Nothing must be left.
    pub(super) fn expect_end(&mut self) -> Result<(), SpecError> {
        if self.peek()? == Token::End { Ok(()) } else { Err(self.unexpected("nothing more")) }
    }

    /// The characters up to the `>` that closes the `<` which was just taken, without it.
    pub(super) fn template(&mut self) -> Result<&'a str, SpecError> {
        let start = self.at;
        let mut depth = 1_usize;
        for (offset, letter) in self.rest().char_indices() {
            match letter {
                '<' => depth += 1,
                '>' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                self.at = start + offset + 1;
                self.end = self.at;
                return Ok(self.text.value.get(start..start + offset).unwrap_or_default());
            }
        }
        Err(self.text.error(start.saturating_sub(1)..start, "`<` without `>`"))
    }

    /// An error at the next token: something else was expected.
    pub(super) fn unexpected(&mut self, what: &str) -> SpecError {
        let start = self.start();
        let mut after = self.clone();
        match after.next() {
            Err(error) => error,
            Ok(Token::End) => {
                self.text.error(start..start + 1, format!("it ends here, but {what} is missing"))
            }
            Ok(_) => {
                let found = self.text.value.get(start..after.end()).unwrap_or_default();
                self.text
                    .error(start..after.end(), format!("`{found}` is not expected here"))
                    .help(format!("expected {what}"))
            }
        }
    }

    /// An error at bytes of the text.
    pub(super) fn error(&self, at: Range<usize>, message: impl Into<String>) -> SpecError {
        self.text.error(at, message)
    }
}
