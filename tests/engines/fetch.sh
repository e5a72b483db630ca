#!/usr/bin/env bash
# In: the name of an engine. Out: its published files, unpacked, in a cache; the folder on stdout.
# Refuses a file whose checksum is not the one below (exit 1), and an engine that this machine cannot run. Exit 75 where it cannot be
# had here, with why on the last line of stderr.
#
# The cache is $GPU_AGENT_CACHE/engines, by default target/engines; what is in it is not fetched again. The files are under their
# owners' licences: for tests on this machine, not to be passed on.
set -euo pipefail

# engine, registry, package, version, SHA-256, what to unpack (a shell pattern over the paths in the archive)
engines='
llama-cpp         npm  @node-llama-cpp/linux-x64 3.22.1      0d953e1503d5ab4608d8ed5b739132308c81ac05ffeb760d2a7f30e08a9f90e0 package/bins/*
llama-cpp-source  npm  node-llama-cpp            3.22.1      a0d9dd80eacd2ab1cfe71aee57ac8a806487fd70b3d2a38fbec637752d9e5c5f package/llama/gitRelease.bundle
mistralrs         pypi mistralrs                 0.9.5       60cd70976a2ec50175f3d68cd269ccfa75b488c521a34e1d631c1f3da384bd01 *
mistralrs-cuda    pypi mistralrs-cuda            0.3.2       1fbf2d1391082769a0ee433d826d3133174e629f5df73f34eb8aba99f641db1c *
pegaflow          pypi pegaflow-llm              0.25.1      4ac2e62bc4fe4f42f41a3e690dbd0c8b38fd8ecc4ffc91b710cebe3d0563372c */pegaflow-server-py
vllm-0.6.6        pypi vllm                      0.6.6.post1 07cd8b4bc6368b5ce37ea14936d6941021ac2ac032e2731f1de108a1e499cab4 *_[Cc].abi3.so
vllm-0.33.0       pypi vllm                      0.33.0      4b6bdec4ab269990bf70d45a3c1e94c3760a27064513760193b26d6f0da883aa *_C*.abi3.so
'

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${GPU_AGENT_CACHE:-$root/target}/engines
mkdir -p "$cache"

unavailable() { # WHY
    echo "fetch: $1" >&2
    exit 75
}

read -r _ registry package version sha256 pattern < <(grep "^${1:?an engine} " <<<"$engines") || {
    echo "fetch: no engine $1; known are:$(awk 'NF { printf " %s", $1 }' <<<"$engines")" >&2
    exit 2
}
folder=$cache/$1-$version

# Tests start this script in several processes at once; one fetches, the others find the result.
exec 9>"$cache/$1.lock"
flock 9

if [[ ! -d $folder ]]; then
    scratch=$(mktemp -d "$cache/fetch.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    case $registry in
    npm)
        command -v npm >/dev/null || unavailable "npm is not installed, so $package $version cannot be downloaded (apt-get install npm)"
        (cd "$scratch" && npm pack --silent --fetch-retries 1 --fetch-retry-mintimeout 1000 "$package@$version" >/dev/null) ||
            unavailable "cannot download $package $version with npm; is there a network?"
        ;;
    pypi)
        # The Python that the tests run them with.
        python3 -m pip download --quiet --disable-pip-version-check --no-input --timeout 20 --retries 2 \
            --no-deps --only-binary=:all: --dest "$scratch" "$package==$version" >&2 ||
            unavailable "cannot download $package $version for $(python3 --version) with pip; is there a network?"
        ;;
    esac
    archive=$(echo "$scratch"/*)
    if ! echo "$sha256  $archive" | sha256sum --check --status; then
        echo "fetch: the checksum of $package $version is not the expected one" >&2
        exit 1
    fi
    mkdir "$scratch/unpacked"
    case $registry in
    npm) tar --extract --gzip --file "$archive" --directory "$scratch/unpacked" --wildcards "$pattern" ;;
    pypi)
        python3 - "$archive" "$pattern" "$scratch/unpacked" <<'PYTHON'
import fnmatch, sys, zipfile

archive, pattern, folder = sys.argv[1:]
wheel = zipfile.ZipFile(archive)
for name in fnmatch.filter(wheel.namelist(), pattern):
    wheel.extract(name, folder)
PYTHON
        ;;
    esac
    mv "$scratch/unpacked" "$folder"
fi
echo "$folder"
