#!/usr/bin/env bash
# In: the folder that bundle.sh packed, on a machine with an NVIDIA GPU and driver; an empty folder for the results
#     (default ./results); GPU_AGENT_CUPTI, if no libcupti is installed; PYTHON (python3) with PyTorch, if at hand;
#     GPU_AGENT_DEVICE=simulated to leave a real device alone.
# Out: results/DATE.md (to be committed as docs/gpu/DATE.md), results/*.cupti (raw activity buffers, at most 1 MB
#     together), and the logs behind them. Needs no cargo and no network.
# Refuses to call a simulated device real: without a GPU it runs on the simulated one, and every result says so.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
results=$(mkdir -p "${1:-results}" && cd "${1:-results}" && pwd)
python=${PYTHON:-python3}
date=$(date -u +%Y-%m-%d)
report=$results/$date.md
failed=0

say() { # LINE…
    printf '%s\n' "$@" | tee -a "$report"
}
block() { # FILE: the file as a code block
    {
        echo '```'
        head -c 20000 "$1"
        echo '```'
    } >>"$report"
}
# Runs a command into a log, notes how it went, and goes on: one part that fails must not hide the others.
part() { # TITLE LOG COMMAND…
    local title=$1 log=$results/$2 status=0
    shift 2
    say "" "## $title" "" "\`$(printf '%s ' "${@##"$here"/}" | sed "s#$here/##g; s#$results/##g; s# \$##")\`" ""
    "$@" >"$log" 2>"$log.err" || status=$?
    if ((status != 0)); then
        failed=1
        say "exit status $status:" ""
        cat "$log.err" >>"$log"
    fi
    block "$log"
}

: >"$report"
say "# GPU run of $date" ""
if [[ ${GPU_AGENT_DEVICE:-} == simulated ]]; then
    echo "as asked" >"$results/probe.err"
    simulated=yes
elif "$here/gpu-agent-workload" --launches 3 >"$results/probe.json" 2>"$results/probe.err"; then
    simulated=no
else
    simulated=yes
fi
if [[ $simulated == no ]]; then
    say "Real device. $(uname -srm)."
    nvidia-smi --query-gpu=name,driver_version,compute_cap,memory.total --format=csv >"$results/nvidia-smi.csv" || true
    block "$results/nvidia-smi.csv"
else
    say "**Simulated device: kernels ran on the CPU, and no time below is a GPU's.**" \
        "No real one: $(tail -n 1 "$results/probe.err"). $(uname -srm)."
    export LD_LIBRARY_PATH=$here/cuda-sim${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi

bench=("$here/gpu-agent" bench)
[[ $simulated == no ]] || bench+=(--rounds 3 --iterations 2)
part "Bundled kernels: bare, dormant, armed" bench.txt "${bench[@]}"

for mode in "" --graph; do
    name=workload${mode#-}
    part "Workload under the agent${mode:+, $mode}" "$name.json" \
        "$here/gpu-agent" run --listen off --json-log "$results/$name.jsonl" \
        --log-filter info,kernel=debug,memcpy=debug,memset=debug \
        -- "$here/gpu-agent-workload" ${mode:+"$mode"} --tokens 64
    if command -v "$python" >/dev/null; then
        part "The same, counted" "$name.compared.txt" "$python" "$here/compare.py" "$results/$name.json" "$results/$name.jsonl"
    else
        say "" "not compared: no $python"
    fi
done

if "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    part "PyTorch under the agent" torch.txt \
        "$here/gpu-agent" run --listen off --json-log "$results/torch.jsonl" -- "$python" "$here/torch_program.py"
else
    say "" "## PyTorch under the agent" "" "not run: $python has no PyTorch that sees a GPU"
fi

record() { # NAME COMMAND…
    local name=$1
    shift
    rm -f "$results/$name.cupti"
    part "Raw activity buffers: $name" "$name.record.txt" env \
        CUDA_INJECTION64_PATH="$here/libgpu_agent_raw_dump.so" GPU_AGENT_RAW_DUMP="$results/$name.cupti" \
        ${GPU_AGENT_CUPTI:+GPU_AGENT_RAW_DUMP_CUPTI="$GPU_AGENT_CUPTI"} "$@"
}
record workload "$here/gpu-agent-workload" --tokens 4
record graph "$here/gpu-agent-workload" --tokens 8 --graph
if "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    record torch "$python" "$here/torch_program.py" --seconds 1
fi
total=$(find "$results" -name '*.cupti' -printf '%s\n' | awk '{ sum += $1 } END { print sum + 0 }')
say "" "$total bytes of raw buffers (at most 1000000)"
((total <= 1000000)) || failed=1

rm -f "$results"/*.err "$results"/probe.json
say "" "$([[ $failed == 0 ]] && echo 'Every part ran.' || echo 'Some parts failed; see above.')"
exit "$failed"
