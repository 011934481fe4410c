#!/usr/bin/env python3
"""Writes trainer/data/unicode_tables.h: the character classes as the `tokenizers` library sees them.

The library's tables come from several Unicode versions at once (its classes are older than its
lower case), so they are asked of it, code point by code point.

  pip install tokenizers==0.23.3; scripts/golden/tokenizer_tables.py > trainer/data/unicode_tables.h
"""
import sys
import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers
from tokenizer_charsmap import charsmap


def bert(**on):
    options = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    options.update(on)
    return normalizers.BertNormalizer(**options)


clean, cjk = bert(clean_text=True), bert(handle_chinese_chars=True)
strip, lower = bert(strip_accents=True), bert(lowercase=True)
split = pre_tokenizers.BertPreTokenizer()
# A token that only stands as a word of its own tells what \\w is beside it.
beside = tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0}, unk_token="?"))
beside.add_tokens([tokenizers.AddedToken("a", single_word=True, normalized=False)])
nfd = normalizers.NFD()
# Every byte that begins a character becomes "x", and a cluster below 6 bytes is looked up whole: the
# number of "x" tells where the library's clusters end.
clusters = normalizers.Precompiled(charsmap({bytes([b]): b"x" for b in [*range(1, 0x80), *range(0xC2, 0xF5)]}))
# Decomposable since Unicode 13 to 16; the library's decomposition tables are older.
WHOLE = [(0x105C9, 0x105C9), (0x105E4, 0x105E4), (0x11383, 0x11383), (0x11385, 0x11385),
         (0x1138E, 0x1138E), (0x11391, 0x11391), (0x113C5, 0x113C5), (0x113C7, 0x113C8),
         (0x11938, 0x11938), (0x16121, 0x16128), (0x16D68, 0x16D6A)]


def classes():
    found = {name: [] for name in ("drop", "space", "cjk", "punct", "mark", "word")}
    for c in range(0x110000):
        if 0xD800 <= c < 0xE000:
            continue
        ch = chr(c)
        pieces = split.pre_tokenize_str("a" + ch + "b")
        found["drop"] += [c] if clean.normalize_str("a" + ch) == "a" else []
        found["space"] += [c] if len(pieces) == 2 else []
        found["punct"] += [c] if len(pieces) == 3 else []
        found["cjk"] += [c] if cjk.normalize_str(ch) != ch else []
        found["mark"] += [c] if strip.normalize_str("a" + ch) == "a" else []
        found["word"] += [c] if 1 not in beside.encode(ch + "a").ids else []
    return found


def count(text):
    return len(clusters.normalize_str(text))


def removed(pattern):
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    return lambda ch: not split.pre_tokenize_str(ch)


def ordered(ch):
    """Whether a mark is put in order among others: it goes before U+0301 or behind U+0334."""
    behind, before = "a" + ch + "\u0334", "a\u0301" + ch
    return len(nfd.normalize_str(ch)) == 1 and (nfd.normalize_str(behind) != behind or
                                                nfd.normalize_str(before) != before)


def more():
    """Letters and numbers of regular expressions, and what rules the ends of clusters."""
    letter, number = removed("\\p{L}"), removed("\\p{N}")
    ka, virama, acute, zwj, pict = "\u0915", "\u094d", "\u0301", "\u200d", "\u00a9"
    found = {name: [] for name in ("letter", "number", "joins", "prepend", "control", "pict", "consonant",
                                   "linker", "filler", "ordered")}
    for c in range(0x110000):
        if 0xD800 <= c < 0xE000:
            continue
        ch = chr(c)
        joins, prepend = count("a" + ch) == 1, count(ch + "a") == 1
        conjunct = c < 0x10000 and not joins and count(ka + virama + ch + acute) == 4
        found["letter"] += [c] if letter(ch) else []
        found["number"] += [c] if number(ch) else []
        found["joins"] += [c] if joins else []
        found["prepend"] += [c] if prepend else []
        found["control"] += [c] if count(ch + acute + acute) == 2 else []
        found["pict"] += [c] if count(ch + zwj + pict + acute) == 4 else []
        found["consonant"] += [c] if conjunct else []
        found["linker"] += [c] if joins and count(ka + ch + ka + acute) == 4 else []
        found["ordered"] += [c] if ordered(ch) else []
        found["filler"] += [c] if joins and count(ka + ch + virama + ka + acute) == 5 else []
    return found


def ranges(points):
    out = []
    for c in points:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def lower_extra():
    """Upper case letters newer than Unicode 15, which a C library may not know yet."""
    out = []
    new = [0x1C89, 0xA7CB, 0xA7CC, 0xA7CE, 0xA7D2, 0xA7D4, 0xA7DA, 0xA7DC]
    new += list(range(0x10D50, 0x10D66)) + list(range(0x16EA0, 0x16EB9))
    for c in new:
        delta = ord(lower.normalize_str(chr(c))) - c
        if out and out[-1][1] == c - 1 and out[-1][2] == delta:
            out[-1][1] = c
        else:
            out.append([c, c, delta])
    return out


def table(name, rows, kind="struct range"):
    body = ["{" + ", ".join(hex(v) if v >= 0 else str(v) for v in row) + "}" for row in rows]
    print("static const %s %s[] = {" % (kind, name))
    for i in range(0, len(body), 4):
        print("    " + ", ".join(body[i:i + 4]) + ",")
    print("};\n")


print("/* Made by scripts/golden/tokenizer_tables.py with tokenizers %s: do not edit. */" % tokenizers.__version__)
print("/* clang-format off */")
found = {**classes(), **more()}
for name in found:
    table(name + "_ranges", ranges(found[name]))
table("whole_ranges", WHOLE)
table("lower_ranges", lower_extra(), "struct shift")
print("/* clang-format on */")
