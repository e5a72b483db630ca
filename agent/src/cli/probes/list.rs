//! `gpu-agent probes list`.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::table::aligned;
use super::{Common, Error, catalog, print, print_json};
use crate::probes::{Probe, Specification};

/// Arguments of `probes list`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
}

/// A probe.
#[derive(Debug, Serialize)]
struct Row {
    engine: String,
    probe: String,
    op: &'static str,
    /// Its shapes.
    variants: usize,
    /// Symbols that are looked for, in all variants.
    symbols: usize,
    files: String,
    specification: String,
}

pub(super) fn execute(arguments: &Arguments) -> Result<ExitCode, Error> {
    let catalog = catalog(None, &arguments.common)?;
    let rows = |specification: &'_ Specification| -> Vec<Row> {
        specification.probes.iter().map(|probe| row(specification, probe)).collect()
    };
    let all: Vec<Row> = catalog.specifications.iter().flat_map(rows).collect();
    if arguments.common.json {
        print_json(&all)?;
        return Ok(ExitCode::SUCCESS);
    }
    let heading = ["ENGINE", "PROBE", "OP", "SYMBOLS", "FILES"].map(str::to_owned).to_vec();
    let cells = all.iter().map(|row| {
        let op = row.op.to_owned();
        vec![row.engine.clone(), row.probe.clone(), op, row.symbols.to_string(), row.files.clone()]
    });
    let table: Vec<Vec<String>> = std::iter::once(heading).chain(cells).collect();
    print(&aligned(&table, 0));
    Ok(ExitCode::SUCCESS)
}

fn row(specification: &Specification, probe: &Probe) -> Row {
    Row {
        engine: specification.engine.to_string(),
        probe: probe.name.to_string(),
        op: probe.info().map_or("other", |info| super::op(info)),
        variants: probe.variants(),
        symbols: probe.symbols().len(),
        files: probe.files.to_string(),
        specification: specification.file.to_string(),
    }
}
