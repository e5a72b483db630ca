#!/usr/bin/env python3
"""In: the folder with vLLM's own libraries (unpacked wheel), in a Python with the torch it was built for. Out: a line "ready",
then, after a line on stdin, calls of vLLM's operators and a JSON object with every tensor that was passed: the oracle of
tests/tests/engines_on_demand.rs.

There is no GPU: each operator is dispatched by hand to its CUDA implementation with tensors in host memory. The entry points run
with true tensors and then fail at their first CUDA call, which torch turns into an exception: RuntimeError is the expected end.
"""

import glob
import json
import sys

import torch

CUDA = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)
HEADS, KV_HEADS, HEAD, BLOCK, BLOCKS, X = 8, 2, 64, 16, 10, 8


WORDS = {torch.float16: "f16", torch.float32: "f32", torch.int32: "i32", torch.int64: "i64"}


def describe(arguments):
    """The tensors among the arguments, in the words of the agent's log."""
    for name, value in arguments.items():
        if isinstance(value, torch.Tensor):
            yield f"{name} [{','.join(map(str, value.shape))}] {WORDS[value.dtype]}"


def arguments(schema, call):
    """Values for each argument of an operator: shapes that differ by name and by call, so that none can be mistaken for another."""
    tokens, sequences = 5 + call, 3 + call
    half, number = torch.float16, torch.int32
    known = {
        "out": torch.zeros(sequences, HEADS, HEAD, dtype=half),
        "query": torch.zeros(sequences, HEADS, HEAD, dtype=half),
        "exp_sums": torch.zeros(sequences, HEADS, 2),
        "max_logits": torch.zeros(sequences, HEADS, 2),
        "tmp_out": torch.zeros(sequences, HEADS, 2, HEAD, dtype=half),
        "key": torch.zeros(tokens, KV_HEADS, HEAD, dtype=half),
        "value": torch.zeros(tokens, KV_HEADS, HEAD, dtype=half),
        "slot_mapping": torch.arange(tokens, dtype=torch.int64),
        "block_tables": torch.zeros(sequences, 4, dtype=number),
        "seq_lens": torch.full((sequences,), 40, dtype=number),
        "num_kv_heads": KV_HEADS,
        "block_size": BLOCK,
        "max_seq_len": 40 + call,
        "kv_cache_dtype": "auto",
        "q": torch.zeros(tokens, HEADS, HEAD, dtype=half),
        "k": torch.zeros(BLOCKS, 256, KV_HEADS, HEAD, dtype=half),
        "v": torch.zeros(BLOCKS, 256, KV_HEADS, HEAD, dtype=half),
        "cu_seqlens_q": torch.zeros(sequences + 1, dtype=number),
        "cu_seqlens_k": torch.zeros(sequences + 1, dtype=number),
        "block_table": torch.zeros(sequences, 7, dtype=number),
        "max_seqlen_q": 5 + call,
        "max_seqlen_k": 77 + call,
        "kv_c": torch.zeros(tokens, 512, dtype=half),
        "k_pe": torch.zeros(tokens, 64, dtype=half),
        "kv_cache": torch.zeros(BLOCKS, BLOCK, 576, dtype=half),
        "src": torch.zeros(BLOCKS, 128, dtype=half),
        "dst": torch.zeros(BLOCKS, 128, dtype=half),
        "block_mapping": torch.zeros(2 + call, 2, dtype=torch.int64),
        "block_size_in_bytes": 256,
        "num_splits": 1,
    }
    flash = "flash" in schema.name
    cache = (BLOCKS, BLOCK, KV_HEADS, HEAD) if flash else (BLOCKS, KV_HEADS, HEAD // X, BLOCK, X)
    known["key_cache"] = torch.zeros(*cache, dtype=half)
    known["value_cache"] = known["key_cache"] if flash else torch.zeros(BLOCKS, KV_HEADS, HEAD, BLOCK, dtype=half)
    by_type = {"float": 0.125, "int": 0, "bool": False, "str": "auto", "Tensor": torch.ones(1)}
    result = {}
    for argument in schema.arguments:
        kind = str(argument.type)
        if argument.name in known:
            result[argument.name] = known[argument.name]
        elif "Optional" in kind or kind.endswith("?"):
            result[argument.name] = None
        else:
            result[argument.name] = by_type[kind]
    return result


# Operators, and the functions that implement them.
WANTED = {
    "_C": {name: name for name in ["paged_attention_v1", "paged_attention_v2"]},
    "_C_cache_ops": {
        name: name for name in ["reshape_and_cache", "reshape_and_cache_flash", "concat_and_cache_mla", "swap_blocks"]
    },
    "vllm_flash_attn_c": {"varlen_fwd": "fa2_varlen_fwd"},
    "_vllm_fa2_C": {"varlen_fwd": "fa2_varlen_fwd"},
}
LIBRARIES = ["_C.abi3.so", "_C_stable_libtorch.abi3.so", "vllm_flash_attn/*_C.abi3.so", "vllm_flash_attn/*_c.abi3.so"]


def main(folder):
    for library in [path for pattern in LIBRARIES for path in glob.glob(f"{folder}/{pattern}")]:
        torch.ops.load_library(library)
    found = [
        (function, getattr(getattr(torch.ops, namespace), name).default)
        for namespace, names in WANTED.items()
        for name, function in names.items()
        if hasattr(getattr(torch.ops, namespace), name)
    ]
    print("ready", flush=True)
    sys.stdin.readline()
    calls, tensors, ends = {}, {}, []
    for call in range(3):
        for function, operator in found:
            given = arguments(operator._schema, call)
            calls[function] = calls.get(function, 0) + 1
            for tensor in describe(given):
                key = f"{function} {tensor}"
                tensors[key] = tensors.get(key, 0) + 1
            try:
                operator.redispatch(CUDA, *given.values())
                ends.append(f"{function} returned")
            except RuntimeError as error:
                ends.append(f"{function} failed: {str(error).splitlines()[0]}")
    print(json.dumps({"torch": torch.__version__, "calls": calls, "tensors": tensors, "result": ends}), flush=True)


main(*sys.argv[1:])
