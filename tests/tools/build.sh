#!/usr/bin/env bash
# In: nothing; GPU_AGENT_BUILT=yes where everything was built already, as in a test.
# Out: everything that a user runs and the simulated device, built for release; on stdout, with --print, the folder that
# holds them. Refuses nothing; a compile error is cargo's own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

folder=${CARGO_TARGET_DIR:-$PWD/target}/release
if [[ ${1:-} == --print ]]; then
    echo "$folder"
    exit
fi
if [[ ${GPU_AGENT_BUILT:-} == yes ]]; then
    exit
fi
cargo build --quiet --release --locked -p gpu-agent -p gpu-agent-cupti-shim -p gpu-agent-kernels \
    -p gpu-agent-raw-dump -p cuda-sim-driver -p cuda-sim-cupti -p cuda-sim-cudart
tests/tools/cuda-sim-dir.sh release >/dev/null
echo "built in $folder"
