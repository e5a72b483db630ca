#!/bin/sh
# Builds kernels/ptx from kernels/cuda. With --check, only compares. Needs python3 with venv, and pip's index for
# the compiler (once: it stays in target/). Exit status: 1 out of date or not compiling, 69 compiler not available.
set -eu
kernels=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
# 12.4 emits PTX 8.4, which drivers from 550 on load.
compiler="nvidia-cuda-nvrtc-cu12==12.4.127"
venv="${CARGO_TARGET_DIR:-$kernels/../target}/nvrtc-12.4.127"
if ! [ -e "$venv/ready" ]; then
    python3 -m venv "$venv" || exit 69
    "$venv/bin/pip" install --quiet --disable-pip-version-check "$compiler" || exit 69
    touch "$venv/ready"
fi
exec "$venv/bin/python" "$kernels/tools/build_ptx.py" "$@"
