#!/bin/bash
# tests/cli/train.sh - endec train: interrupted and resumed runs end with the same bits as one that was not; configs with mistakes; what a run leaves behind.
. "$(dirname "$0")/lib.bash" "$1"
make_pairs
cat >"$dir/run.yaml" <<YAML
task: seq2seq
tokenizer: {kind: bpe, vocab_size: 300}
model: {d_model: 8, d_ff: 16, n_heads: 2, encoder_layers: 1, decoder_layers: 1}
data: {train_source: $dir/src, train_target: $dir/tgt, valid_source: $dir/src, valid_target: $dir/tgt, batch_tokens: 256, max_length: 64}
train: {steps: 20, learning_rate: 0.01, warmup_steps: 2, logging_steps: 5, save_steps: 5}
YAML
train() { "$endec" train "$dir/run.yaml" -t 1 "$@"; }

# straight; killed hard after a checkpoint and resumed; the bits are the same
train --out "$dir/a" 2>"$dir/err" || fail "training: $(cat "$dir/err")"
grep -qE '^step 20/20  loss [0-9.]+ .* tokens/s  left 0:00$' "$dir/err" || fail "progress lines: $(cat "$dir/err")"
grep -q $'\r' "$dir/err" && fail "overwritten lines without a terminal"
for f in config.yaml log.csv report.html model/config.json model/model.safetensors model/tokenizer.json; do [ -s "$dir/a/$f" ] || fail "no $f"; done
train --out "$dir/b" 2>"$dir/err" || fail "second run"
same "$dir/a/model/model.safetensors" "$dir/b/model/model.safetensors" "two runs of one config differ"
rm -rf "$dir/b/checkpoint-20" "$dir/b/model/model.safetensors"
ls -d "$dir"/b/checkpoint-* >/dev/null 2>&1 || fail "no earlier checkpoint is left"
train --out "$dir/b" --resume 2>"$dir/err" || fail "resume: $(cat "$dir/err")"
grep -q 'resuming after step' "$dir/err" || fail "the run began anew"
same "$dir/a/model/model.safetensors" "$dir/b/model/model.safetensors" "a resumed run differs"

# SIGINT saves and ends with 130; --resume completes with the bits of a straight run
more="--set train.steps=300 --set train.save_steps=0"
train --out "$dir/c" $more 2>/dev/null || fail "long run"
stopped=no
for attempt in 1 2 3; do
    rm -rf "$dir/d" "$dir/err" # an old log with steps would let the signal go before the tool runs
    "$endec" train "$dir/run.yaml" -t 1 --out "$dir/d" $more 2>"$dir/err" & # no function: the signal must reach the tool itself
    pid=$!
    until grep -q '^step' "$dir/err" 2>/dev/null || ! kill -0 $pid 2>/dev/null; do sleep 0.01; done
    kill -INT $pid 2>/dev/null
    wait $pid
    code=$?
    [ $code -eq 130 ] && stopped=yes && break
    [ $code -eq 0 ] || fail "SIGINT: exit $code: $(tail -n 2 "$dir/err")"
done
[ $stopped = yes ] || fail "the run was never caught by SIGINT"
tail -n 1 "$dir/err" | grep -q '^endec: .*stopped after step' || fail "what SIGINT says: $(tail -n 1 "$dir/err")"
ls -d "$dir"/d/checkpoint-* >/dev/null 2>&1 || fail "SIGINT left no checkpoint"
train --out "$dir/d" $more --resume 2>"$dir/err" || fail "resume after SIGINT: $(cat "$dir/err")"
same "$dir/c/model/model.safetensors" "$dir/d/model/model.safetensors" "a stopped and resumed run differs"

# refused: a second run in the same folder, resuming nothing, keys that do not exist, wrong values, missing files
ends 2 "$endec" train "$dir/run.yaml" --out "$dir/a"
one_line
says "--resume"
ends 4 "$endec" train "$dir/run.yaml" --out "$dir/none" --resume
sed 's/learning_rate/lerning_rate/' "$dir/run.yaml" >"$dir/bad.yaml"
ends 2 "$endec" train "$dir/bad.yaml" --out "$dir/x"
one_line
says "learning_rate"
says "line 5"
ends 2 "$endec" train "$dir/run.yaml" --out "$dir/x" --set modl.d_model=8
one_line
says "model"
ends 2 "$endec" train "$dir/run.yaml" --out "$dir/x" --set train.steps=many
ends 2 "$endec" train "$dir/run.yaml" --out "$dir/x" --set model.n_heads=3
ends 4 "$endec" train "$dir/run.yaml" --out "$dir/x" --set data.train_source="$dir/none"
says "$dir/none"
ends 4 "$endec" train "$dir/none.yaml"
ends 2 "$endec" train "$dir/run.yaml"
says "--out"
ends 4 "$endec" train "$dir/run.yaml" --out "$dir/x" --set 'data.train_source=$ENDEC_DATA/src'
says "ENDEC_DATA"
ENDEC_DATA=$dir "$endec" train "$dir/run.yaml" -t 1 --out "$dir/x" --set 'data.train_source=$ENDEC_DATA/src' --set train.steps=1 2>"$dir/err" || fail "ENDEC_DATA: $(cat "$dir/err")"
: >"$dir/src"
ends 5 "$endec" train "$dir/run.yaml" --out "$dir/y"
says "lines"
exit 0
