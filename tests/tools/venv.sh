#!/usr/bin/env bash
# In: nothing. Out: a Python environment with tests/tools/requirements.txt, and its path on stdout.
# Exit 75 where it cannot be made (no python3 with venv, or nothing can be downloaded): the caller skips and says so.
#
# The environment is $GPU_AGENT_CACHE/test-venv, by default target/test-venv; it is made again when the requirements change.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
requirements=$root/tests/tools/requirements.txt
cache=${GPU_AGENT_CACHE:-$root/target}
venv=$cache/test-venv
mkdir -p "$cache"

# Tests start this script in several processes at once; one builds, the others find the result.
exec 9>"$cache/test-venv.lock"
flock 9

if ! cmp -s "$requirements" "$venv/requirements.txt"; then
    rm -rf "$venv"
    {
        python3 -m venv "$venv" &&
            "$venv/bin/pip" --quiet --disable-pip-version-check install --no-deps --requirement "$requirements" &&
            cp "$requirements" "$venv/requirements.txt"
    } >&2 || {
        echo "cannot make the Python environment for the tests: see the lines above" >&2
        exit 75
    }
fi
echo "$venv"
