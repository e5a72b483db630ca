#!/usr/bin/env bash
# Assembles the folder of simulated CUDA libraries and prints its path.
#
#   tests/tools/cuda-sim-dir.sh PROFILE [--build]
#
# PROFILE is a cargo profile's folder name (debug, release). With --build the libraries are built first; without it,
# what cargo has built already is used. The folder is ${CARGO_TARGET_DIR:-target}/PROFILE/cuda-sim; put it first in
# LD_LIBRARY_PATH. Needs cargo, a C compiler (cc, or $CC), binutils and GNU sed.
set -euo pipefail
export LC_ALL=C

fail() {
    echo "cuda-sim-dir.sh: $*" >&2
    exit 1
}

[[ $# -ge 1 && $# -le 2 && ${2:---build} == --build ]] || fail "usage: cuda-sim-dir.sh PROFILE [--build]"
profile=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
[[ $target == /* ]] || target=$root/$target
built=$target/$profile
out=$built/cuda-sim

if [[ ${2:-} == --build ]]; then
    flags=(--profile "$profile")
    [[ $profile == debug ]] && flags=()
    (cd "$root" && cargo build --quiet "${flags[@]}" -p cuda-sim-driver -p cuda-sim-cupti -p cuda-sim-cudart) >&2 ||
        fail "cargo build failed"
fi

for file in libcuda_sim_driver.so libcuda_sim_cupti.so libcuda_sim_cudart.a; do
    [[ -f $built/$file ]] || fail "$built/$file is missing; run: $0 $profile --build"
done

mkdir -p "$out"
exec 9>"$out/.lock"
flock 9

# Puts a freshly made file in place in one step: programs may be running on the old one.
place() {
    if cmp -s "$1" "$out/$2"; then rm -f "$1"; else mv -f "$1" "$out/$2"; fi
}

cp "$built/libcuda_sim_driver.so" "$out/.new"
place "$out/.new" libcuda.so.1
ln -sfn libcuda.so.1 "$out/libcuda.so"

# cargo builds one libcupti, with the soname of CUDA 12; the other name has the same length.
cp "$built/libcuda_sim_cupti.so" "$out/.new"
place "$out/.new" libcupti.so.12
sed 's/libcupti\.so\.12/libcupti.so.13/g' "$built/libcuda_sim_cupti.so" >"$out/.new"
place "$out/.new" libcupti.so.13

# cargo builds an archive; soname and symbol versions are the linker's.
archive=$built/libcuda_sim_cudart.a
for major in 12 13; do
    [[ $out/libcudart.so.$major -nt $archive ]] && continue
    {
        echo "libcudart.so.$major { global:"
        # No plugin: one for another LLVM takes the bitcode beside the code for the whole object.
        nm --plugin /dev/null -g --defined-only "$archive" 2>/dev/null | sed -n 's/^[0-9a-f]* T \(\(__\)\?cuda[A-Z][A-Za-z0-9_]*\)$/    \1;/p'
        echo "  local: *; };"
    } >"$out/.map"
    mapfile -t roots < <(sed -n 's/^    \(.*\);$/-Wl,-u,\1/p' "$out/.map")
    "${CC:-cc}" -shared -o "$out/.new" -Wl,-soname,"libcudart.so.$major" -Wl,--version-script="$out/.map" \
        "${roots[@]}" -Wl,--gc-sections -Wl,-z,nodelete,-z,now "$archive" -ldl -lpthread -lm -lgcc_s ||
        fail "linking libcudart.so.$major failed"
    mv -f "$out/.new" "$out/libcudart.so.$major"
done
rm -f "$out/.map"

echo "$out"
