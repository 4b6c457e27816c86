#!/bin/bash
# tests/cli/generate.sh - endec generate: prompts, determinism, sampling, streaming, errors.
. "$(dirname "$0")/lib.bash" "$1"
make_language_model 60
m=$dir/lm/model
gen() { "$endec" generate -m "$m" "$@"; }

gen -t 1 -p 'the dog' -n 12 >"$dir/greedy" || fail "greedy"
[ -s "$dir/greedy" ] && [ "$(tail -c 1 "$dir/greedy" | od -An -tx1)" = ' 0a' ] || fail "no final line end"
gen -t 2 -p 'the dog' -n 12 --batch-tokens 3 >"$dir/out"
same "$dir/out" "$dir/greedy" "threads or chunks of the prompt change the text"
gen -t 1 -p 'the dog' -n 12 --echo >"$dir/out"
same "$dir/out" <(printf 'the dog' && cat "$dir/greedy") "--echo is prompt and text"
printf 'the dog' >"$dir/prompt"
gen -t 1 -f "$dir/prompt" -n 12 >"$dir/out" && gen -t 1 -f - -n 12 <"$dir/prompt" >"$dir/out2"
same "$dir/out" "$dir/greedy" "-f"
same "$dir/out2" "$dir/greedy" "-f -"
gen -t 1 -n 5 >"$dir/out" || fail "no prompt"
gen -t 1 -p 'the dog' -n 12 --json >"$dir/out"
grep -qE '^\{"outputs":\[\{"text":".*","tokens":[0-9]+,"sum_logprob":-[0-9.e-]+,"finish":"(stop|length)"\}\]\}$' "$dir/out" || fail "JSON: $(cat "$dir/out")"
gen -t 1 -p 'the' -n 8 --temp 1.2 --top-k 20 --top-p 0.95 --min-p 0.01 --seed 5 >"$dir/s1" && gen -t 2 -p 'the' -n 8 --temp=1.2 --top_k 20 --top_p 0.95 --min_p 0.01 --seed 5 >"$dir/s2"
same "$dir/s1" "$dir/s2" "sampling is not reproducible"
gen -t 1 -p 'the' -n 8 --temp 1.2 --n-best 3 >"$dir/out"
[ "$(wc -l <"$dir/out")" -ge 3 ] || fail "three samples"
gen -t 1 -p 'the dog' -n 4 --stats 2>"$dir/err" >/dev/null && grep -q 'decode .* tokens/s' "$dir/err" || fail "--stats"
printf 'a\0\xff\xc3' >"$dir/prompt" && gen -t 1 -f "$dir/prompt" -n 3 >"$dir/out" || fail "odd bytes in the prompt"

ends 2 "$endec" generate -m "$m" -p x -f "$dir/prompt"
one_line
ends 2 "$endec" generate -m "$m" -p x --temp -1
says "--temp"
ends 2 "$endec" generate -m "$m" -p x -n
says "value"
head -c 4000 /dev/zero | tr '\0' 'q' >"$dir/prompt"
ends 3 "$endec" generate -m "$m" -f "$dir/prompt"
one_line
if [ -c /dev/full ]; then
    gen -t 1 -p 'the dog' -n 12 2>"$dir/err" >/dev/full
    [ $? -eq 4 ] || fail "full disk: wrong exit code"
    one_line
fi
exit 0
