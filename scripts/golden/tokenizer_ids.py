#!/usr/bin/env python3
"""Hashes of the ids that the `tokenizers` library gives for the lines of tests/unit/data/lines.c.

Writes tests/golden/tokenizer_tiny.json (a small vocabulary made here) and
tests/golden/tokenizer_cases.json (changes to it, and hashes).

  pip install tokenizers==0.23.3; scripts/golden/tokenizer_ids.py [NAME=tokenizer.json ...]
"""
import hashlib
import json
import struct
import sys
import tokenizers

SWEEP, CHARS, JOINS, LONG, PIECES = 6000, 0x110000 // 256, 200, 1000000, 400000
WORD = SWEEP + CHARS + JOINS
COUNT = WORD + 2
ALL = 8 * LONG  # more ids than any line has
MASK = (1 << 64) - 1
SCRIPTS = [(0x20, 0x7E), (0x20, 0x7E), (0xA0, 0xFF), (0x100, 0x24F), (0x250, 0x36F), (0x370, 0x3FF),
           (0x400, 0x52F), (0x530, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x1100, 0x11FF),
           (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x20A0, 0x20FF), (0x2100, 0x218F), (0x3000, 0x30FF),
           (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFB00, 0xFB4F), (0xFE00, 0xFE6F),
           (0xFF00, 0xFFEF), (0x10400, 0x1044F), (0x1D100, 0x1D1FF), (0x1D400, 0x1D7FF), (0x1F300, 0x1F64F),
           (0x1F900, 0x1F9FF), (0x20000, 0x2FA1F), (0x110000 - 256, 0x10FFFF)]
MARKS = [(0x300, 0x36F), (0x483, 0x487), (0x591, 0x5C7), (0x64B, 0x65F), (0x93C, 0x94D), (0x1AB0, 0x1AFF),
         (0x1DC0, 0x1DFF), (0x20D0, 0x20F0), (0x302A, 0x302F), (0x16FF0, 0x16FF1)]
BLANKS = [9, 10, 11, 12, 13, 32, 0x85, 0xA0, 0x1680, 0x180E, 0x2003, 0x200B, 0x2028, 0x2029, 0x202F, 0x205F,
          0x3000, 0xFEFF, 0, 0x7F, 0xFFFD, 0xAD, 0x200D, 0xFE0F]
WORDS = ["the", "card", "I", "what's", "Payment", "transfer", "ing", "un", "able", "declined", "?", "!!",
         "3.14", "2024-01", "e-mail", "top-up", "Zurich", "caf\u00e9", "[UNK]", "[CLS]", "[SEP]", "[MASK]",
         "[PAD]", "[ MASK ]", "[mask]", "<ent>", "Hello", "hello", "HELLO", "bro<x>k",
         "internationalization", "##ing", "\u0130stanbul"]


class Maker:
    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
        return z ^ z >> 31

    def below(self, n):
        return self.next() % n

    def put(self, c):
        self.out += chr(0x21 if 0xD800 <= c < 0xE000 else c).encode()

    def table(self, rows):
        first, last = rows[self.below(len(rows))]
        self.put(first + self.below(last - first + 1))

    def letters(self, n):
        for _ in range(n):
            self.put(97 + self.below(26))

    def piece(self, kind):
        if kind == 0:
            self.out += WORDS[self.below(len(WORDS))].encode()
        elif kind == 1:
            self.letters(1 + self.below(12))
        elif kind == 2:
            self.table(SCRIPTS)
        elif kind == 3:
            self.put(97 + self.below(26))
            for _ in range(self.below(5)):
                self.table(MARKS)
        elif kind == 4:
            self.put(0x4E00 + self.below(0x5200))
        elif kind == 5:
            self.put(0x1F300 + self.below(0x350))
        elif kind == 6:
            self.put(BLANKS[self.below(len(BLANKS))])
        elif kind == 7:
            self.out += bytes([self.below(256)])
        elif kind == 8:
            self.put(self.below(0x110000))
        else:
            self.put(0x21 + self.below(94))

    def join(self):
        kind = self.below(5)
        if kind == 0:
            n = 1 + self.below(4)
            while n > 0:
                self.put([0x1F468, 0x1F469, 0x1F467, 0x1F466, 0x1F9D1][self.below(5)])
                if self.below(3) == 0:
                    self.put(0x1F3FB + self.below(5))
                if n > 1:
                    self.put(0x200D)
                n -= 1
        elif kind == 1:
            self.put(0x1F1E6 + self.below(26))
            self.put(0x1F1E6 + self.below(26))
        elif kind == 2:
            self.put(0x30 + self.below(10))
            self.put(0xFE0F)
            self.put(0x20E3)
        elif kind == 3:
            for _ in range(1 + self.below(3)):
                self.put(0x915 + self.below(37))
                self.put(0x94D)
                if self.below(4) == 0:
                    self.put(0x200C + self.below(2))
            self.put(0x915 + self.below(37))
            self.put(0x93E + self.below(15))
        else:
            self.put(0x1100 + self.below(19))
            self.put(0x1161 + self.below(21))
            self.put(0x11A7 + self.below(28))

    def behind_the_sweep(self, i):
        if i < SWEEP + CHARS:
            for c in range((i - SWEEP) * 256, (i - SWEEP + 1) * 256):
                self.put(c)
                self.out += b"a" if c % 3 else b" b"
        elif i < WORD:
            for _ in range(1 + self.below(24)):
                self.join()
                self.out += b"" if self.below(3) else b" "
        elif i == WORD:
            self.letters(LONG)
        else:
            for _ in range(PIECES):
                if self.below(9):
                    self.piece(self.below(10))
                else:
                    self.join()
                self.out += b"" if self.below(4) else b" "

    def line(self, i):
        self.out, self.state, kind = bytearray(), i, i % 16
        if i >= SWEEP:
            self.behind_the_sweep(i)
        elif kind == 14:
            self.letters(95 + self.below(10))
            self.out += b" "
            for _ in range(95 + self.below(10)):
                self.put(0x430 + self.below(32))
        elif kind == 15 and i % 64 == 15:
            for _ in range(3000 + self.below(3000)):
                self.piece(self.below(10))
                self.out += b" " if self.below(2) else b""
        else:
            for _ in range(self.below(24)):
                self.piece(kind if kind < 10 else self.below(10))
                self.out += b" " if self.below(3) else b""
        return bytes(self.out)


def tiny():
    """Single characters of many scripts, frequent English pieces and words."""
    chars = [chr(c) for a, b in ((0x21, 0x7E), (0xA1, 0x17F), (0x3B1, 0x3C9), (0x430, 0x45F), (0x5D0, 0x5EA),
                                 (0x627, 0x64A), (0x904, 0x94D), (0xE01, 0xE2E), (0x1100, 0x1112),
                                 (0x1161, 0x1175), (0x11A8, 0x11C2), (0x3041, 0x3096), (0x30A1, 0x30FA),
                                 (0x4E00, 0x4E7F), (0x1F600, 0x1F64F), (0x2010, 0x2027)) for c in range(a, b + 1)]
    words = ("the card what payment transfer pay trans fer un able decline declined hello Hello HELLO mail top up "
             "inter national ization in on at er ing ed th he an re nd ti es or te of it is hi as zu rich rick "
             "cafe caf\u00e9 istanbul ist an bul mask ent bro money account pin code lost why how do i my").split()
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocab += chars + ["##" + c for c in chars if c not in "#"] + words + ["##" + w for w in words]
    vocab = list(dict.fromkeys(vocab))
    special = lambda t: {"id": vocab.index(t), "content": t, "single_word": False, "lstrip": False,
                         "rstrip": False, "normalized": False, "special": True}
    one = lambda t: {"SpecialToken": {"id": t, "type_id": 0}}
    single = [one("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, one("[SEP]")]
    return {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [special(t) for t in vocab[:5]],
            "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                           "strip_accents": None, "lowercase": True},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {"type": "TemplateProcessing", "single": single,
                               "pair": single + [{"Sequence": {"id": "B", "type_id": 1}}],
                               "special_tokens": {t: {"id": t, "ids": [vocab.index(t)], "tokens": [t]}
                                                  for t in ("[CLS]", "[SEP]")}},
            "decoder": None,
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 100, "vocab": {t: i for i, t in enumerate(vocab)}}}


def bert(clean, cjk, strip, lower):
    return {"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": cjk,
            "strip_accents": strip, "lowercase": lower}


def token(i, content, **on):
    base = {"id": i, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": False}
    base.update(on)
    return base


def cases(vocab):
    count = len(vocab)
    added = [token(count, "<ent>", lstrip=True), token(count + 1, "<x>", rstrip=True),
             token(vocab["hello"], "hello", normalized=True, single_word=True),
             token(count + 2, "h\u00e9l", normalized=True), token(vocab["ing"], "ing", single_word=True),
             token(vocab["in"], "in"), token(count + 3, "\u4e2d\u6587", normalized=True)]
    cut = lambda n, side: {"truncation": {"direction": side, "max_length": n, "strategy": "LongestFirst", "stride": 0}}
    return [("uncased", ALL, {}), ("cut", 16, {}), ("cut-all", 2, {}),
            ("cut-left", 16, cut(16, "Left")),
            ("cased", ALL, {"normalizer": bert(True, True, None, False)}),
            ("accents", ALL, {"normalizer": bert(True, True, False, True)}),
            ("bare", ALL, {"normalizer": bert(False, False, False, False)}),
            ("strip", ALL, {"normalizer": bert(False, False, True, False)}),
            ("none", ALL, {"normalizer": None}),
            ("added", ALL, {"added_tokens": added}), ("added-cut", 24, {"added_tokens": added}),
            ("pair", 64, {"post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}}),
            ("plain", 64, {"post_processor": None})]


def all_lines():
    """As the library gets them: what is no UTF-8 replaced, one U+FFFD per maximal ill-formed part."""
    maker = Maker()
    return [maker.line(i).decode("utf-8", "replace") for i in range(COUNT)]


def opened(text, length, side):
    t = tokenizers.Tokenizer.from_str(text)
    t.no_padding()
    t.enable_truncation(length, direction=side)
    return t


def side_of(changes):
    return (changes.get("truncation") or {}).get("direction", "Right").lower()


def pack(ids):
    return struct.pack("<I", len(ids)) + struct.pack("<%di" % len(ids), *ids)


def digest(t, lines):
    total, h = 0, hashlib.sha256()
    for line in lines:
        ids = t.encode(line).ids
        total += len(ids)
        h.update(pack(ids))
    return total, h.hexdigest()


def main():
    lines, base, out = all_lines(), tiny(), []
    text = json.dumps(base, ensure_ascii=True, separators=(",", ":"))
    open("tests/golden/tokenizer_tiny.json", "w").write(text + "\n")
    for name, length, patch in cases(base["model"]["vocab"]):
        total, sha = digest(opened(json.dumps({**base, **patch}), length, side_of(patch)), lines)
        out.append({"name": name, "max": length, "patch": patch, "ids": total, "sha256": sha})
    for arg in sys.argv[1:]:
        name, path = arg.split("=", 1)
        raw = open(path, "rb").read()
        for length in (128, ALL):
            total, sha = digest(opened(raw.decode(), length, "right"), lines)
            print(name, length, total, flush=True)
            out.append({"name": name, "file_sha256": hashlib.sha256(raw).hexdigest(), "max": length,
                        "ids": total, "sha256": sha})
    made = {"made_by": "scripts/golden/tokenizer_ids.py", "tokenizers": tokenizers.__version__,
            "lines": len(lines), "cases": out}
    json.dump(made, open("tests/golden/tokenizer_cases.json", "w"), indent=1, ensure_ascii=True)
    open("tests/golden/tokenizer_cases.json", "a").write("\n")


if __name__ == "__main__":
    main()
