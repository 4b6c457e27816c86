"""Writes tok_golden.json: the ids that the Hugging Face `tokenizers` library gives with the tokenizer.json files of tok_golden/.

Usage: python make_tok_golden.py (in this folder, with the `tokenizers` package; the result says its version)."""
import json
import os

import tokenizers

TEXTS = [
    "The dog reads the longest sentence.", " leading", "double  space   three", "trailing ", "a",
    "Die Mutter läuft über die Wiese.", "don't we'll I'M 'sup", "我们在 火车 tokens", "emoji 😀👍🏽",
    "1234 56.78 $9 10:45", "tab\tnew\nline\r\nx", "  \n\n  x", "ﬁ ﬀ ½ Å Å é é", "ＡＢＣ　ｘ", "İstanbul ẞ", "각ㄱㅏ",
    "</s> <unk>x <pad>", "x\u0000y", "\u2028\u00a0\u3000z", "q̣̇ q̣̇ ", "Прочитай это ещё раз", "if (n > 0) { return n; }",
    "coldestreadingwaitingwriting", "   ", "x" * 40 + " " + "ing" * 30,
]
here = os.path.dirname(os.path.abspath(__file__))
out = {"made_with": "tokenizers " + tokenizers.__version__}
for name in sorted(os.listdir(os.path.join(here, "tok_golden"))):
    t = tokenizers.Tokenizer.from_file(os.path.join(here, "tok_golden", name, "tokenizer.json"))
    out[name] = [[s, t.encode(s).ids] for s in TEXTS]
with open(os.path.join(here, "tok_golden.json"), "w", encoding="utf-8") as f:
    rows = [json.dumps(k) + ": " + (json.dumps(v) if isinstance(v, str) else "[\n" + ",\n".join("  " + json.dumps(r, ensure_ascii=True) for r in v) + "\n]")
            for k, v in out.items()]
    f.write("{\n" + ",\n".join(rows) + "\n}\n")
