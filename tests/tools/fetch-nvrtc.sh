#!/usr/bin/env bash
# In: nothing. Out: NVIDIA's runtime compiler (libnvrtc.so.12, Linux, x86_64) in a cache, and its folder on stdout.
# Refuses a file whose checksum is not the one below (exit 1). Exit 75 where nothing could be downloaded.
#
# The cache is $GPU_AGENT_CACHE/nvrtc, by default target/nvrtc; what is in it is not fetched again.
# The library is under NVIDIA's own licence: for tests on this machine, not to be passed on.
set -euo pipefail

package=nvidia-cuda-nvrtc-cu12
release=12.4.127
sha256=a178759ebb095827bd30ef56598ec182b85547f1508941a3d560eb7ea1fbf338

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${GPU_AGENT_CACHE:-$root/target}/nvrtc
mkdir -p "$cache"

# Tests start this script in several processes at once; one fetches, the others find the result.
exec 9>"$cache/lock"
flock 9

if [[ ! -d $cache/$release ]]; then
    scratch=$(mktemp -d "$cache/fetch.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    python3 -m pip download --quiet --disable-pip-version-check --no-input --timeout 20 --retries 2 \
        --no-deps --only-binary=:all: --dest "$scratch" --platform manylinux2014_x86_64 "$package==$release" >&2 || {
        echo "fetch-nvrtc: cannot download $package $release with pip; is there a network?" >&2
        exit 75
    }
    wheel=$(echo "$scratch"/*.whl)
    if ! echo "$sha256  $wheel" | sha256sum --check --status; then
        echo "fetch-nvrtc: the checksum of $package $release is not the expected one" >&2
        exit 1
    fi
    python3 - "$wheel" "$scratch/lib" <<'PYTHON'
import pathlib, sys, zipfile

wheel, folder = zipfile.ZipFile(sys.argv[1]), pathlib.Path(sys.argv[2])
folder.mkdir()
for name in wheel.namelist():
    if "/libnvrtc" in name:
        (folder / pathlib.PurePosixPath(name).name).write_bytes(wheel.read(name))
PYTHON
    mv "$scratch/lib" "$cache/$release"
fi
echo "$cache/$release"
