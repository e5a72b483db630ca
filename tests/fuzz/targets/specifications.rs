//! Probe specifications: whole files, and what is written in the three languages within.
//!
//! Enters: any text; its first letter says what of a specification it is. Leaves: the ways it went. Refuses: an error without
//! words, or one that points past the text.

use std::mem::discriminant;

use gpu_agent::probes::{SpecError, Specification};

use super::Run;
use super::program::{Ways, magnitude};

pub(super) fn make() -> Run {
    Box::new(|input| {
        let text = String::from_utf8_lossy(input);
        let (kind, rest) = text.split_at_checked(1).unwrap_or(("", ""));
        let probe = |signature: &str, more: &str| {
            format!(
                "engine = 'e'\nexecutable = true\n[types.s]\nsize = 24\nmembers.a = 'int64_t[2] @ 0'\n[[probe]]\nname = 'p'\nop = 'other'\nsymbol = 'f'\nsignature = '''{signature}'''\n{more}\n"
            )
        };
        let known = "void f(void* key, int n, s batch, ggml_tensor* t, at::Tensor& q, const std::string& name, long* sizes)";
        let file = match kind {
            "s" => probe(rest, ""),
            "e" => probe(known, &format!("fields.x = '''{rest}'''")),
            "t" => probe(known, &format!("tensors.key = {{ shape = '''{rest}''' }}")),
            "o" => probe(known, &format!("tensors.x = '''{rest}'''")),
            "m" => format!("engine = 'e'\n[types.s]\nsize = 4096\nmembers.a = '''{rest}'''\n"),
            _ => text.to_string(),
        };
        let mut ways = Ways::default();
        match Specification::parse("fuzzed.toml", &file) {
            Ok(specification) => {
                for probe in &specification.probes {
                    for explanation in specification.explain(probe) {
                        for place in explanation.places {
                            ways.note((place.arch, place.unavailable.is_some(), place.arguments.len()));
                            ways.note(("reads", place.entry.len(), place.exit.len()));
                        }
                    }
                }
            }
            Err(error) => refused(&file, &error, &mut ways),
        }
        ways.into_numbers()
    })
}

fn refused(file: &str, error: &SpecError, ways: &mut Ways) {
    assert!(!error.message.is_empty());
    assert!((1..=file.matches('\n').count() + 1).contains(&error.line), "line {} of {file:?}", error.line);
    assert!(!error.to_string().is_empty());
    // The words without what they quote tell one refusal from another.
    let words: String = error.message.split('`').step_by(2).collect();
    ways.note(words);
    ways.note((discriminant(&error.help), magnitude(error.column as u64)));
}
