#!/bin/bash
# tests/cli/lab.sh - endec lab: the list, every recipe's smoke run (code path and exact invariants, never the thresholds), files, exit codes.
#
# usage: tests/cli/lab.sh TOOL
set -u
endec=$1
[ -x "$endec" ] || exit 77
"$endec" lab --threads 1 --help >/dev/null 2>&1 || exit 77
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
fail() { echo "lab.sh: $*"; exit 1; }

list=$("$endec" lab --threads 1 --work "$dir/w") || fail "the list ended with $?"
grep -q '^urpe  *not run' <<<"$list" || fail "urpe is not in the list: $list"
grep -q 'of 66 planned methods' <<<"$list" || fail "the list does not count: $list"

for slug in $(awk 'NR > 1 && !/planned methods/ { print $1 }' <<<"$list"); do
    "$endec" lab --threads 1 "$slug" --smoke --work "$dir/w" --json "$dir/$slug.json" --html "$dir/$slug.html" >"$dir/$slug.out" 2>"$dir/$slug.err" \
        || { cat "$dir/$slug.out" "$dir/$slug.err"; fail "$slug --smoke ended with $?"; }
    grep -q '"holds":"pass"' "$dir/$slug.json" || fail "$slug: no invariant passed"
    grep -q "\"slug\":\"$slug\"" "$dir/$slug.json" || fail "$slug: the JSON names another method"
    grep -q '<svg' "$dir/$slug.html" || fail "$slug: no plot in the page"
    grep -qiE '<script|src=|href=' "$dir/$slug.html" && fail "$slug: the page is not self-contained"
    [ -e "$dir/w/results/$slug.json" ] && fail "$slug: a smoke run became the last result"
done

# a stored result shows in the list; a damaged one does not
mkdir -p "$dir/w/results"
echo '{"slug":"urpe","holds":"fail"}' >"$dir/w/results/urpe.json"
"$endec" lab --threads 1 --work "$dir/w" | grep -q '^urpe  *fail ' || fail "the stored verdict is not shown"
echo '{"holds":' >"$dir/w/results/urpe.json"
"$endec" lab --threads 1 --work "$dir/w" | grep -q '^urpe  *not run' || fail "a damaged result counts"

"$endec" lab --threads 1 no-such-method >/dev/null 2>"$dir/err" && fail "an unknown method passed"
grep -q no-such-method "$dir/err" || fail "the error does not name the method"
"$endec" lab --threads 1 urpe --smoke --quick >/dev/null 2>&1
[ $? -eq 2 ] || fail "two sizes at once"
"$endec" lab --threads 1 urpe --smoke -q --work "$dir/w" --json /no/such/folder/x.json >/dev/null 2>&1
[ $? -eq 2 ] || fail "an unwritable file must end with 2"
exit 0
