#!/usr/bin/env python3
"""Makes tests/golden/engine: tiny encoders with seeded random weights, exported by PyTorch's old
and new exporter, and what PyTorch computes with them.

  python3 scripts/golden/engine.py tests/golden/engine

Needs torch, transformers, onnx, onnxscript, onnxruntime. Every parameter is random (norms and
biases too), so that an initializer is found by its values.

A golden file: "TLGOLD1\\0", then records until the end: u32 name length, name, u32 rank,
u32 dims..., float32 data. Little-endian. Records: "offsets", "ids" (as floats), "types",
"embeddings", "target", "losses", "norms", "final_loss", and "grad:<initializer>" for each
parameter, laid out as the initializer is. Backbones that are not committed: backbones.py.
"""
import inspect
import os
import struct
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
import transformers as tf
from onnx import numpy_helper

warnings.filterwarnings("ignore")
HIDDEN, LAYERS, HEADS, INNER, VOCAB, POSITIONS = 18, 2, 3, 38, 61, 20
LENGTHS = [1, 9, 4, 14, 2, 7, 3]


def common(**more):
    base = dict(vocab_size=VOCAB, hidden_size=HIDDEN, num_hidden_layers=LAYERS,
                num_attention_heads=HEADS, intermediate_size=INNER,
                max_position_embeddings=POSITIONS, hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0)
    base.update(more)
    return base


def make(kind):
    if kind == "bert":
        return tf.BertModel(tf.BertConfig(**common()), add_pooling_layer=True)
    if kind == "roberta":
        return tf.RobertaModel(tf.RobertaConfig(**common(type_vocab_size=1, pad_token_id=1)),
                               add_pooling_layer=False)
    if kind == "distilbert":
        return tf.DistilBertModel(tf.DistilBertConfig(
            vocab_size=VOCAB, dim=HIDDEN, n_layers=LAYERS, n_heads=HEADS, hidden_dim=INNER,
            max_position_embeddings=POSITIONS, dropout=0.0, attention_dropout=0.0))
    if kind == "albert":
        return tf.AlbertModel(tf.AlbertConfig(**common(embedding_size=10, hidden_act="gelu_new")),
                              add_pooling_layer=False)
    raise ValueError(kind)


class Tokens(torch.nn.Module):
    """input_ids, attention_mask [, token_type_ids] -> last_hidden_state [, pooler_output]"""

    def __init__(self, model, types):
        super().__init__()
        self.model = model
        self.types = types

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        more = {"token_type_ids": token_type_ids} if self.types else {}
        out = self.model(input_ids=input_ids, attention_mask=attention_mask, **more)
        pooled = getattr(out, "pooler_output", None)
        return (out.last_hidden_state,) if pooled is None else (out.last_hidden_state, pooled)


def randomise(model, seed):
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            r = torch.randn(p.shape, generator=g)
            norm = "LayerNorm.weight" in name or "layer_norm.weight" in name
            p.copy_(1 + 0.1 * r if norm else 0.15 * r)


def batch(seed):
    rng = np.random.default_rng(seed)
    ids = np.full((len(LENGTHS), max(LENGTHS)), 1, np.int64)
    mask = np.zeros_like(ids)
    types = np.zeros_like(ids)
    for i, n in enumerate(LENGTHS):
        ids[i, :n] = rng.integers(3, VOCAB, n)
        types[i, n // 2:n] = 1
        mask[i, :n] = 1
    return torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(types)


def embed(model, args):
    tokens = model(*args)[0]
    m = args[1][..., None].float()
    return torch.nn.functional.normalize((tokens * m).sum(1) / m.sum(1), dim=1)


def loss_of(model, args, target):
    e = embed(model, args)
    return ((e - target) ** 2).sum() / len(LENGTHS), e


def export(model, args, path, new):
    names = ["input_ids", "attention_mask", "token_type_ids"][:len(args)]
    outs = ["last_hidden_state", "pooler_output"][:len(model(*args))]
    axes = {n: {0: "batch", 1: "sequence"} for n in names + outs[:1]}
    if new:
        dims = {n: {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", max=POSITIONS - 2)}
                for n in names}
        program = torch.onnx.export(model, args, dynamo=True, input_names=names,
                                    output_names=outs, dynamic_shapes=dims, opset_version=18,
                                    verbose=False)
        m = program.model_proto
        for n in m.graph.node:  # traces of the exporting machine's folders
            del n.metadata_props[:]
            n.doc_string = ""
        del m.graph.value_info[:]
        del m.metadata_props[:]
        onnx.save(m, path)
    else:
        torch.onnx.export(model, args, path, dynamo=False, input_names=names, output_names=outs,
                          dynamic_axes=axes, opset_version=14, do_constant_folding=True)


def by_initializer(path, model):
    """initializer name -> (parameter, transposed)"""
    graph = onnx.load(path).graph
    tensors = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    found = {}
    for name, p in model.named_parameters():
        a = p.detach().numpy()
        for key, t in tensors.items():
            if t.dtype == np.float32 and t.shape == a.shape and np.array_equal(t, a):
                found[key] = (p, False)
            elif t.dtype == np.float32 and t.ndim == 2 and t.shape == a.T.shape and \
                    np.array_equal(t, a.T):
                found[key] = (p, True)
    return found


def write(path, records):
    with open(path, "wb") as f:
        f.write(b"TLGOLD1\0")
        for name, a in records:
            a = np.ascontiguousarray(a, np.float32)
            f.write(struct.pack("<I", len(name)) + name.encode())
            f.write(struct.pack("<I%dI" % a.ndim, a.ndim, *a.shape))
            f.write(a.tobytes())


def train(model, args, target):
    decay = [p for p in model.parameters() if p.ndim > 1]
    other = [p for p in model.parameters() if p.ndim <= 1]
    opt = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05},
                             {"params": other, "weight_decay": 0.0}], lr=3e-3)
    losses, norms = [], []
    for _ in range(10):
        opt.zero_grad(set_to_none=False)
        loss, _ = loss_of(model, args, target)
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)))
        opt.step()
        losses.append(loss.item())
    return losses, norms, loss_of(model, args, target)[0].item()


def one(kind, new, folder):
    torch.manual_seed(7)
    inner = make(kind).eval()
    types = "token_type_ids" in inspect.signature(inner.forward).parameters and kind != "roberta"
    model = Tokens(inner, types).eval()
    randomise(model, 1000 + len(kind))
    args = batch(11)[:3 if types else 2]
    name = "%s-%s" % (kind, "new" if new else "old")
    path = os.path.join(folder, name + ".onnx")
    export(model, args, path, new)
    target = torch.nn.functional.normalize(
        torch.randn(len(LENGTHS), HIDDEN, generator=torch.Generator().manual_seed(5)), dim=1)
    loss, e = loss_of(model, args, target)
    loss.backward()
    session = onnxruntime.InferenceSession(path)
    feed = dict(zip(["input_ids", "attention_mask", "token_type_ids"], [a.numpy() for a in args]))
    hidden = session.run(None, {i.name: feed[i.name] for i in session.get_inputs()})[0]
    with torch.no_grad():
        far = np.abs((hidden - model(*args)[0].numpy()) * feed["attention_mask"][..., None]).max()
    flat = [np.concatenate([a[i, :n] for i, n in enumerate(LENGTHS)]) for a in
            (feed["input_ids"], batch(11)[2].numpy())]
    records = [("offsets", np.cumsum([0] + LENGTHS)), ("ids", flat[0]),
               ("types", flat[1] if types else flat[1] * 0), ("embeddings", e.detach().numpy()),
               ("target", target.numpy())]
    found = by_initializer(path, model)
    for key, (p, transposed) in sorted(found.items()):
        if p.grad is not None:
            g = p.grad.numpy().copy()  # training below writes into it
            records.append(("grad:" + key, g.T if transposed else g))
    wanted = {n for n, p in model.named_parameters() if p.grad is not None}
    missing = wanted - {n for n, p in model.named_parameters() if any(p is q for q, _ in found.values())}
    losses, norms, final = train(model, args, target)
    records += [("losses", np.array(losses)), ("norms", np.array(norms)), ("final_loss", np.array([final]))]
    write(os.path.join(folder, name + ".gold"), records)
    print("%-15s onnxruntime differs by %.1e, %d gradients, not in the file: %s, %d bytes" %
          (name, far, sum(r[0].startswith("grad:") for r in records), sorted(missing) or "none",
           os.path.getsize(path)))


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    for kind in ("bert", "roberta", "distilbert", "albert"):
        for new in (False, True):
            one(kind, new, folder)


if __name__ == "__main__":
    main()
