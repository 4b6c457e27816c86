#!/bin/bash
# tools/bench.sh - runs every benchmark program of a build folder and says on which machine.
#
# usage: tools/bench.sh BUILD_DIR
set -u
build=$1 failed=0
echo "machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) CPUs, $(uname -sr)"
for program in "$build"/bench_*; do
    [ -f "$program" ] && [ -x "$program" ] || continue
    echo "== $(basename "$program")"
    "$program" || failed=1
done
exit $failed
