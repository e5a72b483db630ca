//! What a probe does, in words: where each argument lies, and each read step by step.
//!
//! Enters: a [`Probe`]. Leaves: an [`Explanation`]. Refuses: nothing.

use gpu_agent_ebpf_abi::{FIXED, FetchProgram, Read, base, condition, kind};
use serde::Serialize;

use super::abi::{Arch, Register};
use super::compile::Compiled;
use super::specification::{Instance, Probe, Specification};

/// One shape of a probe.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The engine.
    pub engine: String,
    /// The probe.
    pub probe: String,
    /// What it does.
    pub op: &'static str,
    /// Its symbols, or globs over demangled names.
    pub symbols: Vec<String>,
    /// The function.
    pub signature: String,
    /// Where things lie, by architecture.
    pub places: Vec<Places>,
}

/// A probe on one architecture.
#[derive(Debug, Serialize)]
pub struct Places {
    /// Which.
    pub arch: &'static str,
    /// Why it does not work there, if so.
    pub unavailable: Option<String>,
    /// Each argument.
    pub arguments: Vec<Argument>,
    /// Where the result is when the function returns.
    pub result: Option<String>,
    /// Where the address is that the result is to be written to.
    pub result_address: Option<String>,
    /// What is read at the entry.
    pub entry: Vec<Step>,
    /// What is read at the return.
    pub exit: Vec<Step>,
}

/// An argument.
#[derive(Debug, Serialize)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// Its type.
    pub r#type: String,
    /// Where it lies.
    pub place: String,
}

/// A read.
#[derive(Debug, Serialize)]
pub struct Step {
    /// How.
    pub read: String,
    /// What for.
    pub purpose: String,
}

impl Specification {
    /// All shapes of a probe: each variant, with each of its repetitions that has a function of its own.
    #[must_use]
    pub fn explain(&self, probe: &Probe) -> Vec<Explanation> {
        let instances = probe.variants.iter().flat_map(|variant| &variant.instances);
        instances.map(|instance| self.explain_instance(instance)).collect()
    }

    fn explain_instance(&self, instance: &Instance) -> Explanation {
        let signature = &instance.signature;
        Explanation {
            engine: self.engine.to_string(),
            probe: instance.info.name.to_string(),
            op: instance.info.class.name(),
            symbols: instance.symbols.iter().map(ToString::to_string).collect(),
            signature: signature.text.value.split_whitespace().collect::<Vec<_>>().join(" "),
            places: Arch::ALL.into_iter().map(|arch| self.places(instance, arch)).collect(),
        }
    }

    fn places(&self, instance: &Instance, arch: Arch) -> Places {
        let mut places = Places {
            arch: arch.name(),
            unavailable: None,
            arguments: Vec::new(),
            result: None,
            result_address: None,
            entry: Vec::new(),
            exit: Vec::new(),
        };
        let Compiled { placement, entry, exit, purposes: [at_entry, at_exit], .. } =
            match instance.compile(&self.scope, arch) {
                Ok(compiled) => compiled,
                Err(error) => {
                    places.unavailable = Some(error.message);
                    return places;
                }
            };
        let arguments = instance.signature.arguments.iter().zip(&placement.arguments);
        places.arguments = arguments
            .map(|(argument, placed)| Argument {
                name: argument.name.to_string(),
                r#type: argument.r#type.to_string(),
                place: placed.shown(arch),
            })
            .collect();
        places.result = placement.result.map(|placed| placed.shown(arch));
        places.result_address = placement.hidden.map(|register| arch.register_name(register));
        places.entry = steps(&entry, at_entry, arch);
        places.exit = steps(&exit, at_exit, arch);
        places
    }
}

fn steps(program: &FetchProgram, purposes: Vec<String>, arch: Arch) -> Vec<Step> {
    let reads = program.read.iter().zip(purposes);
    reads.map(|(read, purpose)| Step { read: words(read, arch), purpose }).collect()
}

/// `u32 in r9`, `u64[8] at [rdi]+56`, `text[64] at #3+256 if #3 != 0`; `#3` is the value of read 3, brackets are loads.
fn words(read: &Read, arch: Arch) -> String {
    let bits = u32::from(read.size) * 8;
    let what = match read.kind {
        kind::ARRAY => format!("u{bits}[{}]", read.capacity),
        kind::STRING => format!("text[{}] up to NUL", read.capacity),
        kind::BYTES => format!("text[{}]", read.capacity),
        _ => format!("u{bits}"),
    };
    let base = match read.base {
        base::REGISTER => arch.register_name(Register::General(read.index)),
        base::READ => format!("#{}", read.index),
        _ => format!("{:#x}", read.immediate),
    };
    let mut text = if read.steps == 0 {
        format!("{what} in {base}")
    } else {
        let mut address = base;
        let loads = read.offsets.iter().take(read.steps.into());
        for (number, offset) in loads.enumerate() {
            if number > 0 {
                address = format!("[{address}]");
            }
            if *offset != 0 {
                address = format!("{address}{offset:+}");
            }
        }
        format!("{what} at {address}")
    };
    if read.count_read != FIXED && matches!(read.kind, kind::ARRAY | kind::BYTES) {
        text = format!("{text}, #{} long", read.count_read);
    }
    let compares = match read.condition {
        condition::EQUAL => "==",
        condition::NOT_EQUAL => "!=",
        condition::AT_MOST => "<=",
        condition::MORE_THAN => ">",
        _ => return text,
    };
    format!("{text} if #{} {compares} {}", read.condition_read, read.condition_value)
}
