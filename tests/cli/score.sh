#!/bin/bash
# tests/cli/score.sh - endec score: values that can be worked out by hand, output forms, refused input; perplexity of a small model.
. "$(dirname "$0")/lib.bash" "$1"
score() { "$endec" score "$@"; }

# BLEU: precisions 4/5 3/4 2/3 1/2, no brevity penalty: (1/5)^(1/4) = 66.874
echo 'a b c d e' >"$dir/hyp" && echo 'a b c d f' >"$dir/ref"
[ "$(score bleu --ref "$dir/ref" -b "$dir/hyp")" = 66.9 ] || fail "BLEU: $(score bleu --ref "$dir/ref" "$dir/hyp")"
score bleu --ref "$dir/ref" "$dir/hyp" >"$dir/out"
grep -q '^BLEU|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:endec-[0-9.]* = 66.9 80.0/75.0/66.7/50.0 (BP = 1.000 ratio = 1.000 hyp_len = 5 ref_len = 5)$' "$dir/out" ||
    fail "form: $(cat "$dir/out")"
score bleu --ref "$dir/ref" --json "$dir/hyp" | grep -q '"score":66\.87' || fail "JSON: $(score bleu --ref "$dir/ref" --json "$dir/hyp")"
[ "$(score bleu --ref "$dir/ref" -b -w 3 <"$dir/hyp")" = 66.874 ] || fail "standard input, -w"
# half of the words: the brevity penalty exp(1 - 10/5)
echo 'a b c d e f g h i j' >"$dir/long"
[ "$(score bleu --ref "$dir/long" -b "$dir/hyp")" = 36.8 ] || fail "brevity penalty: $(score bleu --ref "$dir/long" "$dir/hyp")"
# a second reference that agrees; case; tokenizers
[ "$(score bleu --ref "$dir/ref" --ref2 "$dir/hyp" -b "$dir/hyp")" = 100.0 ] || fail "two references"
[ "$(score bleu --ref "$dir/ref" --ref "$dir/hyp" -b "$dir/hyp")" = 100.0 ] || fail "--ref twice"
tr a-z A-Z <"$dir/hyp" >"$dir/upper"
[ "$(score bleu --ref "$dir/hyp" -lc -b "$dir/upper")" = 100.0 ] || fail "-lc"
score bleu --ref "$dir/ref" -tok char "$dir/hyp" | grep -q 'tok:char' || fail "-tok"
# the other scores
[ "$(score chrf --ref "$dir/hyp" -b "$dir/hyp")" = 100.0 ] || fail "chrF of equal texts"
[ "$(score wer --ref "$dir/ref" -b "$dir/hyp")" = 20.0 ] || fail "WER"
[ "$(score cer --ref "$dir/ref" -b "$dir/hyp")" = 11.1 ] || fail "CER"
printf 'x\ny\n' >"$dir/two" && printf 'x\nz\n' >"$dir/other"
[ "$(score exact --ref "$dir/two" -b "$dir/other")" = 50.0 ] || fail "exact match"
printf 'a\0b\n' >"$dir/nul"
[ "$(score exact --ref "$dir/nul" -b "$dir/nul")" = 100.0 ] || fail "NUL"
printf 'a\n' >"$dir/a"
[ "$(score exact --ref "$dir/a" -b "$dir/nul")" = 0.0 ] || fail "text behind a NUL is lost"
printf 'a b c d e\r\n' >"$dir/crlf"
[ "$(score bleu --ref "$dir/crlf" -b "$dir/hyp")" = 100.0 ] || fail "CRLF"

ends 2 "$endec" score bleu --ref "$dir/two" "$dir/hyp"
one_line
says "has 2 lines"
ends 2 "$endec" score bleu "$dir/hyp"
says "--ref"
ends 2 "$endec" score blue --ref "$dir/ref" "$dir/hyp"
says "bleu"
ends 4 "$endec" score bleu --ref "$dir/none" "$dir/hyp"

# perplexity: exp of nats/token, bits/byte from both; a learnt text beats another one
make_language_model 60
m=$dir/lm/model
"$endec" score ppl -m "$m" -t 1 --json "$dir/src" >"$dir/out" || fail "ppl"
grep -qE '^\{"name":"ppl","score":[0-9.]+,"nats_per_token":[0-9.]+,"bits_per_byte":[0-9.]+,"tokens":[0-9]+,"bytes":[0-9]+\}$' "$dir/out" || fail "ppl form: $(cat "$dir/out")"
sed 's/[^0-9.,]//g' "$dir/out" | awk -F, '{ bits = $3 * $5 / log(2) / $6; exit !(($2 - exp($3)) ^ 2 < 1e-6 * $2 ^ 2 && (bits - $4) ^ 2 < 1e-12) }' || fail "ppl numbers: $(cat "$dir/out")"
known=$("$endec" score ppl -m "$m" -t 1 -b <"$dir/src") && other=$("$endec" score ppl -m "$m" -t 1 -b <"$dir/tgt")
awk -v a="$known" -v b="$other" 'BEGIN { exit !(a < b) }' || fail "the model prefers text that it never saw: $known, $other"
exit 0
