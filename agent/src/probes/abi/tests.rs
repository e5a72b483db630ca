//! Places that were seen in published binaries with uprobes.

use super::super::source::{Source, Text};
use super::super::specification::Specification;
use super::*;

/// Where the arguments of a function lie, as words.
fn places(arch: Arch, types: &str, signature: &str) -> Vec<String> {
    let file = format!("engine = \"e\"\n{types}\n");
    let scope = Specification::parse("x", &file).unwrap_or_else(|error| panic!("{error}")).scope;
    let source = Source { file: "x".into(), text: signature.into() };
    let signature = Signature::parse(&Text::at(&source, signature, 0..signature.len())).unwrap();
    let placement = arch.place(&scope.types, &signature).unwrap_or_else(|error| panic!("{error}"));
    placement.arguments.iter().map(|placed| placed.shown(arch)).collect()
}

#[test]
fn mistral_rs_0_3_2_paged_attention_lies_where_uprobes_found_it() {
    let signature = "void paged_attention_v1(void* out, void* query, void* key_cache, void* value_cache, int num_kv_heads, \
        float scale, float softcapping, int* block_tables, int* context_lens, int block_size, int max_context_len, \
        int num_seqs, int num_heads, int head_size, int max_blocks, int q, int kv_block, int kv_head, uint32_t dtype)";
    let found = places(Arch::X86_64, "", signature);
    let named = ["rdi", "rsi", "rdx", "rcx", "r8", "xmm0", "xmm1", "r9"];
    assert_eq!(found[..8], named);
    let slots: Vec<String> = (1..=11).map(|slot| format!("sp+{}", slot * 8)).collect();
    assert_eq!(found[8..], slots);
}

#[test]
fn flash_attention_returns_objects_and_takes_classes_by_their_address() {
    let types = "[types.vec]\nsize = 24\nclass = true\n";
    let signature = "vec flash::mha_varlen_fwd(torch::stable::Tensor q, torch::stable::Tensor const& k, \
        torch::stable::Tensor const& v, std::optional<torch::stable::Tensor> out, torch::stable::Tensor const& a, \
        torch::stable::Tensor const& b, long max_q)";
    assert_eq!(places(Arch::X86_64, types, signature), ["*rsi", "rdx", "rcx", "*r8", "r9", "sp+8", "sp+16"]);
    assert_eq!(places(Arch::Aarch64, types, signature), ["*x0", "x1", "x2", "*x3", "x4", "x5", "x6"]);
}

#[test]
fn llama_decode_takes_its_batch_on_the_stack() {
    let types =
        "[types.llama_batch]\nsize = 56\nmembers.n_tokens = \"int @ 0\"\nmembers.token = \"int* @ 8\"\n";
    let signature = "int llama_decode(llama_context* ctx, llama_batch batch)";
    assert_eq!(places(Arch::X86_64, types, signature), ["rdi", "sp+8"]);
    assert_eq!(places(Arch::Aarch64, types, signature), ["x0", "*x1"]);
}
