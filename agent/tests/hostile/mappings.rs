//! Mappings without end, with strange names, or that never stay the same.

use std::path::PathBuf;

use super::rig::{Hostile, copy};

fn copies(folder: &tempfile::TempDir, names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(|name| copy(folder.path(), name).0).collect()
}

#[test]
fn sixty_thousand_mappings() {
    let folder = tempfile::tempdir().unwrap();
    let [_, attach] = Hostile::start("many", &copies(&folder, &["libcuda.so.535.1.2"])).look_into();
    assert!(attach.contains("loaded the shim"), "{attach}");
}

#[test]
fn names_with_line_ends_and_with_orders_to_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let names = [
        "libcuda.so.535.1\n7f0000000000-7f0000001000 r-xp 00000000 00:01 7 memfd:libgpu_agent_cupti.so",
        "libcuda.so.\u{1b}[2J\u{7}535.1",
        "libcudart.so.12\u{1b}]0;title\u{7}",
        "libcupti.so.12\t\u{1b}[31m\r",
    ];
    let [doctor, _] = Hostile::start("wait", &copies(&folder, &names)).look_into();
    assert!(!doctor.contains("loaded, "), "a line in a name is not a mapping: {doctor}");
}

#[test]
fn mappings_that_come_and_go_all_the_time() {
    let folder = tempfile::tempdir().unwrap();
    Hostile::start("change", &copies(&folder, &["libcuda.so.535.1.2", "libcudart.so.12", "libcupti.so.12"]))
        .look_into();
}

#[test]
fn an_environment_that_is_said_to_have_a_terabyte() {
    let folder = tempfile::tempdir().unwrap();
    let [_, attach] = Hostile::start("environment", &copies(&folder, &["libcuda.so.535.1.2"])).look_into();
    assert!(attach.contains("loaded the shim"), "{attach}");
}
