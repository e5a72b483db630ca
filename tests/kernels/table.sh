#!/usr/bin/env bash
# In: a folder with NAME.verdicts and NAME.seconds of each guest, and the guests' names in their order. Out: what they found,
# as two tables in Markdown. Refuses nothing; what a guest did not say is a dash.
set -euo pipefail

folder=$1
guests=("${@:2}")

fact() { # GUEST FACT
    sed -nE "s/^fact $2: //p" "$folder/$1.verdicts" | grep . || echo –
}

row() { # CELL…
    printf '|'
    printf ' %s |' "$@"
    echo
}

row Linux 'many places at once' 'attach cookies' 'both ends in one link' lockdown 'events counted' checks seconds
row --- --- --- --- --- --- --- ---
for guest in "${guests[@]}"; do
    passed=$(sed -nE 's/^end: ([0-9]+) ok, ([0-9]+) failed$/\1 of \1+\2/p' "$folder/$guest.verdicts")
    row "$(fact "$guest" linux)" "$(fact "$guest" multi)" "$(fact "$guest" cookies)" "$(fact "$guest" session)" \
        "$(fact "$guest" lockdown)" "$(fact "$guest" events)" \
        "$(awk -F ' of |[+]' 'NF { print $1 " of " $2 + $3 }' <<<"$passed" | grep . || echo –)" "$(cat "$folder/$guest.seconds")"
done
echo
row check "${guests[@]}"
row --- "${guests[@]/*/---}"
while read -r check; do
    cells=()
    for guest in "${guests[@]}"; do
        cells+=("$(sed -nE "s/^(ok|failed) $check: (.*)$/\\1/p" "$folder/$guest.verdicts" | grep . || echo –)")
    done
    row "$check" "${cells[@]}"
done < <(for guest in "${guests[@]}"; do sed -nE 's/^(ok|failed) ([^:]+): .*/\2/p' "$folder/$guest.verdicts"; done | awk '!seen[$0]++')
