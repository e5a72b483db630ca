//! Symbols that were taken out of a file.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use gpu_agent::symbols::{Cache, Image, Problem, Table};

use super::rig::{PROGRAM, Workshop, all, exact, one, open};

/// A program and its debug file, `program.debug`; what the program's `inner` should be.
fn parted(workshop: &Workshop, build_id: &str) -> (PathBuf, gpu_agent::symbols::Symbol) {
    let path = workshop.compile("cc", ("p.c", PROGRAM), "program", &["-O1", "-g", build_id]);
    let whole = one(&open(&path), exact("inner"));
    workshop.run("objcopy", &["--only-keep-debug", "program", "program.debug"]);
    workshop.run("strip", &["--strip-all", "program"]);
    assert!(all(&open(&path), exact("inner")).is_empty());
    (path, whole)
}

fn same_place(image: &Image, expected: &gpu_agent::symbols::Symbol, table: Table) {
    let found = one(image, exact("inner"));
    assert_eq!(
        (found.address, found.file_offset, found.size_bytes),
        (expected.address, expected.file_offset, expected.size_bytes)
    );
    assert_eq!(found.table, table);
    assert_eq!(image.returns(&found).unwrap().offsets.len(), 1, "the code is the stripped file's");
}

/// Where the debug file of `image` lies in a root.
fn by_id(root: &Path, image: &Image) -> PathBuf {
    let id = image.build_id().unwrap().to_string();
    root.join("usr/lib/debug/.build-id").join(&id[..2]).join(format!("{}.debug", &id[2..]))
}

#[test]
fn a_debug_file_is_found_by_build_id_in_the_root_of_the_process() {
    let workshop = Workshop::new();
    let (path, expected) = parted(&workshop, "-Wl,--build-id");
    let root = workshop.path("root");
    let image = open(&path);
    let place = by_id(&root, &image);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    // An absolute link, as packages make them, means the same in that root as to the process.
    workshop.write("root/store/p", fs::read(workshop.path("program.debug")).unwrap());
    symlink("/store/p", &place).unwrap();
    let image = Image::open_under(&path, "program", &root).unwrap();
    same_place(&image, &expected, Table::DebugFile);
    // From the cache, too, until the debug file is another.
    let cache = Cache::at(workshop.path("cache"));
    let pattern = [exact("inner")];
    let first = image.lookup(&cache, &pattern).unwrap();
    assert_eq!(Image::open_under(&path, "program", &root).unwrap().lookup(&cache, &pattern).unwrap(), first);
    assert_eq!(cache.stats().hits, 1);
    fs::remove_file(&place).unwrap();
    assert!(open(&path).lookup(&cache, &pattern).unwrap()[0].as_ref().unwrap().is_empty());
    assert_eq!(cache.stats().hits, 1);
}

#[test]
fn links_do_not_lead_out_of_the_root() {
    let workshop = Workshop::new();
    let (path, _) = parted(&workshop, "-Wl,--build-id");
    let root = workshop.path("root");
    let place = by_id(&root, &open(&path));
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    for target in [workshop.path("program.debug"), PathBuf::from("../../../../../../program.debug")] {
        let _ = fs::remove_file(&place);
        symlink(target, &place).unwrap();
        let image = Image::open_under(&path, "program", &root).unwrap();
        assert!(all(&image, exact("inner")).is_empty());
    }
}

#[test]
fn a_debug_file_is_found_by_link_beside_the_file_and_in_its_folders() {
    let workshop = Workshop::new();
    let (path, expected) = parted(&workshop, "-Wl,--build-id=none");
    workshop.run("objcopy", &["--add-gnu-debuglink=program.debug", "program"]);
    assert!(open(&path).build_id().is_none());
    same_place(&open(&path), &expected, Table::DebugFile);
    let folder = path.parent().unwrap();
    fs::create_dir(folder.join(".debug")).unwrap();
    fs::rename(folder.join("program.debug"), folder.join(".debug/program.debug")).unwrap();
    same_place(&open(&path), &expected, Table::DebugFile);
    // As a process in a container shows it.
    let debug = workshop.path("root/usr/lib/debug/opt/engine");
    fs::create_dir_all(&debug).unwrap();
    fs::rename(folder.join(".debug/program.debug"), debug.join("program.debug")).unwrap();
    let image = Image::open_under(&path, "/opt/engine/program (deleted)", &workshop.path("root")).unwrap();
    same_place(&image, &expected, Table::DebugFile);
}

#[test]
fn a_debug_file_of_another_build_is_refused() {
    let workshop = Workshop::new();
    let (path, _) = parted(&workshop, "-Wl,--build-id=none");
    workshop.run("objcopy", &["--add-gnu-debuglink=program.debug", "program"]);
    let mut debug = fs::read(workshop.path("program.debug")).unwrap();
    *debug.last_mut().unwrap() ^= 1;
    fs::write(workshop.path("program.debug"), debug).unwrap();
    let image = open(&path);
    assert!(matches!(image.debug_file_problem(), Some(Problem::Foreign)));
    assert!(all(&image, exact("inner")).is_empty());

    let workshop = Workshop::new();
    let (path, _) = parted(&workshop, "-Wl,--build-id=0x1234567890");
    let root = workshop.path("root");
    let place = by_id(&root, &open(&path));
    assert!(place.ends_with("12/34567890.debug"));
    workshop.compile("cc", ("p.c", PROGRAM), "other", &["-Wl,--build-id=0x1234567891"]);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::copy(workshop.path("other"), &place).unwrap();
    let image = Image::open_under(&path, "program", &root).unwrap();
    assert!(matches!(image.debug_file_problem(), Some(Problem::Foreign)));
    // One without symbols is no help, either.
    fs::copy(&path, &place).unwrap();
    let image = Image::open_under(&path, "program", &root).unwrap();
    assert!(matches!(image.debug_file_problem(), Some(Problem::NoSymbols)));
}

/// Puts `packed` into the program as its `.gnu_debugdata`.
fn embed(workshop: &Workshop, packed: &str) -> Image {
    let section = format!(".gnu_debugdata={packed}");
    workshop.run("objcopy", &["--add-section", &section, "program", "embedded"]);
    open(&workshop.path("embedded"))
}

#[test]
fn mini_debuginfo_is_unpacked() {
    let workshop = Workshop::new();
    let (_, expected) = parted(&workshop, "-Wl,--build-id");
    workshop.run(
        "objcopy",
        &["-S", "--remove-section", ".comment", "--keep-symbol=inner", "program.debug", "mini"],
    );
    workshop.run("xz", &["mini"]);
    let image = embed(&workshop, "mini.xz");
    assert_eq!(image.tables(), [Table::Dynsym, Table::MiniDebugInfo]);
    same_place(&image, &expected, Table::MiniDebugInfo);
    let cache = Cache::at(workshop.path("cache"));
    let first = image.lookup(&cache, &[exact("inner")]).unwrap();
    assert_eq!(image.lookup(&cache, &[exact("inner")]).unwrap(), first);
    assert_eq!(cache.stats().hits, 1);
}

#[test]
fn mini_debuginfo_that_is_broken_or_without_end_is_refused() {
    let workshop = Workshop::new();
    parted(&workshop, "-Wl,--build-id");
    workshop.write("broken.xz", b"\xfd7zXZ\0\0\0nothing");
    assert!(matches!(embed(&workshop, "broken.xz").debug_file_problem(), Some(Problem::Unpack { .. })));
    // 256 MB of zeros, in some 40 kB.
    workshop.run("sh", &["-c", "head -c 256M /dev/zero | xz -1 > bomb.xz"]);
    assert!(matches!(embed(&workshop, "bomb.xz").debug_file_problem(), Some(Problem::TooLarge { .. })));
    // A dictionary of 1.5 GiB is not set aside.
    workshop.run("sh", &["-c", "echo x | xz --lzma2=preset=0,dict=1536MiB --memlimit=0 > wide.xz"]);
    assert!(matches!(embed(&workshop, "wide.xz").debug_file_problem(), Some(Problem::Unpack { .. })));
}
