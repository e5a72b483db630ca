//! Probes spelled out: what variants leave to their probe, and the repetitions of `each`.
//!
//! Enters: the TOML of a probe. Leaves: a [`Probe`]. Refuses: unknown operations, callbacks and conditions; probes without a
//! signature or a symbol.

use std::collections::BTreeMap;
use std::sync::Arc;

use cupti_sys::{
    ALLOC_DRIVER, ALLOC_RUNTIME, DriverCbid, LAUNCH_DRIVER, LAUNCH_RUNTIME, MEMCPY_DRIVER, MEMCPY_RUNTIME,
    MEMSET_DRIVER, MEMSET_RUNTIME, MODULE_DRIVER, MODULE_RUNTIME, RuntimeCbid, SYNC_DRIVER, SYNC_RUNTIME,
};
use toml::Spanned;

use super::super::document::{
    self, Api, ConditionEntry, FieldEntry, Matches, Named, OneOrMore, Short, TensorEntry, Words, in_order,
};
use super::super::signature::Signature;
use super::super::source::{Source, SpecError, Text, expected};
use super::super::types::TensorRule;
use super::declare::tensor_rule;
use super::{Condition, Field, Files, Instance, Probe, Variant, probe_name, value_name};
use crate::event::{ApiFunction, OpClass, ProbeInfo};

/// Repetitions of one probe, at most.
const MOST_INSTANCES: usize = 256;
/// Bytes of a symbol's name or pattern, at most; mangled names of real programs end far below.
const LONGEST_SYMBOL: usize = 4096;

/// Functions of CUDA that probes may name.
const DRIVER: [&[DriverCbid]; 6] =
    [LAUNCH_DRIVER, MEMCPY_DRIVER, MEMSET_DRIVER, ALLOC_DRIVER, SYNC_DRIVER, MODULE_DRIVER];
const RUNTIME: [&[RuntimeCbid]; 6] =
    [LAUNCH_RUNTIME, MEMCPY_RUNTIME, MEMSET_RUNTIME, ALLOC_RUNTIME, SYNC_RUNTIME, MODULE_RUNTIME];

/// Words for `${…}`.
type Bindings = Vec<(Arc<str>, Arc<str>)>;

pub(super) fn probe(
    source: &Source,
    engine: &Arc<str>,
    files: &Files,
    entry: &document::Probe,
) -> Result<Probe, SpecError> {
    let class = class(source, entry)?;
    if let Some(use_v1) = entry.use_v1.as_ref().filter(|_| class != OpClass::PagedAttention) {
        return Err(source.error(use_v1.span(), "`use_v1` is a matter of `op = \"paged_attention\"` only"));
    }
    let files = Files {
        libraries: match &entry.libraries {
            Some(libraries) => globs(source, libraries)?,
            None => files.libraries.clone(),
        },
        executable: entry.executable.unwrap_or(files.executable),
    };
    if files.libraries.is_empty() && !files.executable {
        return Err(source
            .error(entry.name.span(), "no file to look into")
            .help("give the file or the probe `libraries = […]` or `executable = true`"));
    }
    let own = document::Variant::default();
    let shapes: Vec<&document::Variant> = match entry.variant.as_slice() {
        [] => vec![&own],
        variants => variants.iter().map(Spanned::get_ref).collect(),
    };
    let variants = shapes
        .into_iter()
        .map(|shape| Shape { source, engine, class, entry, shape }.variant())
        .collect::<Result<_, _>>()?;
    let mut probe = Probe { name: entry.name.get_ref().as_str().into(), files, variants };
    if let [first, others @ ..] = probe.names().as_slice() {
        probe.name = if others.is_empty() {
            first.clone()
        } else {
            format!("{first} and {} more", others.len()).into()
        };
    }
    Ok(probe)
}

fn class(source: &Source, entry: &document::Probe) -> Result<OpClass, SpecError> {
    let Some(op) = &entry.op else {
        return match entry.api {
            Some(_) => Ok(OpClass::Other),
            None => Err(source.error(entry.name.span(), "this probe has no `op`").help(classes())),
        };
    };
    let found = OpClass::ALL.into_iter().find(|class| class.name() == op.get_ref());
    found
        .ok_or_else(|| source.error(op.span(), format!("`{}` is no operation", op.get_ref())).help(classes()))
}

fn classes() -> String {
    expected("one of", &OpClass::ALL.map(OpClass::name))
}

/// One shape of a probe, with the probe for what it leaves out.
struct Shape<'a> {
    source: &'a Source,
    engine: &'a Arc<str>,
    class: OpClass,
    entry: &'a document::Probe,
    shape: &'a document::Variant,
}

impl Shape<'_> {
    fn variant(&self) -> Result<Variant, SpecError> {
        let conditions = self.entry.when.iter().chain(&self.shape.when);
        let conditions =
            conditions.map(|condition| self::condition(self.source, condition)).collect::<Result<_, _>>()?;
        let each = self.shape.each.as_ref().unwrap_or(&self.entry.each);
        let instances = combinations(self.source, each)?;
        let instances = instances.iter().map(|words| self.instance(words)).collect::<Result<_, _>>()?;
        Ok(Variant { conditions, instances })
    }

    fn instance(&self, words: &Bindings) -> Result<Instance, SpecError> {
        let (entry, shape, source) = (self.entry, self.shape, self.source);
        let signature = shape.signature.as_ref().or(entry.signature.as_ref()).ok_or_else(|| {
            source
                .error(entry.name.span(), "this probe has no `signature`")
                .help("expected the function as in C: signature = \"void f(int x)\"")
        })?;
        let signature = Signature::parse(&Text::new(source, signature).expand(words)?)?;
        let symbols = self.symbols(&signature, words)?;
        let expanded = Text::new(source, &entry.name).expand(words)?;
        let info = ProbeInfo {
            name: probe_name(source, &entry.name, &expanded.value)?,
            engine: self.engine.clone(),
            class: self.class,
            use_v1: entry.use_v1.as_ref().map(|use_v1| *use_v1.get_ref()),
            api: match &entry.api {
                Some(api) => {
                    Some(api_function(*api.get_ref(), &signature, Text::at(source, "", api.span()))?)
                }
                None => None,
            },
        };
        let mut tensors = Vec::new();
        for (name, entry) in both(&entry.tensors, &shape.tensors) {
            tensors.push((value_name(source, name)?, own_text(source, entry), tensor(source, entry, words)?));
        }
        let mut fields = Vec::new();
        for (name, entry) in both(&entry.fields, &shape.fields) {
            fields.push((value_name(source, name)?, field(source, entry, words)?));
        }
        let condition = shape.r#if.as_ref().or(entry.r#if.as_ref()).map(|text| Text::new(source, text));
        Ok(Instance {
            condition: condition.map(|text| text.expand(words)).transpose()?,
            info: Arc::new(info),
            symbols,
            attaches_all: shape.matches.or(entry.matches) == Some(Matches::All),
            // An `extern "C"` function may be written in C++: no symbol says that nothing is thrown. CUDA's own API is C.
            unwinds: shape.unwinds.or(entry.unwinds).unwrap_or(entry.api.is_none()),
            has_duration: shape.duration.or(entry.duration).unwrap_or(true),
            signature,
            tensors,
            fields,
        })
    }

    fn symbols(&self, signature: &Signature, words: &Bindings) -> Result<Vec<Arc<str>>, SpecError> {
        let written = match self.shape.symbol.as_ref().or(self.entry.symbol.as_ref()) {
            None if signature.name.contains("::") => {
                return Err(self
                    .source
                    .error(self.entry.name.span(), format!("the symbol of `{}` is not given", signature.name))
                    .help("expected `symbol = …`: the name as in the symbol table, or a glob over the demangled name"));
            }
            None => return Ok(vec![signature.name.as_str().into()]),
            Some(symbol) => texts(self.source, symbol),
        };
        let symbols = written.iter().map(|text| {
            let text = text.expand(words)?;
            if text.value.trim().is_empty() || text.value.chars().all(|letter| letter == '*') {
                return Err(text.error_whole("a symbol without a name"));
            }
            if text.value.len() > LONGEST_SYMBOL {
                return Err(text.error_whole("a symbol of more than 4096 bytes"));
            }
            Ok(text.value.as_str().into())
        });
        let symbols: Vec<Arc<str>> = symbols.collect::<Result<_, _>>()?;
        if symbols.is_empty() {
            return Err(self.source.error(self.entry.name.span(), "an empty list of symbols"));
        }
        Ok(symbols)
    }
}

/// The entries of a probe and those that its variant adds or replaces, in the order of the file.
fn both<'a, T>(base: &'a Named<T>, own: &'a Named<T>) -> Vec<(&'a Words, &'a Spanned<T>)> {
    let mut entries: Vec<_> =
        in_order(base).into_iter().filter(|(name, _)| !own.contains_key(*name)).collect();
    entries.extend(in_order(own));
    entries
}

fn own_text<T>(source: &Source, entry: &Spanned<T>) -> Text {
    Text::at(source, "", entry.span())
}

fn tensor(
    source: &Source,
    entry: &Spanned<Short<TensorEntry>>,
    words: &Bindings,
) -> Result<TensorRule, SpecError> {
    let rule = tensor_rule(source, entry.get_ref(), entry.span())?;
    let expand = |text: Option<Text>| text.map(|text| text.expand(words)).transpose();
    Ok(TensorRule {
        of: expand(rule.of)?,
        shape: expand(rule.shape)?,
        dtype: expand(rule.dtype)?,
        condition: expand(rule.condition)?,
        is_torch: rule.is_torch,
    })
}

fn field(source: &Source, entry: &Spanned<Short<FieldEntry>>, words: &Bindings) -> Result<Field, SpecError> {
    let (of, condition) = match entry.get_ref() {
        Short::Text(of) => (Text::at(source, of, entry.span()), None),
        Short::Table(table) => {
            (Text::new(source, &table.of), table.r#if.as_ref().map(|condition| Text::new(source, condition)))
        }
    };
    Ok(Field { of: of.expand(words)?, condition: condition.map(|text| text.expand(words)).transpose()? })
}

/// All combinations of words; one, of none, without `each`.
fn combinations(
    source: &Source,
    each: &BTreeMap<Words, Spanned<Vec<Words>>>,
) -> Result<Vec<Bindings>, SpecError> {
    let mut found: Vec<Bindings> = vec![Vec::new()];
    for (name, words) in in_order(each) {
        if words.get_ref().is_empty() || found.len() * words.get_ref().len() > MOST_INSTANCES {
            let message = format!("{} repetitions of one probe", found.len() * words.get_ref().len());
            return Err(source.error(words.span(), message).help(format!("expected 1 to {MOST_INSTANCES}")));
        }
        let name: Arc<str> = name.get_ref().as_str().into();
        found = found
            .iter()
            .flat_map(|bindings| {
                words.get_ref().iter().map(|word| {
                    let word: Arc<str> = word.get_ref().as_str().into();
                    bindings.iter().cloned().chain([(name.clone(), word)]).collect()
                })
            })
            .collect();
    }
    Ok(found)
}

fn texts(source: &Source, words: &Spanned<OneOrMore>) -> Vec<Text> {
    match words.get_ref() {
        OneOrMore::One(word) => vec![Text::at(source, word, words.span())],
        OneOrMore::More(list) => list.iter().map(|word| Text::new(source, word)).collect(),
    }
}

/// Globs over file names.
pub(super) fn globs(source: &Source, words: &[Words]) -> Result<Vec<Arc<str>>, SpecError> {
    words.iter().map(|glob| self::glob(source, glob)).collect()
}

fn glob(source: &Source, words: &Words) -> Result<Arc<str>, SpecError> {
    let glob = words.get_ref();
    if glob.is_empty() || glob.contains('/') {
        let message = format!("`{glob}` is no file name");
        return Err(source
            .error(words.span(), message)
            .help("expected a name without folders, in which `*` stands for any text"));
    }
    Ok(glob.as_str().into())
}

fn condition(source: &Source, entry: &Spanned<ConditionEntry>) -> Result<Condition, SpecError> {
    let refuse = |message: &str| {
        source.error(entry.span(), message).help(
            "expected one of: { present = SYMBOL }, { absent = SYMBOL }, both with or without library = GLOB, \
             { mapped = GLOB }, { unmapped = GLOB }, { build_id = … }",
        )
    };
    let condition = entry.get_ref();
    let library = condition.library.as_ref().map(|library| glob(source, library)).transpose()?;
    let symbol = |words: &Words, present| Condition::Symbol {
        pattern: words.get_ref().as_str().into(),
        library: library.clone(),
        present,
    };
    let mut found = Vec::new();
    found.extend(condition.present.as_ref().map(|words| symbol(words, true)));
    found.extend(condition.absent.as_ref().map(|words| symbol(words, false)));
    let takes_library = !found.is_empty();
    for (words, present) in [(&condition.mapped, true), (&condition.unmapped, false)] {
        if let Some(words) = words {
            found.push(Condition::Mapped { library: glob(source, words)?, present });
        }
    }
    if let Some(ids) = &condition.build_id {
        found.push(Condition::BuildId(build_ids(source, ids)?));
    }
    if condition.library.is_some() && !takes_library {
        return Err(refuse("`library` says where a symbol is to be present or absent"));
    }
    match found.len() {
        0 => Err(refuse("a condition of nothing")),
        1 => found.pop().ok_or_else(|| refuse("a condition of nothing")),
        _ => Err(refuse("two conditions in one; each stands in braces of its own")),
    }
}

fn build_ids(source: &Source, words: &Spanned<OneOrMore>) -> Result<Vec<Arc<str>>, SpecError> {
    let ids = texts(source, words);
    ids.iter()
        .map(|text| {
            let id = text.value.to_ascii_lowercase();
            let is_hex =
                id.len() >= 8 && id.len() % 2 == 0 && id.chars().all(|digit| digit.is_ascii_hexdigit());
            if is_hex {
                return Ok(id.into());
            }
            Err(text
                .error_whole(format!("`{}` is no build-id", text.value))
                .help("expected hexadecimal digits, as `readelf -n` shows them"))
        })
        .collect()
}

/// The function of CUDA that has this name, as CUPTI numbers them. The names of the runtime's callbacks end in the version that
/// brought them in their shape; of several, the latest is taken.
fn api_function(api: Api, signature: &Signature, at: Text) -> Result<ApiFunction, SpecError> {
    let name = signature.name.as_str();
    let cbid = match api {
        Api::Driver => DRIVER.into_iter().flatten().find(|cbid| cbid.name() == Some(name)).map(|cbid| cbid.0),
        Api::Runtime => {
            let is_named = |cbid: &&RuntimeCbid| {
                let shape = cbid.name().and_then(|known| known.strip_prefix(name)?.strip_prefix("_v"));
                shape.is_some_and(|version| version.chars().all(|digit| digit.is_ascii_digit()))
            };
            RUNTIME.into_iter().flatten().filter(is_named).map(|cbid| cbid.0).max()
        }
    };
    let is_runtime = api == Api::Runtime;
    let cbid = cbid.ok_or_else(|| {
        let api = if is_runtime { "runtime" } else { "driver" };
        at.error_whole(format!("`{name}` is no function of the {api} API that this agent knows"))
            .help("expected a launch, an allocation, a copy, a fill, a wait or a load of code, with its suffix (`_v2`, `_ptsz`)")
    })?;
    Ok(ApiFunction { is_runtime, cbid })
}
