//! Specifications that are read, and those that are refused, with the words and the place.

use super::*;
use crate::event::OpClass;

/// One probe of `void f(…)` with more keys.
fn probe(signature: &str, more: &str) -> String {
    format!(
        "engine = \"e\"\nexecutable = true\n[[probe]]\nname = \"p\"\nop = \"other\"\nsignature = \"{signature}\"\n{more}\n"
    )
}

fn parse(text: &str) -> Result<Specification, SpecError> {
    Specification::parse("e.toml", text)
}

const EXAMPLE: &str = r#"
engine = "mistral.rs"
libraries = ["libmistralrs*.so*"]
executable = true

[tables.dtypes]
0 = "f16"
1 = "bf16"
2 = "f32"

[types.llama_batch]
size = 56
members.n_tokens = "int32_t @ 0"

[[probe]]
name = "reshape_and_cache"
op = "cache_update"
signature = """
void reshape_and_cache(const void* key, const void* value, void* key_cache, void* value_cache, const long* slot_mapping,
                       int num_tokens, int num_heads, int head_size, int block_size, int x, int key_stride, int value_stride,
                       CUstream stream, uint32_t dtype, uint32_t cache_dtype, const float* k_scale, const float* v_scale)
"""
tensors.key = { shape = "[num_tokens, num_heads, head_size]", dtype = "dtypes[dtype]" }
fields.block_size = "block_size"

[[probe]]
name = "paged_attention_v1"
op = "paged_attention"
use_v1 = true
each = { dtype = ["f16", "bf16"] }
[[probe.variant]]
when = [{ absent = "swap" }, { mapped = "libcudart.so*" }]
signature = "void paged_attention_v1_${dtype}(void* query, int heads)"
tensors.query = { shape = "[heads, 64]", dtype = "${dtype}" }
[[probe.variant]]
signature = "void paged_attention_v1(void* query, int heads)"
each = {}

[[probe]]
name = "decode"
op = "decode"
symbol = ["llama_decode", "llama_context::decode(*"]
signature = "int llama_decode(struct llama_context* ctx, struct llama_batch batch)"
fields.n_tokens = "batch.n_tokens"
fields.status = "return"
"#;

#[test]
fn variants_and_repetitions_are_spelled_out() {
    let read = parse(EXAMPLE).unwrap_or_else(|error| panic!("{error}"));
    let names: Vec<&str> = read.probes.iter().map(|probe| &*probe.name).collect();
    assert_eq!(names, ["reshape_and_cache", "paged_attention_v1", "decode"]);
    let attention = &read.probes[1];
    assert_eq!(attention.info().unwrap().class, OpClass::PagedAttention);
    let symbols: Vec<Vec<&str>> = attention
        .variants
        .iter()
        .map(|variant| {
            variant.instances.iter().flat_map(|instance| &instance.symbols).map(|name| &**name).collect()
        })
        .collect();
    assert_eq!(
        symbols,
        [vec!["paged_attention_v1_f16", "paged_attention_v1_bf16"], vec!["paged_attention_v1"]]
    );
    assert_eq!(attention.variants[0].conditions.len(), 2);
    assert_eq!(attention.variants[0].instances[0].info.use_v1, Some(true));
}

#[test]
fn what_is_wrong_is_said_where_it_stands() {
    let f = |more: &str| probe("int f(const void* key, int rows, float scale, const long* sizes)", more);
    for (text, place, message) in [
        ("engine = 1".to_owned(), (1, 10), "invalid type: integer `1`, expected a string"),
        (f("feilds.x = \"rows\""), (7, 1), "unknown field `feilds`"),
        (f("tensors.key = { shape = \"[row]\" }"), (7, 27), "`row` is no argument of f"),
        (f("tensors.key = { shape = \"[rows, scale]\" }"), (7, 33), "`f32` is no whole number"),
        (f("fields.scale = \"scale\""), (7, 17), "`scale` lies in xmm0, which a uprobe does not see"),
        (f("fields.x = \"key.rows\""), (7, 16), "`.` after a pointer"),
        (f("fields.x = \"key->rows\""), (7, 18), "`void` has no members that are declared"),
        (f("fields.x = \"rows[0]\""), (7, 13), "`i32` is neither an array nor a pointer"),
        (f("fields.x = \"words[rows]\""), (7, 13), "`words` is neither a table nor a value here"),
        (f("tensors.key = { dtype = \"f16\" }"), (7, 15), "`void` is no type of tensors"),
        (f("tensors.key = { shape = \"[rows]\", dtype = \"half\" }"), (7, 43), "`half` is no element type"),
        (f("tensors.key = { shape = \"sizes\" }"), (7, 26), "`i64*` is no shape"),
        (f("tensors.key = { shape = \"sizes[..rows + 1]\" }"), (7, 34), "a length that is computed"),
        (f("tensors.other = { shape = \"[rows]\" }"), (7, 17), "`other` is no argument of f"),
        (f("tensors.Key = { of = \"key\", shape = \"[rows]\" }"), (7, 9), "`Key` is no name"),
        (f("symbol = \"${x}\""), (7, 11), "`x` is not declared in `each`"),
        (f("api = \"driver\""), (7, 7), "`f` is no function of the driver API that this agent knows"),
        (
            f("when = [{ present = \"a\", absent = \"b\" }]"),
            (7, 9),
            "two conditions in one; each stands in braces of its own",
        ),
        (f("when = [{ build_id = \"xyz\" }]"), (7, 22), "`xyz` is no build-id"),
        (f("use_v1 = true"), (7, 10), "`use_v1` is a matter of `op = \"paged_attention\"` only"),
        (f("libraries = [\"/lib/x.so\"]"), (7, 14), "`/lib/x.so` is no file name"),
        (f("libraries = []\nexecutable = false"), (4, 8), "no file to look into"),
        (
            f("[[probe]]\nname = \"p\"\nop = \"other\"\nsignature = \"void g()\""),
            (8, 8),
            "a second probe `p`",
        ),
        (
            probe("void f(batch b)", ""),
            (6, 21),
            "the type `batch` is taken by value, but its size is not known",
        ),
        (probe("void A::f(int b)", ""), (4, 8), "the symbol of `A::f` is not given"),
        (probe("void f(int b)", "fields.x = \"return\""), (7, 13), "f returns nothing"),
    ] {
        let error = parse(&text).expect_err(&text);
        assert_eq!((error.line, error.column), place, "{error}");
        assert!(error.message.starts_with(message), "{error}");
    }
}

#[test]
fn types_are_checked_where_they_are_declared() {
    for (types, place, message) in [
        ("[types.a]\nsize = 8\nmembers.x = \"int @ 6\"", (3, 20), "bytes 6 to 9 of a struct of 8 bytes"),
        ("[types.a]\nsize = 8\nmembers.x = \"b @ 0\"", (3, 14), "the size of `b` is not known here"),
        ("[types.a]\nsize = 8\nmembers.x = \"a @ 0\"", (3, 14), "the size of `a` is not known here"),
        ("[types.a]\nsize = 8\nmembers.x = \"int\"", (3, 17), "it ends here, but `@` is missing"),
        ("[types.a]\nsize = 0", (2, 8), "a struct of 0 bytes"),
        ("[types.int]\nsize = 8", (1, 8), "`int` is a type already: i32"),
        ("[types]\na = \"b\"", (2, 5), "the size of `b` is not known here"),
        ("[types.a]\nsize = 8\nalign = 3", (3, 9), "an alignment of 3 bytes"),
        ("[tables.a]\nx = \"f16\"", (2, 1), "`x` is no number"),
    ] {
        let text = format!("{types}\n");
        let error = parse(&format!("{text}[other]\n")).unwrap_err();
        assert!(error.message.contains("other"), "unknown keys come first: {error}");
        let at = text.lines().count();
        let error = parse(&format!("engine = \"e\"\n{text}")).unwrap_err();
        assert!(place.0 <= at);
        assert_eq!((error.line - 1, error.column), place, "{error}");
        assert!(error.message.starts_with(message), "{error}");
    }
}
