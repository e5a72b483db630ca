//! `gpu-agent bench`: what the bundled kernels do on this device, and what watching them costs.
//!
//! Enters: a choice of kernels and rounds. Leaves: per kernel its time, achieved GB/s, error against the CPU reference, and
//! the overhead of each configuration as a paired ratio to the bare program. Refuses: to compare runs that did not
//! alternate: machines change clock and temperature while they measure.
//!
//! Five processes of `gpu-agent-kernel-bench` wait side by side: bare, with the shim dormant, and armed in each mode. In each
//! round each kernel runs in all five, in a new order, one at a time. A ratio compares neighbours in time, and the
//! confidence interval comes from resampling the rounds.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use tracing::info;

use crate::cli;
use crate::pipeline;
use crate::source::cupti::Mode;

mod report;
mod runner;
mod statistics;

use report::{Comparison, Report};
use runner::{Answer, Runner};
use statistics::Ratio;

/// File name of the program that runs the kernels.
const PROGRAM: &str = "gpu-agent-kernel-bench";

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Kernel to run, or `all`; may be given several times. `gpu-agent-kernel-bench --list` names them.
    #[arg(long = "case", default_value = "all", value_name = "NAME")]
    cases: Vec<String>,
    /// Rounds: each kernel once in each configuration.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(3..=10_000))]
    rounds: u32,
    /// Samples of a kernel in one round and configuration.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    iterations: u32,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    json: bool,
    /// Device to run on.
    #[arg(long, default_value_t = 0)]
    device: u32,
    /// The program that runs the kernels; found beside this one by default.
    #[arg(long, env = "GPU_AGENT_KERNEL_BENCH", value_name = "FILE")]
    program: Option<PathBuf>,
    /// The shim's library; found beside this program by default.
    #[arg(long, env = "GPU_AGENT_SHIM_PATH", value_name = "FILE")]
    shim: Option<PathBuf>,
}

/// Why the benchmark failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program is nowhere.
    #[error(
        "gpu-agent-kernel-bench was not found at {}; build it with `cargo build -p gpu-agent-kernels`, or give its path with --program",
        path.display()
    )]
    NoProgram {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The program could not be started or talked to.
    #[error("cannot {what} gpu-agent-kernel-bench ({configuration}): {source}")]
    Program {
        /// What was tried.
        what: &'static str,
        /// In which configuration.
        configuration: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The program ended, or said something that is no answer.
    #[error(
        "gpu-agent-kernel-bench ({configuration}) {problem}; run `gpu-agent-kernel-bench` by itself to see why"
    )]
    Answer {
        /// In which configuration.
        configuration: &'static str,
        /// What it did instead.
        problem: String,
    },
    /// The shim could not be armed.
    #[error("cannot arm the shim ({configuration}): {source}")]
    Arm {
        /// In which configuration.
        configuration: &'static str,
        /// Why.
        source: Box<pipeline::Error>,
    },
    /// The shim did not arm.
    #[error("the shim did not arm ({configuration}): it is {state}; {why}")]
    NotArmed {
        /// In which configuration.
        configuration: &'static str,
        /// Its state.
        state: pipeline::State,
        /// Why.
        why: String,
    },
    /// A part of the agent.
    #[error(transparent)]
    Collect(#[from] pipeline::options::Error),
}

/// How the program runs in one of the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Configuration {
    Bare,
    Dormant,
    Armed(Mode),
}

impl Configuration {
    const ALL: [Self; 5] = [
        Self::Bare,
        Self::Dormant,
        Self::Armed(Mode::Kernels),
        Self::Armed(Mode::KernelsAndApi),
        Self::Armed(Mode::Graph),
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Dormant => "dormant",
            Self::Armed(Mode::Kernels) => "kernels",
            Self::Armed(Mode::KernelsAndApi) => "kernels+api",
            Self::Armed(Mode::Graph) => "graph",
        }
    }
}

/// Runs the benchmark and prints it.
pub fn execute(arguments: Arguments) -> Result<ExitCode, cli::Error> {
    let shim = cli::find_shim(arguments.shim.as_deref())?;
    let report = run(&arguments, &shim)?;
    if arguments.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.text());
    }
    Ok(ExitCode::SUCCESS)
}

fn run(arguments: &Arguments, shim: &Path) -> Result<Report, Error> {
    let program = program(arguments.program.as_deref())?;
    let cases = runner::cases(&program, &arguments.cases)?;
    let mut runners = Vec::new();
    for configuration in Configuration::ALL {
        runners.push(Runner::start(configuration, &program, shim, arguments)?);
    }
    info!(kernels = cases.len(), rounds = arguments.rounds, "measuring");
    // answers[case][configuration][round]
    let mut answers: Vec<Vec<Vec<Answer>>> = cases.iter().map(|_| vec![Vec::new(); runners.len()]).collect();
    let mut order: Vec<usize> = (0..runners.len()).collect();
    for _ in 0..arguments.rounds {
        for (case, by_configuration) in cases.iter().zip(&mut answers) {
            fastrand::shuffle(&mut order);
            for &configuration in &order {
                let (Some(runner), Some(list)) =
                    (runners.get_mut(configuration), by_configuration.get_mut(configuration))
                else {
                    continue;
                };
                list.push(runner.measure(case, arguments.iterations)?);
            }
        }
    }
    for runner in runners {
        runner.finish()?;
    }
    Ok(compare(cases, answers))
}

/// Sets each configuration against the bare one, round by round.
fn compare(cases: Vec<String>, answers: Vec<Vec<Vec<Answer>>>) -> Report {
    let mut report = Report::default();
    let mut all: Vec<Vec<(Answer, Answer)>> = vec![Vec::new(); Configuration::ALL.len() - 1];
    for (case, by_configuration) in cases.into_iter().zip(answers) {
        let Some((bare, others)) = by_configuration.split_first() else { continue };
        let Some(first) = bare.first() else { continue };
        report.device.clone_from(&first.device);
        report.simulated |= first.simulated;
        let pairs: Vec<Vec<(Answer, Answer)>> =
            others.iter().map(|rounds| rounds.iter().cloned().zip(bare.iter().cloned()).collect()).collect();
        report.cases.push(report::Case {
            name: case,
            gpu_ns: statistics::median(bare.iter().map(|answer| answer.gpu_ns.p50)),
            launch_ns: statistics::median(bare.iter().map(|answer| answer.launch_ns.p50)),
            gb_per_second: statistics::median(bare.iter().map(|answer| answer.gb_per_second)),
            max_abs_error: first.max_abs_error,
            max_rel_error: first.max_rel_error,
            comparisons: comparisons(&pairs),
        });
        for (all, pairs) in all.iter_mut().zip(pairs) {
            all.extend(pairs);
        }
    }
    report.overall = comparisons(&all);
    report
}

/// One comparison a configuration; each pair is a round with its bare neighbour.
fn comparisons(by_configuration: &[Vec<(Answer, Answer)>]) -> Vec<Comparison> {
    let names = Configuration::ALL.iter().skip(1).map(|configuration| configuration.name());
    by_configuration
        .iter()
        .zip(names)
        .map(|(pairs, configuration)| {
            let ratio = |value: fn(&Answer) -> f64| {
                Ratio::of(&pairs.iter().map(|(round, bare)| (value(round), value(bare))).collect::<Vec<_>>())
            };
            let added = pairs.iter().map(|(round, bare)| round.launch_ns.p50 - bare.launch_ns.p50);
            Comparison {
                configuration,
                gpu: ratio(|answer| answer.gpu_ns.p50),
                launch: ratio(|answer| answer.launch_ns.p50),
                added_launch_ns: statistics::median(added),
            }
        })
        .collect()
}

fn program(given: Option<&Path>) -> Result<PathBuf, Error> {
    let beside = || {
        let executable = std::env::current_exe().unwrap_or_default();
        executable.parent().unwrap_or(Path::new("/")).join(PROGRAM)
    };
    let path = given.map_or_else(beside, Path::to_owned);
    if path.is_file() { Ok(path) } else { Err(Error::NoProgram { path }) }
}

#[cfg(test)]
mod tests {
    use super::runner::Times;
    use super::{Answer, Configuration, compare};

    fn answer(gpu_ns: f64, launch_ns: f64) -> Answer {
        Answer {
            device: "Simulated GPU 0".into(),
            simulated: true,
            gpu_ns: Times { p50: gpu_ns },
            launch_ns: Times { p50: launch_ns },
            gb_per_second: 2.0,
            max_abs_error: 0.0,
            max_rel_error: 0.0,
        }
    }

    #[test]
    fn each_configuration_is_set_against_the_bare_rounds() {
        let slower = |factor: f64| {
            vec![answer(1000.0 * factor, 100.0 * factor), answer(500.0 * factor, 50.0 * factor)]
        };
        let rounds = [1.0, 1.0, 1.5, 2.0, 1.1].map(slower).to_vec();
        let report = compare(vec!["gemm".into()], vec![rounds]);
        let found: Vec<_> = report.overall.iter().map(|comparison| comparison.configuration).collect();
        let named: Vec<_> =
            Configuration::ALL.iter().skip(1).map(|configuration| configuration.name()).collect();
        assert_eq!(found, named);
        assert!((report.overall[2].gpu.value - 2.0).abs() < 1e-9);
        assert!((report.overall[1].launch.value - 1.5).abs() < 1e-9);
        let text = report.text();
        assert!(text.starts_with("SIMULATED DEVICE"), "{text}");
        assert!(text.contains("2.000 [2.000, 2.000]"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["simulated"], true);
        assert_eq!(json["cases"][0]["comparisons"][0]["configuration"], "dormant");
    }
}
