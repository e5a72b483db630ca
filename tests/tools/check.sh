#!/usr/bin/env bash
# In: nothing for everything that CI runs, or `lint` for the checks that run no program of ours.
# Out: the checks in order of their cost, and last the test runner's count; exit 1 at the first that fails.
# Refuses to pass a skipped check over: what was skipped is listed, and with CI=true only the reasons in
# allowed-skips.txt are accepted.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

step() {
    printf '\n== %s (%d s)\n' "$1" "$SECONDS"
}

skipped=()
skip() { # WHY
    echo "skipped: $1"
    skipped+=("$1")
}

step "format"
cargo fmt --all --check
cargo fmt --manifest-path ebpf/Cargo.toml --check

step "shell scripts"
mapfile -t scripts < <(git ls-files '*.sh' .ci/run)
if command -v shellcheck >/dev/null; then
    shellcheck "${scripts[@]}"
    echo "${#scripts[@]} scripts are clean"
else
    skip "shellcheck is not installed (apt-get install shellcheck)"
fi

step "licences and sources of dependencies"
if deny=$(tests/tools/tool.sh cargo-deny); then
    "$deny" --log-level error --locked check licenses bans sources
    if timeout 120 "$deny" --log-level off --locked fetch db 2>/dev/null; then
        "$deny" --log-level error --locked check --disable-fetch advisories
    else
        skip "advisories: the database (github.com/rustsec/advisory-db) cannot be fetched here"
    fi
else
    skip "licences: cargo-deny could not be installed"
fi

step "clippy"
cargo clippy --quiet --workspace --all-targets --locked -- -D warnings

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps --locked

if [[ ${1:-all} == all ]]; then
    step "the committed BPF objects are what their sources give"
    ebpf/build.sh --check

    step "programs under test"
    tests/tools/build.sh

    step "fuzz, a short run"
    cargo run --quiet --release --locked -p gpu-agent-tests --bin gpu-agent-fuzz -- --inputs "${FUZZ_INPUTS:-100000}"

    step "tests"
    nextest=$(tests/tools/tool.sh cargo-nextest) || {
        echo "cargo-nextest could not be installed" >&2
        exit 1
    }
    # nextest keeps its reports in the workspace, wherever cargo builds.
    report=target/nextest/default/junit.xml
    rm -f "$report"
    passed=yes
    "$nextest" nextest run --workspace --locked --no-fail-fast || passed=no
    while IFS= read -r line; do
        skipped+=("$line")
    done < <(grep -oE 'skipped: [^<]*' "$report" | sed 's/^skipped: //' | sort -u)
fi

status=0
for why in "${skipped[@]}"; do
    if [[ ${CI:-} == true ]] && ! grep -qEf <(grep -vE '^(#|$)' tests/tools/allowed-skips.txt) <<<"$why"; then
        echo "skipped, which must not happen in CI: $why"
        status=1
    else
        echo "skipped: $why"
    fi
done
if [[ ${1:-all} == all ]]; then
    [[ $passed == yes ]] || status=1
    # The runner's count, from its report.
    count() { # ATTRIBUTE
        sed -nE "s/.*<testsuites [^>]*\\b$1=\"([0-9]+)\".*/\\1/p" "$report"
    }
    failed=$(($(count failures) + $(count errors)))
    echo "all checks took $SECONDS s"
    echo "$(($(count tests) - failed)) passed, $failed failed, ${#skipped[@]} skipped"
fi
exit "$status"
