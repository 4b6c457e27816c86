#!/bin/bash
# tools/check_layers.sh - layers point down only:
#
#   base <- tensor <- nn <- models <- {train, decode, codec, inspect} <- task <- recipes, cli        io stands on base and tensor
#
# Reads every #include "..." of src/, recipes/ and cli/, finds the layer that the included file belongs to, and compares it with the table below.
# The four layers in braces do not know each other. train and decode see token ids, never tokenizers. recipes and cli use public headers only.
#
# usage: tools/check_layers.sh
set -u
find src recipes cli include/endec -name '*.[ch]' 2>/dev/null | sort | xargs awk '
BEGIN {
    # layer -> layers it may include besides itself
    allow["base"] = ""
    allow["tensor"] = "base"
    allow["io"] = "base tensor"
    allow["nn"] = "base tensor"
    allow["models"] = "base tensor nn io"
    allow["train"] = allow["decode"] = allow["codec"] = allow["inspect"] = "base tensor nn models io"
    allow["task"] = "base tensor nn models io train decode codec inspect"
    allow["recipes"] = allow["cli"] = "base tensor nn models io train decode codec inspect task"
    allow["cli"] = allow["cli"] " recipes"
    # public header -> layer; a new public header gets its place here
    n = split("base:base tensor:tensor ops:tensor attention:tensor mask:nn model:models train:train decode:decode inspect:inspect metrics:inspect " \
              "report:inspect io:io tokenizer:io run:task text:task", pairs, " ")
    for (i = 1; i <= n; i++) { split(pairs[i], p, ":"); header[p[1]] = p[2] }
}
function layer_of_file(path) {
    if (path ~ /^src\//) { split(path, d, "/"); return d[2] }
    if (path ~ /^include\/endec\//) { sub(/.*\//, "", path); sub(/\.h$/, "", path); return path in header ? header[path] : "?" }
    split(path, d, "/"); return d[1]
}
function bad(why) { printf "%s:%d: %s\n", FILENAME, FNR, why; failed = 1 }
FNR == 1 {
    from = layer_of_file(FILENAME)
    if (from == "?") { bad("this public header has no layer yet: add it to the table in tools/check_layers.sh"); nextfile }
    if (!(from in allow)) { bad("src/" from " is no layer of the table in tools/check_layers.sh"); nextfile }
    seen_files++
}
match($0, /^[ \t]*#[ \t]*include[ \t]*[<"][^">]*[">]/) {
    inc = substr($0, RSTART, RLENGTH); quoted = inc ~ /"/
    sub(/^[^<"]*[<"]/, "", inc); sub(/[">]$/, "", inc)
    if (inc ~ /^endec\//) {
        name = inc; sub(/^endec\//, "", name); sub(/\.h$/, "", name)
        if (!(name in header)) { bad("\"" inc "\" has no layer in tools/check_layers.sh"); next }
        to = header[name]
    } else if (!quoted) next
    else if (inc ~ /\//) { split(inc, d, "/"); to = d[1]; if (to == "..") { bad("includes go by layer (\"tensor/op.h\"), not by \"..\""); next }
        if (!(to in allow)) next
        if ((from == "recipes" || from == "cli") && to != "recipes" && to != "cli") { bad(from " uses public headers only, not \"" inc "\""); next }
    } else next
    if (to != from && (" " allow[from] " ") !~ (" " to " ")) bad("layer " from " must not include \"" inc "\" (layer " to ")")
    if ((from == "train" || from == "decode") && inc ~ /tokenizer|\/tok_/) bad("train and decode see token ids, never tokenizers: \"" inc "\"")
}
END { if (!failed) printf "check_layers: %d files\n", seen_files; exit failed }'
