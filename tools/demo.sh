#!/bin/bash
# tools/demo.sh - the demonstration behind `make demo`: English to German with the shipped model, greedily and by beam search, then whatever
# comes in on standard input.
#
# usage: tools/demo.sh PATH_TO_ENDEC [MODEL_DIR]
# Standard input: at a terminal the reader is asked for sentences (nothing typed for 60 seconds ends the demo); a pipe or a file is translated
# line by line (a pipe that stays silent for 5 seconds is left alone, so that the demo also ends where nobody feeds it).
set -u -o pipefail
tool=$1 model=${2:-models/en-de-small} sentences=demo/sentences.en

if [ ! -x "$tool" ]; then
    echo "demo: $tool was not built; see the messages above" >&2
    exit 1
fi
if [ ! -f "$model/config.json" ]; then
    echo "demo: the model folder $model is missing (no $model/config.json): this checkout has no translation model to show" >&2
    exit 1
fi

translate() {
    "$tool" translate -m "$model" --stats "$@"
}

echo "== $(wc -l <"$sentences") sentences ($sentences)"
cat "$sentences"
for beam in 1 5; do
    echo
    if [ $beam -eq 1 ]; then echo "== greedy"; else echo "== beam search, $beam beams"; fi
    echo "\$ $tool translate -m $model --beam $beam --stats < $sentences"
    translate --beam $beam <"$sentences" || exit 1
done

if [ -t 0 ]; then
    wait_s=60
    echo
    echo "== your turn: one English sentence per line (short picture captions suit this model best), Ctrl-D to end"
elif [ -p /dev/stdin ] || [ -f /dev/stdin ]; then
    wait_s=5
else
    exit 0
fi
# `read` fails at the end of the input and when the time is over; a last line without newline still arrives in `line`.
IFS= read -r -t $wait_s line || [ -n "${line:-}" ] || exit 0
[ -t 0 ] || printf '\n== standard input\n'
{
    printf '%s\n' "$line"
    cat
} | translate --beam 5
