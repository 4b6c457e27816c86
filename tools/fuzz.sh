#!/bin/bash
# tools/fuzz.sh - runs each libFuzzer target of a build folder for a given time, starting from its seeds and fixed cases.
#
# usage: tools/fuzz.sh BUILD_DIR SECONDS
# New inputs go to BUILD_DIR/corpus/<what>, findings to BUILD_DIR/findings/<what>-*. Exits with 1 when a target found something.
# A finding is kept for ever: fix the bug, then add the input to tests/fuzz/fixed/<what>/, where the plain build replays it.
set -u
build=$1 seconds=$2 failed=()
mkdir -p "$build/findings"
for program in "$build"/fuzz_*_libfuzzer; do
    [ -x "$program" ] || continue
    what=$(basename "$program" _libfuzzer)
    what=${what#fuzz_}
    corpus=$build/corpus/$what
    mkdir -p "$corpus"
    dirs=("$corpus")
    for d in "tests/fuzz/seeds/$what" "tests/fuzz/fixed/$what"; do
        [ -d "$d" ] && dirs+=("$d")
    done
    echo "== fuzz $what, $seconds s"
    "$program" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 \
        -artifact_prefix="$build/findings/$what-" "${dirs[@]}" 2>"$build/findings/$what.log"
    rc=$?
    grep -E 'number_of_executed_units|new_units_added|peak_rss_mb' "$build/findings/$what.log"
    if [ $rc -ne 0 ]; then
        tail -n 40 "$build/findings/$what.log"
        failed+=("$what")
    fi
done
if [ ${#failed[@]} -ne 0 ]; then
    echo "fuzz: findings in ${failed[*]} (see $build/findings)"
    exit 1
fi
echo "fuzz: no findings"
