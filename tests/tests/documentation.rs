//! What the documents promise exists: files they link to, metrics they name, flags they mention, make targets.
//!
//! Enters: the Markdown files of the repository. Leaves: nothing. Refuses: a name that nothing answers to.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use gpu_agent_tests::programs::{program, repository};

/// Files for users, by their paths in the repository.
const DOCUMENTS: [&str; 8] = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/design.md",
    "docs/operating.md",
    "docs/performance.md",
    "docs/metrics.md",
    "docs/logs.md",
];

fn read(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Words of letters, digits and `extra`.
fn words<'a>(text: &'a str, extra: &'a [char]) -> impl Iterator<Item = &'a str> {
    text.split(move |c: char| !(c.is_ascii_alphanumeric() || extra.contains(&c)))
        .filter(|word| !word.is_empty())
}

#[test]
fn links_lead_to_files() {
    for document in DOCUMENTS {
        let text = read(document);
        let folder = Path::new(document).parent().unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            if !file.is_empty() && !file.contains("://") {
                let path: PathBuf = repository().join(folder).join(file);
                assert!(path.exists(), "{document} links to {link}");
            }
        }
    }
}

#[test]
fn metrics_that_are_named_in_prometheus_form_exist() {
    let reference = read("docs/metrics.md");
    let known: BTreeSet<&str> = words(&reference, &['_']).collect();
    for document in ["README.md", "docs/operating.md"] {
        let text = read(document);
        let named = words(&text, &['_']).filter(|word| {
            let family =
                ["gpu_", "paged_attention_", "cache_update_"].iter().any(|prefix| word.starts_with(prefix));
            let suffix = ["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| word.ends_with(suffix));
            family && suffix
        });
        for name in named {
            let histogram =
                name.trim_end_matches("_sum").trim_end_matches("_count").trim_end_matches("_bucket");
            assert!(known.contains(name) || known.contains(histogram), "{document} names {name}");
        }
    }
}

#[test]
fn flags_that_are_mentioned_exist() {
    let help = |arguments: &[&str]| {
        let output = Command::new(program("gpu-agent")).args(arguments).arg("--help").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let commands = ["run", "attach", "detach", "yield", "doctor", "bench"];
    let all = commands.map(|command| help(&[command])).concat();
    let known: BTreeSet<&str> = words(&all, &['-']).filter(|word| word.starts_with("--")).collect();
    for document in ["README.md", "docs/operating.md"] {
        let text = read(document);
        for flag in words(&text, &['-']).filter(|word| word.starts_with("--") && word.len() > 2) {
            let tables = flag.chars().all(|c| c == '-');
            assert!(tables || known.contains(flag), "{document} mentions {flag}");
        }
    }
}

#[test]
fn make_targets_that_are_mentioned_exist() {
    let makefile = read("Makefile");
    for document in DOCUMENTS {
        let text = read(document);
        for target in text.split("make ").skip(1).filter(|rest| !rest.starts_with(char::is_uppercase)) {
            let target = words(target, &['-']).next().unwrap_or_default();
            let quoted =
                text.contains(&format!("`make {target}")) || text.contains(&format!("    make {target}"));
            assert!(
                !quoted || makefile.contains(&format!("\n{target}: ")),
                "{document} mentions make {target}"
            );
        }
    }
}
