#!/usr/bin/env bash
# In: a version of PyTorch. Out: a Python environment with it in a cache (5.5 GB), and its interpreter on stdout.
# Exit 75 where it cannot be had here, with why on the last line of stderr.
#
# The cache is $GPU_AGENT_CACHE/engines, by default target/engines.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
environment=${GPU_AGENT_CACHE:-$root/target}/engines/torch-$1
mkdir -p "$(dirname "$environment")"

# Tests start this script in several processes at once; one installs, the others find the result.
exec 9>"$environment.lock"
flock 9

if [[ ! -d $environment ]]; then
    scratch=$environment.partial
    trap 'rm -rf "$scratch"' EXIT
    rm -rf "$scratch"
    {
        python3 -m venv --copies "$scratch" &&
            "$scratch/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir "torch==$1" 'numpy<2'
    } >&2 || {
        echo "torch: cannot install PyTorch $1 with pip; is there a network?" >&2
        exit 75
    }
    mv "$scratch" "$environment"
fi
echo "$environment/bin/python"
