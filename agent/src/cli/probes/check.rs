//! `gpu-agent probes check`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::table::{aligned, wrapped};
use super::{Common, Error, catalog, print, print_json};
use crate::event::Pid;
use crate::probes::Specification;
use crate::probes::resolve::{
    Candidate, Elf, Found, Missing, Options, Resolution, Seen, Why, candidates, resolve,
};
use crate::symbols::Cache;

/// Arguments of `probes check`.
#[derive(Debug, Args)]
#[group(id = "where", required = true, multiple = false, args = ["pid", "binary"])]
pub(super) struct Arguments {
    /// One specification instead of all; then every probe of it must attach for the exit status to be 0.
    file: Option<PathBuf>,
    /// A process.
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// A file, as if it were a program, or mapped by one.
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// List each probe of engines that are not there at all.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    common: Common,
}

/// A probe that would attach.
#[derive(Debug, Serialize)]
struct Attaches {
    engine: String,
    probe: String,
    op: &'static str,
    file: String,
    symbol: String,
    demangled: String,
    address: u64,
    table: &'static str,
    /// `trampoline`, `instructions` or `none`.
    exit: &'static str,
    return_instructions: Option<usize>,
    no_duration: Option<String>,
    arguments: Vec<Argument>,
}

#[derive(Debug, Serialize)]
struct Argument {
    name: String,
    r#type: String,
    place: String,
}

/// A probe that would not.
#[derive(Debug, Serialize)]
struct Lacks {
    engine: String,
    probe: String,
    file: Option<String>,
    why: String,
}

#[derive(Debug, Serialize)]
struct Report {
    attaches: Vec<Attaches>,
    lacks: Vec<Lacks>,
}

pub(super) fn execute(arguments: &Arguments) -> Result<ExitCode, Error> {
    let catalog = catalog(arguments.file.as_deref(), &arguments.common)?;
    let candidates = match (arguments.pid, &arguments.binary) {
        (Some(pid), _) => candidates(Pid(pid))?,
        (None, Some(binary)) => vec![alone(binary)],
        (None, None) => Vec::new(),
    };
    let cache = Cache::disabled();
    let resolution =
        resolve(&catalog.specifications, &candidates, &Elf { cache: &cache }, Options::default());
    if arguments.common.json {
        print_json(&report(&resolution))?;
    } else {
        let is_complete = arguments.all || arguments.file.is_some();
        print(&text(&catalog.specifications, &resolution, is_complete));
    }
    let is_wanted = match arguments.file {
        Some(_) => resolution.missing.is_empty() && !resolution.found.is_empty(),
        None => !resolution.found.is_empty(),
    };
    Ok(if is_wanted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A file without a process.
fn alone(path: &Path) -> Candidate {
    Candidate {
        path: path.to_owned(),
        root: "/".into(),
        shown: path.display().to_string().into(),
        load_bias: 0,
        is_executable: true,
    }
}

fn report(resolution: &Resolution) -> Report {
    Report {
        attaches: resolution.found.iter().map(attaches).collect(),
        lacks: resolution
            .missing
            .iter()
            .map(|missing| Lacks {
                engine: missing.engine.to_string(),
                probe: missing.probe.to_string(),
                file: missing.file.as_ref().map(ToString::to_string),
                why: missing.why.to_string(),
            })
            .collect(),
    }
}

fn attaches(found: &Found) -> Attaches {
    let (exit, return_instructions, no_duration) = match &found.exit {
        Seen::Trampoline => ("trampoline", None, None),
        Seen::Instructions(count) => ("instructions", Some(*count), None),
        Seen::No(why) => ("none", None, Some(why.clone())),
    };
    let arguments = found.arguments.iter().map(|(name, r#type, place)| Argument {
        name: name.to_string(),
        r#type: r#type.clone(),
        place: place.clone(),
    });
    Attaches {
        engine: found.info.engine.to_string(),
        probe: found.info.name.to_string(),
        op: super::op(&found.info),
        file: found.file.to_string(),
        symbol: found.symbol.to_string(),
        demangled: found.demangled.to_string(),
        address: found.address,
        table: found.table.name(),
        exit,
        return_instructions,
        no_duration,
        arguments: arguments.collect(),
    }
}

fn text(specifications: &[Specification], resolution: &Resolution, is_complete: bool) -> String {
    let mut text = String::new();
    let mut absent: Vec<&str> = Vec::new();
    for specification in specifications {
        let engine = &specification.engine;
        let found: Vec<&Found> =
            resolution.found.iter().filter(|found| found.info.engine == *engine).collect();
        let missing: Vec<&Missing> =
            resolution.missing.iter().filter(|missing| missing.engine == *engine).collect();
        if found.is_empty() && !is_complete && missing.iter().all(|missing| is_elsewhere(&missing.why)) {
            absent.push(engine);
            continue;
        }
        text.push_str(&format!("{engine}\n"));
        text.push_str(&attached(&found));
        text.push_str(&not_attached(&missing));
    }
    if !absent.is_empty() {
        text.push_str(&format!("not there: {} (--all says why)\n", absent.join(", ")));
    }
    text
}

/// Whether a probe just belongs to another process.
fn is_elsewhere(why: &Why) -> bool {
    matches!(why, Why::NoFile(_) | Why::NoSymbol { .. } | Why::Condition(_))
}

/// What attaches, file by file.
fn attached(found: &[&Found]) -> String {
    let mut text = String::new();
    let mut files: Vec<&Arc<str>> = Vec::new();
    for found in found {
        if !files.contains(&&found.file) {
            files.push(&found.file);
        }
    }
    for file in files {
        text.push_str(&format!("  {file}\n"));
        let own: Vec<&Found> = found.iter().copied().filter(|found| found.file == *file).collect();
        let lines = aligned(&own.iter().map(|found| row(found)).collect::<Vec<_>>(), 4);
        for (found, line) in own.iter().zip(lines.lines()) {
            text.push_str(&format!("{line}\n"));
            if *found.demangled != *found.info.name {
                text.push_str(&format!("      {}\n", found.demangled));
            }
            let places = found.arguments.iter().filter(|(name, _, _)| !name.is_empty());
            let places: Vec<String> = places.map(|(name, _, place)| format!("{name} {place}")).collect();
            text.push_str(&wrapped(&places, 6));
        }
    }
    text
}

fn row(found: &Found) -> Vec<String> {
    let returns = match &found.exit {
        Seen::Trampoline => "uretprobe".to_owned(),
        Seen::Instructions(1) => "1 return instruction".to_owned(),
        Seen::Instructions(count) => format!("{count} return instructions"),
        Seen::No(why) => format!("no duration: {why}"),
    };
    let address = format!("{:#x}", found.address);
    let (name, op) = (found.info.name.to_string(), super::op(&found.info).to_owned());
    vec![name, op, address, found.table.name().to_owned(), returns]
}

/// What does not attach: functions that a file simply does not have, together; others each with its reason.
fn not_attached(missing: &[&Missing]) -> String {
    let (absent, others): (Vec<&Missing>, Vec<&Missing>) = missing.iter().copied().partition(
        |missing| matches!(&missing.why, Why::NoSymbol { symbols, .. } if **symbols == *missing.probe),
    );
    let mut text = String::new();
    if !others.is_empty() {
        text.push_str("  not attached\n");
        text.push_str(&aligned(&others.iter().map(|missing| reason(missing)).collect::<Vec<_>>(), 4));
    }
    let mut files: Vec<&Option<Arc<str>>> = absent.iter().map(|missing| &missing.file).collect();
    files.dedup();
    for file in files {
        let own: Vec<_> = absent.iter().filter(|missing| missing.file == *file).collect();
        let names: Vec<String> = own.iter().map(|missing| missing.probe.to_string()).collect();
        let is_stripped =
            own.iter().any(|missing| matches!(missing.why, Why::NoSymbol { is_stripped: true, .. }));
        let stripped =
            if is_stripped { ", which is stripped: only what it exports can be found" } else { "" };
        text.push_str(&format!("  not in {}{stripped}\n", file.as_deref().unwrap_or("any file")));
        text.push_str(&wrapped(&names, 4));
    }
    text
}

fn reason(missing: &Missing) -> Vec<String> {
    let file = missing.file.as_ref().filter(|_| !matches!(missing.why, Why::File(_)));
    let file = file.map_or(String::new(), |file| format!("{file}: "));
    vec![missing.probe.to_string(), format!("{file}{}", missing.why)]
}
