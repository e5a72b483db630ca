#!/usr/bin/env bash
# In: nothing, or the releases wanted, such as "12.9.79 13.0.85".
# Out: NVIDIA's own libcupti of each (Linux, x86_64) in a cache, and a line "RELEASE PATH" for each on stdout.
# Refuses a file whose checksum is not the one below (exit 1). Exit 75 where nothing could be downloaded.
#
# The cache is $GPU_AGENT_CACHE/cupti-wheels, by default target/cupti-wheels; what is in it is not fetched again.
# The libraries are under NVIDIA's own licence: for tests on this machine, not to be passed on.
set -euo pipefail

# release, package, SHA-256 of the wheel
libraries='
11.8.87  nvidia-cuda-cupti-cu11 4191a17913a706b5098681280cd089cd7d8d3df209a6f5cb79384974a96d24f2
12.0.146 nvidia-cuda-cupti-cu12 218901bafaef99588bc3681a2af61ea1b884b78c53e554fc8d94056d893920a0
12.4.127 nvidia-cuda-cupti-cu12 9dec60f5ac126f7bb551c055072b69d85392b13311fcc1bcda2202d172df30fb
12.8.90  nvidia-cuda-cupti-cu12 ea0cb07ebda26bb9b29ba82cda34849e73c166c18162d3913575b0c9db9a6182
12.9.79  nvidia-cuda-cupti-cu12 096bcf334f13e1984ba36685ad4c1d6347db214de03dbb6eebb237b41d9d934f
13.0.85  nvidia-cuda-cupti      4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8
13.1.115 nvidia-cuda-cupti      2c76d91807cf76fc0e4b08ad71c4dff0e8e9f678fc8dbbbc43ec55125a70b553
13.4.92  nvidia-cuda-cupti      037b561575e6983bc4fe1caae644d7a296a8367f451bf6c2a3194f4d0765431c
'

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${GPU_AGENT_CACHE:-$root/target}/cupti-wheels
mkdir -p "$cache"

# Tests start this script in several processes at once; one fetches, the others find the result.
exec 9>"$cache/lock"
flock 9

scratch=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

download() { # RELEASE PACKAGE
    python3 -m pip download --quiet --disable-pip-version-check --no-input --timeout 20 --retries 2 \
        --no-deps --only-binary=:all: --dest "$scratch/$1" \
        --platform manylinux2014_x86_64 --platform manylinux_2_25_x86_64 --platform manylinux1_x86_64 \
        "$2==$1" >&2 || {
        echo "fetch-cupti: cannot download $2 $1 with pip; is there a network?" >&2
        exit 75
    }
}

unpack() { # WHEEL FOLDER: takes libcupti.so.* out of the wheel, and nothing else
    python3 - "$1" "$2" <<'PYTHON'
import pathlib, sys, zipfile

wheel, folder = zipfile.ZipFile(sys.argv[1]), pathlib.Path(sys.argv[2])
(name,) = [name for name in wheel.namelist() if "/libcupti.so." in name]
folder.mkdir()
(folder / pathlib.PurePosixPath(name).name).write_bytes(wheel.read(name))
PYTHON
}

fetch() { # RELEASE PACKAGE SHA256
    download "$1" "$2"
    local wheel
    wheel=$(echo "$scratch/$1"/*.whl)
    if ! echo "$3  $wheel" | sha256sum --check --status; then
        echo "fetch-cupti: the checksum of $2 $1 is not the expected one" >&2
        exit 1
    fi
    unpack "$wheel" "$scratch/unpacked-$1"
    mv "$scratch/unpacked-$1" "$cache/$1"
}

known=$(awk 'NF { print $1 }' <<<"$libraries")
for release in "${@:-}"; do
    if [[ -n $release ]] && ! grep -qxF "$release" <<<"$known"; then
        echo "fetch-cupti: no release $release; known are: ${known//$'\n'/ }" >&2
        exit 2
    fi
done

while read -r release package sha256; do
    [[ -n $release ]] || continue
    [[ $# -eq 0 || " $* " == *" $release "* ]] || continue
    [[ -d $cache/$release ]] || fetch "$release" "$package" "$sha256"
    echo "$release $(echo "$cache/$release"/libcupti.so.*)"
done <<<"$libraries"
