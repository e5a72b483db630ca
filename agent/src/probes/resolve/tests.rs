//! Processes that are made up: what attaches, what does not, and the reasons.

use std::collections::BTreeMap;

use super::*;
use crate::probes::plan::Exit;
use crate::symbols::{Pattern, Returns, Symbol};

/// Files by path, each with functions (name, address) and a build-id.
#[derive(Default)]
struct Fakes(BTreeMap<&'static str, Fake>);

#[derive(Clone, Default)]
struct Fake {
    functions: Vec<(&'static str, u64)>,
    build_id: Option<&'static str>,
    tail_calls: bool,
    is_unreadable: bool,
}

impl Binaries for Fakes {
    fn open<'a>(&'a self, candidate: &Candidate) -> Result<Box<dyn Binary + 'a>, String> {
        let fake = self.0.get(&*candidate.shown).unwrap();
        if fake.is_unreadable {
            return Err(format!("{}: it is no ELF file", candidate.shown));
        }
        Ok(Box::new(fake.clone()))
    }
}

impl Binary for Fake {
    fn arch(&self) -> Arch {
        Arch::X86_64
    }

    fn build_id(&self) -> Option<String> {
        self.build_id.map(str::to_owned)
    }

    fn find(&self, patterns: &[Pattern]) -> Result<Vec<Result<Vec<Symbol>, String>>, String> {
        let matches = |pattern: &Pattern, name: &str| match pattern {
            Pattern::Exact(exact) => exact == name,
            Pattern::Demangled(glob) => glob_matches(glob, name),
        };
        let symbol = |&(name, address): &(&'static str, u64)| Symbol {
            raw: name.into(),
            demangled: name.into(),
            aliases: Vec::new(),
            version: None,
            address,
            file_offset: address - 0x1000,
            size_bytes: 16,
            is_ifunc: name.ends_with("_ifunc"),
            table: Table::Symtab,
            number: 0,
            cold: Vec::new(),
        };
        Ok(patterns
            .iter()
            .map(|pattern| match pattern {
                Pattern::Demangled(glob) if glob == "wide*" => Err("make the pattern narrower".to_owned()),
                _ => Ok(self.functions.iter().filter(|one| matches(pattern, one.0)).map(symbol).collect()),
            })
            .collect())
    }

    fn returns(&self, symbol: &Symbol) -> Result<Returns, String> {
        Ok(Returns {
            offsets: vec![symbol.file_offset + 8],
            tail_call: self.tail_calls,
            computed_jump: false,
        })
    }
}

/// Resolves one specification for `/bin/program`, which maps `files`.
fn resolved(probes: &str, files: &[(&'static str, Fake)], options: Options) -> Resolution {
    let text = format!("engine = \"e\"\nlibraries = [\"libx*.so\"]\n{probes}");
    let specification = Specification::parse("e.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    let candidates: Vec<Candidate> = files
        .iter()
        .map(|(path, _)| Candidate {
            path: path.into(),
            shown: (*path).into(),
            load_bias: 0x7000,
            is_executable: *path == "/bin/program",
        })
        .collect();
    resolve(&[specification], &candidates, &Fakes(files.iter().cloned().collect()), options)
}

fn with(functions: &[(&'static str, u64)]) -> Fake {
    Fake { functions: functions.to_vec(), ..Fake::default() }
}

/// The names of what was found, and the reasons for what was not.
fn summary(resolution: &Resolution) -> (Vec<String>, Vec<String>) {
    let found = resolution
        .found
        .iter()
        .map(|found| format!("{} {} {:#x}", found.info.name, found.symbol, found.address));
    let missing = resolution.missing.iter().map(|missing| format!("{}: {}", missing.probe, missing.why));
    (found.collect(), missing.collect())
}

const F: &str = "[[probe]]\nname = \"p\"\nop = \"other\"\nsignature = \"int f(int x)\"\nfields.x = \"x\"\n";

#[test]
fn a_function_is_found_in_the_file_that_is_named() {
    let files =
        [("/lib/libother.so", with(&[("f", 0x9000)])), ("/lib/libx-1.so (deleted)", with(&[("f", 0x2000)]))];
    let found = resolved(F, &files, Options::default());
    assert_eq!(summary(&found), (vec!["p f 0x2000".to_owned()], vec![]));
    let plan = &found.plans[0];
    assert_eq!((plan.file.to_str(), plan.load_bias), (Some("/lib/libx-1.so (deleted)"), 0x7000));
    assert_eq!(plan.probes[0].entry_offset, 0x1000);
    assert_eq!(found.found[0].arguments, [("x".into(), "i32".to_owned(), "rdi".to_owned())]);
    assert!(
        matches!(&plan.probes[0].exit, Exit::Trampoline(program) if program.phase == gpu_agent_ebpf_abi::phase::RETURNED)
    );
}

#[test]
fn the_program_itself_is_looked_into_only_if_the_specification_says_so() {
    let files = [("/bin/program", with(&[("f", 0x2000)]))];
    let (found, missing) = summary(&resolved(F, &files, Options::default()));
    assert_eq!(
        (found.len(), missing),
        (0, vec!["p: no file is mapped that it looks into (libx*.so)".to_owned()])
    );
    let with_executable = F.replace("op =", "executable = true\nop =");
    assert_eq!(summary(&resolved(&with_executable, &files, Options::default())).0, ["p f 0x2000"]);
}

#[test]
fn each_reason_not_to_attach_is_said() {
    let probe = |more: &str| F.to_owned() + more;
    let twice = with(&[("f", 0x2000), ("f", 0x3000)]);
    for (probes, fake, reason) in [
        (probe(""), with(&[]), "p: no symbol f"),
        (
            probe(""),
            twice.clone(),
            "p: f is at 2 addresses (0x2000, 0x3000); `matches = \"all\"` takes all of them",
        ),
        (
            probe("symbol = \"f_ifunc\""),
            with(&[("f_ifunc", 0x2000)]),
            "p: f_ifunc only chooses the function that does the work (STT_GNU_IFUNC)",
        ),
        (probe("symbol = \"wide*\""), with(&[("wide", 0x2000)]), "p: wide*: make the pattern narrower"),
        (probe("when = [{ present = \"g\" }]"), with(&[("f", 0x2000)]), "p: it has no g"),
        (probe("when = [{ absent = \"g\" }]"), with(&[("f", 0x2000), ("g", 0x3000)]), "p: it has g"),
        (probe("when = [{ mapped = \"liby.so\" }]"), with(&[("f", 0x2000)]), "p: `liby.so` is not mapped"),
        (probe("when = [{ unmapped = \"libx*\" }]"), with(&[("f", 0x2000)]), "p: `libx*` is mapped"),
        (probe("when = [{ build_id = \"00112233\" }]"), with(&[("f", 0x2000)]), "p: it has no build-id"),
        (probe(""), Fake { is_unreadable: true, ..Fake::default() }, "p: /lib/libx.so: it is no ELF file"),
        (F.replace("int x", "int x @ x0"), with(&[("f", 0x2000)]), "p: `x` is not placed for x86_64"),
    ] {
        let resolution = resolved(&probes, &[("/lib/libx.so", fake)], Options::default());
        assert_eq!(summary(&resolution), (vec![], vec![reason.to_owned()]), "{probes}");
        assert!(resolution.plans.is_empty());
    }
    let all = resolved(&probe("matches = \"all\""), &[("/lib/libx.so", twice)], Options::default());
    assert_eq!(summary(&all).0, ["p f 0x2000", "p f 0x3000"]);
}

#[test]
fn conditions_can_look_at_another_file_and_at_the_build() {
    let probes = F.to_owned()
        + "when = [{ present = \"g\", library = \"liby.so\" }, { build_id = [\"AABBCCDD\", \"00112233\"] }]";
    let own = Fake { build_id: Some("aabbccdd"), ..with(&[("f", 0x2000)]) };
    let files = |other| [("/lib/libx.so", own.clone()), ("/lib/liby.so", with(other))];
    assert_eq!(summary(&resolved(&probes, &files(&[("g", 0x5000)]), Options::default())).0, ["p f 0x2000"]);
    let (found, missing) = summary(&resolved(&probes, &files(&[]), Options::default()));
    assert_eq!((found.len(), missing), (0, vec!["p: `liby.so` has no g".to_owned()]));
}

#[test]
fn the_first_variant_that_applies_is_used() {
    let probes = "[[probe]]\nname = \"p\"\nop = \"other\"\n\
        [[probe.variant]]\nsignature = \"void new(int x)\"\n\
        [[probe.variant]]\nwhen = [{ absent = \"old2\" }]\nsignature = \"void old(long y)\"\n\
        [[probe.variant]]\nsymbol = \"old\"\nsignature = \"void older(short z)\"\n";
    let found = |functions: &[(&'static str, u64)]| {
        let resolution = resolved(probes, &[("/lib/libx.so", with(functions))], Options::default());
        resolution.found.iter().map(|found| found.arguments[0].0.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(found(&[("new", 0x2000), ("old", 0x3000)]), ["x"]);
    assert_eq!(found(&[("old", 0x3000)]), ["y"]);
    assert_eq!(found(&[("old", 0x3000), ("old2", 0x4000)]), ["z"]);
    assert!(found(&[]).is_empty());
}

#[test]
fn names_of_each_choose_their_variants_for_themselves() {
    let probes = "[[probe]]\nname = \"${f}\"\nop = \"other\"\neach = { f = [\"a\", \"b\", \"c\"] }\n\
        [[probe.variant]]\nsymbol = \"${f}_new\"\nsignature = \"void f(int x)\"\n\
        [[probe.variant]]\nsymbol = \"${f}_old\"\nsignature = \"void f(long y)\"\n";
    let file = with(&[("a_new", 0x2000), ("a_old", 0x3000), ("b_old", 0x4000)]);
    let (found, missing) = summary(&resolved(probes, &[("/lib/libx.so", file)], Options::default()));
    assert_eq!(found, ["a a_new 0x2000", "b b_old 0x4000"]);
    assert_eq!(missing, ["c: no symbol c_new, c_old"]);
}

#[test]
fn a_probe_that_is_found_in_one_file_is_not_missed_in_the_others() {
    let files = [("/lib/libx1.so", with(&[])), ("/lib/libx2.so", with(&[("f", 0x2000)]))];
    assert_eq!(summary(&resolved(F, &files, Options::default())).1, Vec::<String>::new());
}

#[test]
fn returns_are_seen_in_the_way_that_does_no_harm() {
    let cpp = F.to_owned() + "symbol = \"_Z1fi\"";
    let exit = |probes: &str, fake: Fake, trampolines| {
        let resolution = resolved(probes, &[("/lib/libx.so", fake)], Options { trampolines });
        let seen = resolution.found[0].exit.clone();
        assert_eq!(matches!(seen, Seen::No(_)), matches!(resolution.plans[0].probes[0].exit, Exit::Unseen));
        seen
    };
    let c = with(&[("f", 0x2000)]);
    let mangled = with(&[("_Z1fi", 0x2000)]);
    assert_eq!(exit(F, c.clone(), true), Seen::Trampoline);
    assert_eq!(exit(F, c.clone(), false), Seen::Instructions(1));
    assert_eq!(exit(&cpp, mangled.clone(), true), Seen::Instructions(1), "an exception may pass");
    assert_eq!(exit(&(cpp.clone() + "\nunwinds = false"), mangled.clone(), true), Seen::Trampoline);
    assert_eq!(exit(&(F.to_owned() + "unwinds = true"), c.clone(), true), Seen::Instructions(1));
    assert_eq!(
        exit(&(F.to_owned() + "duration = false"), c, true),
        Seen::No("the specification says so".to_owned())
    );
    let tail = Fake { tail_calls: true, ..mangled };
    let Seen::No(why) = exit(&cpp, tail, true) else {
        panic!("a duration though it ends in another function")
    };
    assert_eq!(why, "it ends by a jump into another function, which returns in its place");
}

#[test]
fn globs_match_any_text_for_a_star_and_nothing_else_for_the_rest() {
    for (glob, name, matches) in [
        ("libx*.so", "libx.so", true),
        ("libx*.so", "libx-1.so", true),
        ("libx*.so", "libx.so.1", false),
        ("libx.so*", "libx.so.1", true),
        ("*", "", true),
        ("a*b*a", "aba", true),
        ("a*b*a", "ab", false),
        ("a*a", "a", false),
        ("a", "ab", false),
        ("a?", "ab", false),
    ] {
        assert_eq!(glob_matches(glob, name), matches, "{glob} {name}");
    }
}

#[test]
fn the_name_of_a_file_that_was_deleted_is_still_its_name() {
    assert_eq!(file_name("/a/b.so (deleted)"), "b.so");
    assert_eq!(file_name("b.so"), "b.so");
}
