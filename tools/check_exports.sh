#!/bin/bash
# tools/check_exports.sh - the shared library exports what the public headers declare and nothing else: only ed_* names, none of the internal ed__*.
#
# usage: tools/check_exports.sh BUILD_DIR
set -u
lib=$1/libendec.so
[ -f "$lib" ] || { echo "check_exports: $lib was not built"; exit 1; }
exported=$(nm -D --defined-only "$lib" | awk '{print $NF}' | sed 's/@.*//' | sort -u)
[ -n "$exported" ] || { echo "check_exports: $lib exports nothing"; exit 1; }
foreign=$(grep -vE '^ed_[a-z0-9]' <<<"$exported")
if [ -n "$foreign" ]; then
    echo "check_exports: these names must not be exported:"
    echo "$foreign"
    exit 1
fi
# What a program can link against has to be declared: an exported name without a declaration is an interface nobody described.
declared=$(cat include/endec/*.h | grep -oE '\bed_[a-z0-9_]+[ ]*\(' | tr -d ' (' | sort -u)
undeclared=$(comm -23 <(echo "$exported") <(echo "$declared"))
if [ -n "$undeclared" ]; then
    echo "check_exports: exported, but declared in no public header:"
    echo "$undeclared"
    exit 1
fi
promised=$(grep -hE '^ED_API ' include/endec/*.h | grep -oE '\bed_[a-z0-9_]+\(' | tr -d '(' | sort -u)
missing=$(comm -13 <(echo "$exported") <(echo "$promised"))
if [ -n "$missing" ]; then
    echo "check_exports: declared in a public header, but not in the library:"
    echo "$missing"
    exit 1
fi
echo "check_exports: $(wc -l <<<"$exported") names"
