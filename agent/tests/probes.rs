//! `gpu-agent probes`, as docs/probes.md teaches it: the document's program is compiled, its specification is checked against it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must say so at once"
)]

use std::path::Path;
use std::process::{Child, Command, Output};

use gpu_agent::probes::Specification;

const DOCUMENT: &str = include_str!("../../docs/probes.md");

/// The blocks of the document in one language.
fn blocks(language: &str) -> Vec<&'static str> {
    let opening = format!("```{language}\n");
    DOCUMENT.split(&opening).skip(1).map(|after| after.split("```").next().unwrap()).collect()
}

/// The document's engine, compiled, and its specification.
fn toy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("toy.c"), blocks("c")[0]).unwrap();
    std::fs::write(folder.path().join("toy.toml"), blocks("toml")[0]).unwrap();
    let compiled = Command::new("cc").args(["-O1", "-o", "toy", "toy.c"]).current_dir(&folder).status();
    assert!(compiled.unwrap().success());
    folder
}

/// The document's specification with the mistake that it shows.
fn write_mistake(folder: &Path) {
    let mistake = blocks("toml")[0].replace("\"batch.n_tokens\"", "\"batch.token_count\"");
    std::fs::write(folder.join("mistake.toml"), mistake).unwrap();
}

fn agent(folder: &Path, arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-agent"));
    command.args(arguments.split(' ')).current_dir(folder).env_remove("GPU_AGENT_PROBES");
    command.output().unwrap()
}

/// Whether this process may load BPF programs; says so where it may not.
fn may_probe() -> bool {
    let is_root =
        std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root {
        println!("skipped: only root may attach probes");
    }
    is_root
}

/// Text in which addresses are not what they were.
fn without_addresses(text: &str) -> String {
    let mut found = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("0x") {
        found.push_str(before);
        found.push_str("0x…");
        rest = after.trim_start_matches(|digit: char| digit.is_ascii_hexdigit());
    }
    found + rest
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn the_commands_of_the_document_print_what_it_says() {
    let folder = toy();
    let sessions = blocks("console");
    assert_eq!(sessions.len(), 3);
    for session in sessions {
        if session.contains("mistake.toml") {
            write_mistake(folder.path());
        }
        let (command, wanted) = session.strip_prefix("$ gpu-agent ").unwrap().split_once('\n').unwrap();
        let output = agent(folder.path(), command);
        let found = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        let (found, wanted) = (without_addresses(&found), without_addresses(wanted));
        assert!(found.starts_with(&wanted), "{command}\nwanted:\n{wanted}\nfound:\n{found}");
    }
}

#[test]
fn a_process_is_checked_like_its_file() {
    let folder = toy();
    let process = Running(Command::new(folder.path().join("toy")).spawn().unwrap());
    let of_process = agent(folder.path(), &format!("probes check toy.toml --json --pid {}", process.0.id()));
    let of_file = agent(folder.path(), "probes check toy.toml --json --binary toy");
    assert_eq!((of_process.status.code(), of_file.status.code()), (Some(0), Some(0)));
    let json = |output: &Output| -> serde_json::Value { serde_json::from_slice(&output.stdout).unwrap() };
    let (of_process, of_file) = (json(&of_process), json(&of_file));
    assert_eq!(of_process["attaches"].as_array().unwrap().len(), 2);
    for (one, other) in
        of_process["attaches"].as_array().unwrap().iter().zip(of_file["attaches"].as_array().unwrap())
    {
        for key in ["probe", "op", "symbol", "address", "table", "exit", "arguments"] {
            assert_eq!(one[key], other[key], "{key}");
        }
        assert!(one["file"].as_str().unwrap().ends_with("/toy"));
    }
}

#[test]
fn the_documents_engine_is_seen_while_it_runs() {
    if !may_probe() {
        return;
    }
    let folder = toy();
    let specifications = folder.path().join("specifications");
    std::fs::create_dir(&specifications).unwrap();
    std::fs::copy(folder.path().join("toy.toml"), specifications.join("toy.toml")).unwrap();
    let process = Running(Command::new(folder.path().join("toy")).spawn().unwrap());
    let options = "--probes specifications --probe-engines toy --probe-cache off --listen off";
    let output = agent(
        folder.path(),
        &format!("attach --pid {} {options} --duration 2s --json-log log --log-filter debug", process.0.id()),
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events = |target: &str, probe: &str| -> Vec<&serde_json::Value> {
        let is_wanted = |line: &&serde_json::Value| {
            line["target"] == target && line["probe"] == probe && line["level"] == "DEBUG"
        };
        lines.iter().filter(is_wanted).collect()
    };
    let decodes = events("op", "decode");
    assert!(decodes.len() > 50, "{} calls", decodes.len());
    for pair in decodes.windows(2) {
        let [before, after] = [&pair[0], &pair[1]].map(|line| line["n_tokens"].as_i64().unwrap());
        assert_eq!(after, before % 16 + 1, "each call is there once, in order");
        assert_eq!(pair[0]["failed"].as_bool().unwrap(), before > 8);
    }
    let shown: serde_json::Value = serde_json::from_str(blocks("json")[0]).unwrap();
    let tensors = events("tensor_metrics", "write_cache");
    assert!(tensors.len() > 50, "{} tensors", tensors.len());
    for tensor in tensors {
        for (key, value) in shown.as_object().unwrap() {
            assert_eq!(&tensor[key], value, "{key}");
        }
    }
}

#[test]
fn a_stripped_program_is_said_to_have_no_such_symbol() {
    let folder = toy();
    let stripped = Command::new("strip").args(["-o", "bare", "toy"]).current_dir(&folder).status().unwrap();
    assert!(stripped.success());
    let output = agent(folder.path(), "probes check toy.toml --binary bare");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("bare: no symbol toy_decode; the file is stripped"), "{text}");
}

#[test]
fn what_cannot_be_looked_at_is_status_2_and_said() {
    let folder = toy();
    write_mistake(folder.path());
    for (command, words) in [
        ("probes check mistake.toml --binary toy", "`token_count` is no member of batch"),
        ("probes check absent.toml --binary toy", "cannot read probe specifications at absent.toml"),
        ("probes check toy.toml --pid 4294967295", "cannot read /proc/4294967295/maps"),
        ("probes explain nothing", "there is no probe `nothing`"),
        ("probes check toy.toml", "--pid <PID>"),
    ] {
        let output = agent(folder.path(), command);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{command}: {text}");
        assert!(text.contains(words), "{command}: {text}");
    }
    let output = agent(folder.path(), "probes check toy.toml --binary toy.c");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("it is no ELF file"), "{text}");
}

#[test]
fn every_specification_in_the_document_type_checks() {
    for block in blocks("toml") {
        let head = if block.contains("engine =") { "" } else { "engine = \"e\"\nexecutable = true\n" };
        if let Err(error) = Specification::parse("docs/probes.md", &format!("{head}{block}")) {
            panic!("{error}");
        }
    }
}

/// The names that a refusal of an unknown key lists.
fn keys(text: &str) -> Vec<String> {
    let error = Specification::parse("x", text).unwrap_err();
    let (_, names) = error.message.split_once("expected one of ").unwrap_or_else(|| panic!("{error}"));
    names.split(", ").map(|name| name.trim_matches('`').to_owned()).collect()
}

#[test]
fn the_document_names_every_key_operation_type_and_table() {
    let section = |title: &str| {
        let (_, after) = DOCUMENT.split_once(&format!("### {title}\n")).unwrap();
        after.split("\n### ").next().unwrap()
    };
    let probe = "engine = \"e\"\n[[probe]]\nname = \"p\"\n";
    for (title, text) in [
        ("Keys of a probe", format!("{probe}x = 1")),
        ("Versions", format!("{probe}[[probe.variant]]\nx = 1")),
        ("Versions", format!("{probe}when = [{{ x = 1 }}]")),
        ("Types", "engine = \"e\"\n[types.a]\nx = 1".to_owned()),
    ] {
        for key in keys(&text) {
            assert!(
                section(title).contains(&format!("`{key}"))
                    || section(title).contains(&format!("{key} ="))
                    || section(title).contains(&format!("[[probe.{key}]]")),
                "{title}: {key}"
            );
        }
    }
    for key in keys(&format!("{probe}tensors.a = {{ x = 1 }}")) {
        assert!(key == "reader" || section("Tensors").contains(&format!("| `{key}` |")), "{key}");
    }
    for class in gpu_agent::event::OpClass::ALL {
        assert!(section("Keys of a probe").contains(&format!("`{}`", class.name())), "{}", class.name());
    }
    let prelude = include_str!("../src/probes/prelude.toml");
    let document: toml::Table = prelude.parse().unwrap();
    for kind in ["types", "tables"] {
        for name in document[kind].as_table().unwrap().keys() {
            assert!(section("The prelude").contains(&format!("`{name}`")), "{kind}.{name}");
        }
    }
}
