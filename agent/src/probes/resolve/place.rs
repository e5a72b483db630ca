//! One probe in the files of a process.
//!
//! Enters: what was found. Leaves: [`Planned`] probes, [`Found`] and [`Missing`]. Refuses: nothing without a reason.

use std::sync::Arc;

use gpu_agent_ebpf_abi::{FetchProgram, phase};

use super::find::{File, Opened, Search};
use super::{Found, Missing, Options, Resolution, Seen, Why};
use crate::probes::compile::Compiled;
use crate::probes::plan::{Call, Exit, Plan, Planned};
use crate::probes::specification::{Condition, Instance, Probe, Specification, Variant};
use crate::symbols::Symbol;

/// One probe, and where it is being looked for.
struct Place<'a> {
    search: &'a Search<'a>,
    specification: &'a Specification,
    probe: &'a Probe,
    options: Options,
}

/// What one file has of a probe.
#[derive(Default)]
struct Outcome {
    planned: Vec<Planned>,
    found: Vec<Found>,
    missing: Vec<(Arc<str>, Why)>,
}

/// Finds a probe in all files that it looks into.
pub(super) fn probe(
    search: &Search<'_>,
    specification: &Specification,
    probe: &Probe,
    options: Options,
    resolution: &mut Resolution,
) {
    let place = Place { search, specification, probe, options };
    let files: Vec<&File<'_>> =
        search.files.iter().filter(|file| probe.files.contain(file.candidate)).collect();
    let outcomes: Vec<Outcome> = files.iter().map(|file| place.in_file(file)).collect();
    let is_found = outcomes.iter().any(|outcome| !outcome.found.is_empty());
    let miss = |name: &Arc<str>, file, why| Missing {
        engine: specification.engine.clone(),
        probe: name.clone(),
        file,
        why,
    };
    if files.is_empty() {
        resolution.missing.push(miss(&probe.name, None, Why::NoFile(probe.files.clone())));
    }
    for (file, outcome) in files.iter().zip(outcomes) {
        let shown = &file.candidate.shown;
        for (name, why) in outcome.missing {
            // A probe that looks into several files is expected in one of them.
            let is_elsewhere = is_found && outcome.found.is_empty();
            if !(is_elsewhere && matches!(why, Why::NoSymbol(_) | Why::Condition(_))) {
                resolution.missing.push(miss(&name, Some(shown.clone()), why));
            }
        }
        resolution.found.extend(outcome.found);
        if !outcome.planned.is_empty() {
            extend(&mut resolution.plans, file, outcome.planned);
        }
    }
}

/// Adds probes to the plan of a file.
fn extend(plans: &mut Vec<Plan>, file: &File<'_>, probes: Vec<Planned>) {
    let candidate = file.candidate;
    match plans.iter_mut().find(|plan| plan.file == candidate.path) {
        Some(plan) => plan.probes.extend(probes),
        None => plans.push(Plan {
            file: candidate.path.clone(),
            shown: candidate.shown.clone(),
            load_bias: candidate.load_bias,
            probes,
        }),
    }
}

impl Place<'_> {
    /// The first variant that applies to a file.
    fn in_file(&self, file: &File<'_>) -> Outcome {
        let mut outcome = Outcome::default();
        let opened = match file.opened() {
            Ok(opened) => opened,
            Err(error) => {
                outcome.missing.push((self.probe.name.clone(), Why::File(error)));
                return outcome;
            }
        };
        let fails: Vec<Option<String>> =
            self.probe.variants.iter().map(|variant| self.fails(variant, file, opened)).collect();
        for name in self.probe.names() {
            self.named(&name, &fails, file, opened, &mut outcome);
        }
        outcome
    }

    /// The first variant in which a function of one name is there: `each` may give a probe several names.
    fn named(
        &self,
        name: &Arc<str>,
        fails: &[Option<String>],
        file: &File<'_>,
        opened: &Opened<'_>,
        outcome: &mut Outcome,
    ) {
        let mut reasons = Vec::new();
        for (variant, fails) in self.probe.variants.iter().zip(fails) {
            if let Some(why) = fails {
                reasons.push(Why::Condition(why.clone()));
                continue;
            }
            let own = self.variant(variant, name, file, opened);
            let is_there = |why: &Why| !matches!(why, Why::NoSymbol(_));
            if !own.found.is_empty() || own.missing.iter().any(|(_, why)| is_there(why)) {
                outcome.found.extend(own.found);
                outcome.planned.extend(own.planned);
                outcome.missing.extend(own.missing);
                return;
            }
            reasons.extend(own.missing.into_iter().map(|(_, why)| why));
        }
        outcome.missing.push((name.clone(), joined(reasons)));
    }

    /// Why the conditions of a variant do not hold, if so.
    fn fails(&self, variant: &Variant, file: &File<'_>, opened: &Opened<'_>) -> Option<String> {
        variant.conditions.iter().find_map(|condition| match condition {
            Condition::Symbol { pattern, library, present } => {
                let is_in = |file: &File<'_>| file.functions(pattern).is_ok_and(|found| !found.is_empty());
                let is_there = match library {
                    None => is_in(file),
                    Some(library) => {
                        self.search.files.iter().any(|other| other.is_named(library) && is_in(other))
                    }
                };
                let place =
                    library.as_deref().map_or_else(|| "it".to_owned(), |library| format!("`{library}`"));
                let why = if *present {
                    format!("{place} has no {pattern}")
                } else {
                    format!("{place} has {pattern}")
                };
                (is_there != *present).then_some(why)
            }
            Condition::Mapped { library, present } => {
                let why = if *present { "is not mapped" } else { "is mapped" };
                (self.search.is_mapped(library) != *present).then(|| format!("`{library}` {why}"))
            }
            Condition::BuildId(ids) => {
                let own = opened.binary.build_id();
                let is_one = own.as_deref().is_some_and(|own| ids.iter().any(|id| **id == *own));
                (!is_one).then(|| match own {
                    Some(own) => format!("its build-id is {own}"),
                    None => "it has no build-id".to_owned(),
                })
            }
        })
    }

    fn variant(&self, variant: &Variant, name: &Arc<str>, file: &File<'_>, opened: &Opened<'_>) -> Outcome {
        let mut outcome = Outcome::default();
        for instance in variant.instances.iter().filter(|instance| instance.info.name == *name) {
            let functions = match functions(instance, file) {
                Ok(functions) => functions,
                Err(why) => {
                    outcome.missing.push((instance.info.name.clone(), why));
                    continue;
                }
            };
            let arch = opened.binary.arch();
            let compiled = match instance.compile(&self.specification.scope, arch) {
                Ok(compiled) => compiled,
                Err(error) => {
                    outcome.missing.push((instance.info.name.clone(), Why::Arch(error.message)));
                    continue;
                }
            };
            let arguments = Found::arguments(arch, &instance.signature, &compiled.placement);
            let Compiled { entry, exit, reader, .. } = compiled;
            let call = Arc::new(Call { info: instance.info.clone(), reader: Box::new(reader) });
            for function in functions {
                let (seen, exit) = self.exit(instance, function, &exit, opened);
                outcome.found.push(Found {
                    info: instance.info.clone(),
                    file: file.candidate.shown.clone(),
                    symbol: function.raw.clone(),
                    demangled: function.demangled.clone(),
                    address: function.address,
                    table: function.table,
                    exit: seen,
                    arguments: arguments.clone(),
                });
                outcome.planned.push(Planned {
                    call: call.clone(),
                    entry_offset: function.file_offset,
                    entry: Box::new(entry),
                    exit,
                });
            }
        }
        outcome
    }

    /// How the return of a function is seen.
    fn exit(
        &self,
        instance: &Instance,
        function: &Symbol,
        program: &FetchProgram,
        opened: &Opened<'_>,
    ) -> (Seen, Exit) {
        let unseen = |why: String| (Seen::No(why), Exit::Unseen);
        if !instance.has_duration {
            return unseen("the specification says so".to_owned());
        }
        let is_mangled = function.raw.starts_with("_Z") || function.raw.starts_with("_R");
        if !instance.unwinds.unwrap_or(is_mangled) && self.options.trampolines {
            let program = FetchProgram { phase: phase::RETURNED, ..*program };
            return (Seen::Trampoline, Exit::Trampoline(Box::new(program)));
        }
        match opened.binary.returns(function) {
            Err(why) => unseen(why),
            Ok(returns) if returns.tail_call => {
                unseen("it ends by a jump into another function, which returns in its place".to_owned())
            }
            Ok(returns) if returns.offsets.is_empty() => unseen("it has no return instruction".to_owned()),
            Ok(returns) => {
                let seen = Seen::Instructions(returns.offsets.len());
                (seen, Exit::Instructions { offsets: returns.offsets, program: Box::new(*program) })
            }
        }
    }
}

/// The functions of an instance, one of each address.
fn functions<'a>(instance: &Instance, file: &'a File<'_>) -> Result<Vec<&'a Symbol>, Why> {
    let mut found: Vec<&Symbol> = Vec::new();
    for symbol in &instance.symbols {
        let matched = match file.functions(symbol) {
            Ok(matched) => matched,
            Err(why) => return Err(Why::Pattern { symbol: symbol.clone(), why }),
        };
        if matched.len() > 1 && !instance.attaches_all {
            let addresses = matched.iter().map(|function| function.address).collect();
            return Err(Why::Ambiguous { symbol: symbol.clone(), addresses });
        }
        for function in matched {
            if function.is_ifunc {
                return Err(Why::Indirect(function.raw.clone()));
            }
            if found.iter().all(|other| other.address != function.address) {
                found.push(function);
            }
        }
    }
    if found.is_empty() {
        let names: Vec<&str> = instance.symbols.iter().map(|symbol| &**symbol).collect();
        return Err(Why::NoSymbol(names.join(", ")));
    }
    Ok(found)
}

/// One reason of those of all variants: the symbols that none of them found, or the conditions that failed.
fn joined(reasons: Vec<Why>) -> Why {
    let mut symbols: Vec<String> = Vec::new();
    let mut conditions: Vec<String> = Vec::new();
    for reason in reasons {
        let (list, text) = match reason {
            Why::NoSymbol(text) => (&mut symbols, text),
            Why::Condition(text) => (&mut conditions, text),
            other => return other,
        };
        if !list.contains(&text) {
            list.push(text);
        }
    }
    if symbols.is_empty() { Why::Condition(conditions.join("; ")) } else { Why::NoSymbol(symbols.join(", ")) }
}
