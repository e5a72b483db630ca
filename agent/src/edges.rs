//! The import edges of the crate, checked against its source.
//!
//! Enters: the source files. Leaves: nothing. Refuses: an import that no rule allows.

use std::collections::BTreeSet;
use std::path::Path;

/// Each stage, and the modules of this crate that it may import besides itself.
const ALLOWED: &[(&str, &[&str])] = &[
    ("event", &[]),
    ("semconv", &[]),
    ("clock", &[]),
    ("cuda", &[]),
    ("demangle", &[]),
    ("maps", &[]),
    ("root", &[]),
    ("classes", &["demangle"]),
    ("health", &[]),
    ("terminal", &[]),
    ("identity", &["event"]),
    ("decode", &["event"]),
    ("probes", &["event", "symbols"]),
    ("correlate", &["event", "probes", "semconv"]),
    ("aggregate", &["event", "semconv", "classes", "cuda"]),
    ("capability", &[]),
    ("symbols", &["event", "demangle", "maps", "root"]),
    ("inject", &["event", "identity", "capability", "maps", "root", "symbols"]),
    ("doctor", &["event", "identity", "capability", "inject", "root", "source", "symbols", "terminal"]),
    ("source", &["event", "identity", "capability", "classes", "decode", "inject", "maps", "probes"]),
    // Configuration is declared where it is used, so exporters know its macro and its values.
    ("export", &["event", "semconv", "clock", "classes", "aggregate", "config"]),
    ("table", &["event", "semconv", "aggregate", "pipeline", "source"]),
];

/// Files of a module: `name.rs` and all below `name/`, without files of tests.
fn files(module: &str) -> Vec<std::path::PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = vec![source.join(format!("{module}.rs"))];
    let mut folders = vec![source.join(module)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name != "tests.rs") {
                found.push(path);
            }
        }
    }
    found
}

/// The modules that a file imports or names by `crate::`, without its tests.
fn imports(path: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let code: String = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| format!("{line}\n"))
        .collect();
    let mut modules = BTreeSet::new();
    for (_, after) in code.match_indices("crate::").map(|(at, found)| code.split_at(at + found.len())) {
        let list =
            after.strip_prefix('{').and_then(|list| list.split_once("};")).map_or(after, |(list, _)| list);
        let names: Vec<&str> = if list.len() < after.len() { list.split(',').collect() } else { vec![after] };
        for name in names {
            let name = name.trim_start();
            let end =
                name.find(|letter: char| !letter.is_ascii_lowercase() && letter != '_').unwrap_or(name.len());
            modules.insert(name[..end].to_owned());
        }
    }
    modules.remove("");
    modules
}

#[test]
fn later_stages_never_import_earlier_ones() {
    for &(module, allowed) in ALLOWED {
        for path in files(module) {
            for import in imports(&path) {
                assert!(
                    import == module || allowed.contains(&import.as_str()),
                    "{} imports {import}; {module} may import {allowed:?}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn the_pure_stages_know_no_file_no_thread_and_no_clock() {
    for module in ["decode", "correlate", "aggregate", "event", "semconv"] {
        for path in files(module) {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for word in [
                "std::fs",
                "std::thread",
                "Instant",
                "SystemTime",
                "tokio::",
                "tracing::",
                "std::env",
                "rustix::",
            ] {
                assert!(!code.contains(word), "{} names {word}", path.display());
            }
        }
    }
}

#[test]
fn the_check_sees_what_it_should() {
    let found = imports(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pipeline/snapshots.rs"));
    for module in ["aggregate", "classes", "clock", "event", "export", "health", "cuda", "self_metrics"] {
        assert!(found.contains(module), "{module} is not among {found:?}");
    }
}
