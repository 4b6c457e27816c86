#!/bin/bash
# tools/check_source.sh - what the compiler does not say about the sources:
#   - banned functions (no bounds, hidden state, or stack of unknown size) in src/, cli/ and recipes/
#   - the library (src/) never prints, exits, or reads the environment
#   - every C file of the library, the tool and the recipes begins with a comment that names it; nothing is left "to do"
#   - no tracked file holds a path of somebody's machine
#   - files over 800 lines are listed (a warning: tables and kernels may have a reason)
#
# usage: tools/check_source.sh
set -u
failed=0
complain() { # title, lines
    [ -z "$2" ] && return
    echo "check_source: $1"
    echo "$2"
    failed=1
}
# Sources with comments and string contents blanked, line numbers kept: file:line:code
code() {
    find "$@" -name '*.[ch]' 2>/dev/null | sort | xargs -r awk '
    FNR == 1 { in_comment = 0 }
    !in_comment && !/\/\*|\/\/|"|\047/ { print FILENAME ":" FNR ":" $0; next }
    {
        s = $0; out = ""
        while (length(s)) {
            if (in_comment) { i = index(s, "*/"); if (!i) break; s = substr(s, i + 2); in_comment = 0; continue }
            c = substr(s, 1, 1); two = substr(s, 1, 2)
            if (two == "/*") { in_comment = 1; s = substr(s, 3); continue }
            if (two == "//") break
            if (c == "\"" && match(s, /^"([^"\\]|\\.)*"/)) { out = out "\"\""; s = substr(s, RLENGTH + 1); continue }
            if (c == "\047" && match(s, /^\047([^\047\\]|\\.)+\047/)) { out = out "0"; s = substr(s, RLENGTH + 1); continue }
            n = match(substr(s, 2), /[\/"\047]/)
            if (!n) n = length(s)
            out = out substr(s, 1, n); s = substr(s, n + 1)
        }
        print FILENAME ":" FNR ":" out
    }'
}
dirs=(src)
for d in cli recipes; do [ -d $d ] && dirs+=("$d"); done
complain "banned functions (see STYLE.md)" \
    "$(code "${dirs[@]}" | grep -E '[^A-Za-z0-9_](v?sprintf|strcpy|strcat|gets|ato[ifl]|strtok|alloca|s?rand)[[:space:]]*\(')"
complain "the library never prints, exits, or reads the environment" \
    "$(code src | grep -E '[^A-Za-z0-9_](printf|puts|putchar|perror|exit|_exit|abort|(secure_)?getenv)[[:space:]]*\(|[^A-Za-z0-9_](stdout|stderr)[^A-Za-z0-9_]')"
complain "left to do" "$(grep -nE 'TODO|FIXME' -r --include='*.[ch]' include "${dirs[@]}" tests bench 2>/dev/null)"
complain "a C file begins with a comment that names the file and says what it is" "$(find include "${dirs[@]}" -name '*.[ch]' | sort | xargs awk '
    FNR == 1 { base = FILENAME; sub(/.*\//, "", base); if ($0 !~ /^\/\*/ || !index($0, base)) print FILENAME }')"
if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    complain "paths of somebody's machine" "$(git ls-files -z | xargs -0 grep -nIE "(^|[[:space:]\"'=(\`])/(home|root|Users|work|workspace|builds)/[A-Za-z0-9_.]" -- 2>/dev/null)"
fi
long=$(find include "${dirs[@]}" -name '*.[ch]' -print0 | xargs -0 wc -l | awk '$2 != "total" && $1 > 800')
[ -z "$long" ] || printf 'check_source: warning: over 800 lines, look for the seam\n%s\n' "$long"
[ $failed -eq 0 ] && echo "check_source: ok"
exit $failed
