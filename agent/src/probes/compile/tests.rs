//! From a specification to values: on x86-64, with a process that is made up.

use super::super::plan::{Reader, Values};
use super::super::simulate::Process;
use super::super::specification::Specification;
use super::*;
use crate::event::FieldValue;

const RDI: u8 = 5;
const RSI: u8 = 4;
const RDX: u8 = 1;
const RAX: u8 = 0;
const RSP: u8 = 7;

/// One probe with a signature and more keys, compiled.
fn compiled(declared: &str, signature: &str, more: &str) -> Compiled {
    let text = format!(
        "engine = \"e\"\nexecutable = true\n{declared}\n[[probe]]\nname = \"p\"\nop = \"other\"\nsymbol = \"f\"\n\
         signature = \"{signature}\"\n{more}\n"
    );
    let specification = Specification::parse("e.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    let instance = &specification.probes[0].variants[0].instances[0];
    instance.compile(&specification.scope, Arch::X86_64).unwrap_or_else(|error| panic!("{error}"))
}

fn process(registers: &[(u8, u64)]) -> Process {
    Process { registers: registers.iter().copied().collect(), ..Process::default() }
}

/// The values of a call that was seen at both ends, and whether a read met an address that cannot be read.
fn values(compiled: &Compiled, process: &Process) -> (Values, bool) {
    let (entry, exit) = (process.run(&compiled.entry), process.run(&compiled.exit));
    let values = compiled.reader.values(entry.fetched(), Some(exit.fetched()));
    (values, entry.faulted | exit.faulted != 0)
}

fn field<'a>(values: &'a Values, name: &str) -> Option<&'a FieldValue> {
    values.fields.iter().find(|(known, _)| **known == *name).map(|(_, value)| value)
}

/// A `TensorImpl` at an address; `shift` is 0 from torch 2.13 on, 8 before.
fn tensor(process: &mut Process, at: u64, shift: u64, sizes: &[u64], dtype: u64) {
    process.store(at, &[0x77; 184]);
    process.store_words(at + 56 + shift, &[sizes.len() as u64]);
    if sizes.len() <= 5 {
        process.store_words(at + 64 + shift, sizes);
    } else {
        process.store_words(at + 64 + shift, &[at + 0x1000]);
        process.store_words(at + 0x1000, sizes);
        process.store_words(at + 0x1000 + 8 * sizes.len() as u64, &[9; 8]);
    }
    // What comes after the data type are flags and a device.
    process.store_words(at + 152 + shift, &[sizes.iter().product(), dtype | 0x0100_0001_0000]);
}

#[test]
fn arguments_in_registers_and_on_the_stack_become_a_tensor_and_fields() {
    let compiled = compiled(
        "[tables.dtypes]\n0 = \"f16\"\n2 = \"f32\"",
        "int f(const void* key, int rows, long a, long b, long c, long d, unsigned columns, unsigned char dtype, void* none)",
        "tensors.key = { shape = \"[rows, columns * 2]\", dtype = \"dtypes[dtype]\" }\n\
         tensors.none = { shape = \"[rows]\" }\nfields.rows = \"rows\"\nfields.many = \"columns > 3\"\n\
         fields.kind = \"dtypes[dtype]\"\nfields.status = \"return\"\nfields.left = \"rows - return\"",
    );
    let mut process =
        process(&[(RDI, 0xd00d), (RSI, 0xffff_ffff_0000_0003), (RSP, 0x8000), (RAX, 0xffff_ffff)]);
    process.store_words(0x8008, &[0x1_0000_0004, 0xff02, 0]);
    let (found, _) = values(&compiled, &process);
    assert_eq!(found.tensors.len(), 1, "a null pointer is no tensor: {found:?}");
    let key = &found.tensors[0];
    assert_eq!((&*key.shape, key.dtype, key.size_bytes), (&[3, 8][..], Some("f32"), Some(96)));
    assert_eq!(field(&found, "rows"), Some(&FieldValue::Integer(3)), "what lies above an int is none of it");
    assert_eq!(field(&found, "many"), Some(&FieldValue::Boolean(true)));
    assert_eq!(field(&found, "kind"), Some(&FieldValue::Text("f32".into())));
    assert_eq!(field(&found, "status"), Some(&FieldValue::Integer(-1)));
    assert_eq!(field(&found, "left"), Some(&FieldValue::Integer(4)));
    assert_eq!(found.unreadable, 0);
    let entry = process.run(&compiled.entry);
    let unseen = compiled.reader.values(entry.fetched(), None);
    assert_eq!(field(&unseen, "status"), None);
    assert_eq!(unseen.unreadable, 0, "a return that was not seen has no value, and lost none");
}

#[test]
fn numbers_that_make_no_sense_are_left_out_and_counted() {
    let compiled = compiled(
        "",
        "void f(void* x, int rows, long columns)",
        "tensors.x = { shape = \"[rows, columns]\", dtype = \"f64\" }\nfields.ratio = \"rows / columns\"\n\
         fields.product = \"columns * columns * columns * columns\"",
    );
    for (rows, columns, tensors, unreadable) in [
        (u64::from(u32::MAX), 4, 0, 1),
        (3, 0, 1, 1),
        (3, u64::MAX, 0, 1),
        (i32::MAX as u64, i64::MAX as u64, 0, 2),
        (8, 1 << 60, 1, 1),
    ] {
        let (found, _) = values(&compiled, &process(&[(RDI, 1), (RSI, rows), (RDX, columns)]));
        assert_eq!(
            (found.tensors.len(), found.unreadable),
            (tensors, unreadable),
            "{rows} {columns} {found:?}"
        );
    }
    let (found, _) = values(&compiled, &process(&[(RDI, 1), (RSI, 8), (RDX, 1 << 60)]));
    assert_eq!(found.tensors[0].size_bytes, None, "2^63 elements of 8 bytes are no number of bytes");
}

#[test]
fn torch_tensors_of_both_layouts_are_read_and_told_apart() {
    let by_reference = compiled(
        "",
        "void f(at::Tensor& q, const std::optional<at::Tensor>& mask)",
        "tensors.q = \"q\"\ntensors.mask = \"mask\"",
    );
    let stable = compiled("", "void f(torch::stable::Tensor q)", "tensors.q = \"q\"");
    for shift in [0, 8] {
        for sizes in [
            &[][..],
            &[7],
            &[4, 8, 64],
            &[2, 3, 4, 5, 6],
            &[1, 2, 3, 4, 5, 6],
            &[1, 2, 3, 4, 5, 6, 7, 8],
            &[0, 5],
        ] {
            let mut process = process(&[(RDI, 0x100), (RSI, 0x200)]);
            process.store_words(0x100, &[0x10_000]);
            process.store_words(0x200, &[0xdead, 0]);
            tensor(&mut process, 0x10_000, shift, sizes, 15);
            let (found, _) = values(&by_reference, &process);
            let product: u64 = sizes.iter().product();
            assert_eq!(found.tensors.len(), 1, "shift {shift}, {sizes:?}: {found:?}");
            let q = &found.tensors[0];
            assert_eq!(
                (&*q.shape, q.dtype, q.size_bytes),
                (sizes, Some("bf16"), Some(2 * product)),
                "shift {shift}"
            );
            assert_eq!(found.unreadable, 0);
            process.store_words(0x300, &[0x100]);
            process.registers.insert(RDI, 0x300);
            assert_eq!(values(&stable, &process).0.tensors, found.tensors);
        }
    }
}

#[test]
fn a_tensor_that_contradicts_itself_is_left_out_and_counted() {
    let compiled = compiled("", "void f(at::Tensor& q)", "tensors.q = \"q\"");
    let mut sound = process(&[(RDI, 0x100)]);
    sound.store_words(0x100, &[0x10_000]);
    tensor(&mut sound, 0x10_000, 8, &[4, 8], 5);
    for (at, word) in
        [(64, 1 << 31), (64, u64::MAX), (72, u64::MAX), (72, 1 << 62), (160, 31), (64, 9), (64, 6)]
    {
        let mut process = sound.clone();
        process.store_words(0x10_000 + at, &[word]);
        let (found, _) = values(&compiled, &process);
        assert_eq!((found.tensors.len(), found.unreadable), (0, 1), "{word:#x} at {at}");
    }
    let mut gone = sound.clone();
    gone.memory.retain(|at, _| *at < 0x10_000);
    let (found, faulted) = values(&compiled, &gone);
    assert_eq!((found.tensors.len(), found.unreadable, faulted), (0, 1, true));
    let mut unknown = sound;
    unknown.store_words(0x10_000 + 168, &[0xff]);
    let (found, _) = values(&compiled, &unknown);
    assert_eq!((found.tensors[0].dtype, found.tensors[0].size_bytes), (None, None), "a type that came later");
}

#[test]
fn sizes_on_the_heap_are_read_as_long_as_there_is_room() {
    let names = ["a", "b", "c", "d", "e", "g"];
    let arguments: Vec<String> = names.iter().map(|name| format!("at::Tensor& {name}")).collect();
    let tensors: Vec<String> = names.iter().map(|name| format!("tensors.{name} = \"{name}\"")).collect();
    let compiled = compiled("", &format!("void f({})", arguments.join(", ")), &tensors.join("\n"));
    assert_eq!(compiled.reader.tensors.len(), 6);
    let with_heap = compiled.reader.tensors.iter().filter(
        |tensor| matches!(&tensor.shape, crate::probes::reader::Shape::Torch(torch) if torch.heap.is_some()),
    );
    assert_eq!(with_heap.count(), 3);
    assert!(compiled.entry.payload_bytes <= 1024 && compiled.entry.reads <= 32);
}

#[test]
fn structs_by_value_are_read_where_they_lie() {
    let declared = "[types.batch]\nsize = 56\nmembers.n_tokens = \"int @ 0\"\nmembers.embd = \"float* @ 16\"\n\
        [types.pair]\nsize = 8\nmembers.low = \"int16_t @ 0\"\nmembers.high = \"int @ 4\"\n";
    let compiled = compiled(
        declared,
        "int f(void* ctx, pair p, batch b)",
        "fields.tokens = \"b.n_tokens\"\nfields.high = \"p.high\"\nfields.low = \"p.low\"\nfields.has_embd = \"b.embd != 0\"",
    );
    let mut process = process(&[(RSI, 0xffff_fffe_0000_8000), (RSP, 0x8000)]);
    process.store_words(0x8008, &[0x7_0000_0025, 0, 0xbeef]);
    let (found, _) = values(&compiled, &process);
    assert_eq!(field(&found, "tokens"), Some(&FieldValue::Integer(37)));
    assert_eq!(field(&found, "high"), Some(&FieldValue::Integer(-2)));
    assert_eq!(field(&found, "low"), Some(&FieldValue::Integer(-32768)));
    assert_eq!(field(&found, "has_embd"), Some(&FieldValue::Boolean(true)));
}

#[test]
fn ggml_tensors_are_read_outermost_first_and_null_ones_are_none() {
    let compiled = compiled(
        "",
        "void f(void* params, ggml_tensor* dst)",
        "tensors.q = \"dst->src[0]\"\ntensors.mask = \"dst->src[3]\"\nfields.dst = \"dst->name\"",
    );
    let mut process = process(&[(RSI, 0x1000)]);
    process.store(0x1000, &[0; 336]);
    process.store_words(0x1000 + 152, &[0x2000]);
    process.store(0x1000 + 256, b"cache_k_l0\0garbage");
    process.store(0x2000, &[0; 336]);
    process.store(0x2000, &8_u32.to_le_bytes());
    process.store_words(0x2000 + 16, &[64, 37, 8, 1]);
    let (found, faulted) = values(&compiled, &process);
    assert_eq!(found.tensors.len(), 1);
    let q = &found.tensors[0];
    assert_eq!(
        (&*q.shape, q.dtype, q.size_bytes),
        (&[1, 8, 37, 64][..], Some("q8_0"), Some(64 * 37 * 8 / 32 * 34))
    );
    assert_eq!(field(&found, "dst"), Some(&FieldValue::Text("cache_k_l0".into())));
    assert_eq!((found.unreadable, faulted), (0, false));
    process.store_words(0x2000 + 16, &[u64::MAX]);
    let (found, _) = values(&compiled, &process);
    assert_eq!((found.tensors.len(), found.unreadable), (0, 1), "a negative size");
}

#[test]
fn text_of_c_of_both_abis_of_libstdcxx_and_of_rust_is_read() {
    let compiled = compiled(
        "",
        "void f(const char* c @ rdi, const std::string& s @ rsi, std::__cow_string& cow @ rdx, str r @ rcx:r8, String* o @ r9)",
        "fields.c = \"c\"\nfields.s = \"s\"\nfields.cow = \"cow\"\nfields.r = \"r\"\nfields.o = \"*o\"",
    );
    let mut process = process(&[(RDI, 0x100), (RSI, 0x200), (RDX, 0x300), (2, 0x400), (8, 4), (9, 0x500)]);
    process.store(0x100, b"hello\0");
    process.store_words(0x200, &[0x210, 4]);
    process.store(0x210, b"fp8_e4m3\0");
    process.store_words(0x300, &[0x360]);
    process.store_words(0x360 - 24, &[4, 8, 0]);
    process.store(0x360, b"autoxxxx");
    process.store(0x400, "grüße".as_bytes());
    process.store_words(0x500, &[64, 0x600, 70]);
    process.store(0x600, &[b'x'; 63]);
    process.store(0x600 + 63, "ü".as_bytes());
    process.store(0x600 + 65, &[b'x'; 5]);
    let (found, _) = values(&compiled, &process);
    let text = |name| match field(&found, name) {
        Some(FieldValue::Text(text)) => text.to_string(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!((text("c"), text("s"), text("cow")), ("hello".into(), "fp8_".into(), "auto".into()));
    assert_eq!(text("r"), "grü", "as long as it says it is, in bytes");
    assert_eq!(text("o"), "x".repeat(63), "cut at 64 bytes, and not within a character");
}

#[test]
fn a_shape_behind_a_pointer_has_the_rank_that_is_beside_it() {
    let declared = "[types.dims]\nsize = 48\nmembers.ptr = \"usize* @ 24\"\nmembers.len = \"usize @ 32\"";
    let compiled = compiled(
        declared,
        "void f(dims** k @ rdx)",
        "tensors.k = { of = \"*k\", shape = \"(*k)->ptr[..(*k)->len]\" }",
    );
    let mut process = process(&[(RDX, 0x100)]);
    process.store_words(0x100, &[0x200]);
    process.store_words(0x200 + 24, &[0x300, 3]);
    process.store_words(0x300, &[1, 2, 8]);
    let (found, _) = values(&compiled, &process);
    assert_eq!(found.tensors[0].shape, [1, 2, 8]);
    for rank in [9, 1 << 31, u64::MAX] {
        process.store_words(0x200 + 32, &[rank]);
        process.store_words(0x300, &[1; 9]);
        let (found, _) = values(&compiled, &process);
        assert_eq!((found.tensors.len(), found.unreadable), (0, 1), "{rank}");
    }
}

#[test]
fn calls_that_are_none_of_the_probes_are_told() {
    let compiled = compiled(
        "[types.params]\nsize = 8\nmembers.ith = \"int @ 0\"",
        "void f(params* params)",
        "if = \"params->ith == 0\"\nfields.ith = \"params->ith\"",
    );
    let mut process = process(&[(RDI, 0x100)]);
    for (ith, is_excluded) in [(0, false), (1, true)] {
        process.store_words(0x100, &[ith]);
        assert_eq!(values(&compiled, &process).0.is_excluded, is_excluded);
    }
    process.memory.clear();
    let (found, _) = values(&compiled, &process);
    assert_eq!((found.is_excluded, found.unreadable), (false, 2), "what cannot be told is counted");
}

#[test]
fn too_many_reads_are_refused_with_the_limit() {
    let fields: Vec<String> = (0..33).map(|number| format!("fields.f{number} = \"x[{number}]\"")).collect();
    let text = format!(
        "engine = \"e\"\nexecutable = true\n[[probe]]\nname = \"p\"\nop = \"other\"\nsignature = \"void f(long* x)\"\n{}\n",
        fields.join("\n")
    );
    let error = Specification::parse("e.toml", &text).unwrap_err();
    assert_eq!((error.line, error.column), (39, 15));
    assert_eq!(error.message, "this is read number 33 at this place; a probe reads 32 times at most");
    let texts: Vec<String> = (0..15).map(|number| format!("fields.f{number} = \"s{number}\"")).collect();
    let arguments: Vec<String> = (0..15).map(|number| format!("char* s{number}")).collect();
    let text = format!(
        "engine = \"e\"\nexecutable = true\n[[probe]]\nname = \"p\"\nop = \"other\"\nsignature = \"void f({})\"\n{}\n",
        arguments.join(", "),
        texts.join("\n")
    );
    let error = Specification::parse("e.toml", &text).unwrap_err();
    assert_eq!(error.message, "with this, 1080 bytes are read at this place; a probe reads 1024 at most");
}
