//! Where functions return.

use std::collections::{BTreeMap, BTreeSet};

use gpu_agent::symbols::{Cache, Image, Returns, Symbol};

use super::rig::{Workshop, demangled, exact, one, open};

fn returns(image: &Image, symbol: &Symbol) -> Returns {
    image.returns(symbol).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_function_with_two_ways_out_has_both_and_a_tail_call_is_said() {
    if !cfg!(target_arch = "x86_64") {
        println!("skipped: the assembly of this test is x86-64's");
        return;
    }
    let workshop = Workshop::new();
    let source = "
        .text
        .macro function name\n .globl \\name\n .type \\name,@function\n \\name:\n .endm
        .macro finish name\n .size \\name, . - \\name\n .endm
        function two\n test %edi, %edi\n je 1f\n mov $0xc3c3c3c3, %eax\n ret\n 1: repz ret\n finish two
        function tail\n test %edi, %edi\n je 1f\n jmp two\n 1: ret\n finish tail
        function conditional\n test %edi, %edi\n je two\n ret $8\n finish conditional
        function itself\n dec %edi\n jne itself\n ret\n finish itself
        function through\n jmp *8(%rdi)\n finish through
        function cases\n jmp *(%rsi,%rdi,8)\n nop\n ret\n finish cases
        function data\n ret\n .byte 0x06\n finish data
        function middle\n jmp 1f+1\n 1: mov $0xc3c3c3c3, %eax\n ret\n finish middle
        function torn\n ret\n .byte 0x48\n finish torn
        function hot\n test %edi, %edi\n je hot.cold\n ret\n finish hot
        .section .text.unlikely,\"ax\",@progbits
        .type hot.cold,@function\n hot.cold:\n nop\n ret\n .size hot.cold, . - hot.cold
        .section .note.GNU-stack,\"\",@progbits\n";
    let image = open(&workshop.compile("cc", ("l.s", source), "l.so", &["-shared", "-Wl,-Bsymbolic"]));
    let look = |name: &str| {
        let symbol = one(&image, exact(name));
        image.returns(&symbol).map(|found| {
            let at = found
                .offsets
                .iter()
                .map(|offset| offset.wrapping_sub(symbol.file_offset))
                .collect::<Vec<_>>();
            (at, found.tail_call, found.computed_jump)
        })
    };
    assert_eq!(look("two").unwrap(), (vec![9, 10], false, false), "0xC3 in a constant is no return");
    assert!(look("tail").unwrap().1);
    assert!(look("conditional").unwrap().1);
    assert_eq!(look("itself").unwrap().0.len(), 1);
    assert!(look("through").unwrap().1);
    assert!(look("cases").unwrap().2);
    for name in ["data", "middle", "torn"] {
        let error = look(name).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{name}: there is no instruction at 0x")), "{error}");
    }
    let hot = one(&image, exact("hot"));
    let found = returns(&image, &hot);
    let [cold] = hot.cold[..] else { panic!("{hot:?}") };
    let in_cold = hot.file_offset.wrapping_sub(hot.address).wrapping_add(cold.address) + 1;
    let mut expected = [hot.file_offset + 8, in_cold];
    expected.sort_unstable();
    assert_eq!((found.offsets, found.tail_call), (expected.to_vec(), false));
}

#[test]
fn every_function_of_the_c_library_returns_where_objdump_says() {
    let workshop = Workshop::new();
    let path = workshop.run("cc", &["-print-file-name=libc.so.6"]);
    let path = std::fs::canonicalize(path.trim()).unwrap();
    let image = open(&path);
    let listed = workshop.run("objdump", &["-d", "--no-show-raw-insn", path.to_str().unwrap()]);
    let all: BTreeSet<u64> = listed
        .lines()
        .filter_map(|line| {
            let (address, instruction) = line.split_once(":\t")?;
            let is_return = instruction.split_whitespace().any(|word| word == "ret" || word == "retq");
            is_return.then(|| u64::from_str_radix(address.trim(), 16).ok())?
        })
        .collect();
    assert!(all.len() > 1000, "{} returns", all.len());
    let listed = workshop.run("nm", &["-D", "--defined-only", path.to_str().unwrap()]);
    let names: Vec<_> = listed
        .lines()
        .filter(|line| line.contains(" T ") || line.contains(" W "))
        .map(|line| exact(line.rsplit(' ').next().unwrap()))
        .collect();
    let (mut looked, mut refused) = (0, BTreeMap::new());
    for chunk in names.chunks(1000) {
        for symbol in image.lookup(&Cache::disabled(), chunk).unwrap().into_iter().flatten().flatten() {
            match image.returns(&symbol) {
                Ok(found) => {
                    let end = symbol.address + symbol.size_bytes;
                    let expected: Vec<u64> = all.range(symbol.address..end).copied().collect();
                    let bias = symbol.address.wrapping_sub(symbol.file_offset);
                    let found: Vec<u64> =
                        found.offsets.iter().map(|offset| offset.wrapping_add(bias)).collect();
                    assert_eq!(found, expected, "{}", symbol.raw);
                    looked += 1;
                }
                Err(error) => drop(refused.insert(symbol.raw.to_string(), error.to_string())),
            }
        }
    }
    assert!(looked > 1500 && refused.len() < 10, "{looked} looked through, refused: {refused:?}");
}

#[test]
fn the_returns_of_a_function_that_throws_are_all_there() {
    let workshop = Workshop::new();
    let source = "
        #include <stdexcept>
        int risky(int x) { if (x > 5) throw std::runtime_error(\"no\"); return x; }
        __attribute__((noinline)) int careful(int x) { try { return risky(x); } catch (std::exception &) { return -1; } }";
    let image = open(&workshop.compile("c++", ("l.cc", source), "l.so", &["-shared", "-fPIC", "-O2"]));
    let symbol = one(&image, demangled("careful"));
    assert!(!returns(&image, &symbol).offsets.is_empty());
    let risky = one(&image, demangled("risky"));
    let found = returns(&image, &risky);
    assert!(!found.offsets.is_empty() && !found.tail_call, "{found:?}");
}
