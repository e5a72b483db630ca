//! `gpu-agent probes explain`.

use std::process::ExitCode;

use clap::Args;

use super::table::aligned;
use super::{Common, Error, catalog, print, print_json};
use crate::probes::{Explanation, Places, Step};

/// Arguments of `probes explain`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The probe, or ENGINE/PROBE.
    name: String,
    #[command(flatten)]
    common: Common,
}

pub(super) fn execute(arguments: &Arguments) -> Result<ExitCode, Error> {
    let catalog = catalog(None, &arguments.common)?;
    let mut found: Vec<Explanation> = Vec::new();
    for specification in &catalog.specifications {
        for probe in &specification.probes {
            let full = format!("{}/{}", specification.engine, probe.name);
            let is_wanted = |name: &str| name == arguments.name;
            let own = specification.explain(probe);
            found.extend(own.into_iter().filter(|one| {
                is_wanted(&full)
                    || is_wanted(&probe.name)
                    || is_wanted(&one.probe)
                    || one.symbols.iter().any(|symbol| is_wanted(symbol))
            }));
        }
    }
    if found.is_empty() {
        return Err(Error::NoProbe { name: arguments.name.clone() });
    }
    if arguments.common.json {
        print_json(&found)?;
    } else {
        print(&found.iter().map(text).collect::<Vec<_>>().join("\n"));
    }
    Ok(ExitCode::SUCCESS)
}

fn text(explanation: &Explanation) -> String {
    let Explanation { engine, probe, op, symbols, signature, places } = explanation;
    let mut text = format!(
        "{engine}/{probe}  op={op}\n  symbol     {}\n  signature  {signature}\n",
        symbols.join("\n             ")
    );
    for place in places {
        text.push_str(&on_arch(place));
    }
    text
}

fn on_arch(places: &Places) -> String {
    let mut text = format!("\n  {}\n", places.arch);
    if let Some(why) = &places.unavailable {
        return text + &format!("    not available: {why}\n");
    }
    let mut rows: Vec<Vec<String>> = places
        .arguments
        .iter()
        .map(|argument| vec![argument.name.clone(), argument.place.clone(), argument.r#type.clone()])
        .collect();
    rows.extend(
        places.result_address.iter().map(|place| vec!["(address of the result)".to_owned(), place.clone()]),
    );
    rows.extend(places.result.iter().map(|place| vec!["return".to_owned(), place.clone()]));
    text.push_str(&aligned(&rows, 4));
    for (when, steps) in [("at the entry", &places.entry), ("at the return", &places.exit)] {
        if !steps.is_empty() {
            text.push_str(&format!("    {when}\n{}", aligned(&numbered(steps), 6)));
        }
    }
    text
}

fn numbered(steps: &[Step]) -> Vec<Vec<String>> {
    let rows = steps.iter().enumerate();
    rows.map(|(number, step)| vec![format!("#{number}"), step.purpose.clone(), step.read.clone()]).collect()
}
