#!/usr/bin/env python3
"""In: nothing, in a Python with torch. Out: a line "ready", then, after a line on stdin, calls of scaled_dot_product_attention on
the CPU and a JSON object with the shapes of every tensor that was passed: the oracle of tests/tests/engines_on_demand.rs.
"""

import json
import sys

import torch
from torch.nn.functional import scaled_dot_product_attention


def main():
    print("ready", flush=True)
    sys.stdin.readline()
    tensors, texts = {}, []
    generator = torch.Generator().manual_seed(7)
    for rows, dtype in [(5, torch.float32), (9, torch.bfloat16), (1, torch.float32), (1, torch.float32)]:
        shapes = {"query": (2, 4, rows, 16), "key": (2, 4, 40, 16), "value": (2, 4, 40, 16)}
        given = {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}
        with torch.no_grad():
            texts.append(scaled_dot_product_attention(*given.values()).sum().item())
        for name, tensor in given.items():
            word = {torch.float32: "f32", torch.bfloat16: "bf16"}[tensor.dtype]
            key = f"{name} [{','.join(map(str, tensor.shape))}] {word}"
            tensors[key] = tensors.get(key, 0) + 1
    print(json.dumps({"torch": torch.__version__, "calls": 4, "tensors": tensors, "result": texts}), flush=True)


main()
