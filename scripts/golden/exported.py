#!/usr/bin/env python3
"""Runs exported models with ONNX Runtime on their batch, padded, beside the engine's vectors:

  mkdir /tmp/exports && TRIPLINE_EXPORTS=/tmp/exports build/bin/test_golden_export
  python3 scripts/golden/exported.py /tmp/exports

Needs onnxruntime. Stops with status 1 when a vector is off by more than 1e-5.
"""
import os
import struct
import sys

import numpy as np
import onnxruntime


def read(path):
    """The records of a golden file (engine.py writes them)."""
    data, at, records = open(path, "rb").read(), 8, {}
    while at < len(data):
        length, = struct.unpack_from("<I", data, at)
        name = data[at + 4:at + 4 + length].decode()
        at += 4 + length
        rank, = struct.unpack_from("<I", data, at)
        dims = struct.unpack_from("<%dI" % rank, data, at + 4)
        at += 4 + 4 * rank
        count = int(np.prod(dims))
        records[name] = np.frombuffer(data, np.float32, count, at).reshape(dims)
        at += 4 * count
    return records


def padded(flat, offsets, fill):
    out = np.full((len(offsets) - 1, int(np.diff(offsets).max())), fill, np.int64)
    for i, (begin, end) in enumerate(zip(offsets, offsets[1:])):
        out[i, :end - begin] = flat[begin:end]
    return out


def main():
    worst = 0
    for file in sorted(os.listdir(sys.argv[1])):
        if not file.endswith(".gold"):
            continue
        path = os.path.join(sys.argv[1], file)
        r = read(path)
        offsets = r["offsets"].astype(np.int64)
        feed = {"input_ids": padded(r["ids"], offsets, 1), "token_type_ids": padded(r["types"], offsets, 0),
                "attention_mask": padded(np.ones(offsets[-1]), offsets, 0)}
        session = onnxruntime.InferenceSession(path.replace(".gold", ".onnx"))
        got = session.run(["sentence_embedding"], {i.name: feed[i.name] for i in session.get_inputs()})[0]
        far = np.abs(got - r["embeddings"]).max()
        print("%-15s %.1e" % (file[:-5], far))
        worst = max(worst, far)
    sys.exit(0 if 0 < worst <= 1e-5 else 1)


if __name__ == "__main__":
    main()
