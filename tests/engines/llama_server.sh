#!/usr/bin/env bash
# In: nothing. Out: llama.cpp's server as Debian sid has it, with everything it needs, unpacked in a cache; the folder on stdout.
# Exit 75 where it cannot be had here, with why on the last line of stderr. Refuses to touch the machine's own packages: apt keeps
# its state in the cache, and checks the signatures with the keys of this Debian.
#
# The cache is $GPU_AGENT_CACHE/engines, by default target/engines.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
folder=${GPU_AGENT_CACHE:-$root/target}/engines/llama-server-sid
mkdir -p "$(dirname "$folder")"
exec 9>"$folder.lock"
flock 9

if [[ ! -d $folder ]]; then
    scratch=$(mktemp -d "$folder.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    # apt's own user reads it.
    chmod 755 "$scratch"
    mkdir -p "$scratch"/{state/lists/partial,cache/archives/partial,unpacked}
    touch "$scratch/state/status"
    # The mirror that this machine uses; apt fills the name in.
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | head -n 1 || true)
    echo "deb $mirror sid main" >"$scratch/sources.list"
    apt=(apt-get -qq -o "Dir::State=$scratch/state" -o "Dir::State::status=$scratch/state/status" -o "Dir::Cache=$scratch/cache"
        -o "Dir::Etc::sourcelist=$scratch/sources.list" -o "Dir::Etc::sourceparts=-")
    { "${apt[@]}" update && "${apt[@]}" --yes --no-install-recommends --download-only install llama.cpp-tools; } >&2 || {
        echo "llama_server: cannot download llama.cpp-tools of Debian sid with apt; is this Debian, with a network?" >&2
        exit 75
    }
    for package in "$scratch"/cache/archives/*.deb; do
        dpkg --extract "$package" "$scratch/unpacked"
    done
    dpkg-deb --field "$scratch"/cache/archives/llama.cpp-tools_*.deb Version >"$scratch/unpacked/version"
    mv "$scratch/unpacked" "$folder"
fi
echo "$folder"
