//! Which functions a file has, and where.

use gpu_agent::event::Pid;
use gpu_agent::symbols::{Cache, Machine, Refusal, Table, process};

use super::rig::{PROGRAM, Running, Workshop, all, demangled, exact, names, one, open};

#[test]
fn functions_lie_where_programs_of_every_kind_have_them() {
    let workshop = Workshop::new();
    for (kind, options) in [
        ("pie", &["-O1", "-fPIE", "-pie"][..]),
        ("fixed", &["-O1", "-fno-pie", "-no-pie"]),
        ("static", &["-O1", "-static"]),
        ("static-pie", &["-O1", "-fPIE", "-static-pie"]),
        ("code-apart", &["-O1", "-Wl,-z,separate-code"]),
        ("code-not-apart", &["-O1", "-Wl,-z,noseparate-code"]),
        ("elsewhere", &["-O1", "-no-pie", "-fno-pie", "-Wl,-Ttext-segment=0x10000000"]),
    ] {
        let path = workshop.compile("cc", ("program.c", PROGRAM), kind, options);
        let running = Running::program(&path);
        let file = running.file(kind);
        let image = file.open().unwrap();
        assert_eq!(
            image.machine(),
            if cfg!(target_arch = "x86_64") { Machine::X86_64 } else { Machine::Aarch64 }
        );
        for (word, name) in ["work", "inner"].into_iter().enumerate() {
            let symbol = one(&image, exact(name));
            let address = running.address(word);
            assert_eq!(symbol.table, Table::Symtab);
            assert_eq!(file.address_of(symbol.file_offset), Some(address), "{name} of {kind}");
            assert_eq!(file.load_bias + symbol.file_offset, address, "{name} of {kind}");
        }
    }
}

#[test]
fn a_stripped_library_has_its_exported_functions_only() {
    let workshop = Workshop::new();
    let source = "static int hidden(int x) { return x + 1; } int shown(int x) { return hidden(x); }";
    let path = workshop.compile("cc", ("l.c", source), "l.so", &["-shared", "-fPIC", "-O0"]);
    assert_eq!(one(&open(&path), exact("hidden")).table, Table::Symtab);
    workshop.run("strip", &["l.so"]);
    let image = open(&path);
    assert_eq!(image.tables(), [Table::Dynsym]);
    assert_eq!(one(&image, exact("shown")).table, Table::Dynsym);
    assert!(all(&image, exact("hidden")).is_empty());
}

#[test]
fn several_names_of_one_place_are_one_function() {
    let workshop = Workshop::new();
    let source = "int walk(void) { return 1; } int stroll(void) __attribute__((alias(\"walk\"))); int walker(void) { return 2; }";
    let path = workshop.compile("cc", ("l.c", source), "l.so", &["-shared", "-fPIC"]);
    let image = open(&path);
    assert_eq!(one(&image, exact("walk")).address, one(&image, exact("stroll")).address);
    let [both, other] = &all(&image, demangled("*walk*"))[..] else { panic!() };
    assert_eq!((&*both.raw, both.aliases.len(), &*other.raw), ("walk", 0, "walker"));
    // C++ has every constructor twice.
    let source = "struct Thing { Thing(); int x; }; Thing::Thing() : x(3) {}";
    let path = workshop.compile("c++", ("l.cc", source), "c.so", &["-shared", "-fPIC"]);
    let constructor = one(&open(&path), demangled("Thing::Thing"));
    let mut names = [&*constructor.raw, &*constructor.aliases[0]];
    names.sort_unstable();
    assert_eq!(names, ["_ZN5ThingC1Ev", "_ZN5ThingC2Ev"]);
}

#[test]
fn every_version_of_a_function_is_found_and_each_by_its_name() {
    let workshop = Workshop::new();
    let source = r#"
        __asm__(".symver old, f@V1"); __asm__(".symver new, f@@V2");
        int old(void) { return 1; } int new(void) { return 2; } int plain(void) { return 3; }"#;
    let script = workshop.write("map", "V1 { f; }; V2 { f; plain; } V1;");
    let script = format!("-Wl,--version-script={}", script.to_str().unwrap());
    let path = workshop.compile("cc", ("l.c", source), "l.so", &["-shared", "-fPIC", &script]);
    for stripped in [false, true] {
        if stripped {
            workshop.run("strip", &["l.so"]);
        }
        let image = open(&path);
        let versions =
            |name| all(&image, exact(name)).into_iter().map(|symbol| symbol.version.unwrap().to_string());
        let mut both: Vec<_> = versions("f").collect();
        both.sort();
        assert_eq!(both, ["@@V2", "@V1"]);
        assert_eq!(versions("f@V1").collect::<Vec<_>>(), ["@V1"]);
        assert_eq!(versions("f@@V2").collect::<Vec<_>>(), ["@@V2"]);
        assert_eq!(versions("f@V2").collect::<Vec<_>>(), ["@@V2"]);
        assert!(all(&image, exact("f@@V1")).is_empty() && all(&image, exact("f@V3")).is_empty());
        assert_eq!(one(&image, exact("plain")).version.as_deref(), Some("@@V2"));
    }
}

#[test]
fn an_indirect_function_is_said_to_be_one() {
    let workshop = Workshop::new();
    let source = "static int f1(void) { return 1; } static void *pick(void) { return f1; }
        int f(void) __attribute__((ifunc(\"pick\"))); int g(void) { return 2; }";
    let image = open(&workshop.compile("cc", ("l.c", source), "l.so", &["-shared", "-fPIC"]));
    assert!(one(&image, exact("f")).is_ifunc);
    assert!(!one(&image, exact("g")).is_ifunc);
}

#[test]
fn plt_entries_parts_and_copies_are_not_the_function() {
    let workshop = Workshop::new();
    // In a program at a fixed place, the address of a library's function is that of its PLT entry, and the symbol has it.
    let source = "#include <stdio.h>\nint main(void) { printf(\"%p\\n\", (void *)puts); return 0; }";
    let path = workshop.compile("cc", ("p.c", source), "p", &["-O1", "-fno-pie", "-no-pie", "-fno-pic"]);
    let listed = workshop.run("readelf", &["-W", "--dyn-syms", "p"]);
    let puts = listed.lines().find(|line| line.contains(" puts@")).unwrap();
    let address = puts.split_whitespace().nth(1).unwrap();
    if cfg!(target_arch = "x86_64") {
        assert_ne!(address, "0000000000000000", "the linker made no such symbol:\n{listed}");
    }
    assert!(all(&open(&path), exact("puts")).is_empty());

    let source = "
        .text\n.globl f, f.cold, f.part.0, f.constprop.1, f.llvm.77, _ZThn8_N1A1fEv\n
        .type f,@function\n.type f.cold,@function\n.type f.part.0,@function\n.type f.constprop.1,@function
        .type f.llvm.77,@function\n.type _ZThn8_N1A1fEv,@function
        f: nop\n f.cold: nop\n f.part.0: nop\n f.constprop.1: nop\n f.llvm.77: nop\n _ZThn8_N1A1fEv: nop\n
        .section .note.GNU-stack,\"\",%progbits\n";
    let image = open(&workshop.compile("cc", ("l.s", source), "l.so", &["-shared"]));
    let [whole, renamed] = &all(&image, exact("f"))[..] else { panic!() };
    assert_eq!((whole.address + 4, &*renamed.raw), (renamed.address, "f"));
    assert_eq!(whole.size_bytes, 0, "the file does not say");
    assert!(image.returns(whole).unwrap_err().to_string().contains("size is not known"));
    assert!(all(&image, demangled("*A::f")).is_empty());
}

#[test]
fn names_that_end_alike_share_their_text_and_are_all_found() {
    let workshop = Workshop::new();
    let source = "int wide_work(void) { return 1; } int work(void) { return 2; } int k(void) { return 3; }";
    let image = open(&workshop.compile("cc", ("l.c", source), "l.so", &["-shared", "-fPIC"]));
    for name in ["wide_work", "work", "k"] {
        assert_eq!(&*one(&image, exact(name)).raw, name);
    }
    assert_eq!(
        names(&image, demangled("*work")).iter().map(|name| &**name).collect::<Vec<_>>(),
        ["wide_work", "work"]
    );
}

#[test]
fn a_pattern_that_matches_too_many_is_refused_with_their_number() {
    let workshop = Workshop::new();
    let source: String =
        (0..100).map(|number| format!("int probe_{number}(void) {{ return {number}; }}\n")).collect();
    let image = open(&workshop.compile("cc", ("l.c", &source), "l.so", &["-shared", "-fPIC"]));
    let patterns = [demangled("probe_*"), demangled("probe_1*"), exact("probe_2")];
    let answers = image.lookup(&Cache::disabled(), &patterns).unwrap();
    assert_eq!(answers[0], Err(Refusal::TooMany { count: 100 }));
    assert_eq!(answers[1].as_ref().unwrap().len(), 11);
    assert_eq!(answers[2].as_ref().unwrap().len(), 1);
}

#[test]
fn the_system_has_what_nm_says() {
    let workshop = Workshop::new();
    let files = process::mapped(Pid(std::process::id())).unwrap();
    let libc = files.iter().find(|file| file.shown.contains("/libc.so")).unwrap();
    let image = libc.open().unwrap();
    let listed = workshop.run("nm", &["-D", "--defined-only", &libc.shown]);
    let functions: Vec<(u64, &str)> = listed
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            matches!(words.next()?, "T" | "W" | "i").then_some((address, words.next()?))
        })
        .collect();
    assert!(functions.len() > 1000);
    for chunk in functions.chunks(1000) {
        let patterns: Vec<_> = chunk.iter().map(|(_, name)| exact(name)).collect();
        let answers = image.lookup(&Cache::disabled(), &patterns).unwrap();
        for ((address, name), answer) in chunk.iter().zip(answers) {
            let [symbol] = &answer.unwrap()[..] else { panic!("{name}") };
            assert_eq!(symbol.address, *address, "{name}");
        }
    }
    let ls = std::fs::canonicalize("/bin/ls").unwrap();
    assert!(all(&open(&ls), exact("malloc")).is_empty(), "it is the C library's");
}
