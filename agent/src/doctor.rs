//! What can be seen on this host and in a process, what cannot, why, and what to do about it.
//!
//! Enters: `/proc`, `/sys`, the files that a process maps. Leaves: a [`Report`], one [`Line`] a fact. Refuses: to change, load or
//! start anything; to read more of an environment than the variables that this product and CUDA's tools are about; to have a
//! name that a process gave itself do anything to a terminal.
//!
//! The facts are those that the rest of the agent goes by: the checks of [`crate::inject`], the capabilities, the mappings.

pub mod host;
pub mod process;

use std::fmt;

use serde::Serialize;

use crate::terminal::plain;

/// How a matter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It works.
    Ok,
    /// It works in part, or not for all.
    Degraded,
    /// It does not work.
    No,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Ok => "OK",
            Self::Degraded => "degraded",
            Self::No => "no",
        })
    }
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What it is about.
    pub topic: &'static str,
    /// How it stands.
    pub verdict: Verdict,
    /// What was found, and why that matters.
    pub reason: String,
    /// What to do; empty where there is nothing to do.
    pub fix: String,
}

impl Line {
    /// It works.
    #[must_use]
    pub fn ok(topic: &'static str, reason: impl Into<String>) -> Self {
        Self { topic, verdict: Verdict::Ok, reason: reason.into(), fix: String::new() }
    }

    /// It works in part.
    #[must_use]
    pub fn degraded(topic: &'static str, reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { topic, verdict: Verdict::Degraded, reason: reason.into(), fix: fix.into() }
    }

    /// It does not work.
    #[must_use]
    pub fn no(topic: &'static str, reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { topic, verdict: Verdict::No, reason: reason.into(), fix: fix.into() }
    }
}

/// All facts about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The host, or a process.
    pub subject: String,
    /// The facts.
    pub lines: Vec<Line>,
}

impl Report {
    /// The worst verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.lines.iter().map(|line| line.verdict).max().unwrap_or(Verdict::Ok)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", plain(&self.subject))?;
        let width = self.lines.iter().map(|line| line.topic.len()).max().unwrap_or(0);
        for Line { topic, verdict, reason, fix } in &self.lines {
            writeln!(formatter, "  {topic:width$}  {verdict:8}  {}", plain(reason))?;
            if !fix.is_empty() {
                writeln!(formatter, "  {:width$}  {:8}  → {}", "", "", plain(fix))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let lines = vec![
            Line::ok("kernel", "6.6"),
            Line::degraded("memfd_noexec", "is 1", "nothing, or set it to 0"),
            Line::no("yama", "is 3", "reboot"),
        ];
        Report { subject: "host".to_owned(), lines }
    }

    #[test]
    fn the_worst_line_decides() {
        assert_eq!(report().verdict(), Verdict::No);
        assert_eq!(Report { lines: report().lines[..2].to_vec(), ..report() }.verdict(), Verdict::Degraded);
        assert_eq!(Report { lines: Vec::new(), ..report() }.verdict(), Verdict::Ok);
    }

    #[test]
    fn the_text_has_a_line_for_each_fact_and_one_for_each_fix() {
        let text = report().to_string();
        assert_eq!(text.lines().count(), 6, "{text}");
        assert!(text.contains("  yama          no        is 3\n"), "{text}");
        assert!(text.contains("→ reboot"), "{text}");
    }

    #[test]
    fn names_with_newlines_and_escape_sequences_stay_on_their_line() {
        let lines = vec![Line::no("CUPTI", "/tmp/\n  yama OK\u{1b}[2J/libcupti.so.12", "remove \r it")];
        let text = Report { subject: "process 7 (a\u{1b}]0;b\u{7})".to_owned(), lines }.to_string();
        assert_eq!(text.lines().count(), 3, "{text:?}");
        assert!(text.chars().all(|letter| letter == '\n' || !letter.is_control()), "{text:?}");
    }

    #[test]
    fn the_json_has_the_same_words() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["lines"][2]["verdict"], "no");
        assert_eq!(json["lines"][1]["fix"], "nothing, or set it to 0");
    }
}
