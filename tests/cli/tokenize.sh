#!/bin/bash
# tests/cli/tokenize.sh - endec train-tokenizer, tokenize, detokenize: exact round trips of any bytes, ids and pieces, refused ids.
. "$(dirname "$0")/lib.bash" "$1"
make_pairs
head -c 3000 /dev/urandom >"$dir/random"
printf 'a  b\r\n\n tail\xe2\x96\x81\0x' >>"$dir/random"

for kind in bytes bpe bytebpe; do
    t=$dir/$kind
    ends 0 "$endec" train-tokenizer --kind $kind --vocab-size 330 -o "$t" "$dir/src" "$dir/tgt"
    [ -s "$t/tokenizer.json" ] || fail "$kind: no tokenizer.json"
    "$endec" tokenize -m "$t" --ids --raw <"$dir/random" >"$dir/ids" || fail "$kind: tokenize"
    [ "$(wc -l <"$dir/ids")" -eq 1 ] || fail "$kind: --raw gives one line"
    "$endec" detokenize -m "$t" --raw <"$dir/ids" >"$dir/back" || fail "$kind: detokenize"
    same "$dir/back" "$dir/random" "$kind: random bytes do not come back"
done

t=$dir/bpe
"$endec" tokenize -m "$t/tokenizer.json" --ids <"$dir/src" | "$endec" detokenize -m "$t" >"$dir/back"
same "$dir/back" "$dir/src" "lines do not come back"
echo 'the dog' | "$endec" tokenize -m "$t" --ids >"$dir/with" && echo 'the dog' | "$endec" tokenize -m "$t" --ids --no-special >"$dir/without"
[ "$(wc -w <"$dir/with")" -eq $(($(wc -w <"$dir/without") + 1)) ] || fail "--no-special leaves the end token"
"$endec" detokenize -m "$t" --special <"$dir/with" | grep -qF 'the dog</s>' || fail "--special hides the end token"
echo 'the dog' | "$endec" tokenize -m "$t" >"$dir/pieces"
grep -q '</s>$' "$dir/pieces" && grep -q $'\xe2\x96\x81' "$dir/pieces" || fail "pieces: $(cat "$dir/pieces")"
echo '<s></s>' | "$endec" tokenize -m "$t" --ids --no-special >"$dir/plain" && echo '</s>' | "$endec" tokenize -m "$t" --ids --no-special --parse-special >"$dir/parsed"
[ "$(wc -w <"$dir/plain")" -gt 2 ] && [ "$(wc -w <"$dir/parsed")" -eq 1 ] || fail "special tokens come from plain text"
: | "$endec" tokenize -m "$t" --ids >"$dir/out" && [ ! -s "$dir/out" ] || fail "empty input"

# ids outside the vocabulary, other text, damaged and missing files
for bad in 330 999999999999999999999 -1 x 1x; do
    printf '1 2\n3 %s\n' "$bad" >"$dir/bad"
    ends 5 "$endec" detokenize -m "$t" -i "$dir/bad"
    one_line
    says "line 2"
done
head -c 500 "$t/tokenizer.json" >"$dir/cut.json"
ends 5 "$endec" tokenize -m "$dir/cut.json" </dev/null
one_line
says cut.json
ends 4 "$endec" tokenize -m "$dir/none" </dev/null
ends 2 "$endec" train-tokenizer --kind bpe --vocab-size 100 -o "$dir/x" "$dir/src"
one_line
ends 4 "$endec" train-tokenizer -o "$dir/x" "$dir/none"
ends 2 "$endec" train-tokenizer -o "$dir/x"
exit 0
