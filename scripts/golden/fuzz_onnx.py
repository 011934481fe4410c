#!/usr/bin/env python3
"""Seeds for the fuzzer of models: the encoders of engine.py, as small as they can be.

  python3 scripts/golden/fuzz_onnx.py tests/fuzz/onnx/corpus
"""
import sys
import torch
import engine

engine.HIDDEN, engine.LAYERS, engine.HEADS, engine.INNER, engine.VOCAB, engine.POSITIONS = 4, 1, 2, 6, 9, 20
engine.LENGTHS = [1, 5, 3]

for seed, kind in enumerate(("bert", "roberta", "distilbert", "albert")):
    model = engine.make(kind)
    engine.randomise(model, seed)
    model = engine.Tokens(model, kind in ("bert", "albert")).eval()
    args = engine.batch(seed)[:3 if model.types else 2]
    for new in (False, True):
        engine.export(model, args, "%s/%s-%s.onnx" % (sys.argv[1], kind, "new" if new else "old"), new)
