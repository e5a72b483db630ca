#!/usr/bin/env bash
# In: nothing for the engines that CI runs, or `all` for those too that take gigabytes, one PyTorch at a time.
# Out: the test runner's count. Exit 1 where a test failed or was skipped. Needs root, a network, and 8 GB of disk for `all`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

tests/tools/build.sh
nextest=$(tests/tools/tool.sh cargo-nextest)
report=target/nextest/default/junit.xml
engines=${GPU_AGENT_CACHE:-target}/engines

run() { # TEST FILTER
    rm -f "$report"
    "$nextest" nextest run -p gpu-agent-tests --locked --no-fail-fast --success-output final --test "$1" -E "$2"
    if grep -oE 'skipped: [^<]*' "$report"; then
        exit 1
    fi
}

run engines 'all()'
if [[ ${1:-} == all ]]; then
    run engines_on_demand 'test(llama_server)'
    for pair in 2.5.1:vllm_0_6_ 2.14.0:vllm_0_33_; do
        torch=${pair%%:*}
        tests/engines/torch.sh "$torch" >/dev/null
        release=${torch%.*}
        run engines_on_demand "test(${pair##*:}) + test(torch_${release/./_}_)"
        rm -rf "$engines/torch-$torch"
    done
fi
