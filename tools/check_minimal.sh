#!/bin/bash
# tools/check_minimal.sh - the build configures without oneDNN and without OpenMP, and then names neither of them.
# (`make check-minimal` also builds and tests that configuration.)
#
# usage: tools/check_minimal.sh BUILD_DIR
set -eu
dir=$1/check_minimal
rm -rf "$dir"
cmake -S . -B "$dir" -G Ninja -DENDEC_WITH_DNNL=OFF -DENDEC_WITH_OPENMP=OFF >"$1/check_minimal.log" 2>&1 || { cat "$1/check_minimal.log"; exit 1; }
if grep -qE 'ED_HAVE_(DNNL|OPENMP)|libdnnl|-fopenmp' "$dir/build.ninja"; then
    echo "check_minimal: the build still uses oneDNN or OpenMP"
    exit 1
fi
rm -rf "$dir"
echo "check_minimal: configures"
