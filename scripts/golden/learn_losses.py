#!/usr/bin/env python3
"""Makes tests/golden/learn/losses.txt and schedules.txt.

Usage: python scripts/golden/learn_losses.py tests/golden/learn
       (torch 2.x, pytorch-metric-learning 2.8, sentence-transformers 5 or 6, transformers 4 or 5)

losses.txt: the first line has the versions. A case is `case KIND key=value ...`, then `batch B D`,
`labels ...`, perhaps `texts ...` (equal numbers: equal texts), or instead of labels `scores ...` of
the B / 2 pairs of rows; `x ...` (float32), `loss V` and `grad ...` (float64 inside).
schedules.txt: `KIND warmup total` and a factor per step.
"""
import importlib.metadata
import pathlib
import sys

import torch
import transformers
from pytorch_metric_learning import losses, miners
from pytorch_metric_learning.distances import LpDistance
from sentence_transformers.sentence_transformer.losses import (BatchHardTripletLoss,
                                                                BatchSemiHardTripletLoss, CoSENTLoss)
from sentence_transformers.sentence_transformer.losses.batch_hard_triplet import BatchHardTripletLossDistanceFunction


def batch(n, dim, classes, spread, seed):
    """Clusters of unequal lengths: some triplets violate, some do not."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (n,), generator=g)
    centres = torch.randn(classes, dim, generator=g)
    x = centres[labels] + spread * torch.randn(n, dim, generator=g)
    x *= 0.5 + torch.rand(n, 1, generator=g)
    return x.float(), labels


def put(out, name, values):
    print(name, *(f"{v:.9g}" for v in values), file=out)


def case(out, title, fn, n=20, dim=7, classes=4, spread=0.7, seed=1, texts=None, scores=None):
    x, labels = batch(n, dim, classes, spread, seed)
    if texts is not None:  # equal texts have one embedding
        x = x[texts]
    y = x.double().requires_grad_()
    loss = fn(y, labels if scores is None else scores)
    loss.backward()
    grad = y.grad if y.grad is not None else torch.zeros_like(y)
    print("case", title, file=out)
    print("batch", n, dim, file=out)
    if scores is None:
        print("labels", *labels.tolist(), file=out)
    else:
        put(out, "scores", scores.tolist())
    if texts is not None:
        print("texts", *texts.tolist(), file=out)
    put(out, "x", x.flatten().tolist())
    put(out, "loss", [loss.item()])
    put(out, "grad", grad.flatten().tolist())


def mined(loss, miner):
    return lambda x, labels: loss(x, labels, miner(x, labels))


def triplets(out):
    for kind in ("all", "hard", "semihard", "easy"):
        for margin, mine in ((0.1, 0.1), (0.05, 0.2), (0.2, 0.05)):
            fn = mined(losses.TripletMarginLoss(margin=margin),
                       miners.TripletMarginMiner(margin=mine, type_of_triplets=kind))
            case(out, f"triplet miner={kind} margin={margin} miner_margin={mine}", fn)
    plain = [dict(), dict(swap=True), dict(smooth_loss=True), dict(swap=True, smooth_loss=True)]
    for options in plain:
        text = "".join(f" {k.split('_')[0]}=1" for k in options)
        case(out, "triplet miner=none margin=0.3" + text,
             losses.TripletMarginLoss(margin=0.3, **options), seed=2)
    smooth = losses.TripletMarginLoss(margin=0.1, smooth_loss=True)
    case(out, "triplet miner=semihard margin=0.1 smooth=1",
         mined(smooth, miners.TripletMarginMiner(margin=0.1, type_of_triplets="semihard")), seed=3)
    case(out, "triplet miner=batch-hard margin=0.2",
         mined(losses.TripletMarginLoss(margin=0.2), miners.BatchHardMiner()), seed=4)
    easy = miners.BatchEasyHardMiner(pos_strategy="easy", neg_strategy="hard", distance=LpDistance())
    case(out, "triplet miner=easy-positive margin=0.2",
         mined(losses.TripletMarginLoss(margin=0.2), easy), seed=5)
    case(out, "triplet miner=all margin=0.1", mined(losses.TripletMarginLoss(margin=0.1),
         miners.TripletMarginMiner(margin=0.1)), n=70, dim=33, classes=12, seed=6)


def picked(out):
    """Every pair of strategies that BatchEasyHardMiner allows."""
    for pos in ("easy", "semihard", "hard", "all"):
        for neg in ("easy", "semihard", "hard", "all"):
            if "semihard" in (pos, neg) and (pos == neg or "all" in (pos, neg)):
                continue
            miner = miners.BatchEasyHardMiner(pos_strategy=pos, neg_strategy=neg, distance=LpDistance())
            case(out, f"triplet miner=batch-easy-hard pos={pos} neg={neg} margin=0.3",
                 mined(losses.TripletMarginLoss(margin=0.3), miner), n=16, dim=5, seed=15)
    for kind in ("hard", "semihard"):
        loss = losses.TripletMarginLoss(margin=0.2, swap=True, smooth_loss=kind == "hard")
        smooth = " smooth=1" if kind == "hard" else ""
        case(out, f"triplet miner={kind} margin=0.2 swap=1{smooth}",
             mined(loss, miners.TripletMarginMiner(margin=0.2, type_of_triplets=kind)), n=16, dim=5, seed=16)


def no_duplicates(texts):
    """NTXentLoss without the negatives that have the anchor's text."""
    def fn(x, labels):
        same = labels[:, None] == labels[None, :]
        a1, p = torch.where(same & ~torch.eye(len(labels), dtype=torch.bool))
        a2, n = torch.where(~same & (texts[:, None] != texts[None, :]))
        return losses.NTXentLoss(temperature=0.1)(x, labels, (a1, p, a2, n))
    return fn


def scored(out):
    g = torch.Generator().manual_seed(20)
    for n, t in ((2, 0.05), (16, 0.05), (30, 0.2)):
        scores = (torch.randint(0, 11, (n // 2,), generator=g) / 2).double()  # many are equal
        fn = CoSENTLoss(None, scale=1 / t)
        case(out, f"cosent temperature={t}",
             lambda x, s, fn=fn: fn.compute_loss_from_embeddings([x[0::2], x[1::2]], s),
             n=n, dim=5, seed=n, scores=scores)


def pairs(out):
    case(out, "contrastive", losses.ContrastiveLoss(), seed=7)
    case(out, "contrastive margin=0.5", losses.ContrastiveLoss(neg_margin=0.5), seed=7)
    case(out, "multi-similarity miner=none", losses.MultiSimilarityLoss(), seed=8)
    case(out, "multi-similarity miner=none alpha=3 beta=20 base=0.7",
         losses.MultiSimilarityLoss(alpha=3, beta=20, base=0.7), n=31, dim=12, classes=9, seed=9)
    case(out, "multi-similarity miner=multi-similarity epsilon=0.1",
         mined(losses.MultiSimilarityLoss(), miners.MultiSimilarityMiner(epsilon=0.1)), seed=8)
    case(out, "supcon", losses.SupConLoss(), seed=10)
    case(out, "supcon temperature=0.5", losses.SupConLoss(temperature=0.5), n=33, classes=15, seed=11)
    case(out, "multiple-negatives temperature=0.05", losses.NTXentLoss(temperature=0.05), seed=12)
    case(out, "multiple-negatives temperature=0.2", losses.NTXentLoss(temperature=0.2), n=29,
         classes=14, seed=13)
    texts = torch.tensor([0, 1, 2, 3, 4, 5, 0, 1, 8, 9, 0, 11, 12, 2, 14, 15])
    case(out, "multiple-negatives temperature=0.1", no_duplicates(texts), n=16, dim=5, seed=17, texts=texts)


def batches(out):
    for kind, loss in (("batch-hard", BatchHardTripletLoss), ("batch-semi-hard", BatchSemiHardTripletLoss)):
        for margin in (5, 1):
            fn = loss(None, BatchHardTripletLossDistanceFunction.euclidean_distance, margin)
            case(out, f"{kind} margin={margin}",
                 lambda x, labels, fn=fn: fn.compute_loss_from_embeddings([x], labels), seed=14)


def schedules(out):
    make = {"constant": lambda o, w, t: transformers.get_constant_schedule_with_warmup(o, w),
            "linear": transformers.get_linear_schedule_with_warmup,
            "cosine": transformers.get_cosine_schedule_with_warmup}
    for kind, fn in make.items():
        for warmup, total in ((0, 10), (3, 11), (1, 7), (5, 5)):
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
            schedule = fn(optimizer, warmup, total)
            factors = []
            for _ in range(total + 1):
                factors.append(schedule.get_last_lr()[0])
                optimizer.step()
                schedule.step()
            put(out, f"{kind} {warmup} {total}", factors)


def main():
    folder = pathlib.Path(sys.argv[1])
    names = ("torch", "pytorch-metric-learning", "sentence-transformers")
    with open(folder / "losses.txt", "w") as out:
        print("made with", ", ".join(f"{n} {importlib.metadata.version(n)}" for n in names), file=out)
        triplets(out)
        pairs(out)
        batches(out)
        picked(out)
        scored(out)
    with open(folder / "schedules.txt", "w") as out:
        schedules(out)


if __name__ == "__main__":
    main()
