"""Writes metrics_golden.json: scores of sacreBLEU for texts that are easy to get wrong. Needs `pip install sacrebleu` (2.6.0 was used).

    python3 tests/unit/data/metrics_golden.py > tests/unit/data/metrics_golden.json
"""
import json
import random

import sacrebleu
from sacrebleu.metrics import BLEU, CHRF

# name, hypotheses, list of reference streams (None: this line has no such reference)
CASES = [
    ("identical", ["The cat sat on the mat."], [["The cat sat on the mat."]]),
    ("one word off", ["The cat sat on a mat."], [["The cat sat on the mat."]]),
    ("nothing shared", ["alpha beta"], [["gamma delta epsilon"]]),
    ("empty hypothesis", [""], [["Something was here."]]),
    ("empty reference", ["Something was here."], [[""]]),
    ("both empty", [""], [[""]]),
    ("empty among others", ["", "a b c d e f", "x"], [["a", "a b c d e g", "x"]]),
    ("short", ["a"], [["a"]]),
    ("two words", ["hello world"], [["hello world"]]),
    ("numbers", ["It cost 1,000.5 dollars - or 3.14, 5,6 and 7."], [["It cost 1,000.5 dollars -- or 3.14 , 5 , 6 and 7 ."]]),
    ("points", ["Wait... what?! No. ,. .5 5. a.b a,b 1.a a.1"], [["Wait ... what ?! No . ,. .5 5. a . b a , b 1.a a.1"]]),
    ("dashes", ["a well-known 5-year plan, 10-20% off-\npeak 3--4"], [["a well - known 5 - year plan , 10 - 20 % offpeak 3 - - 4"]]),
    ("entities", ["&quot;Tom &amp; Jerry&quot; 3 &lt; 4 &gt; 2 &amp;lt; &amp;amp; &apos;"], [['" Tom & Jerry " 3 < 4 > 2 < & \' &apos;']]),
    ("skipped", ["one <skipped> two three four five"], [["one two three four five"]]),
    ("quotes", ["“Smart” quotes and 'plain' \"ones\" don’t don't"], [["\" Smart \" quotes and ' plain ' \" ones \" don't don't"]]),
    ("symbols", ["a/b c_d e@f g#h i*j k+l m=n ~o^p [q] {r} (s) |t|\\u `v` $5 50%"],
     [["a / b c_d e @ f g # h i * j k + l m = n ~ o ^ p [ q ] { r } ( s ) | t | \\ u ` v ` $ 5 50 %"]]),
    ("german", ["Der schnelle Fuchs springt über den faulen Hund, größer als 3,5 m."],
     [["Der flinke braune Fuchs sprang über den trägen Hund, größer als 3,5 m."]]),
    ("russian", ["Кошка сидит на коврике, а собака спит."], [["Кошка сидела на коврике, и собака спала."]]),
    ("chinese", ["我喜欢吃苹果,也喜欢2个橙子。"], [["我爱吃苹果,也爱吃2个橙子。"]]),
    ("japanese", ["猫がマットの上に座った。 ABC 12.5"], [["猫はマットに座っている。 ABC 12.5"]]),
    ("arabic digits", ["العدد ٣,٥ و 3,5 هنا."], [["العدد ٣ , ٥ و 3,5 هنا ."]]),
    ("emoji", ["I ❤️ 👩‍👩‍👧 emoji 😀😀."], [["I love 👩‍👩‍👧 emoji 😀 😀 ."]]),
    ("combining", ["café cafe\u0301 naïve"], [["cafe\u0301 café naïve"]]),
    ("spaces", ["  a\u00a0b\u2003c\td \u3000e\u200bf \u001cg "], [["a b c d e\u200bf g"]]),
    ("case", ["THE Cat SAT On The MAT. ΟΔΥΣΣΕΥΣ ΣΑΣ. İstanbul ÉTÉ ⅧΣ ⓐΣ."], [["the cat sat on the mat. οδυσσευς σας. i̇stanbul été ⅷς ⓐς."]]),
    ("repeats", ["the the the the the the the"], [["the cat is on the mat"]]),
    ("two references", ["It is a guide to action which ensures that the military always obeys the commands of the party."],
     [["It is a guide to action that ensures that the military will forever heed Party commands."],
      ["It is the guiding principle which guarantees the military forces always being under the command of the Party."]]),
    ("reference lengths tie", ["a b c d e"], [["a b c d e f g"], ["a b c"], ["x y z a b c d"]]),
    ("varying references", ["a b c d e", "f g h i j"], [["a b c d f", "f g h i j k"], ["a b x d e", None]]),
    ("punctuated words", ["(hi) 'there', \"you\" -- !! a. .b ..c (d"], [["( hi ) there , you — ! a . b c d )"]]),
    ("long hypothesis", ["a b c d e f g h i j k l m n o p"], [["a b c d"]]),
    ("newline and tab", ["one\ntwo\tthree four\n"], [["one two three four"]]),
]
WORDS = ("a man woman child dog two people in on with the red blue green shirt is are sitting standing running street park water "
         "playing football guitar, while wearing hat. near building 3 12-year-old young old group of holds ball; outside night").split()


def perturbed(seed, n):
    rng = random.Random(seed)
    refs = [" ".join(rng.choice(WORDS) for _ in range(rng.randint(4, 14))).capitalize() + "." for _ in range(n)]
    hyps = []
    for ref in refs:
        words = ref.split()
        for _ in range(rng.randint(0, 4)):
            k = rng.randrange(len(words))
            if rng.random() < 0.4 and len(words) > 2:
                del words[k]
            elif rng.random() < 0.5:
                words[k] = rng.choice(WORDS)
            else:
                words.insert(k, rng.choice(WORDS))
        hyps.append(" ".join(words))
    return hyps, refs


def bleu(hyps, refs, **kw):
    m = BLEU(force=True, **kw)
    s = m.corpus_score(hyps, refs)
    sig = str(m.get_signature()).rsplit("|version:", 1)[0]
    return {"opts": kw, "score": s.score, "precisions": s.precisions, "bp": s.bp, "sys_len": s.sys_len, "ref_len": s.ref_len, "signature": sig}


def chrf(hyps, refs, **kw):
    m = CHRF(**kw)
    s = m.corpus_score(hyps, refs)
    return {"opts": kw, "score": s.score, "name": s.name, "signature": str(m.get_signature()).rsplit("|version:", 1)[0]}


BLEU_SETTINGS = [
    dict(), dict(tokenize="none"), dict(tokenize="char"), dict(tokenize="zh"), dict(lowercase=True), dict(effective_order=True),
    dict(smooth_method="floor"), dict(smooth_method="floor", smooth_value=0.25), dict(smooth_method="add-k"),
    dict(smooth_method="add-k", smooth_value=0.5, effective_order=True), dict(smooth_method="none"),
]
CHRF_SETTINGS = [dict(), dict(word_order=2), dict(word_order=2, lowercase=True), dict(whitespace=True), dict(eps_smoothing=True),
                 dict(char_order=4, word_order=1, beta=1)]


def rounded(x):
    if isinstance(x, float):
        return round(x, 7)
    if isinstance(x, dict):
        return {k: rounded(v) for k, v in x.items()}
    return [rounded(v) for v in x] if isinstance(x, list) else x


cases = list(CASES)
for seed, n in ((1, 100), (2, 60)):
    hyps, refs = perturbed(seed, n)
    cases.append((f"perturbed {n}", hyps, [refs]))
out = {"sacrebleu": sacrebleu.__version__, "cases": []}
for name, hyps, refs in cases:
    small = len(hyps) < 50
    out["cases"].append(rounded({
        "name": name, "hyps": hyps, "refs": refs,
        "bleu": [bleu(hyps, refs, **kw) for kw in (BLEU_SETTINGS if small else BLEU_SETTINGS[:6])],
        "chrf": [chrf(hyps, refs, **kw) for kw in CHRF_SETTINGS],
    }))
print("{\"sacrebleu\": \"%s\", \"cases\": [" % sacrebleu.__version__)
print(",\n".join(json.dumps(c, ensure_ascii=True, separators=(",", ":")) for c in out["cases"]))
print("]}")
