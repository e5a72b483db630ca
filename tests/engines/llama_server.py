#!/usr/bin/env python3
"""In: the folder of llama_server.sh, a GGUF model. Out: a line "ready PID" with the pid of llama-server, which this program has
started; then, after a line on stdin, some requests to it and a JSON object that says what was done: the oracle of
tests/tests/engines_on_demand.rs.

What it counts it learns from the server's answers and from its /metrics.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

REQUESTS = [("hello there", 8), ("a longer prompt than the one before", 5), ("x", 3)]


def start(folder, model, port):
    libraries = f"{folder}/usr/lib/x86_64-linux-gnu"
    # With the C library that it was built against.
    line = [f"{libraries}/ld-linux-x86-64.so.2", "--library-path", f"{libraries}:{libraries}/llama"]
    line += [f"{folder}/usr/bin/llama-server", "-m", model, "--host", "127.0.0.1", "--port", str(port), "--metrics"]
    line += ["-c", "256", "--threads", "2", "--parallel", "1", "--no-warmup", "-fa", "on", "--no-webui", "--cache-ram", "0"]
    environment = os.environ | {"GGML_BACKEND_PATH": f"{libraries}/ggml/backends0/libggml-cpu-x64.so"}
    return subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def get(port, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, timeout=30) as answer:
        return answer.read().decode()


def metric(port, name):
    lines = [line.split() for line in get(port, "/metrics").splitlines()]
    (value,) = [words[1] for words in lines if words[0] == f"llamacpp:{name}"]
    return int(float(value))


def main(folder, model):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = start(folder, model, port)
    try:
        for _ in range(300):
            try:
                get(port, "/health")
                break
            except OSError:
                time.sleep(0.1)
        before = metric(port, "n_decode_total")
        print("ready", server.pid, flush=True)
        sys.stdin.readline()
        tokens, texts = 0, []
        for prompt, most in REQUESTS:
            body = {"prompt": prompt, "n_predict": most, "temperature": 0, "cache_prompt": False}
            answer = json.loads(get(port, "/completion", body))
            texts.append(answer["content"])
            # The last token is not decoded: nobody asks for what comes after it.
            tokens += answer["timings"]["prompt_n"] + answer["timings"]["predicted_n"] - 1
        decodes = metric(port, "n_decode_total") - before
    finally:
        server.terminate()
        server.wait(30)
    print(json.dumps({"decodes": decodes, "tokens": tokens, "result": texts}), flush=True)


main(*sys.argv[1:])
