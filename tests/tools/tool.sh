#!/usr/bin/env bash
# In: cargo-deny or cargo-nextest. Out: the path of that tool, on stdout.
# Installs the pinned version into .cache/tools if it is not there and none is in the PATH; exit 75 if it cannot.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tools=${GPU_AGENT_TOOLS:-$root/.cache/tools}
case ${1:-} in
cargo-deny) version=0.20.2 options=(--no-default-features) ;;
cargo-nextest) version=0.9.143 options=(--no-default-features --features default-no-update) ;;
*)
    echo "usage: tool.sh cargo-deny|cargo-nextest" >&2
    exit 2
    ;;
esac

for program in "$tools/bin/$1" "$(command -v "$1" || true)"; do
    if [[ -x $program ]] && [[ $("$program" "${1#cargo-}" --version 2>/dev/null) == *"$version"* ]]; then
        echo "$program"
        exit
    fi
done
echo "installing $1 $version into $tools (once, some minutes)" >&2
# Outside the workspace: its toolchain file and its target folder are not the tool's business.
(cd / && cargo install --quiet --locked "${options[@]}" --version "$version" --root "$tools" "$1") >&2 || exit 75
echo "$tools/bin/$1"
