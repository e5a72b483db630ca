#!/usr/bin/env bash
# In: an API version such as 22, the built libcuda_sim_cupti.so (or a copy), and where to write.
# Out: a copy that lacks the functions which CUPTI of that version does not have: dlsym finds none of them.
# Refuses a version that is not a number, and files that cannot be read or written.
#
# The library exports the functions of all versions. A function is hidden by changing the first letter of its name in
# the string table of the dynamic symbols; its hash stays, so a look-up compares names and finds none. Needs GNU sed.
set -euo pipefail
export LC_ALL=C

if [[ $# -ne 3 || ! $1 =~ ^[0-9]+$ ]]; then
    echo "usage: flavour.sh API_VERSION LIBRARY OUTPUT" >&2
    exit 2
fi

# First API version that has the function (nm of NVIDIA's libraries, 11.8 to 13.5).
since='
20     cuptiGetErrorMessage
21     cuptiGetGraphExecId
23     cuptiActivityEnableDriverApi
23     cuptiActivityEnableRuntimeApi
26     cuptiActivityEnableAllSyncRecords
130001 cuptiSubscribe_v2
'

# `-e ""`: the newest version hides nothing.
script=(-e "")
while read -r version function; do
    if [[ -n $version ]] && ((version > $1)); then
        script+=(-e "s/\\x00$function\\x00/\\x00-${function:1}\\x00/g")
    fi
done <<<"$since"

sed "${script[@]}" "$2" >"$3"
