#!/usr/bin/env python3
"""In: a path. Out: a GGUF model of the `llama` architecture there: 2 layers, random weights, a vocabulary of bytes.

Small enough to load in milliseconds, and complete: llama.cpp and mistral.rs read its tokenizer and generate with it. The
weights come from a fixed seed, so that every run computes the same. Format: GGUF version 3, as in ggml/include/gguf.h.
"""

import array
import random
import struct
import sys

LAYERS, WIDTH, HEADS, KV_HEADS, FEED_FORWARD, CONTEXT = 2, 64, 4, 2, 128, 256
KV_WIDTH = WIDTH // HEADS * KV_HEADS
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
ALIGNMENT = 32


def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


SCALARS = {
    U32: lambda value: struct.pack("<I", value),
    I32: lambda value: struct.pack("<i", value),
    F32: lambda value: struct.pack("<f", value),
    BOOL: lambda value: struct.pack("<?", value),
    STRING: string,
}


def pair(key, kind, value):
    if isinstance(value, list):
        items = b"".join(map(SCALARS[kind], value))
        return string(key) + struct.pack("<IIQ", ARRAY, kind, len(value)) + items
    return string(key) + struct.pack("<I", kind) + SCALARS[kind](value)


def vocabulary():
    """Tokens with their scores and types: three special ones, every byte, every printable ASCII character."""
    tokens = [("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL)]
    tokens += [(f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(256)]
    tokens += [("\u2581", -1.0, NORMAL)]
    tokens += [(chr(character), -2.0, NORMAL) for character in range(33, 127)]
    return tokens


def metadata(tokens):
    return [
        pair("general.architecture", STRING, "llama"),
        pair("general.name", STRING, "tiny"),
        pair("general.file_type", U32, 0),
        pair("llama.vocab_size", U32, len(tokens)),
        pair("llama.context_length", U32, CONTEXT),
        pair("llama.embedding_length", U32, WIDTH),
        pair("llama.block_count", U32, LAYERS),
        pair("llama.feed_forward_length", U32, FEED_FORWARD),
        pair("llama.attention.head_count", U32, HEADS),
        pair("llama.attention.head_count_kv", U32, KV_HEADS),
        pair("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
        pair("llama.rope.dimension_count", U32, WIDTH // HEADS),
        pair("llama.rope.freq_base", F32, 10000.0),
        pair("tokenizer.ggml.model", STRING, "llama"),
        pair("tokenizer.ggml.tokens", STRING, [token for token, _, _ in tokens]),
        pair("tokenizer.ggml.scores", F32, [score for _, score, _ in tokens]),
        pair("tokenizer.ggml.token_type", I32, [kind for _, _, kind in tokens]),
        pair("tokenizer.ggml.unknown_token_id", U32, 0),
        pair("tokenizer.ggml.bos_token_id", U32, 1),
        pair("tokenizer.ggml.eos_token_id", U32, 2),
        pair("tokenizer.ggml.add_bos_token", BOOL, True),
        pair("tokenizer.ggml.add_eos_token", BOOL, False),
        pair("tokenizer.chat_template", STRING, "{% for message in messages %}{{ message['content'] }}{% endfor %}"),
    ]


def shapes(words):
    """Tensors and their dimensions, innermost first as ggml counts them."""
    yield "token_embd.weight", (WIDTH, words)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        yield block + "attn_norm.weight", (WIDTH,)
        yield block + "attn_q.weight", (WIDTH, WIDTH)
        yield block + "attn_k.weight", (WIDTH, KV_WIDTH)
        yield block + "attn_v.weight", (WIDTH, KV_WIDTH)
        yield block + "attn_output.weight", (WIDTH, WIDTH)
        yield block + "ffn_norm.weight", (WIDTH,)
        yield block + "ffn_gate.weight", (WIDTH, FEED_FORWARD)
        yield block + "ffn_up.weight", (WIDTH, FEED_FORWARD)
        yield block + "ffn_down.weight", (FEED_FORWARD, WIDTH)
    yield "output_norm.weight", (WIDTH,)
    yield "output.weight", (WIDTH, words)


def main(path):
    chance = random.Random(7)
    tokens = vocabulary()
    pairs = metadata(tokens)
    infos, data = b"", bytearray()
    tensors = list(shapes(len(tokens)))
    for name, dimensions in tensors:
        elements = 1
        for dimension in dimensions:
            elements *= dimension
        infos += string(name) + struct.pack("<I", len(dimensions))
        infos += struct.pack(f"<{len(dimensions)}Q", *dimensions) + struct.pack("<IQ", 0, len(data))
        weights = [1.0] * elements if "norm" in name else [chance.uniform(-0.1, 0.1) for _ in range(elements)]
        data += array.array("f", weights).tobytes()
        data += bytes(-len(data) % ALIGNMENT)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs) + infos
    head += bytes(-len(head) % ALIGNMENT)
    with open(path, "wb") as file:
        file.write(head + data)


if __name__ == "__main__":
    main(*sys.argv[1:])
