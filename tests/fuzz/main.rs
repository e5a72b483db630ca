//! A small deterministic fuzzer that needs nothing but stable Rust: `make fuzz N=10000000`.
//!
//! Enters: a corpus of inputs per target, a number of inputs, a seed. Leaves: a count per target, and an input file for
//! each panic. Refuses: to go on after a panic; to call a run good that ran fewer inputs than asked.
//!
//! Inputs are mutated from the corpus. Each target notes which ways an input went (which error, how much was read). An
//! input that went a new way joins the corpus of the run, and with `--grow` the corpus on disk. The same seed and
//! corpus give the same run.
#![allow(unsafe_code, reason = "memory that another side writes")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test tool: any failure must end it"
)]

mod corpus;
mod mutate;
mod targets;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use crate::corpus::Corpus;
use crate::mutate::Mutator;
use crate::targets::{TARGETS, Target};

/// Throws mutated inputs at everything that reads what others wrote.
#[derive(Debug, Parser)]
struct Options {
    /// Targets to run; all by default.
    targets: Vec<String>,
    /// Inputs per target.
    #[arg(long, default_value_t = 200_000)]
    inputs: u64,
    /// Seed of the run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder with one folder of inputs per target.
    #[arg(long, default_value = "tests/fuzz/corpus")]
    corpus: PathBuf,
    /// Adds inputs that went new ways to the corpus on disk.
    #[arg(long)]
    grow: bool,
    /// Runs the inputs in this file only, once, without mutation.
    #[arg(long)]
    replay: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let wanted = |target: &&Target| {
        options.targets.is_empty() || options.targets.iter().any(|name| name == target.name)
    };
    let targets: Vec<&Target> = TARGETS.iter().filter(wanted).collect();
    let known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    if targets.is_empty() || targets.len() < options.targets.len() {
        eprintln!("unknown target; there are: {}", known.join(", "));
        return ExitCode::from(2);
    }
    if targets.into_iter().all(|target| fuzz(target, &options)) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs one target; false if an input made it panic.
fn fuzz(target: &Target, options: &Options) -> bool {
    let folder = options.corpus.join(target.name);
    let mut run = (target.make)();
    if let Some(file) = &options.replay {
        let ways = run(&std::fs::read(file).expect("the input file"));
        println!("fuzz {}: {} went {} ways, no panic", target.name, file.display(), ways.len());
        return true;
    }
    let mut corpus = Corpus::load(&folder);
    let kept = corpus.len();
    let mut mutator = Mutator::new(options.seed);
    let started = Instant::now();
    for number in 0..options.inputs {
        // First the corpus as it is, then mutations of it.
        let input = match corpus.get(number as usize) {
            Some(input) if (number as usize) < kept => input.to_vec(),
            _ => mutator.mutate(&corpus),
        };
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&input)));
        let Ok(ways) = ran else {
            let path = corpus::save(&options.corpus.join("panics").join(target.name), &input);
            eprintln!("fuzz {}: input {number} panicked; it is in {}", target.name, path.display());
            return false;
        };
        if corpus.learn(&ways, &input) && options.grow {
            corpus::save(&folder, &input);
        }
    }
    println!(
        "fuzz {}: {} inputs in {:.1} s, corpus {kept} + {} new, no panic",
        target.name,
        options.inputs,
        started.elapsed().as_secs_f64(),
        corpus.len() - kept,
    );
    true
}
