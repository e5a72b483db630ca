//! Text of others on a terminal: names that processes give themselves, paths, what a library answered.
//!
//! Enters: any text. Leaves: one line of it that a terminal only shows. Refuses: control characters, and those that change the
//! direction or the order of what stands beside them; each is written as its escape.

use std::borrow::Cow;

use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::debug_fn;

/// The fields of what the agent says about itself, each shown [`plain`]: `key=value`, and the message without a key.
#[must_use]
pub fn fields() -> impl for<'writer> FormatFields<'writer> + Send + Sync + 'static {
    debug_fn(|writer, field, value| {
        let text = format!("{value:?}");
        let text = plain(&text);
        if field.name() == "message" { write!(writer, "{text}") } else { write!(writer, "{field}={text}") }
    })
    .delimited(" ")
}

/// The text as it may be shown.
#[must_use]
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if acts(letter) {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown.into()
}

/// Controls of ASCII and Latin-1, separators of lines, and marks, embeddings and isolates of the bidirectional algorithm
/// (Unicode Standard Annex 9).
fn acts(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::plain;

    #[test]
    fn a_name_that_would_act_on_a_terminal_is_shown_as_it_is_written() {
        assert_eq!(plain("a\nb\u{1b}[2J\u{9b}c"), "a\\nb\\u{1b}[2J\\u{9b}c");
        assert_eq!(plain("exe\u{202e}cod.sh"), "exe\\u{202e}cod.sh");
    }

    #[test]
    fn other_text_is_left_alone() {
        assert!(matches!(plain("größe → 日本"), Cow::Borrowed("größe → 日本")));
    }
}
