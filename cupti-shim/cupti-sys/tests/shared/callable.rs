//! In: the name of an example. Out: its path, and the libraries that answer it without a driver and a GPU.
//! Refuses, with a sentence, what the machine cannot run.
//!
//! Two CUPTIs in one process disturb each other, so a test calls each from a process of its own: an example, which
//! Cargo builds along with the tests.

#![allow(clippy::unwrap_used, reason = "a broken fixture has to fail the test")]

use std::path::{Path, PathBuf};

use crate::libraries::{Library, fetch};

/// Releases that answer some calls without libcuda; 13.2 crashes, and later ones refuse.
const RELEASES: &[&str] = &["11.8.87", "12.0.146", "12.4.127", "12.8.90", "12.9.79", "13.0.85", "13.1.115"];

/// The libraries that can be called here.
pub(crate) fn libraries() -> Vec<Library> {
    if !cfg!(target_arch = "x86_64") {
        println!("skipped: the libraries are for x86_64");
        return Vec::new();
    }
    fetch(RELEASES)
}

/// Cargo puts examples beside the folder of the test programs.
pub(crate) fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    assert!(program.exists(), "{} is missing: cargo build -p cupti-sys --examples", program.display());
    program
}
