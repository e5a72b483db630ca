#!/usr/bin/env bash
# In: nothing to write prebuilt/, or --check to compare it with a fresh build. Out: one object for each architecture of
# the host; with --check, exit 1 if a committed object is not what the sources give.
#
# The objects do not depend on where they are built: they carry neither debug information nor paths. Their sources are
# this folder, the lock file, the Rust version of rust-toolchain.toml and the bpf-linker below.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
root=$(cd .. && pwd)

linker_version=0.10.3
cache=${GPU_AGENT_BPF_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/gpu-agent-tools}
work=${CARGO_TARGET_DIR:-$root/target}/ebpf
version=$(rustc --version | cut -d' ' -f2)

linker() { # Out: the folder of bpf-linker.
    local at=$cache/bpf-linker
    if [[ $("$at/bin/bpf-linker" --version 2>/dev/null) != "bpf-linker $linker_version" ]]; then
        echo "installing bpf-linker $linker_version into $at (once, some minutes)" >&2
        # Outside the workspace: its toolchain file must choose the compiler, its target folder is not the tool's business.
        cargo install --quiet --locked --version "$linker_version" --root "$at" --target-dir "$work/bpf-linker" bpf-linker >&2
    fi
    echo "$at/bin"
}

source_of_core() { # Out: the folder of the standard library's source, of this compiler's version.
    local own
    own=$(rustc --print sysroot)/lib/rustlib/src/rust
    local at=$cache/rust-src-$version
    if [[ -e $own/library/core ]]; then
        echo "$own"
        return
    fi
    [[ -e $at/library/core ]] || fetch_source "$at" >&2
    echo "$at"
}

# `rustup component add rust-src`, where rustup can download; else Debian's package of that version, unpacked, not
# installed. Debian's mirror is the one that this machine uses.
fetch_source() { # TO
    if rustup component add rust-src 2>/dev/null; then
        ln -sfn "$(rustc --print sysroot)/lib/rustlib/src/rust" "$1"
        return
    fi
    local mirror apt
    # shellcheck disable=SC2016 # apt's own placeholder
    mirror=$(apt-get indextargets --format '$(SITE)' | awk '/\/debian\/?$/ && !found++')
    if [[ -z $mirror ]]; then
        echo "the source of Rust's core library is missing; to install it: rustup component add rust-src" >&2
        return 1
    fi
    apt=$(mktemp -d)
    mkdir -p "$apt"/{lists/partial,cache/archives/partial}
    cat >"$apt/list.sources" <<SOURCES
Types: deb
URIs: $mirror
Suites: trixie trixie-backports sid
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
    local options=(-qq -o "Dir::Etc::sourcelist=$apt/list.sources" -o Dir::Etc::sourceparts=- -o "Dir::State=$apt"
        -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update
    local package
    package=$(apt-cache "${options[@]}" madison rust-src | awk -v version="$version+" 'index($3, version) == 1 { print $3; exit }')
    if [[ -z $package ]]; then
        echo "Debian has no rust-src $version; to install it: rustup component add rust-src" >&2
        return 1
    fi
    (cd "$apt" && apt-get "${options[@]}" download "rust-src=$package" && dpkg -x rust-src_*.deb unpacked)
    mkdir -p "$(dirname "$1")"
    rm -rf "$1"
    mv "$apt/unpacked/usr/src/rustc-$version" "$1"
    rm -rf "$apt"
}

# cargo looks for the library's source in the compiler's sysroot, which is the user's: this one is ours, and made of links.
sysroot() { # Out: a compiler whose sysroot has the source.
    local own at=$work/sysroot
    own=$(rustc --print sysroot)
    rm -rf "$at"
    mkdir -p "$at/lib/rustlib/src"
    ln -s "$own"/lib/rustlib/* "$at/lib/rustlib/" 2>/dev/null || true
    ln -sfn "$(source_of_core)" "$at/lib/rustlib/src/rust"
    printf '#!/bin/sh\nexec "%s" --sysroot "%s" "$@"\n' "$(rustup which rustc 2>/dev/null || command -v rustc)" "$at" >"$at/rustc"
    chmod +x "$at/rustc"
    echo "$at/rustc"
}

build() { # ARCHITECTURE
    CARGO_ENCODED_RUSTFLAGS=$(printf -- '--cfg=bpf_target_arch="%s"\x1f-Cdebuginfo=0\x1f-Clinker=bpf-linker' "$1") \
        RUSTC_BOOTSTRAP=1 PATH="$linker:$PATH" RUSTC=$compiler CARGO_TARGET_DIR="$work/$1" \
        cargo build --quiet --release --locked -Z build-std=core --target bpfel-unknown-none
    cp "$work/$1/bpfel-unknown-none/release/gpu-agent-ebpf" "$work/$1.o"
}

linker=$(linker)
compiler=$(sysroot)
status=0
for architecture in x86_64 aarch64; do
    build "$architecture"
    committed=prebuilt/$architecture.o
    if [[ ${1:-} != --check ]]; then
        mkdir -p prebuilt
        cp "$work/$architecture.o" "$committed"
    elif cmp "$work/$architecture.o" "$committed"; then
        echo "$committed is what the sources give"
    else
        echo "$committed is not what the sources give: run 'make ebpf' and commit it" >&2
        status=1
    fi
done
exit "$status"
