#!/usr/bin/env bash
# In: nothing. Out: the C library of Debian 13 (glibc 2.41, x86_64) in a cache, as a root to be filled, and its folder on stdout.
# Refuses to touch the system's own packages. Exit 75 where nothing could be downloaded.
#
# The cache is $GPU_AGENT_CACHE/c-library, by default target/c-library; what is in it is not fetched again.
set -euo pipefail

suite=trixie
packages=(libc6 libgcc-s1)

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${GPU_AGENT_CACHE:-$root/target}/c-library
mkdir -p "$cache"
# shellcheck source=tests/tools/debian.sh
source "$root/tests/tools/debian.sh"

# Tests start this script in several processes at once; one fetches, the others find the result.
exec 9>"$cache/lock"
flock 9

if [[ ! -d $cache/$suite ]]; then
    scratch=$(mktemp -d "$cache/fetch.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    debian_suites "$scratch" "$suite"
    (cd "$scratch/archives" && APT_CONFIG=$scratch/apt.conf apt-get download -qq "${packages[@]}" >&2) || {
        echo "fetch-c-library: apt cannot download ${packages[*]} of Debian $suite; is there a network?" >&2
        exit 75
    }
    mkdir -p "$scratch"/{unpacked,kept/usr/lib}
    for package in "$scratch"/archives/*.deb; do
        dpkg -x "$package" "$scratch/unpacked"
    done
    # The libraries, where programs look for them; no character sets.
    mv "$scratch/unpacked/usr/lib64" "$scratch/kept/usr"
    mv "$scratch/unpacked/usr/lib/x86_64-linux-gnu" "$scratch/kept/usr/lib"
    rm -rf "$scratch/kept/usr/lib/x86_64-linux-gnu/gconv"
    ln -s usr/lib usr/lib64 "$scratch/kept"
    mv "$scratch/kept" "$cache/$suite"
fi
echo "$cache/$suite"
