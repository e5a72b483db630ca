//! The rows as text.
//!
//! Enters: a [`Table`]. Leaves: plain text, no wider than asked. Refuses: control characters of names: a target must not
//! write to a terminal through us.

use std::fmt::Write;

use super::model::{Copy, Kernel, Table, quantile};
use super::{CALL_ROWS, KERNEL_ROWS};
use crate::aggregate::snapshot::Histogram;
use crate::pipeline::TargetStatus;

/// Width of all columns of the kernel section but the name.
const KERNEL_COLUMNS: usize = 63;
/// Width of all columns of the entry points' section but the tensors.
const CALL_COLUMNS: usize = 87;
/// Longest reason that is shown.
const WHY_WIDTH: usize = 400;
/// Shortest and longest column for names.
const NAME_WIDTH: (usize, usize) = (24, 128);

impl Table {
    /// The table, for a terminal `width` columns wide.
    #[must_use]
    pub fn render(&self, width: usize) -> String {
        let mut out = String::new();
        // Infallible: a String takes any text.
        let _ = self.write(&mut out, width);
        out
    }

    fn write(&self, out: &mut String, width: usize) -> std::fmt::Result {
        if self.is_simulated() {
            writeln!(out, "SIMULATED DEVICE: no time or bandwidth below was measured on a GPU.")?;
        }
        for target in &self.targets {
            write_target(out, target)?;
        }
        self.write_kernels(out, width)?;
        self.write_operations(out)?;
        self.write_calls(out, width)?;
        self.write_copies(out)?;
        let memory = self.memory.iter().map(|(kind, bytes)| format!("{kind} {}", bytes_text(*bytes)));
        writeln!(out, "memory in use   {}", or_none(memory))?;
        if !self.errors.is_empty() {
            let errors = self.errors.iter().map(|(name, count)| format!("{name} × {count}"));
            writeln!(out, "API errors      {}", or_none(errors))?;
        }
        self.write_losses(out)?;
        writeln!(
            out,
            "this agent      {:.2} s of CPU, {} resident",
            self.cpu_seconds,
            bytes_text(self.rss_bytes)
        )
    }

    fn write_kernels(&self, out: &mut String, width: usize) -> std::fmt::Result {
        let name_width = width.saturating_sub(KERNEL_COLUMNS).clamp(NAME_WIDTH.0, NAME_WIDTH.1);
        let total: f64 = self.kernels.iter().map(Kernel::seconds).sum();
        writeln!(
            out,
            "\n{:<17} {:<name_width$} {:>10} {:>9} {:>9} {:>12}",
            "class", "kernel", "calls", "p50", "p99", "GPU time"
        )?;
        for kernel in self.kernels.iter().take(KERNEL_ROWS) {
            let share = if total > 0.0 { 100.0 * kernel.seconds() / total } else { 0.0 };
            let of = |q| time_text(quantile(&kernel.durations, q));
            writeln!(
                out,
                "{:<17} {:<name_width$} {:>10} {:>9} {:>9} {:>11.1}%",
                kernel.class,
                shortened(&kernel.name, name_width),
                kernel.calls,
                of(0.5),
                of(0.99),
                share
            )?;
        }
        if let Some(rest) = self.kernels.get(KERNEL_ROWS..).filter(|rest| !rest.is_empty()) {
            let calls: u64 = rest.iter().map(|kernel| kernel.calls).sum();
            writeln!(out, "{:<17} {:<name_width$} {calls:>10}", "", format!("{} more kernels", rest.len()))?;
        }
        if self.kernels.is_empty() {
            writeln!(out, "(no kernel has run since the agent attached)")?;
        }
        Ok(())
    }

    fn write_operations(&self, out: &mut String) -> std::fmt::Result {
        if self.operations.is_empty() {
            return Ok(());
        }
        writeln!(out, "\n{:<42} {:>10} {:>9} {:>9}", "operation", "calls", "p50", "p99")?;
        for operation in &self.operations {
            let unit = operation.seconds_per_unit;
            let of = |q| time_text(quantile(&operation.durations, q).map(|units| units * unit));
            writeln!(out, "{:<42} {:>10} {:>9} {:>9}", operation.name, operation.calls, of(0.5), of(0.99))?;
        }
        Ok(())
    }

    /// Entry points, with the shapes of the latest call's tensors as far as the line reaches.
    fn write_calls(&self, out: &mut String, width: usize) -> std::fmt::Result {
        if self.calls.is_empty() {
            return writeln!(out, "\n(no call of a probed entry point: tensors are seen only in such calls)");
        }
        writeln!(
            out,
            "\n{:<16} {:<38} {:>9} {:>9} {:>9}  last tensors",
            "op", "entry point", "calls", "host p50", "host p99"
        )?;
        let tensor_width = width.saturating_sub(CALL_COLUMNS).max(NAME_WIDTH.0);
        for calls in self.calls.iter().take(CALL_ROWS) {
            let of = |q| time_text(quantile(&calls.durations, q));
            let unwound =
                if calls.unwound > 0 { format!("{} exceptions; ", calls.unwound) } else { String::new() };
            writeln!(
                out,
                "{:<16} {:<38} {:>9} {:>9} {:>9}  {}",
                calls.op,
                shortened(&calls.probe, 38),
                calls.calls,
                of(0.5),
                of(0.99),
                shortened(&format!("{unwound}{}", calls.tensors), tensor_width)
            )?;
        }
        if let Some(rest) = self.calls.get(CALL_ROWS..).filter(|rest| !rest.is_empty()) {
            let calls: u64 = rest.iter().map(|calls| calls.calls).sum();
            writeln!(out, "{:<16} {:<38} {calls:>9}", "", format!("{} more entry points", rest.len()))?;
        }
        Ok(())
    }

    fn write_copies(&self, out: &mut String) -> std::fmt::Result {
        if !self.copies.is_empty() {
            writeln!(out, "\n{:<16} {:>10} {:>12} {:>9} {:>12}", "copies", "count", "bytes", "p50", "GB/s")?;
        }
        for copy in &self.copies {
            writeln!(
                out,
                "{:<16} {:>10} {:>12} {:>9} {:>12}",
                copy.what,
                copy.operations,
                bytes_text(copy.size_bytes as f64),
                time_text(quantile(&copy.durations, 0.5)),
                copy.rate_text()
            )?;
        }
        writeln!(out)
    }

    /// All hops, also those that lost nothing: "0" is an answer, silence is none.
    fn write_losses(&self, out: &mut String) -> std::fmt::Result {
        let hops = &self.hops;
        writeln!(
            out,
            "records         {} seen by CUPTI, {} read, {} counted",
            hops.seen, hops.read, hops.decoded
        )?;
        writeln!(
            out,
            "losses          cupti dropped {} · shim unknown {} malformed {} over budget {} · ring lost {} · decode unknown {} malformed {} · event queue dropped {}",
            hops.cupti_dropped,
            hops.shim_unknown,
            hops.shim_malformed,
            hops.over_budget,
            hops.lost,
            hops.unknown,
            hops.malformed,
            self.events_dropped,
        )?;
        writeln!(
            out,
            "                incomplete {} · orphans {} · under _other {}",
            self.incomplete, self.orphans, self.overflow
        )
    }
}

impl Copy {
    /// Bytes per time spent copying.
    fn rate_text(&self) -> String {
        let Histogram { sum, .. } = self.durations;
        if sum > 0.0 { format!("{:.2}", self.size_bytes as f64 / sum / 1e9) } else { "-".to_owned() }
    }
}

fn write_target(out: &mut String, target: &TargetStatus) -> std::fmt::Result {
    let info = &target.info;
    write!(out, "pid {} {} {}", info.pid, shortened(&info.executable, 40), target.state)?;
    match target.versions {
        (0, _) => {}
        (cupti, driver) => {
            write!(out, " (CUPTI API {cupti}, driver {}.{})", driver / 1000, driver % 1000 / 10)?
        }
    }
    if !target.probes.is_empty() {
        let probes = target.probes.iter().map(|(engine, count)| format!("{engine} {count}"));
        write!(out, ", probes: {}", shortened(&or_none(probes), WHY_WIDTH))?;
    }
    if !target.why.is_empty() {
        // It can hold the name of a function, as the target wrote it.
        write!(out, ": {}", shortened(&target.why, WHY_WIDTH))?;
    }
    writeln!(out)
}

/// At most `width` characters, none of them a control character.
fn shortened(name: &str, width: usize) -> String {
    let mut text: String =
        name.chars().map(|character| if character.is_control() { '?' } else { character }).collect();
    if text.chars().count() > width {
        text = text.chars().take(width.saturating_sub(1)).collect();
        text.push('…');
    }
    text
}

/// Seconds, for people.
fn time_text(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(seconds) if seconds < 1e-6 => format!("{:.0} ns", seconds * 1e9),
        Some(seconds) if seconds < 1e-3 => format!("{:.1} µs", seconds * 1e6),
        Some(seconds) if seconds < 1.0 => format!("{:.2} ms", seconds * 1e3),
        Some(seconds) => format!("{seconds:.2} s"),
    }
}

/// Bytes, for people; binary units.
fn bytes_text(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut unit = UNITS.iter().peekable();
    while let Some(name) = unit.next() {
        if value < 1024.0 || unit.peek().is_none() {
            let digits = if *name == "B" { 0 } else { 1 };
            return format!("{value:.digits$} {name}");
        }
        value /= 1024.0;
    }
    String::new()
}

fn or_none(parts: impl Iterator<Item = String>) -> String {
    let text = parts.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "none now".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Table, TargetStatus, bytes_text, shortened, time_text};
    use crate::event::TargetId;
    use crate::pipeline::State;
    use crate::source::cupti::Hops;

    #[test]
    fn numbers_read_well() {
        assert_eq!(time_text(Some(0.000_001_5)), "1.5 µs");
        assert_eq!(time_text(None), "-");
        assert_eq!(bytes_text(1536.0), "1.5 KiB");
        assert_eq!(bytes_text(12.0), "12 B");
        assert_eq!(bytes_text(2e18), "1818989.4 TiB");
    }

    #[test]
    fn a_name_cannot_reach_the_terminal() {
        assert_eq!(shortened("a\x1b[2Jb", 40), "a?[2Jb");
        assert_eq!(shortened("abcdef", 4), "abc…");
    }

    #[test]
    fn a_reason_cannot_reach_the_terminal_either() {
        let status = TargetStatus {
            id: TargetId(0),
            info: Arc::default(),
            state: State::Failed,
            why: "cupti\x1b[2JFlush returned CUPTI status 1".to_owned(),
            probes: Vec::new(),
            hops: Hops::default(),
            past: Hops::default(),
            versions: (0, 0),
            start_unix_ns: 0,
        };
        let text = Table { targets: vec![status], ..Table::default() }.render(100);
        assert!(text.contains("cupti?[2JFlush returned") && !text.contains('\x1b'), "{text}");
    }

    #[test]
    fn an_empty_table_says_so_and_lists_all_losses() {
        let text = Table::default().render(100);
        assert!(text.contains("no kernel has run"));
        assert!(text.contains("ring lost 0"));
        assert!(!text.contains("SIMULATED"));
    }
}
