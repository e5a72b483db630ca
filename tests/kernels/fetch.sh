#!/usr/bin/env bash
# In: names out of kernels.txt, all of them by default.
# Out: those builds of Linux in a cache, and a line "NAME VMLINUZ" for each on stdout.
# Refuses to touch the system's own packages: apt runs with sources and a state of its own, packages are only unpacked.
# Exit 75 where nothing could be downloaded.
#
# The cache is $GPU_AGENT_CACHE/kernels, by default target/kernels; what is in it is not fetched again.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${GPU_AGENT_CACHE:-$here/../../target}/kernels
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
# shellcheck source=tests/tools/debian.sh
source "$here/../tools/debian.sh"
exec 9>"$cache/lock"
flock 9

give_up() { # WHY
    echo "fetch: $1" >&2
    exit 75
}

scratch=''
trap 'rm -rf "$scratch"' EXIT

# Makes $scratch a folder in which apt knows the suites of kernels.txt.
know_the_suites() {
    [[ -z $scratch ]] || return 0
    local suites
    mapfile -t suites < <(awk '!/^(#|$)/ { print $2 }' "$here/kernels.txt" | sort -u)
    scratch=$(mktemp -d "$cache/fetch.XXXXXX")
    debian_suites "$scratch" "${suites[@]}" || give_up "Debian's suites are out of reach"
}

fetch() { # NAME PACKAGE PATTERN
    know_the_suites
    local package=$2
    export APT_CONFIG=$scratch/apt.conf
    if ! apt-cache show "$package" >/dev/null 2>&1; then
        package=$(apt-cache pkgnames | grep -xE "$3" | sort -V | tail -n 1)
        [[ -n $package ]] || give_up "no suite has $2 or anything like it"
        echo "fetch: $2 is gone, $package is taken" >&2
    fi
    (cd "$scratch/archives" && apt-get download -qq "$package" >&2) || give_up "apt cannot download $package"
    unset APT_CONFIG
    dpkg -x "$scratch/archives/${package}"_*.deb "$scratch/$1"
    # The image, and nothing else of 100 MB. A marker says which package of kernels.txt it stands for.
    mkdir "$scratch/$1.kept"
    find "$scratch/$1" -name 'vmlinuz*' -type f -exec mv {} "$scratch/$1.kept/vmlinuz" \;
    [[ -e $scratch/$1.kept/vmlinuz ]] || give_up "$package has no vmlinuz"
    echo "$2" >"$scratch/$1.kept/package"
    rm -rf "${cache:?}/$1" "${scratch:?}/$1"
    mv "$scratch/$1.kept" "$cache/$1"
}

while read -r name _ package pattern; do
    [[ $# -eq 0 || " $* " == *" $name "* ]] || continue
    [[ $(cat "$cache/$name/package" 2>/dev/null) == "$package" ]] || fetch "$name" "$package" "$pattern"
    echo "$name $cache/$name/vmlinuz"
done < <(grep -vE '^(#|$)' "$here/kernels.txt")
