# tests/cli/lib.bash - shared by the shell tests: a scratch folder, assertions, tiny models trained on text made here.
#
# usage: . tests/cli/lib.bash TOOL        (from a test; leaves $endec, $dir and the functions below)
set -u
endec=$(realpath "$1")
[ -x "$endec" ] || { echo "skipped: $1 was not built"; exit 77; }
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
unset ENDEC_DATA
test_name=$(basename "$0")

fail() {
    echo "$test_name: $*" >&2
    exit 1
}

# ends CODE COMMAND...: the command must end with this exit code; its outputs are in $dir/out and $dir/err.
ends() {
    local want=$1
    shift
    "$@" >"$dir/out" 2>"$dir/err"
    local got=$?
    [ $got -eq "$want" ] || fail "'${*/#"$endec"/endec}' ended with $got, not $want: $(tail -n 3 "$dir/err")"
}

# says TEXT: the last command's error line holds the text; refused commands print one line only.
says() { grep -qF -- "$1" "$dir/err" || fail "the message should say '$1': $(cat "$dir/err")"; }
one_line() {
    [ "$(wc -l <"$dir/err")" -eq 1 ] || fail "the error should be one line: $(cat "$dir/err")"
    grep -q '^endec: ' "$dir/err" || fail "the error should begin with 'endec: ': $(cat "$dir/err")"
}
same() { cmp -s "$1" "$2" || fail "$3 ($1, $2 differ): $(diff "$1" "$2" | head -n 4)"; }

# 60 short sentence pairs in $dir/src and $dir/tgt, without repetition.
make_pairs() {
    local i=0 a b c
    local en=(dog cat man tree bird) de=(Hund Kater Mann Baum Vogel) verbs=(sees likes hears) verben=(sieht mag hoert)
    : >"$dir/src" && : >"$dir/tgt"
    for a in 0 1 2 3 4; do
        for b in 0 1 2; do
            for c in 1 2 3 4; do
                i=$(((a + c) % 5))
                echo "the ${en[a]} ${verbs[b]} my ${en[i]}." >>"$dir/src"
                echo "der ${de[a]} ${verben[b]} mein ${de[i]}." >>"$dir/tgt"
            done
        done
    done
}

# A translation model in $dir/mt/model after $1 steps.
make_translator() {
    make_pairs
    cat >"$dir/mt.yaml" <<YAML
task: seq2seq
tokenizer: {kind: bpe, vocab_size: 320}
model: {d_model: 16, d_ff: 32, n_heads: 2, encoder_layers: 1, decoder_layers: 1, dropout: 0}
data: {train_source: $dir/src, train_target: $dir/tgt, batch_tokens: 512, max_length: 64}
train: {steps: $1, learning_rate: 0.02, warmup_steps: 5, logging_steps: 1000, bf16: false}
YAML
    "$endec" train "$dir/mt.yaml" --out "$dir/mt" -t 1 2>"$dir/train.log" || fail "training failed: $(tail -n 3 "$dir/train.log")"
}

# A Llama-like language model in $dir/lm/model after $1 steps, of the kind that llama2.c files can hold.
make_language_model() {
    make_pairs
    cat >"$dir/lm.yaml" <<YAML
task: causal
tokenizer: {kind: bpe, vocab_size: 320, bos: "<s>"}
model: {d_model: 16, d_ff: 32, n_heads: 2, decoder_layers: 1, dropout: 0, norm: rms, activation: silu, gated_mlp: true, position: rope, rope_kind: interleaved,
        attention_bias: false, output_bias: false, mlp_bias: false, norm_bias: false, scale_embedding: false}
data: {train: $dir/src, lines_are_documents: true, batch_tokens: 512, max_length: 64}
train: {steps: $1, learning_rate: 0.02, warmup_steps: 5, logging_steps: 1000}
YAML
    "$endec" train "$dir/lm.yaml" --out "$dir/lm" -t 1 2>"$dir/train.log" || fail "training failed: $(tail -n 3 "$dir/train.log")"
}
