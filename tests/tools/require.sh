#!/usr/bin/env bash
# In: names of things that a command needs: cargo, cc, cxx, binutils, python-venv, npm, qemu.
# Out: nothing if all are there; else what is missing and how to get it (exit 1). Refuses to install anything.
set -euo pipefail

missing=0
lacks() { # WHAT HOW
    echo "missing: $1" >&2
    echo "  to install it: $2" >&2
    missing=1
}

for thing in "$@"; do
    case $thing in
    cargo)
        command -v cargo >/dev/null || lacks "cargo, the Rust toolchain (rust-toolchain.toml names the version)" \
            "see https://rustup.rs, or: apt-get install rustup (Debian 13, Ubuntu 24.04 and later)"
        ;;
    cc)
        command -v cc >/dev/null || lacks "cc, a C compiler and linker" "apt-get install gcc libc6-dev"
        ;;
    cxx)
        command -v g++ >/dev/null || lacks "g++, a C++ compiler (for tests only)" "apt-get install g++"
        ;;
    binutils)
        command -v objcopy >/dev/null || lacks "objcopy (for tests only)" "apt-get install binutils"
        command -v xz >/dev/null || lacks "xz (for tests only)" "apt-get install xz-utils"
        ;;
    npm)
        command -v npm >/dev/null || lacks "npm (for tests only: an engine is published there)" "apt-get install npm"
        ;;
    qemu)
        command -v qemu-system-x86_64 >/dev/null || lacks "qemu-system-x86_64 (for tests only)" "apt-get install qemu-system-x86"
        command -v cpio >/dev/null || lacks "cpio (for tests only)" "apt-get install cpio"
        ;;
    python-venv)
        python3 -c 'import venv, ensurepip' 2>/dev/null || lacks "python3 with venv (for tests only)" \
            "apt-get install python3 python3-venv"
        ;;
    *)
        echo "require.sh: unknown thing: $thing" >&2
        exit 2
        ;;
    esac
done
exit "$missing"
