#!/usr/bin/env python3
"""Metrics of embeddings that a formula makes: retrieval by numpy and torchmetrics, similarity by scipy.

Writes tests/golden/retrieval.json; tests/unit/data/test_metrics.c makes the same embeddings.

  pip install numpy scipy torch torchmetrics; scripts/golden/retrieval.py
"""
import json
import numpy as np
import scipy
import scipy.stats
import torch
import torchmetrics
from torchmetrics.functional.retrieval import (retrieval_average_precision, retrieval_hit_rate,
                                               retrieval_normalized_dcg, retrieval_precision,
                                               retrieval_r_precision, retrieval_recall,
                                               retrieval_reciprocal_rank)

MASK = (1 << 64) - 1


def mix(z):
    z = (z + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
    return z ^ z >> 31


def make(n, dim, classes, noise):
    """Integers (equal in float and double), large enough that no two similarities are equal."""
    labels = np.array([mix(i * 7 + 1) % classes for i in range(n)])
    centre = lambda c, j: mix(1000003 * int(c) + j) % 500
    x = np.array([[centre(labels[i], j) + mix((i * dim + j) * 31 + 5) % noise - 300 for j in range(dim)]
                  for i in range(n)], dtype=np.float64)
    return x, labels


def measure(x, labels, k):
    length = np.sqrt((x * x).sum(1, keepdims=True))
    unit = x / length
    names = "precision_at_1 recall_at_k map_at_k ndcg_at_k mrr_at_k hit_at_k r_precision".split()
    total, queries, excluded = np.zeros(7), 0, 0
    sims = unit @ unit.T
    for q in range(len(x)):
        rest = np.array([i for i in range(len(x)) if i != q])
        relevant = int((labels[rest] == labels[q]).sum())
        if relevant == 0:
            excluded += 1
            continue
        order = rest[np.argsort(-sims[q, rest], kind="stable")]
        scores = torch.arange(len(order), 0, -1).float()
        target = torch.tensor(labels[order] == labels[q])
        # the library divides by the relevant documents among k, we by min(R, k)
        ap = float(retrieval_average_precision(scores, target, top_k=k))
        ap *= int(target[:k].sum()) / min(relevant, k)
        total += [float(retrieval_precision(scores, target, top_k=1)),
                  float(retrieval_recall(scores, target, top_k=k)), ap,
                  float(retrieval_normalized_dcg(scores, target.long(), top_k=k)),
                  float(retrieval_reciprocal_rank(scores, target, top_k=k)),
                  float(retrieval_hit_rate(scores, target, top_k=k)),
                  float(retrieval_r_precision(scores, target))]
        queries += 1
    out = {"queries": queries, "excluded": excluded}
    out.update({name: value / max(queries, 1) for name, value in zip(names, total)})
    return out


def similarity(pairs, dim, noise, levels):
    """Pairs of rows; every third pair is the one before it again, so that cosines are equal too."""
    x, _ = make(2 * pairs, dim, 5, noise)
    for i in range(2, pairs, 3):
        x[2 * i:2 * i + 2] = x[2 * i - 2:2 * i]
    scores = np.array([mix(i * 11 + 3) % levels / 4 - 1 for i in range(pairs)])
    a, b = x[0::2], x[1::2]
    cosines = (a * b).sum(1) / np.sqrt((a * a).sum(1)) / np.sqrt((b * b).sum(1))
    return {"pairs": pairs, "dim": dim, "noise": noise, "levels": levels,
            "spearman": float(scipy.stats.spearmanr(cosines, scores).statistic),
            "pearson": float(scipy.stats.pearsonr(cosines, scores).statistic)}


def main():
    cases = []
    for n, dim, classes, noise, k in ((60, 7, 5, 700, 5), (150, 16, 40, 900, 20),
                                      (101, 33, 90, 600, 3), (200, 8, 3, 900, 20)):
        x, labels = make(n, dim, classes, noise)
        case = {"n": n, "dim": dim, "classes": classes, "noise": noise, "k": k}
        case.update(measure(x, labels, k))
        cases.append(case)
    made = {"made_by": "scripts/golden/retrieval.py", "torchmetrics": torchmetrics.__version__,
            "scipy": scipy.__version__, "cases": cases,
            "similarity": [similarity(*c) for c in ((2, 3, 900, 1000), (50, 7, 700, 5), (333, 16, 900, 21),
                                                    (120, 33, 600, 1000000))]}
    with open("tests/golden/retrieval.json", "w") as f:
        json.dump(made, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
