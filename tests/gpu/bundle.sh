#!/usr/bin/env bash
# In: nothing, or the path of the archive to make (default target/gpu-agent-gpu-bundle.tar.gz).
# Out: an archive of at most 60 MB with everything that run.sh needs on a machine with a GPU: no cargo, no source.
# Refuses to make a larger one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

tests/tools/build.sh >&2
bin=$(tests/tools/build.sh --print)
archive=${1:-${CARGO_TARGET_DIR:-target}/gpu-agent-gpu-bundle.tar.gz}
simulator=$(tests/tools/cuda-sim-dir.sh release)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
bundle=$scratch/gpu-agent-gpu-bundle
mkdir "$bundle" "$bundle/cuda-sim"
cp "$bin"/gpu-agent "$bin"/gpu-agent-workload "$bin"/gpu-agent-kernel-bench "$bin"/libgpu_agent_cupti.so \
    "$bin"/libgpu_agent_kernels.so "$bin"/libgpu_agent_raw_dump.so "$bundle"
cp "$simulator"/libcuda.so.1 "$simulator"/libcupti.so.* "$bundle/cuda-sim"
cp tests/gpu/{run.sh,compare.py,torch_program.py} LICENSE-MIT LICENSE-APACHE "$bundle"
find "$bundle" -type f \( -name '*.so*' -o -perm /111 \) ! -name '*.sh' ! -name '*.py' -exec strip --strip-debug {} +

tar -C "$scratch" -czf "$archive" gpu-agent-gpu-bundle
bytes=$(stat -c %s "$archive")
if ((bytes > 60000000)); then
    echo "$archive has $bytes bytes, more than 60 MB" >&2
    exit 1
fi
echo "$archive: $bytes bytes. On the machine with the GPU: tar xzf, then gpu-agent-gpu-bundle/run.sh RESULTS"
