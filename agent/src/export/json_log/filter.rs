//! Which lines are wanted: RUST_LOG syntax, by target and level.
//!
//! Enters: a filter such as `paged_attention=debug,tensor_metrics=debug`. Leaves: a yes or no for each target and
//! level. Refuses: span filters: there are no spans here.
//!
//! As with RUST_LOG, a directive holds for every target that begins with its name, the longest name decides, and a
//! filter that names targets says nothing of the others: they are off unless a bare level is among the directives.

use std::str::FromStr;

use tracing::Level;
use tracing_subscriber::filter::Targets;

use crate::config::value::{ValueError, deserialize_from_str};

/// A parsed filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(Targets);

impl Filter {
    /// Whether lines of this target and level are wanted.
    #[must_use]
    pub fn enabled(&self, target: &str, level: Level) -> bool {
        self.0.would_enable(target, &level)
    }
}

/// `info`
impl Default for Filter {
    fn default() -> Self {
        Self(Targets::new().with_default(Level::INFO))
    }
}

impl FromStr for Filter {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|error: tracing_subscriber::filter::ParseError| {
            ValueError(format!("`{text}` is not a log filter like `info,kernel=debug`: {error}"))
        })
    }
}

deserialize_from_str! {
    Filter, "a log filter like `info,kernel=debug`";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_select_targets_as_rust_log_does() {
        let filter: Filter = "paged_attention=debug,tensor_metrics=debug".parse().unwrap();
        assert!(filter.enabled("paged_attention", Level::DEBUG));
        assert!(filter.enabled("paged_attention_metrics", Level::DEBUG), "a directive is a prefix");
        assert!(!filter.enabled("paged_attention", Level::TRACE));
        assert!(filter.enabled("tensor_metrics", Level::INFO));
        assert!(!filter.enabled("kernel", Level::ERROR), "what is not named is off");
    }

    #[test]
    fn a_bare_level_is_for_the_rest_and_the_longest_name_decides() {
        let filter: Filter = "info,paged_attention=debug,paged_attention_metrics=off".parse().unwrap();
        assert!(filter.enabled("kernel", Level::INFO));
        assert!(!filter.enabled("kernel", Level::DEBUG));
        assert!(filter.enabled("paged_attention_cache", Level::DEBUG));
        assert!(!filter.enabled("paged_attention_metrics", Level::ERROR));
    }

    #[test]
    fn a_filter_that_is_none_is_refused_with_an_example() {
        for bad in ["kernel=loud", "kernel[span]=debug=x"] {
            let error = bad.parse::<Filter>().unwrap_err().to_string();
            assert!(error.contains(bad) && error.contains("info,kernel=debug"), "{error}");
        }
    }
}
