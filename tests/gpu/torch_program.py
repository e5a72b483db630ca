#!/usr/bin/env python3
"""A PyTorch program of many kinds of GPU work, to be run under the agent.

In:  --seconds (5), --seed (1); a CUDA device. Out: a line a second, and at the end what was done.
Matrix products and attention in bf16, a captured CUDA graph, pinned copies both ways, two streams, allocations that
come and go. Nothing of it depends on gpu-agent.
"""

import argparse
import json
import time

import torch


def main():
    """Works for the time asked."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    device = torch.device("cuda")
    weight = torch.randn(1024, 1024, device=device, dtype=torch.bfloat16)
    heads = [torch.randn(4, 16, 256, 64, device=device, dtype=torch.bfloat16) for _ in range(3)]
    pinned = torch.randn(1 << 20, pin_memory=True)
    side = torch.cuda.Stream()

    static = torch.randn(64, 1024, device=device, dtype=torch.bfloat16)
    for _ in range(3):
        (static @ weight).relu_()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = torch.nn.functional.softmax((static @ weight).relu(), dim=-1)

    steps, started = 0, time.monotonic()
    next_line = started + 1
    while time.monotonic() < started + options.seconds:
        torch.nn.functional.scaled_dot_product_attention(*heads, is_causal=True)
        graph.replay()
        with torch.cuda.stream(side):
            copied = pinned.to(device, non_blocking=True)
            back = copied.mul_(2).to("cpu", non_blocking=False)
        steps += 1
        if time.monotonic() >= next_line:
            print(f"{steps} steps", flush=True)
            next_line += 1
    torch.cuda.synchronize()
    print(
        json.dumps(
            {
                "torch": torch.__version__,
                "cuda": torch.version.cuda,
                "device": torch.cuda.get_device_name(),
                "steps": steps,
                "graph_replays": steps,
                "bytes_each_way": steps * pinned.nbytes,
                "checksum": float(captured.float().sum() + back.sum()),
            }
        )
    )


if __name__ == "__main__":
    main()
