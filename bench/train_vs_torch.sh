#!/bin/bash
# bench/train_vs_torch.sh - training speed beside PyTorch on the same machine, in turn, same model, batch and optimiser.
#
# usage: bench/train_vs_torch.sh [BUILD_DIR] [PYTHON]      PYTHON needs torch: python3 -m venv bench/.venv && bench/.venv/bin/pip install torch numpy
set -eu
build=${1:-build} python=${2:-bench/.venv/bin/python}
for size in tiny small; do
    for precision in "" --bf16; do
        "$build"/bench_train --size $size $precision
        "$python" bench/peers/torch_train.py --size $size $precision
    done
done | tee /tmp/train_vs_torch.$$
awk -F'[":, ]+' '
    { for (i = 1; i < NF; i++) { if ($i == "engine") e = $(i + 1); if ($i == "size") s = $(i + 1); if ($i == "bf16") b = $(i + 1); if ($i == "seconds_per_step") t[e, s, b] = $(i + 1) } }
    END { n = split("tiny small", sz, " ")
          for (i = 1; i <= n; i++) printf "%s: f32 %.2fx PyTorch f32; bf16 %.2fx PyTorch f32, %.2fx PyTorch bf16\n", sz[i],
              t["torch", sz[i], "false"] / t["endec", sz[i], "false"], t["torch", sz[i], "false"] / t["endec", sz[i], "true"],
              t["torch", sz[i], "true"] / t["endec", sz[i], "true"] }' /tmp/train_vs_torch.$$
rm -f /tmp/train_vs_torch.$$
