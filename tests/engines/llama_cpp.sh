#!/usr/bin/env bash
# In: the folders of `fetch.sh llama-cpp` and `fetch.sh llama-cpp-source`, an empty folder.
# Out: there, the driver llama_cpp, built against the headers of the very version and linked with its libraries.
set -euo pipefail

libraries=$1/package/bins/linux-x64
git -c init.defaultBranch=main clone --quiet --bare "$2/package/llama/gitRelease.bundle" "$3/git"
git --git-dir "$3/git" archive HEAD include ggml/include | tar --extract --directory "$3"
cc -O1 -Wall -Wextra -Werror "-I$3/include" "-I$3/ggml/include" "$(dirname "${BASH_SOURCE[0]}")/llama_cpp.c" -o "$3/llama_cpp" \
    "-L$libraries" -l:libllama.v0.5.0.so -l:libggml.v0.5.0.so -l:libggml-base.so "-Wl,-rpath,$libraries"
