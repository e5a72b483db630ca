#!/usr/bin/env bash
# In: names out of kernels.txt, all of them by default; before them --document to write the results into docs/kernels.md.
# Out: each, booted in QEMU without a hypervisor and without a network, and what the guest program found there; exit 1 if any
# check of any guest failed.
# Refuses to wait for more than GPU_AGENT_GUEST_SECONDS (default 300) for a guest. Exit 75 where kernels cannot be had.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
shopt -s inherit_errexit

folder=${CARGO_TARGET_DIR:-$PWD/target}
work=$folder/kernels-run
limit=${GPU_AGENT_GUEST_SECONDS:-300}
rm -rf "$work"
mkdir -p "$work"

document=no
if [[ ${1:-} == --document ]]; then
    document=yes
    shift
fi
kernels=$(tests/kernels/fetch.sh "$@")
cargo build --quiet --locked -p gpu-agent-tests --bin gpu-agent-kernels-guest
cc -std=gnu11 -O1 -g -Wall -Wextra -pthread -o "$work/target" tests/kernels/target.c
tests/kernels/initramfs.sh "$work/initramfs" "$folder/debug/gpu-agent-kernels-guest" "$work/target"

# A guest's console goes to $work/NAME.log, the seconds that it took to NAME.seconds. On a machine that does much else, Linux takes
# the emulated timer for a broken one; it is told not to look. The CPUs share one thread of QEMU: with a thread each, a target
# died of SIGSEGV in 3 of 12 boots (of 6.12 and 7.3), with one in none of 12, on hardware in none of 7 million hits.
boot() { # NAME VMLINUZ KERNEL-PARAMETERS
    local started=$EPOCHREALTIME
    timeout "$limit" qemu-system-x86_64 -accel tcg,thread=single -cpu max -smp 2 -m 768 -nodefaults -no-reboot -nic none \
        -display none -serial "file:$work/$1.log" -kernel "$2" -initrd "$work/initramfs" \
        -append "console=ttyS0 quiet panic=-1 no_timer_check $3" </dev/null || echo "the guest was ended after $limit s" >>"$work/$1.log"
    awk -v from="$started" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f\n", to - from }' >"$work/$1.seconds"
}

names=()
while read -r name image; do
    names+=("$name")
    boot "$name" "$image" '' &
done <<<"$kernels"
# The last of them once more, in the strictest lockdown.
names+=("${names[-1]}-lockdown")
boot "${names[-1]}" "${kernels##* }" lockdown=confidentiality &
wait

status=0
for name in "${names[@]}"; do
    # Firmware and kernel write to the same console.
    tr -d '\r' <"$work/$name.log" | grep -E '^((fact|ok|failed) [^:]+|end): ' >"$work/$name.verdicts" || true
    echo "== $name ($(cat "$work/$name.seconds") s)"
    cat "$work/$name.verdicts"
    if ! grep -qE '^end: [1-9][0-9]* ok, 0 failed$' "$work/$name.verdicts"; then
        status=1
        echo "failed: $name; the end of its console:"
        tail -n 20 "$work/$name.log"
    fi
done
tests/kernels/table.sh "$work" "${names[@]}" | tee "$work/table.md"
if [[ $document == yes && $status == 0 ]]; then
    # Between the two marks, and nowhere else.
    sed -i -e "/^<!-- results/r $work/table.md" -e '/^<!-- results/,/^<!-- end/{/^<!--/!d}' docs/kernels.md
fi
exit "$status"
