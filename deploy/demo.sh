#!/usr/bin/env bash
# In: nothing, or options of gpu-agent-workload; DEMO_SECONDS (15), DEMO_LISTEN (127.0.0.1:9400); GPU_AGENT_DEVICE=simulated
#     to leave a real device alone.
# Out: a table that refreshes while the agent watches the bundled workload: GPU kernels and, as root, calls of the workload's
# entry points with their tensors; then a summary, the JSON log's path, the metrics URL and what the workload itself counted.
# Refuses to call a simulated device a real one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${DEMO_SECONDS:-15}
listen=${DEMO_LISTEN:-127.0.0.1:9400}
# Somebody else may serve there already; the agent says where it serves.
if (exec 3<>"/dev/tcp/${listen%:*}/${listen##*:}") 2>/dev/null; then
    listen=${listen%:*}:0
fi

echo "building (the first time takes minutes) …"
tests/tools/build.sh
bin=$(tests/tools/build.sh --print)

scratch=$(mktemp -d "${TMPDIR:-/tmp}/gpu-agent-demo.XXXXXX")
workload=
cleanup() {
    if [[ -n $workload ]]; then
        kill "$workload" 2>/dev/null || true
    fi
}
trap cleanup EXIT

# The driver says itself whether it is there: a few launches, without the shim.
library_path=${LD_LIBRARY_PATH:-}
if [[ ${GPU_AGENT_DEVICE:-} == simulated ]]; then
    echo "as asked" >"$scratch/probe.err"
    real=no
elif "$bin/gpu-agent-workload" --launches 3 >"$scratch/probe.json" 2>"$scratch/probe.err"; then
    real=yes
else
    real=no
fi
if [[ $real == yes ]]; then
    echo "device: $(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1 || true) (real)"
    options=()
else
    simulator=$(tests/tools/cuda-sim-dir.sh release)
    library_path=$simulator${library_path:+:$library_path}
    echo "device: simulated ($(tail -n 1 "$scratch/probe.err")); kernels run on the CPU, no time below is a GPU's"
    options=(--rate 2000)
fi

if [[ $(id -u) != 0 ]]; then
    echo "not root: entry points are not probed, so no tensors are shown; sudo make demo shows them"
fi

mkfifo "$scratch/go"
LD_LIBRARY_PATH=$library_path LD_PRELOAD=$bin/libgpu_agent_cupti.so \
    "$bin/gpu-agent-workload" --seconds "$((seconds + 2))" --wait-stdin "${options[@]}" "$@" \
    <"$scratch/go" >"$scratch/workload.out" 2>"$scratch/workload.err" &
workload=$!
exec 3>"$scratch/go"
until grep -q '^ready$' "$scratch/workload.out"; do
    if ! kill -0 "$workload" 2>/dev/null; then
        cat "$scratch/workload.err" >&2
        exit 1
    fi
    sleep 0.1
done

echo "workload: pid $workload; attaching for $seconds s"
echo go >&3
exec 3>&-
"$bin/gpu-agent" attach --pid "$workload" --table --duration "${seconds}s" --listen "$listen" \
    --json-log "$scratch/events.jsonl"
wait "$workload"
workload=

echo "own counts      $scratch/workload.out (what the workload says it did, over its whole life)"
