#!/usr/bin/env bash
# In: nothing. Out: every benchmark of docs/performance.md, each with its bar, on stdout; minutes.
# Refuses nothing: a missed bar is printed, not an error, since the machine may be busy.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

step() {
    printf '\n== %s\n' "$1"
}

step "machine"
uname -srm
grep -m 1 'model name' /proc/cpuinfo || true
echo "$(nproc) cores, load $(cut -d ' ' -f 1-3 /proc/loadavg)"

tests/tools/build.sh
bin=$(tests/tools/build.sh --print)
simulator=$(tests/tools/cuda-sim-dir.sh release)

for package in gpu-agent-ring gpu-agent-cupti-shim gpu-agent gpu-agent-tests; do
    step "$package"
    cargo bench --quiet --locked -p "$package" --bench '*'
done

step "what watching costs: gpu-agent bench, on $(nvidia-smi -L 2>/dev/null | head -n 1 || echo 'the simulated device')"
if "$bin/gpu-agent-workload" --launches 3 >/dev/null 2>&1; then
    "$bin/gpu-agent" bench
else
    LD_LIBRARY_PATH=$simulator "$bin/gpu-agent" bench
fi
