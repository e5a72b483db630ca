#!/usr/bin/env python3
"""In: the folder where `mistralrs-cuda` is unpacked. Out: a line "ready", then, after a line on stdin, calls of the three entry
points of paged attention with made-up addresses and numbers, and a JSON object with exactly these: the oracle of
tests/tests/engines.rs.

There is no GPU, so no kernel is launched: what is tested is that each argument is read from its place. The functions are
local symbols; they are called at the address where the library lies plus the symbol's value.
"""

import ctypes
import json
import struct
import sys

sys.path.insert(0, sys.argv[1])
import mistralrs.mistralrs as library  # noqa: E402 (its folder is an argument)

POINTER, INT, FLOAT = ctypes.c_void_p, ctypes.c_int, ctypes.c_float
NUMBERS = [
    ("block_size", INT),
    ("max_context_len", INT),
    ("num_seqs", INT),
    ("num_heads", INT),
    ("head_size", INT),
    ("max_num_blocks_per_seq", INT),
    ("q_stride", INT),
    ("kv_block_stride", INT),
    ("kv_head_stride", INT),
    ("dtype", ctypes.c_uint32),
]
QUERY = [("query", POINTER), ("key_cache", POINTER), ("value_cache", POINTER), ("num_kv_heads", INT)]
QUERY += [("scale", FLOAT), ("softcapping", FLOAT), ("block_tables", POINTER), ("context_lens", POINTER)]
# As declared in mistralrs-paged-attn 0.3.2, src/cuda/backend/ffi.rs.
ARGUMENTS = {
    "paged_attention_v1": [("out", POINTER), *QUERY, *NUMBERS],
    "paged_attention_v2": [
        ("out", POINTER),
        ("exp_sums", POINTER),
        ("max_logits", POINTER),
        ("tmp_out", POINTER),
        *QUERY,
        *NUMBERS,
    ],
    "reshape_and_cache": [
        ("key", POINTER),
        ("value", POINTER),
        ("key_cache", POINTER),
        ("value_cache", POINTER),
        ("slot_mapping", POINTER),
        ("num_tokens", INT),
        ("num_heads", INT),
        ("head_size", INT),
        ("block_size", INT),
        ("x", INT),
        ("key_stride", INT),
        ("value_stride", INT),
        ("dtype", ctypes.c_uint32),
    ],
}
HEADS, KV_HEADS, BLOCK = 8, 2, 16


def values(name, call):
    """What the call number `call` passes: a plausible number for each name, and an address that nothing lies at for each pointer."""
    head = [64, 128, 256][call]
    known = {
        "num_kv_heads": KV_HEADS,
        "num_heads": KV_HEADS if name == "reshape_and_cache" else HEADS,
        "head_size": head,
        "block_size": BLOCK,
        "x": 8,
        "num_tokens": 37 + call,
        "num_seqs": 3 + call,
        "max_context_len": 1000 + call,
        "max_num_blocks_per_seq": 63 + call,
        "q_stride": HEADS * head,
        "key_stride": KV_HEADS * head,
        "value_stride": KV_HEADS * head,
        "kv_block_stride": KV_HEADS * head * BLOCK,
        "kv_head_stride": head * BLOCK,
        "scale": 0.125,
        "softcapping": 1.0,
        "dtype": call,
    }
    return [
        (argument, 0x1000_0000 * (index + 1) + 0x100 * call if kind is POINTER else known[argument])
        for index, (argument, kind) in enumerate(ARGUMENTS[name])
    ]


def symbols(path, wanted):
    """Values of the named symbols in .symtab (ELF64, little-endian)."""
    with open(path, "rb") as file:
        data = file.read()
    (table,) = struct.unpack_from("<Q", data, 0x28)
    size, count = struct.unpack_from("<HH", data, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, table + size * index) for index in range(count)]
    found = {}
    for section in sections:
        if section[1] != 2:  # SHT_SYMTAB
            continue
        names = sections[section[6]][4]
        for at in range(section[4], section[4] + section[5], 24):
            name, _, _, _, value, _ = struct.unpack_from("<IBBHQQ", data, at)
            end = data.index(b"\0", names + name)
            text = data[names + name : end].decode(errors="replace")
            if text in wanted:
                found[text] = value
    return found


def load_address(path):
    """Where byte 0 of the library lies, which its first segment has at address 0."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        return min(int(line.split("-")[0], 16) for line in maps if line.rstrip().endswith(path))


def main():
    path = library.__file__
    base, offsets = load_address(path), symbols(path, set(ARGUMENTS))
    functions = {
        name: ctypes.CFUNCTYPE(None, *[kind for _, kind in arguments])(base + offsets[name])
        for name, arguments in ARGUMENTS.items()
    }
    print("ready", flush=True)
    sys.stdin.readline()
    calls = []
    for call in range(3):
        for name, function in functions.items():
            arguments = values(name, call)
            function(*[value for _, value in arguments])
            calls.append({"name": name, "arguments": dict(arguments)})
    print(json.dumps({"calls": calls}), flush=True)


main()
