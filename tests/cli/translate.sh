#!/bin/bash
# tests/cli/translate.sh - endec translate: lines in and out, beams, determinism, odd input, failing output.
. "$(dirname "$0")/lib.bash" "$1"
make_translator 150
m=$dir/mt/model
trans() { "$endec" translate -m "$m" -t 1 "$@"; }

# a line out for a line in, and something was learnt
trans <"$dir/src" >"$dir/greedy" 2>"$dir/err" || fail "greedy: $(cat "$dir/err")"
[ -s "$dir/err" ] && fail "messages without a reason: $(cat "$dir/err")"
[ "$(wc -l <"$dir/greedy")" -eq 60 ] || fail "not one output line per input line"
[ "$(paste -d= "$dir/greedy" "$dir/tgt" | awk -F= '$1 == $2' | wc -l)" -ge 20 ] || fail "the model learnt nothing: $(head -n 3 "$dir/greedy")"

# what a line gives depends on nothing but the line
for opts in "-t 2" "-t 2 --batch-size 1" "--batch_size=7 --batch-tokens 40"; do
    trans $opts <"$dir/src" >"$dir/out" || fail "$opts"
    same "$dir/out" "$dir/greedy" "$opts changes the output"
done
tac "$dir/src" | trans | tac >"$dir/out"
same "$dir/out" "$dir/greedy" "the order of lines changes the output"
trans --beam 4 <"$dir/src" >"$dir/beam1" && trans --num-beams=4 -t 2 -b 3 <"$dir/src" >"$dir/beam2"
same "$dir/beam1" "$dir/beam2" "threads or batches change beam search"
trans --temp 0.9 --seed 3 <"$dir/src" >"$dir/s1" && trans --temp 0.9 --seed 3 -t 2 <"$dir/src" >"$dir/s2" && trans --temp 0.9 --seed 4 <"$dir/src" >"$dir/s3"
same "$dir/s1" "$dir/s2" "sampling is not reproducible"
cmp -s "$dir/s1" "$dir/s3" && fail "the seed changes nothing"

# n-best, JSON, files, statistics
head -n 2 "$dir/src" | trans --beams 4 --n-best 3 >"$dir/out"
[ "$(grep -cE '^[01] \|\|\| .* \|\|\| -?[0-9.]+$' "$dir/out")" -eq 6 ] || fail "n-best format: $(cat "$dir/out")"
cut -d'|' -f4 "$dir/out" | sed -n '1p' | grep -qF "$(head -n 1 "$dir/beam1")" || fail "the best of the n-best is not the beam's output"
head -n 2 "$dir/src" | trans --json >"$dir/out"
[ "$(grep -cE '^\{"index":[01],"outputs":\[\{"text":".*","score":.*"finish":"(stop|length)"\}\]\}$' "$dir/out")" -eq 2 ] || fail "JSON: $(cat "$dir/out")"
trans -i "$dir/src" -o "$dir/o" --stats 2>"$dir/err" || fail "-i and -o"
same "$dir/o" "$dir/greedy" "-i and -o change the output"
grep -q 'tokens/s' "$dir/err" || fail "--stats says no speed"
ends 2 "$endec" translate -m "$m" -i "$dir/o" -o "$dir/o"
[ -s "$dir/o" ] || fail "the input was overwritten"

# odd input: nothing, empty lines, no last line end, CRLF, NUL, bytes that are no UTF-8, a long line
: | trans >"$dir/out" && [ ! -s "$dir/out" ] || fail "empty input"
printf '\n\nthe dog sees my cat.\n\n' | trans >"$dir/out"
[ "$(wc -l <"$dir/out")" -eq 4 ] && [ -z "$(sed -n 1p "$dir/out")" ] || fail "empty lines"
printf 'the dog sees my cat.' | trans >"$dir/a" && printf 'the dog sees my cat.\r\n' | trans >"$dir/b"
same "$dir/a" "$dir/b" "CRLF or the last line end changes the output"
printf 'a\0b\n\xff\xfe\xc3\n\xe2\x96\x81 \xf0\x9f\x90\x95\n' | trans >"$dir/out" || fail "odd bytes"
[ "$(wc -l <"$dir/out")" -eq 3 ] || fail "odd bytes: line count"
head -c 300000 /dev/zero | tr '\0' 'x' >"$dir/long"
trans -n 4 <"$dir/long" >"$dir/out" 2>"$dir/err" || fail "long line: $(cat "$dir/err")"
[ "$(wc -l <"$dir/out")" -eq 1 ] && grep -q 'warning: line 1 has' "$dir/err" || fail "a line beyond the context needs a warning"

# the output's reader goes away, the disk is full, there is no model
yes 'the dog sees my cat.' | head -n 600 | trans 2>"$dir/err" | head -n 1 >"$dir/out"
code=${PIPESTATUS[2]}
[ "$code" -eq 141 ] || [ "$code" -eq 0 ] || fail "closed pipe: exit $code"
[ -s "$dir/err" ] && fail "closed pipe: $(cat "$dir/err")"
if [ -c /dev/full ]; then
    trans <"$dir/src" 2>"$dir/err" >/dev/full
    [ $? -eq 4 ] || fail "full disk: wrong exit code"
    one_line
    says "no space left"
fi
ends 4 "$endec" translate -m "$dir/none" </dev/null
one_line
says "$dir/none"
ends 2 "$endec" translate </dev/null
says "-m"
ends 2 "$endec" generate -m "$m" -p x
says "translate"
exit 0
