#!/bin/bash
# tools/check_headers.sh - every public header compiles alone, as C17 and from C++17, with gcc and (where it is installed) clang, and the umbrella
# order does not matter: each header is also included twice.
#
# usage: tools/check_headers.sh
set -u
warn=(-Wall -Wextra -Wpedantic -Wshadow -Werror -fsyntax-only -Iinclude)
failed=0 tried=0
try() { # compiler, standard flag, language, header
    command -v "$1" >/dev/null 2>&1 || return 0
    tried=$((tried + 1))
    printf '#include "%s"\n#include "%s"\n' "$4" "$4" | "$1" "$2" -x "$3" "${warn[@]}" - || {
        echo "check_headers: $4 does not compile alone with $1 $2"
        failed=1
    }
}
for path in include/endec/*.h; do
    header=${path#include/}
    try gcc -std=c17 c "$header"
    try g++ -std=c++17 c++ "$header"
    try clang -std=c17 c "$header"
    try clang++ -std=c++17 c++ "$header"
done
[ $tried -gt 0 ] || { echo "check_headers: no compiler found"; exit 1; }
echo "check_headers: $tried compilations"
exit $failed
