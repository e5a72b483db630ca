//! The benchmark's result, for people and for programs.
//!
//! Enters: comparisons. Leaves: tables or JSON. Refuses: to leave out that a device is simulated.

use std::fmt::Write;

use serde::Serialize;

use super::statistics::Ratio;

/// All results.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// Name of the device.
    pub(super) device: String,
    /// Whether it is simulated.
    pub(super) simulated: bool,
    /// By kernel.
    pub(super) cases: Vec<Case>,
    /// All kernels together.
    pub(super) overall: Vec<Comparison>,
}

/// One kernel; the numbers are those of the bare program.
#[derive(Debug, Serialize)]
pub(super) struct Case {
    pub(super) name: String,
    /// Device time of an iteration, ns, median over the rounds.
    pub(super) gpu_ns: f64,
    /// Host time of the calls that enqueue one, ns, median over the rounds.
    pub(super) launch_ns: f64,
    pub(super) gb_per_second: f64,
    pub(super) max_abs_error: f64,
    pub(super) max_rel_error: f64,
    pub(super) comparisons: Vec<Comparison>,
}

/// One configuration against the bare program.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    pub(super) configuration: &'static str,
    /// Device time.
    pub(super) gpu: Ratio,
    /// Host time of launches.
    pub(super) launch: Ratio,
    /// What it adds to the host time of an iteration's calls, ns: median of the paired differences.
    pub(super) added_launch_ns: f64,
}

impl Report {
    pub(super) fn json(&self) -> String {
        // Numbers and strings only; NaN becomes null.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        // Infallible: a String takes any text.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        if self.simulated {
            writeln!(out, "SIMULATED DEVICE: no time or bandwidth below was measured on a GPU.")?;
        }
        writeln!(out, "{}\n", self.device)?;
        writeln!(
            out,
            "{:<36} {:>12} {:>12} {:>9} {:>10} {:>10}",
            "kernel (bare)", "GPU ns", "launch ns", "GB/s", "max abs", "max rel"
        )?;
        for case in &self.cases {
            writeln!(
                out,
                "{:<36} {:>12.0} {:>12.0} {:>9.2} {:>10.1e} {:>10.1e}",
                case.name,
                case.gpu_ns,
                case.launch_ns,
                case.gb_per_second,
                case.max_abs_error,
                case.max_rel_error
            )?;
        }
        self.write_ratios(out, "GPU time / bare, 95 % interval", |comparison| comparison.gpu)?;
        self.write_ratios(out, "launch time / bare, 95 % interval", |comparison| comparison.launch)?;
        write!(out, "{:<36}", "added to an iteration's calls, ns")?;
        for comparison in &self.overall {
            write!(out, " {:>22.0}", comparison.added_launch_ns)?;
        }
        writeln!(out)
    }

    fn write_ratios(
        &self,
        out: &mut String,
        title: &str,
        ratio: fn(&Comparison) -> Ratio,
    ) -> std::fmt::Result {
        write!(out, "\n{title:<36}")?;
        for comparison in &self.overall {
            write!(out, " {:>22}", comparison.configuration)?;
        }
        writeln!(out)?;
        let rows = self.cases.iter().map(|case| (case.name.as_str(), &case.comparisons));
        for (name, comparisons) in rows.chain([("all", &self.overall)]) {
            write!(out, "{name:<36}")?;
            for comparison in comparisons {
                let Ratio { value, low, high } = ratio(comparison);
                write!(out, " {:>22}", format!("{value:.3} [{low:.3}, {high:.3}]"))?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}
