"""The peer of ./dev bench quality: one fine-tuning in PyTorch with a Tripline run's parameters.

The model packed as in bench_peers.py (the numbers of a padded batch, sooner) and without dropout; loss,
miner and sampler of pytorch-metric-learning, batch-semi-hard of sentence-transformers; AdamW;
transformers' schedule.
"""
import sys
import time

import numpy as np
import torch
from pytorch_metric_learning import losses, miners
from pytorch_metric_learning.samplers import MPerClassSampler
from sentence_transformers.sentence_transformer.losses import BatchSemiHardTripletLoss
from tokenizers import Tokenizer
from transformers import get_scheduler

from bench_peers import Packed, bert_from_onnx


def retrieval(vectors, labels, k):
    """trainer/data/metrics.h's mAP@k and precision@1 of rows of length 1."""
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    precision, first, queries = 0.0, 0, 0
    for q, label in enumerate(labels):
        relevant = int((labels == label).sum()) - 1
        if relevant < 1:
            continue
        hits = labels[np.argsort(-similarity[q], kind="stable")[:min(k, len(labels) - 1)]] == label
        at = np.arange(1, len(hits) + 1)
        precision += float((hits * np.cumsum(hits) / at).sum()) / min(relevant, k)
        first += bool(hits[0])
        queries += 1
    return {"map_at_k": precision / queries, "precision_at_1": first / queries}


# What the peer does one way only; a run's manifest may lack what was added later.
ONLY = {"optimizer": "adamw", "decay_norms": False, "layer_decay": 1, "max_grad_norm": 0, "accumulate": 1,
        "miner": "default", "miner_margin": 0, "swap": False, "smooth": False, "pooling": "mean",
        "output_dim": 0, "normalize": True, "freeze": "none"}


def check(p):
    for name, only in ONLY.items():
        if p.get(name, only) != only:
            sys.exit("bench: the peer has no %s but %s, not %s" % (name, only, p[name]))


def peer_loss(p):
    """The recipe's loss with its miner: embeddings, labels -> a number."""
    kind, margin, temperature = p["loss"], p["margin"], p.get("temperature", 0)
    miner = None
    if kind == "triplet":
        margin = margin or 0.2
        loss, miner = losses.TripletMarginLoss(margin), miners.TripletMarginMiner(margin, "semihard")
    elif kind == "multi-similarity":
        loss = losses.MultiSimilarityLoss(p.get("alpha", 2), p.get("beta", 50), p.get("base", 0.5))
        miner = miners.MultiSimilarityMiner(p.get("epsilon", 0.1))
    elif kind == "supcon":
        loss = losses.SupConLoss(temperature or 0.1)
    elif kind == "multiple-negatives":
        loss = losses.NTXentLoss(temperature or 0.05)
    elif kind == "batch-semi-hard":
        own = BatchSemiHardTripletLoss(None, margin=margin or 5)
        return lambda e, labels: own.batch_semi_hard_triplet_loss(labels, e)
    else:
        sys.exit("bench: the peer has no loss '%s'" % kind)
    return lambda e, labels: loss(e, labels, miner(e, labels) if miner else None)


class Peer:
    """One fine-tuning in PyTorch with the parameters `p`."""

    def __init__(self, backbone, p):
        check(p)
        self.p = p
        self.model = Packed.__new__(Packed)  # its forward pass only: loss, batches, optimiser are ours
        self.model.torch, self.model.bert = torch, bert_from_onnx(backbone + "/model.onnx").train()
        self.tokenizer = Tokenizer.from_file(backbone + "/tokenizer.json")
        self.tokenizer.enable_truncation(p["max_length"])
        self.tokenizer.no_padding()
        self.loss = peer_loss(p)

    def tokenize(self, rows):
        return [np.array(e.ids) for e in self.tokenizer.encode_batch([r[0] for r in rows])]

    def measure(self, docs, labels):
        with torch.no_grad():
            parts = [self.model.embed(docs[i:i + 64]) for i in range(0, len(docs), 64)]
        return retrieval(torch.cat(parts).numpy(), labels, self.p["eval_k"])

    def optimizer(self, steps):
        p, weights = self.p, list(self.model.bert.parameters())
        names = {"constant": "constant_with_warmup"}
        optimizer = torch.optim.AdamW(
            [{"params": [w for w in weights if w.ndim > 1], "weight_decay": p["weight_decay"]},
             {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0}],
            lr=p["learning_rate"], fused=True)
        return optimizer, get_scheduler(names.get(p["schedule"], p["schedule"]), optimizer,
                                        int(p["warmup"] * steps), steps)

    def train(self, docs, labels, seed):
        p = self.p
        size = p["batch_classes"] * p["items_per_class"]
        np.random.seed(seed)  # what the sampler draws from
        torch.manual_seed(seed)
        sampler = MPerClassSampler(labels, p["items_per_class"], size, len(labels))
        steps = p["epochs"] * (len(sampler) // size)
        optimizer, schedule = self.optimizer(steps)
        began, at = time.monotonic(), 0
        for _ in range(p["epochs"]):
            order = list(sampler)
            for i in range(0, len(order), size):
                batch = order[i:i + size]
                loss = self.loss(self.model.embed([docs[j] for j in batch]), torch.from_numpy(labels[batch]))
                loss.backward()
                optimizer.step()
                schedule.step()
                optimizer.zero_grad(set_to_none=True)
                at += 1
                if at % 25 == 0 or at == steps:
                    print("bench: PyTorch, step %d of %d, loss %.4f, %.0f s" %
                          (at, steps, loss.item(), time.monotonic() - began), file=sys.stderr, flush=True)
        return {"steps": steps, "seconds": time.monotonic() - began}


def run(backbone, parameters, rows, held_rows, seed, threads):
    """Trains on rows (text, label), measures on held_rows before and after."""
    torch.set_num_threads(threads)
    peer = Peer(backbone, parameters)
    number = {label: i for i, label in enumerate(sorted({r[1] for r in rows + held_rows}))}
    labels, held_labels = (np.array([number[r[1]] for r in part]) for part in (rows, held_rows))
    held = peer.tokenize(held_rows)
    before = peer.measure(held, held_labels)
    result = peer.train(peer.tokenize(rows), labels, seed)
    return {**result, "before": before, "after": peer.measure(held, held_labels)}
