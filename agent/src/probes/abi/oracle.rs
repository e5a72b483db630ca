//! Places, compared with where a real compiler puts arguments.
//!
//! A C program calls a function that is written in assembly, with many signatures; it notes all registers and the stack, and what is
//! found at our places must be the arguments' bytes. Other architectures: `GPU_AGENT_TEST_CC=aarch64-linux-gnu-gcc
//! GPU_AGENT_TEST_RUNNER='qemu-aarch64 -L /usr/aarch64-linux-gnu' GPU_AGENT_TEST_ARCH=aarch64`.

use std::fmt::Write;
use std::process::Command;

use super::super::source::{Source, Text};
use super::super::specification::Specification;
use super::*;

/// Types: as C declares them, as a specification does, and the bytes of a value that mean something.
type Described = (&'static str, &'static str, &'static str, &'static [(usize, usize)]);
const TYPES: [Described; 30] = [
    ("char", "", "", &[(0, 1)]),
    ("short", "", "", &[(0, 2)]),
    ("int", "", "", &[(0, 4)]),
    ("unsigned", "", "", &[(0, 4)]),
    ("long", "", "", &[(0, 8)]),
    ("_Bool", "", "", &[(0, 1)]),
    ("float", "", "", &[(0, 4)]),
    ("double", "", "", &[(0, 8)]),
    ("long double", "", "", &[(0, 10)]),
    ("__int128", "", "", &[(0, 16)]),
    ("ptr", "typedef void *ptr;", "ptr = \"void*\"", &[(0, 8)]),
    ("s_i", "typedef struct { int a; } s_i;", "4 int@0", &[(0, 4)]),
    ("s_ii", "typedef struct { int a, b; } s_ii;", "8 int@0 int@4", &[(0, 8)]),
    ("s_iii", "typedef struct { int a, b, c; } s_iii;", "12 int@0 int@4 int@8", &[(0, 12)]),
    ("s_ll", "typedef struct { long a, b; } s_ll;", "16 long@0 long@8", &[(0, 16)]),
    ("s_lll", "typedef struct { long a, b, c; } s_lll;", "24 long@0 long@8 long@16", &[(0, 24)]),
    ("s_c3", "typedef struct { char a[3]; } s_c3;", "3 char[3]@0", &[(0, 3)]),
    ("s_c17", "typedef struct { char a[17]; } s_c17;", "17 char[17]@0", &[(0, 17)]),
    ("s_f", "typedef struct { float a; } s_f;", "4 float@0", &[(0, 4)]),
    ("s_ff", "typedef struct { float a, b; } s_ff;", "8 float@0 float@4", &[(0, 8)]),
    ("s_fff", "typedef struct { float a, b, c; } s_fff;", "12 float@0 float@4 float@8", &[(0, 12)]),
    ("s_f5", "typedef struct { float a[5]; } s_f5;", "20 float[5]@0", &[(0, 20)]),
    ("s_dd", "typedef struct { double a, b; } s_dd;", "16 double@0 double@8", &[(0, 16)]),
    ("s_d4", "typedef struct { double a[4]; } s_d4;", "32 double[4]@0", &[(0, 32)]),
    ("s_di", "typedef struct { double a; int b; } s_di;", "16 double@0 int@8", &[(0, 12)]),
    ("s_if", "typedef struct { int a; float b; } s_if;", "8 int@0 float@4", &[(0, 8)]),
    ("s_lf", "typedef struct { long a; float b; } s_lf;", "16 long@0 float@8", &[(0, 12)]),
    ("s_fl", "typedef struct { float a; long b; } s_fl;", "16 float@0 long@8", &[(0, 4), (8, 16)]),
    ("s_x", "typedef struct { long double a; } s_x;", "16 long double@0", &[(0, 10)]),
    ("s_q", "typedef struct { __int128 a; } s_q;", "16 __int128@0", &[(0, 16)]),
];
const CASES: usize = 400;
const STACK_BYTES: usize = 2048;
const REGISTER_WORDS: usize = 64;

const PROGRAM: &str = r#"
#include <stdio.h>
#include <string.h>
unsigned long regs[64];
static int current;
static void fill(void *at, int size, int number) {
    for (int byte = 0; byte < size; byte++) ((unsigned char *)at)[byte] = (number * 31 + byte * 7 + 1) & 0x3f;
}
void capture(void) {
    printf("%d ", current);
    for (int word = 0; word < 64; word++) printf("%016lx", __builtin_bswap64(regs[word]));
    const unsigned char *stack = (const unsigned char *)regs[63];
    for (int byte = 0; byte < 2048; byte++) printf("%02x", stack[byte]);
    printf("\n");
}
extern void stub(void);
#if defined(__x86_64__)
__asm__(".globl stub\nstub:\n movq %rax, regs(%rip)\n movq %rdx, regs+8(%rip)\n movq %rcx, regs+16(%rip)\n"
        " movq %rsi, regs+32(%rip)\n movq %rdi, regs+40(%rip)\n movq %r8, regs+64(%rip)\n movq %r9, regs+72(%rip)\n"
        " movups %xmm0, regs+256(%rip)\n movups %xmm1, regs+272(%rip)\n movups %xmm2, regs+288(%rip)\n"
        " movups %xmm3, regs+304(%rip)\n movups %xmm4, regs+320(%rip)\n movups %xmm5, regs+336(%rip)\n"
        " movups %xmm6, regs+352(%rip)\n movups %xmm7, regs+368(%rip)\n movq %rsp, regs+504(%rip)\n"
        " pushq %rdi\n call capture\n popq %rax\n ret\n");
#else
__asm__(".globl stub\nstub:\n adrp x9, regs\n add x9, x9, :lo12:regs\n stp x0, x1, [x9]\n stp x2, x3, [x9, #16]\n"
        " stp x4, x5, [x9, #32]\n stp x6, x7, [x9, #48]\n str x8, [x9, #64]\n add x10, x9, #256\n stp q0, q1, [x10]\n"
        " stp q2, q3, [x10, #32]\n stp q4, q5, [x10, #64]\n stp q6, q7, [x10, #96]\n mov x10, sp\n str x10, [x9, #504]\n"
        " stp x29, x30, [sp, #-16]!\n bl capture\n ldp x29, x30, [sp], #16\n ret\n");
#endif
"#;

/// Result and arguments, as indexes of types; no result is `void`.
struct Case {
    result: Option<usize>,
    arguments: Vec<usize>,
}

fn cases() -> Vec<Case> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut cases: Vec<Case> =
        (0..TYPES.len()).map(|of| Case { result: Some(of), arguments: vec![2] }).collect();
    cases.extend((0..TYPES.len()).map(|of| Case { result: None, arguments: vec![4, of, 2, of, 7, of, 2] }));
    while cases.len() < CASES {
        let result = random.bool().then(|| random.usize(..TYPES.len()));
        let arguments = (0..random.usize(1..=14)).map(|_| random.usize(..TYPES.len())).collect();
        cases.push(Case { result, arguments });
    }
    cases
}

fn program(cases: &[Case]) -> String {
    let mut text = PROGRAM.to_owned();
    for (_, declared, _, _) in TYPES {
        writeln!(text, "{declared}").unwrap();
    }
    let name = |of: &usize| TYPES[*of].0;
    for (number, case) in cases.iter().enumerate() {
        writeln!(text, "static __attribute__((noinline)) void case_{number}(void) {{ current = {number};")
            .unwrap();
        for (index, of) in case.arguments.iter().enumerate() {
            let of = name(of);
            writeln!(text, " {of} a{index}; memset(&a{index}, 0, sizeof a{index});").unwrap();
            match of {
                "_Bool" => writeln!(text, " a{index} = 1;"),
                "long double" => writeln!(text, " a{index} = {index} + 3.25L;"),
                "s_x" => writeln!(text, " a{index}.a = {index} + 3.25L;"),
                _ => writeln!(text, " fill(&a{index}, sizeof a{index}, {index});"),
            }
            .unwrap();
        }
        let types: Vec<&str> = case.arguments.iter().map(name).collect();
        let values: Vec<String> = (0..types.len()).map(|index| format!("a{index}")).collect();
        let result = case.result.as_ref().map_or("void", name);
        // What the arguments are is printed before what arrived.
        for index in 0..types.len() {
            writeln!(text, " for (unsigned b = 0; b < sizeof a{index}; b++) printf(\"%02x\", ((unsigned char *)&a{index})[b]);\n printf(\" \");").unwrap();
        }
        writeln!(text, " (({result} (*)({}))stub)({});\n}}", types.join(", "), values.join(", ")).unwrap();
    }
    writeln!(text, "int main(void) {{ volatile char above[4096]; above[0] = 0;").unwrap();
    for number in 0..cases.len() {
        writeln!(text, " case_{number}();").unwrap();
    }
    text + " return above[0];\n}\n"
}

/// The types as a specification declares them.
fn specification() -> String {
    let mut aliases = "engine = \"e\"\n[types]\n".to_owned();
    let mut structs = String::new();
    for (name, _, declared, _) in TYPES.iter().filter(|(_, _, declared, _)| !declared.is_empty()) {
        let Some((size, members)) = declared.split_once(' ').filter(|_| !declared.contains('=')) else {
            writeln!(aliases, "{declared}").unwrap();
            continue;
        };
        writeln!(structs, "[types.{name}]\nsize = {size}").unwrap();
        let members = members.replace("long double", "long_double");
        for (index, member) in members.split(' ').enumerate() {
            writeln!(
                structs,
                "members.m{index} = \"{}\"",
                member.replace("long_double", "long double").replace('@', " @ ")
            )
            .unwrap();
        }
    }
    aliases + &structs
}

/// What one call saw.
struct Capture {
    registers: Vec<u8>,
    stack: Vec<u8>,
    stack_pointer: u64,
}

impl Capture {
    fn word(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.registers[at * 8..at * 8 + 8].try_into().unwrap())
    }

    /// The bytes at a place.
    fn bytes(&self, arch: Arch, placed: &Placed, of: &str) -> Vec<u8> {
        match placed {
            Placed::Registers(registers) => {
                let mut bytes = Vec::new();
                for register in registers {
                    match register {
                        Register::General(number) => {
                            bytes.extend(&self.registers[usize::from(*number) * 8..][..8])
                        }
                        Register::Vector(number) => {
                            // A piece is eight bytes on x86-64, and a number on AArch64.
                            let width = match (arch, of) {
                                (Arch::X86_64, _) => 8,
                                (_, "float" | "s_f" | "s_ff" | "s_fff") => 4,
                                (_, "long double" | "s_x") => 16,
                                _ => 8,
                            };
                            bytes.extend(&self.registers[256 + usize::from(*number) * 16..][..width]);
                        }
                        Register::Float => panic!("no argument lies in st0"),
                    }
                }
                bytes
            }
            Placed::Stack(offset) => self.stack[*offset as usize..].to_vec(),
            Placed::Indirect(address) => {
                let address = u64::from_le_bytes(self.bytes(arch, address, "long")[..8].try_into().unwrap());
                self.stack[(address - self.stack_pointer) as usize..].to_vec()
            }
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap()).collect()
}

#[test]
fn a_compiler_puts_arguments_where_we_look_for_them() {
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let arch = variable("GPU_AGENT_TEST_ARCH", std::env::consts::ARCH);
    let arch = Arch::ALL.into_iter().find(|known| known.name() == arch).unwrap();
    let cases = cases();
    let folder = tempfile::tempdir().unwrap();
    let (source, binary) = (folder.path().join("calls.c"), folder.path().join("calls"));
    std::fs::write(&source, program(&cases)).unwrap();
    let compiler = variable("GPU_AGENT_TEST_CC", "cc");
    let compiled = Command::new(compiler)
        .args(["-O0", "-w", "-static", "-o"])
        .args([&binary, &source])
        .status()
        .unwrap();
    assert!(compiled.success());
    let runner = variable("GPU_AGENT_TEST_RUNNER", "env");
    let mut runner = runner.split(' ');
    let output = Command::new(runner.next().unwrap()).args(runner).arg(&binary).output().unwrap();
    assert!(output.status.success(), "{:?} {}", output.status, String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines.lines().count(), cases.len());
    let scope =
        Specification::parse("types", &specification()).unwrap_or_else(|error| panic!("{error}")).scope;
    for (line, case) in lines.lines().zip(&cases) {
        let words: Vec<&str> = line.split(' ').collect();
        let captured = unhex(words.last().unwrap());
        let (registers, stack) = captured.split_at(REGISTER_WORDS * 8);
        assert_eq!(stack.len(), STACK_BYTES);
        let mut capture = Capture { registers: registers.to_vec(), stack: stack.to_vec(), stack_pointer: 0 };
        capture.stack_pointer = capture.word(63);
        check(arch, &scope, case, &words, &capture);
    }
}

fn check(
    arch: Arch,
    scope: &super::super::specification::Scope,
    case: &Case,
    words: &[&str],
    capture: &Capture,
) {
    let types: Vec<String> = case.arguments.iter().map(|of| TYPES[*of].0.to_owned()).collect();
    let result = case.result.map_or("void", |of| TYPES[of].0);
    let text = format!("{result} f({})", types.join(", "));
    let source = Source { file: "case".into(), text: text.as_str().into() };
    let signature =
        Signature::parse(&Text::at(&source, &text, 0..text.len())).unwrap_or_else(|error| panic!("{error}"));
    let placement = arch.place(&scope.types, &signature).unwrap_or_else(|error| panic!("{error}"));
    for (index, placed) in placement.arguments.iter().enumerate() {
        let (name, _, _, meaning) = TYPES[case.arguments[index]];
        let wanted = unhex(words[index]);
        let found = capture.bytes(arch, placed, name);
        for &(start, end) in meaning {
            assert_eq!(
                found[start..end],
                wanted[start..end],
                "{text}: argument {index} at {}",
                placed.shown(arch)
            );
        }
    }
    // The address for the result is the stub's only other input.
    if let Some(hidden) = placement.hidden {
        let Register::General(number) = hidden else {
            panic!("{text}: the address of the result in {hidden:?}")
        };
        let address = capture.word(usize::from(number));
        let is_on_stack =
            (capture.stack_pointer..capture.stack_pointer + STACK_BYTES as u64).contains(&address);
        assert!(is_on_stack, "{text}: {address:#x} is no address of a result");
    }
}

/// Signatures and places, one a line.
fn listed(arch: Arch, count: usize) -> String {
    let scope =
        Specification::parse("types", &specification()).unwrap_or_else(|error| panic!("{error}")).scope;
    let mut text = String::new();
    for case in cases().iter().take(count) {
        let types: Vec<&str> = case.arguments.iter().map(|of| TYPES[*of].0).collect();
        let written = format!("{} f({})", case.result.map_or("void", |of| TYPES[of].0), types.join(", "));
        let source = Source { file: "case".into(), text: written.as_str().into() };
        let signature = Signature::parse(&Text::at(&source, &written, 0..written.len())).unwrap();
        let placement = arch.place(&scope.types, &signature).unwrap();
        let places: Vec<String> = placement.arguments.iter().map(|placed| placed.shown(arch)).collect();
        writeln!(text, "{written} = {}", places.join(" ")).unwrap();
    }
    text
}

/// The list was written when the test above had passed with `aarch64-linux-gnu-gcc` 12.2 and `qemu-aarch64` 7.2.
#[test]
fn places_on_aarch64_are_those_that_its_compiler_was_seen_to_use() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/probes/abi/aarch64.txt");
    assert_eq!(std::fs::read_to_string(path).unwrap(), listed(Arch::Aarch64, 160));
}
