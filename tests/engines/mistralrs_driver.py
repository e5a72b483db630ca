#!/usr/bin/env python3
"""In: the folder where `mistralrs` is unpacked, a folder with tiny.gguf. Out: a line "ready", then, after a line on stdin, some
completions and a JSON object that says what was done: the oracle of tests/tests/engines.rs.

What it counts it learns from mistral.rs's own answers: tokens of a prompt, tokens taken from the prefix cache, tokens completed.
"""

import json
import sys

import tiny_gguf

sys.path.insert(0, sys.argv[1])
from mistralrs import CompletionRequest, Runner, Which  # noqa: E402 (its folder is an argument)

MODEL = Which.GGUF(quantized_model_id=sys.argv[2], quantized_filename="tiny.gguf")
PROMPTS = [("hello there", 8), ("a longer prompt than the one before", 5), ("x", 2)]


def ask(runner, prompt, tokens):
    request = CompletionRequest(model="tiny", prompt=prompt, max_tokens=tokens, temperature=0.0)
    return runner.send_completion_request(request).usage


def main():
    runner = Runner(which=MODEL, prefix_cache_n=0)
    # The first answer comes after the engine's own warm-up.
    ask(runner, "warm", 1)
    print("ready", flush=True)
    sys.stdin.readline()
    shapes = {}
    for prompt, tokens in PROMPTS:
        usage = ask(runner, prompt, tokens)
        cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else 0
        # One step for what is new of the prompt, then one for each token but the last, which nobody reads.
        steps = [usage.prompt_tokens - cached] + [1] * (usage.completion_tokens - 1)
        for rows in steps:
            shape = [1, tiny_gguf.KV_HEADS, rows, tiny_gguf.WIDTH // tiny_gguf.HEADS]
            shapes[str(shape)] = shapes.get(str(shape), 0) + tiny_gguf.LAYERS
    print(json.dumps({"appends": [{"shape": json.loads(shape), "count": n} for shape, n in shapes.items()]}), flush=True)


main()
