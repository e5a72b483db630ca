//! Text from prometheus-client to an output, and from OpenMetrics to text format 0.0.4 on the way.
//!
//! Enters: OpenMetrics, in pieces of any size. Leaves: the same, or text format 0.0.4, line by line. Refuses: to hold
//! more than a line (and the HELP line before a TYPE line, which cannot be written before the type is known).

use std::{fmt, io, mem};

/// A [`fmt::Write`] over an [`io::Write`].
pub(super) struct Pieces<'a> {
    output: &'a mut dyn io::Write,
    classic: bool,
    line: String,
    help: String,
    result: io::Result<()>,
}

impl<'a> Pieces<'a> {
    /// `classic` for text format 0.0.4.
    pub(super) fn new(output: &'a mut dyn io::Write, classic: bool) -> Self {
        Self { output, classic, line: String::new(), help: String::new(), result: Ok(()) }
    }

    /// Whether all was written; [`fmt::Error`] cannot say why not.
    pub(super) fn finish(self) -> io::Result<()> {
        self.result
    }

    fn write_line(&mut self, line: &str) -> io::Result<()> {
        if !self.classic || !line.starts_with("# ") {
            return self.output.write_all(line.as_bytes());
        }
        if line.starts_with("# HELP ") {
            line.clone_into(&mut self.help);
        } else if let Some(declaration) = line.strip_prefix("# TYPE ") {
            let (family, kind) = declaration.trim_end().split_once(' ').unwrap_or((declaration, "untyped"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            let sentence = self.help.strip_prefix("# HELP ").and_then(|help| help.strip_prefix(family));
            let sentence = sentence.unwrap_or("\n");
            writeln!(self.output, "# HELP {family}{suffix}{sentence}# TYPE {family}{suffix} {kind}")?;
        }
        Ok(())
    }
}

impl fmt::Write for Pieces<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.line.push_str(piece);
        if !self.line.ends_with('\n') {
            return Ok(());
        }
        let mut lines = mem::take(&mut self.line);
        self.result = lines.split_inclusive('\n').try_for_each(|line| self.write_line(line));
        lines.clear();
        self.line = lines;
        if self.result.is_ok() { Ok(()) } else { Err(fmt::Error) }
    }
}
