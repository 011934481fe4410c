#!/usr/bin/env python3
"""Makes tests/ops/golden/torch.txt: what PyTorch says of every operator, values and gradients.

Usage: python scripts/golden/ops.py > tests/ops/golden/torch.txt   (torch 2.x, CPU, float64 inside)

The file: `case NAME`, then `docs N lengths...`, `ids N ...` where there are, and matrices
`in K rows cols values...`, `d_out`, `out`, `d_in K`. The test knows the attributes by the case's name.
"""
import torch
import torch.nn.functional as F

LENGTHS = [5, 1, 0, 7]
T, N = sum(LENGTHS), len(LENGTHS)


def numbers(*shape):
    return torch.randn(*shape, dtype=torch.float64).float().double()


def put(name, x):
    x = x.detach()
    print(name, x.shape[0], x.shape[1], *(f"{v:.9g}" for v in x.flatten().tolist()))


def case(name, inputs, fn, ids=None):
    inputs = [x.clone().requires_grad_() for x in inputs]
    out = fn(*inputs)
    d_out = numbers(*out.shape)
    (out * d_out).sum().backward()
    print("case", name)
    print("docs", N, *LENGTHS)
    if ids is not None:
        print("ids", len(ids), *ids.tolist())
    for k, x in enumerate(inputs):
        put(f"in {k}", x)
    put("out", out)
    put("d_out", d_out)
    for k, x in enumerate(inputs):
        put(f"d_in {k}", x.grad)


def per_document(fn, empty):
    def whole(*xs):
        parts, at = [], 0
        for n in LENGTHS:
            parts.append(fn(*(x[at:at + n] for x in xs)) if n else empty(xs[0]))
            at += n
        return torch.cat(parts)
    return whole


def attention(heads, causal):
    def one(q, k, v):
        n, c = q.shape
        q, k, v = (x.view(n, heads, c // heads).transpose(0, 1) for x in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return y.transpose(0, 1).reshape(n, c)
    return per_document(one, lambda x: x[:0])


def pool(fn):
    return per_document(lambda x: fn(x).unsqueeze(0), lambda x: x.new_zeros(1, x.shape[1]))


def main():
    torch.manual_seed(20)
    ids = torch.randint(0, 6, (T,))
    case("embed", [numbers(6, 4)], lambda w: F.embedding(ids, w), ids)
    x, w, b = numbers(T, 6), numbers(6, 5), numbers(1, 5)
    case("linear", [x, w, b], lambda x, w, b: x @ w + b)
    case("linear rows out", [x, numbers(5, 6), b], lambda x, w, b: F.linear(x, w, b[0]))
    case("linear gelu", [x, w, b], lambda x, w, b: F.gelu(x @ w + b))
    case("layer norm", [x, numbers(1, 6), numbers(1, 6)],
         lambda x, g, b: F.layer_norm(x, (6,), g[0], b[0], 1e-5))
    case("layer norm residual", [x, numbers(1, 6), numbers(1, 6), numbers(T, 6)],
         lambda x, g, b, r: F.layer_norm(x + r, (6,), g[0], b[0], 1e-5))
    case("attention", [numbers(T, 6) for _ in range(3)], attention(2, False))
    case("attention causal", [numbers(T, 6) for _ in range(3)], attention(2, True))
    acts = {"relu": F.relu, "gelu erf": F.gelu, "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
            "gelu quick": lambda x: x * torch.sigmoid(1.702 * x), "tanh": torch.tanh,
            "sigmoid": torch.sigmoid, "silu": F.silu, "erf": torch.erf, "exp": torch.exp}
    for name, fn in acts.items():
        case("act " + name, [numbers(T, 3)], fn)
    case("act sqrt", [numbers(T, 3).abs() + 0.1], torch.sqrt)
    a, b = numbers(T, 4), numbers(1, 4)
    case("add", [a, b], torch.add)
    case("sub", [a, b], torch.sub)
    case("mul", [a, b], torch.mul)
    case("div", [a, b.abs() + 0.5], torch.div)
    case("affine", [a], lambda x: 2.5 * x - 1)
    x = numbers(T, 5)
    case("pool mean", [x], pool(lambda x: x.mean(0)))
    case("pool max", [x], pool(lambda x: x.max(0)[0]))
    case("pool cls", [x], pool(lambda x: x[0]))
    case("pool last", [x], pool(lambda x: x[-1]))
    case("pool gem", [x], pool(lambda x: x.clamp(min=1e-6).pow(3).mean(0).pow(1 / 3)))
    case("l2 norm", [numbers(N, 5)], lambda x: F.normalize(x, dim=1))
    case("slice", [a], lambda x: x[:, 1:3])
    case("concat", [a, numbers(T, 2)], lambda a, b: torch.cat([a, b], 1))


if __name__ == "__main__":
    main()
