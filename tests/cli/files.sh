#!/bin/bash
# tests/cli/files.sh - endec info and convert: what is shown, exact round trips, damaged model files.
. "$(dirname "$0")/lib.bash" "$1"
make_language_model 20
m=$dir/lm/model

"$endec" info "$m" >"$dir/out" || fail "info"
grep -qE '^model +decoder$' "$dir/out" && grep -qE '^parameters +[1-9]' "$dir/out" && grep -qE '^tokenizer +bpe, 3[0-9]+ entries' "$dir/out" || fail "info: $(cat "$dir/out")"
"$endec" info "$m" --json --tensors >"$dir/out" || fail "info --json"
[ "$(wc -l <"$dir/out")" -ge 1 ] && grep -q '"parameters":{"encoder":0,' "$dir/out" && grep -q '"tensors":\[{"name":' "$dir/out" || fail "info --json: $(head -c 400 "$dir/out")"
if command -v python3 >/dev/null; then python3 -m json.tool <"$dir/out" >/dev/null || fail "info --json is no JSON"; fi
"$endec" info "$m/model.safetensors" | grep -q 'F32 *\[' || fail "info of a safetensors file"
"$endec" info "$m/tokenizer.json" | grep -q '^tokenizer  *bpe' || fail "info of a tokenizer"

# llama2.c: to a .bin file, to a folder, and back: the same bytes; other number formats load
ends 0 "$endec" convert "$m" "$dir/a.bin"
says "end token"
ends 0 "$endec" convert "$dir/a.bin" "$dir/folder"
ends 0 "$endec" convert "$dir/folder" "$dir/b.bin" --to llama2c
same "$dir/a.bin" "$dir/b.bin" "the way there and back changes a llama2.c file"
cp "$m"/tokenizer*.json "$m/special_tokens_map.json" "$dir/folder/"
"$endec" generate -m "$m" -t 1 -p 'the dog' -n 10 --eos-token-id '' >"$dir/out1" && "$endec" generate -m "$dir/folder" -t 1 -p 'the dog' -n 10 --eos-token-id '' >"$dir/out2" || fail "generate after convert"
same "$dir/out1" "$dir/out2" "the converted model says something else"
for t in bf16 f16; do
    ends 0 "$endec" convert "$m" "$dir/$t" --dtype $t
    [ "$(stat -c %s "$dir/$t/model.safetensors")" -lt "$(stat -c %s "$m/model.safetensors")" ] || fail "$t is not smaller"
    "$endec" generate -m "$dir/$t" -t 1 -p 'the dog' -n 5 >/dev/null || fail "a $t model does not run"
done
ends 2 "$endec" convert "$m" "$dir/c.bin" --dtype bf16
make_translator 2
ends 6 "$endec" convert "$dir/mt/model" "$dir/c.bin"
one_line

# damage: cut, a flipped bit, a missing tensor, a wrong shape, a vocabulary that is too small, no config
damaged() {
    rm -rf "$dir/bad"
    cp -r "$m" "$dir/bad"
}
w=model.safetensors
damaged && head -c 3000 "$m/$w" >"$dir/bad/$w"
ends 5 "$endec" info "$dir/bad"
one_line
says "$w"
damaged
size=$(stat -c %s "$m/$w")
printf '\x5a' | dd of="$dir/bad/$w" bs=1 seek=$((size - 100)) conv=notrunc 2>/dev/null
cmp -s "$m/$w" "$dir/bad/$w" && printf '\xa5' | dd of="$dir/bad/$w" bs=1 seek=$((size - 100)) conv=notrunc 2>/dev/null
ends 5 "$endec" generate -m "$dir/bad" -p x
one_line
says "$w"
damaged && sed -i 's/"num_hidden_layers": *1/"num_hidden_layers": 2/' "$dir/bad/config.json"
cmp -s "$m/config.json" "$dir/bad/config.json" && fail "config.json has no num_hidden_layers"
ends 4 "$endec" info "$dir/bad"
one_line
says "model.layers.1."
damaged && sed -i 's/"intermediate_size": *32/"intermediate_size": 48/' "$dir/bad/config.json"
ends 2 "$endec" info "$dir/bad"
says "mlp."
damaged && "$endec" train-tokenizer --kind bpe --vocab-size 340 --bos '<s>' -o "$dir/bad" "$dir/src" "$dir/tgt" 2>/dev/null
ends 2 "$endec" generate -m "$dir/bad" -p x
one_line
says "vocabulary"
damaged && rm "$dir/bad/config.json"
ends 4 "$endec" generate -m "$dir/bad" -p x
damaged && echo '{' >"$dir/bad/config.json"
ends 5 "$endec" generate -m "$dir/bad" -p x
says "config.json"
head -c 100 "$dir/a.bin" >"$dir/cut.bin"
ends 5 "$endec" info "$dir/cut.bin"
says "cut.bin"
exit 0
