#!/bin/bash
# tests/cli/frame.sh - what all commands share: help, hints for wrong names, global options, exit codes, the page of options.
. "$(dirname "$0")/lib.bash" "$1"

ends 0 "$endec" --help
grep -q translate "$dir/out" || fail "--help lists no commands"
commands=$(awk '/^Commands:/ { on = 1; next } /^$/ { on = 0 } on { print $1 }' "$dir/out")
[ "$(wc -w <<<"$commands")" -ge 10 ] || fail "few commands: $commands"
for c in $commands; do
    ends 0 "$endec" "$c" --help
    grep -q "^usage: endec $c" "$dir/out" || fail "$c --help: $(head -n 1 "$dir/out")"
    [ -s "$dir/err" ] && fail "$c --help writes to standard error"
    awk 'length($0) > 160 { exit 1 }' "$dir/out" || fail "$c --help has lines that are too long"
done
ends 0 "$endec" --version
grep -qE '^endec [0-9]+\.[0-9]+\.[0-9]+' "$dir/out" || fail "--version"
ends 0 "$endec" help train
grep -q 'learning_rate' "$dir/out" || fail "train's help does not list the config's keys"
ends 2 "$endec"
[ -s "$dir/out" ] && fail "usage goes to standard error"
ends 2 "$endec" tranlate
one_line
says "translate"
ends 2 "$endec" translate --bem 4
one_line
says "beam"
ends 2 "$endec" translate --num-beams four
says "--num-beams"
ends 2 "$endec" translate --num-beams 0
ends 2 "$endec" translate -Z
ends 2 "$endec" info a b
ends 2 "$endec" info
ends 2 "$endec" info --json=perhaps x
ends 2 "$endec" info x --threads
ends 4 "$endec" --threads 1 --verbosity silent info "$dir/none"
one_line
says "$dir/none"
ends 4 "$endec" info -t1 --cpu generic --no-json -- "$dir/none"
says "$dir/none"
ends 2 "$endec" info --cpu fast "$dir/none"
says "avx2"

# the page of options is the one that the tool prints
if [ -f docs/config.md ]; then
    ends 0 "$endec" help --markdown
    same "$dir/out" docs/config.md "docs/config.md is not what 'endec help --markdown' prints"
fi
exit 0
