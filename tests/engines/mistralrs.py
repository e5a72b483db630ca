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
    return runner.send_completion_request(request)


def main():
    runner = Runner(which=MODEL, prefix_cache_n=0)
    # The first answer comes after the engine's own warm-up.
    ask(runner, "warm", 1)
    print("ready", flush=True)
    sys.stdin.readline()
    appends, tensors, texts = 0, {}, []
    for prompt, tokens in PROMPTS:
        answer = ask(runner, prompt, tokens)
        texts.append(answer.choices[0].text)
        usage = answer.usage
        cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else 0
        # One step for what is new of the prompt, then one for each token but the last, which nobody reads.
        for rows in [usage.prompt_tokens - cached] + [1] * (usage.completion_tokens - 1):
            appends += tiny_gguf.LAYERS
            for name in ("k", "v"):
                key = f"{name} [1,{tiny_gguf.KV_HEADS},{rows},{tiny_gguf.WIDTH // tiny_gguf.HEADS}] f32"
                tensors[key] = tensors.get(key, 0) + tiny_gguf.LAYERS
    print(json.dumps({"appends": appends, "tensors": tensors, "result": texts}), flush=True)


main()
