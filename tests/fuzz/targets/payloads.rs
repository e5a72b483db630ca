//! Records of probes, with whatever a hostile process can make of them.
//!
//! Enters: masks and payloads of an entry and a return. Leaves: the ways they went. Refuses: more dimensions than are read, sizes
//! that do not follow from shapes, text longer than was read.

use std::sync::Arc;

use gpu_agent::event::FieldValue;
use gpu_agent::probes::plan::{Call, Fetched, Values};
use gpu_agent::probes::resolve::{Binaries, Binary, Candidate, Options, resolve};
use gpu_agent::probes::{Arch, Specification};
use gpu_agent::symbols::{Pattern, Returns, Symbol, Table};

use super::Run;
use super::program::{Program, Ways, magnitude};

/// A specification with every kind of value.
const SPECIFICATION: &str = r#"
engine = "e"
executable = true
[tables.kinds]
0 = "f16"
1 = "q4_0"
[types.pair]
size = 8
members.low = "int16_t @ 0"
members.high = "int @ 4"
[types.slice]
size = 32
members.sizes = "uint32_t* @ 8"
members.count = "unsigned char @ 16"
[[probe]]
name = "numbers"
op = "other"
signature = "int f(void* a, int rows, unsigned columns, long kind, pair p, bool flag)"
tensors.a = { shape = "[rows, columns * 2, p.low]", dtype = "kinds[kind]" }
fields.sum = "rows + columns * kind - p.high"
fields.ratio = "rows / columns % p.low"
fields.word = "kinds[kind]"
fields.flag = "flag"
fields.less = "rows < columns"
fields.back = "return - rows"
[[probe]]
name = "torch"
op = "other"
signature = "void f(at::Tensor& q, const std::optional<at::Tensor>& mask, torch::stable::Tensor k)"
tensors.q = "q"
tensors.mask = "mask"
tensors.k = "k"
[[probe]]
name = "text"
op = "other"
signature = "void f(const char* c, const std::string& s, const std::__cow_string& w, ggml_tensor* t, slice* l, double* d)"
tensors.t = "t"
tensors.l = { of = "l", shape = "reverse(l->sizes[..l->count])", dtype = "i8" }
fields.c = "c"
fields.s = "s"
fields.w = "w"
fields.name = "t->name"
fields.d = "*d"
"#;

/// A file in which every function is there.
struct Everything;

impl Binaries for Everything {
    fn open<'a>(&'a self, _: &Candidate) -> Result<Box<dyn Binary + 'a>, String> {
        Ok(Box::new(Self))
    }
}

impl Binary for Everything {
    fn arch(&self) -> Arch {
        Arch::X86_64
    }

    fn build_id(&self) -> Option<String> {
        None
    }

    fn is_stripped(&self) -> bool {
        false
    }

    fn find(&self, patterns: &[Pattern]) -> Result<Vec<Result<Vec<Symbol>, String>>, String> {
        let symbol = Symbol {
            raw: "f".into(),
            demangled: "f".into(),
            aliases: Vec::new(),
            version: None,
            address: 0x1000,
            file_offset: 0x1000,
            size_bytes: 16,
            is_ifunc: false,
            table: Table::Symtab,
            number: 1,
            cold: Vec::new(),
        };
        Ok(patterns.iter().map(|_| Ok(vec![symbol.clone()])).collect())
    }

    fn returns(&self, _: &Symbol) -> Result<Returns, String> {
        Ok(Returns::default())
    }
}

pub(super) fn make() -> Run {
    let specification = Specification::parse("fuzz.toml", SPECIFICATION).expect("a sound specification");
    let candidate = Candidate {
        path: "/f".into(),
        root: "/".into(),
        shown: "/f".into(),
        load_bias: 0,
        is_executable: true,
    };
    let resolution = resolve(&[specification], &[candidate], &Everything, Options::default());
    let probes = resolution.plans.iter().flat_map(|plan| &plan.probes);
    let calls: Vec<(Arc<Call>, usize)> =
        probes.map(|probe| (probe.call.clone(), probe.entry.payload_bytes.into())).collect();
    assert_eq!(calls.len(), 3);
    Box::new(move |input| {
        let mut program = Program::new(input);
        let choice = program.number::<1>() as usize;
        let (call, payload_bytes) = &calls[choice % calls.len()];
        // A record's masks and its length are what BPF says; here, anything.
        let present = program.number::<4>() as u32 | if choice & 0x80 == 0 { u32::MAX } else { 0 };
        let has_exit = choice & 0x40 == 0;
        let mut result = [0; 8];
        result.copy_from_slice(&program.number::<8>().to_le_bytes());
        let length = if choice & 0x20 == 0 { *payload_bytes } else { program.number::<2>() as usize % 1100 };
        let payload: Vec<u8> = (0..length).map(|_| program.number::<1>() as u8).collect();
        let entry = Fetched { present, faulted: 0, payload: &payload };
        let exit = has_exit.then_some(Fetched { present: 1, faulted: 0, payload: &result });
        let mut ways = Ways::default();
        check(&call.reader.values(entry, exit), &mut ways);
        ways.into_numbers()
    })
}

fn check(values: &Values, ways: &mut Ways) {
    ways.note((values.tensors.len(), values.fields.len(), values.unreadable));
    for tensor in &values.tensors {
        assert!(tensor.shape.len() <= 8, "{tensor:?}");
        let elements = tensor.shape.iter().try_fold(1_u64, |product, size| product.checked_mul(*size));
        let elements = elements.expect("a number of elements of 64 bits");
        if tensor.dtype == Some("f16") {
            assert_eq!(tensor.size_bytes, elements.checked_mul(2), "{tensor:?}");
        }
        ways.note((tensor.name.clone(), tensor.shape.len(), tensor.dtype, magnitude(elements)));
    }
    for (name, value) in &values.fields {
        match value {
            // A byte that is no UTF-8 becomes three.
            FieldValue::Text(text) => assert!(text.len() <= 3 * 64, "{text}"),
            FieldValue::Unsigned(value) => assert!(*value > i64::MAX as u64),
            _ => {}
        }
        ways.note((name.clone(), std::mem::discriminant(value)));
    }
}
