#!/usr/bin/env python3
"""Small BPE and Unigram tokenizers, and hashes of the ids that the `tokenizers` library gives.

Writes tests/golden/tokenizer_{roberta,clip,chars,unigram}.json, trained here on the lines of
tests/unit/data/lines.c, and tests/golden/tokenizer_subwords.json: changes to them, and hashes over
the lines (every 17th for a change).

  pip install tokenizers==0.23.3; scripts/golden/tokenizer_subwords.py
"""
import json
import tokenizers
import unicodedata
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from tokenizer_charsmap import charsmap
from tokenizer_ids import ALL, SWEEP, all_lines, digest, opened, side_of, token

GOLDEN = "tests/golden/tokenizer_%s.json"
CLIP = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def corpus(lines):
    keep = lambda c: 0 < ord(c) < 0x250 or 0x4E00 <= ord(c) < 0x4E40 or 0x1F600 <= ord(c) < 0x1F640
    return ["".join(c for c in line if keep(c)) for line in lines[:SWEEP] if len(line) < 2000]


def fresh(model, trainer, text, normalizer, pre):
    t = Tokenizer(model)
    t.normalizer, t.pre_tokenizer = normalizer, pre
    t.train_from_iterator(text, trainer)
    return json.loads(t.to_str())


def special(vocab, name, **on):
    return token(vocab[name], name, special=True, **on)


def roberta(text):
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(vocab_size=1400, special_tokens=names,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    made = fresh(models.BPE(), trainer, text, None, pre_tokenizers.ByteLevel(add_prefix_space=False))
    vocab = made["model"]["vocab"]
    made["added_tokens"] = [special(vocab, n, lstrip=n == "<mask>", normalized=n != "<mask>") for n in names]
    made["post_processor"] = {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0],
                              "trim_offsets": True, "add_prefix_space": False}
    return made


def clip(text):
    names = ["<|startoftext|>", "<|endoftext|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "),
                                       normalizers.Lowercase()])
    pre = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(CLIP), "removed", invert=True),
                                   pre_tokenizers.ByteLevel(add_prefix_space=False)])
    trainer = trainers.BpeTrainer(vocab_size=1400, special_tokens=names + [a + "</w>" for a in alphabet],
                                  initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False)
    made = fresh(models.BPE(end_of_word_suffix="</w>", unk_token=names[1]), trainer, text, normalizer, pre)
    vocab = made["model"]["vocab"]
    made["model"]["merges"] = [" ".join(m) for m in made["model"]["merges"]]
    made["model"]["continuing_subword_prefix"] = ""
    made["added_tokens"] = [special(vocab, names[0], normalized=True), special(vocab, names[1])]
    made["post_processor"] = {"type": "RobertaProcessing", "sep": [names[1], 1], "cls": [names[0], 0],
                              "trim_offsets": False, "add_prefix_space": False}
    return made


def chars(text):
    """Characters, not bytes: unknown ones, a prefix and a suffix."""
    names = ["[UNK]"] + ["<0x%02X>" % b for b in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=1500, special_tokens=names, limit_alphabet=120, show_progress=False,
                                  continuing_subword_prefix="##", end_of_word_suffix="@")
    model = models.BPE(unk_token="[UNK]", continuing_subword_prefix="##", end_of_word_suffix="@")
    made = fresh(model, trainer, text, None, pre_tokenizers.BertPreTokenizer())
    made["added_tokens"] = []
    return made


def rules():
    """NFKC of what is not ASCII (a part of it), blanks, controls that go, and an accent's own rule."""
    out = {}
    for first, last in ((0xA0, 0x17F), (0x1E00, 0x1E60), (0x2000, 0x2060), (0x2100, 0x2130), (0x3000, 0x3040),
                        (0x30A0, 0x30C0), (0xFB00, 0xFB20), (0xFF00, 0xFF60)):
        for c in range(first, last):
            ch, composed = chr(c), unicodedata.normalize("NFKC", chr(c))
            if composed != ch:
                out[ch.encode()] = composed.encode()
            parts = unicodedata.normalize("NFD", ch)
            if len(parts) > 1:
                out[parts.encode()] = composed.encode()
    for c in (*range(1, 9), 0xB, *range(0xE, 0x20), 0x7F, 0xAD, 0x200B, 0xFEFF):
        out[chr(c).encode()] = b""
    for c in (9, 10, 12, 13, 0x85, 0x2028, 0x2029):
        out[chr(c).encode()] = b" "
    out[b"\r\n"] = b"!"
    out["\u0301".encode()] = b"'"
    return out


def unigram(text):
    names = ["<s>", "<pad>", "</s>", "<unk>"] + ["<0x%02X>" % b for b in range(256)]
    normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap(rules())),
                                       normalizers.Replace(Regex(" {2,}"), " ")])
    pre = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    trainer = trainers.UnigramTrainer(vocab_size=1500, special_tokens=names, unk_token="<unk>", show_progress=False)
    made = fresh(models.Unigram(), trainer, text, normalizer, pre)
    rows = [[p, round(s, 6)] for p, s in made["model"]["vocab"]] + [["<mask>", 0.0]]
    made["model"]["vocab"] = rows
    vocab = {p: i for i, (p, _) in enumerate(rows)}
    made["added_tokens"] = [special(vocab, n) for n in names[:4]] + [special(vocab, "<mask>", lstrip=True)]
    one = lambda t: {"SpecialToken": {"id": t, "type_id": 0}}
    a, b = {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}
    made["post_processor"] = {"type": "TemplateProcessing", "single": [one("<s>"), a, one("</s>")],
                              "pair": [one("<s>"), a, one("</s>"), one("</s>"), b, one("</s>")],
                              "special_tokens": {t: {"id": t, "ids": [vocab[t]], "tokens": [t]}
                                                 for t in ("<s>", "</s>")}}
    return made


def cases():
    cut = {"direction": "Left", "max_length": 16, "strategy": "LongestFirst", "stride": 0}
    byte_level = lambda **on: {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                               "use_regex": True, **on}
    split = lambda kind, text, behavior, invert=False: {"type": "Split", "pattern": {kind: text},
                                                        "behavior": behavior, "invert": invert}
    meta = lambda scheme, on=True: {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme,
                                    "split": on}
    line = lambda *steps: {"type": "Sequence", "pretokenizers": list(steps)}
    both = lambda *steps: {"type": "Sequence", "normalizers": list(steps)}
    replace = lambda kind, text, to: {"type": "Replace", "pattern": {kind: text}, "content": to}
    strip = lambda left, right: {"type": "Strip", "strip_left": left, "strip_right": right}
    bert = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
            "lowercase": True}
    out = [("roberta", ALL, {}), ("roberta", 16, {}), ("roberta", 16, {"truncation": cut}),
           ("roberta", ALL, {"pre_tokenizer": byte_level(add_prefix_space=True)}),
           ("roberta", ALL, {"pre_tokenizer": byte_level(use_regex=False)}),
           ("roberta", ALL, {"model.ignore_merges": True}),
           ("roberta", 64, {"normalizer": {"type": "NFC"}}),
           ("roberta", ALL, {"post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel",
            "add_prefix_space": True, "trim_offsets": False, "use_regex": True}]}}),
           ("roberta", ALL, {"pre_tokenizer": line(split("Regex", r"\p{N}{1,3}", "Isolated"), byte_level())}),
           ("clip", ALL, {}), ("clip", 77, {}), ("clip", ALL, {"normalizer": both(bert, {"type": "NFC"})}),
           ("clip", ALL, {"normalizer": {"type": "Lowercase"}, "pre_tokenizer": byte_level()}),
           ("chars", ALL, {}), ("chars", ALL, {"model.fuse_unk": True}),
           ("chars", ALL, {"model.byte_fallback": True}), ("chars", ALL, {"model.unk_token": None}),
           ("chars", ALL, {"pre_tokenizer": None, "normalizer": {"type": "NFC"}}),
           ("unigram", ALL, {}), ("unigram", 24, {}), ("unigram", 24, {"truncation": cut}),
           ("unigram", ALL, {"model.byte_fallback": True}), ("unigram", ALL, {"normalizer": None}),
           ("unigram", ALL, {"pre_tokenizer": meta("first")}),
           ("unigram", ALL, {"pre_tokenizer": meta("never")}),
           ("unigram", ALL, {"pre_tokenizer": meta("always", False)}),
           ("unigram", ALL, {"normalizer": both(strip(True, False), replace("String", "a", "")),
                                "pre_tokenizer": meta("first")}),
           ("unigram", ALL, {"normalizer": both(strip(False, True), replace("String", " ", "\u2581"),
                                                   {"type": "Prepend", "prepend": "\u2581"}),
                                "pre_tokenizer": None})]
    for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            out.append(("unigram", ALL, {"normalizer": None,
                        "pre_tokenizer": split("Regex", r"[a-m\s]|\p{N}+", behavior, invert)}))
    return out


def patched(base, patch):
    made = json.loads(json.dumps(base))
    for path, value in patch.items():
        at, names = made, path.split(".")
        for name in names[:-1]:
            at = at[name]
        at[names[-1]] = value
    return made


def main():
    lines, bases, out = all_lines(), {}, []
    text = corpus(lines)
    for make in (roberta, clip, chars, unigram):
        bases[make.__name__] = made = make(text)
        with open(GOLDEN % make.__name__, "w") as f:
            f.write(json.dumps(made, ensure_ascii=True, separators=(",", ":")) + "\n")
    for name, length, patch in cases():
        t = opened(json.dumps(patched(bases[name], patch)), length, side_of(patch))
        step = 17 if patch else 1
        total, sha = digest(t, lines[::step])
        out.append({"name": name, "max": length, "patch": patch, "step": step, "ids": total, "sha256": sha})
        print(name, length, patch, total, flush=True)
    made = {"made_by": "scripts/golden/tokenizer_subwords.py", "tokenizers": tokenizers.__version__,
            "lines": len(lines), "cases": out}
    with open(GOLDEN % "subwords", "w") as f:
        f.write(json.dumps(made, indent=1, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
