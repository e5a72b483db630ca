//! Programs and specifications that do not fit.
//!
//! Enters: a program without symbols, one with a name twice, globs without end. Leaves: nothing. Refuses: a guess, and a search
//! that takes for ever.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use gpu_agent_tests::programs;

use super::rig::{self, CLIMB, Program};

/// `gpu-agent probes check` of a specification on a program.
fn check(specification: &str, program: &Path) -> (String, Output) {
    let folder = rig::folder_of(specification);
    let mut command = Command::new(programs::program("gpu-agent"));
    command.args(["probes", "check"]).arg(folder.path().join("test.toml")).arg("--binary").arg(program);
    let output = command.output().unwrap();
    let words =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    assert!(!words.contains("panicked"), "{words}");
    (words, output)
}

/// jumping.c with a second climb(), which is another file's own.
fn with_two() -> Program {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.c");
    let source = "static __attribute__((noinline, noclone, used)) long climb(long at) { return at * 7; }\n";
    std::fs::write(&other, source).unwrap();
    let jumping = programs::repository().join("tests/tests/probe_faults/targets/jumping.c");
    Program::compiled(&jumping, &[other.to_str().unwrap()])
}

#[test]
fn a_program_without_symbols_is_said_to_have_none() {
    let program = Program::of("jumping.c");
    assert!(Command::new("strip").arg("-s").arg(&program.path).status().unwrap().success());
    let (words, output) = check(CLIMB, &program.path);
    assert!(!output.status.success(), "{words}");
    assert!(words.contains("climb") && words.contains("stripped"), "{words}");
}

#[test]
fn a_function_that_is_there_twice_is_refused_with_its_places_unless_all_are_wanted() {
    let program = with_two();
    let (words, output) = check(CLIMB, &program.path);
    assert!(!output.status.success(), "{words}");
    assert!(words.contains("2 addresses") && words.contains("matches = \"all\""), "{words}");

    let (words, output) = check(&CLIMB.replace("op =", "matches = \"all\"\nop ="), &program.path);
    assert!(output.status.success(), "{words}");
    assert_eq!(words.matches(".symtab").count(), 2, "{words}");
}

#[test]
fn globs_of_any_length_and_any_number_of_stars_are_searched_for_or_refused_in_no_time() {
    // The agent's own program: some ten thousand functions.
    let program = programs::program("gpu-agent");
    let huge = "*a".repeat(50_000);
    let stars = format!("{}x", "*a*".repeat(40));
    for glob in [&*huge, &*stars, "*a*e*i*o*u*", "*"] {
        let specification = CLIMB.replace("op =", &format!("symbol = \"{glob}\"\nop ="));
        let started = Instant::now();
        check(&specification, &program);
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "{:?} for {}",
            started.elapsed(),
            &glob[..glob.len().min(20)]
        );
    }
}
