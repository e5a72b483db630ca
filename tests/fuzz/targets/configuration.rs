//! Texts of the agent's configuration file.
//!
//! Enters: any text. Leaves: the ways it went. Refuses: an error without words.

use super::Run;
use super::program::Ways;

pub(super) fn make() -> Run {
    Box::new(|input| {
        let mut ways = Ways::default();
        match toml::from_str::<gpu_agent::config::Options>(&String::from_utf8_lossy(input)) {
            Ok(options) => ways.note(format!("{options:?}").len() / 64),
            Err(error) => {
                let words = error.message();
                assert!(!words.is_empty());
                // What was wrong shows in the length of the words, and little else of the text does.
                ways.note(("refused", words.len() / 16));
            }
        }
        ways.into_numbers()
    })
}
