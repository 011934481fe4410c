#!/usr/bin/env python3
"""A peer of ./dev bench: does on demand what tests/bench/speed does, on the same batches.

  bench_peers.py PEER MODEL.onnx TOKENIZER.json EXCHANGE THREADS

Speaks as bench_speed does: each line of standard input is a number of steps (or passes), each is
answered by one line of JSON. PEER:

  st       training: sentence-transformers' forward on a batch padded to its longest document
  sorted   training: the same model in PyTorch, four micro-batches sorted by length
  packed   training: PyTorch packed by hand, no padding token anywhere
  onnx     encoding: ONNX Runtime, batches sorted by length

Every training peer computes pytorch-metric-learning's triplet loss with its semi-hard miner over
the whole batch, and steps with fused AdamW.

Without this file's own choices the peers run as they come: attention by PyTorch's fused kernel,
threads that spin as OpenMP's do.
"""
import json
import os
import sys
import time

import numpy as np

LENGTH, MARGIN, RATE, DECAY = 64, 0.1, 5e-5, 0.01
ENCODE_BATCH = 32


def read_batches(path):
    """[(labels, [ids of a document, ...]), ...] as bench_speed wrote them."""
    a, at, out = np.fromfile(path, np.int32), 0, []
    while at < len(a):
        n = int(a[at])
        labels, lengths = a[at + 1:at + 1 + n], a[at + 1 + n:at + 1 + 2 * n]
        at += 1 + 2 * n
        ends = np.cumsum(lengths)
        ids = np.split(a[at:at + ends[-1]], ends[:-1])
        at += int(ends[-1])
        out.append((labels, ids))
    return out


def pad(docs):
    """ids and mask (N, longest)."""
    ids = np.zeros((len(docs), max(map(len, docs))), np.int64)
    mask = np.zeros_like(ids)
    for i, d in enumerate(docs):
        ids[i, :len(d)] = d
        mask[i, :len(d)] = 1
    return ids, mask


def bert_from_onnx(path):
    """MiniLM as transformers' BertModel, with the weights of the ONNX file; no dropout."""
    import onnx
    import torch
    import transformers
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    tensors = {t.name: t for t in graph.initializer}
    state = {}
    for name, t in tensors.items():
        if name.endswith((".weight", ".bias")):
            state[name] = torch.from_numpy(numpy_helper.to_array(t).copy())
    for node in graph.node:  # weights of products are anonymous and lie transposed
        if node.op_type == "MatMul" and node.input[1] in tensors:
            name = node.name.rsplit("/", 1)[0].strip("/").replace("/", ".") + ".weight"
            state[name] = torch.from_numpy(numpy_helper.to_array(tensors[node.input[1]]).T.copy())
    model = transformers.BertModel(transformers.BertConfig(
        vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12,
        intermediate_size=1536, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0),
        add_pooling_layer=False)
    state = {k: v for k, v in state.items() if not k.startswith("pooler.")}
    missing, unexpected = model.load_state_dict(state, strict=False)
    missing = [m for m in missing if not m.endswith("_ids")]
    if missing or unexpected:
        sys.exit("%s: not the MiniLM that is expected: %s" % (path, (missing + unexpected)[:4]))
    return model


class Training:
    """What all training peers share: loss, optimiser, a step."""

    def __init__(self, model_path, batches):
        import torch
        from pytorch_metric_learning import losses, miners
        self.torch, self.batches, self.at = torch, batches, 0
        self.bert = bert_from_onnx(model_path).train()
        self.loss = losses.TripletMarginLoss(margin=MARGIN)
        self.miner = miners.TripletMarginMiner(margin=MARGIN, type_of_triplets="semihard")
        named = list(self.bert.named_parameters())
        self.optimizer = torch.optim.AdamW(
            [{"params": [p for _, p in named if p.ndim > 1], "weight_decay": DECAY},
             {"params": [p for _, p in named if p.ndim <= 1], "weight_decay": 0.0}],
            lr=RATE, fused=True)

    def embed(self, docs):
        raise NotImplementedError

    def step(self):
        labels, docs = self.batches[self.at]
        self.at += 1
        e = self.embed(docs)
        labels = self.torch.from_numpy(labels.astype(np.int64))
        loss = self.loss(e, labels, self.miner(e, labels))
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.item(), len(docs), sum(map(len, docs))

    def padded(self, docs):
        """Tokens that this peer multiplies for a batch."""
        return len(docs) * max(map(len, docs))


class SentenceTransformers(Training):
    def __init__(self, model_path, tokenizer_path, batches):
        import tempfile
        import sentence_transformers as st
        import transformers
        super().__init__(model_path, batches)
        parts = st.models if hasattr(st, "models") else st.sentence_transformer.modules
        with tempfile.TemporaryDirectory() as folder:
            self.bert.save_pretrained(folder)
            transformers.PreTrainedTokenizerFast(
                tokenizer_file=tokenizer_path, pad_token="[PAD]", unk_token="[UNK]",
                cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]").save_pretrained(folder)
            first = parts.Transformer(folder, max_seq_length=LENGTH)
        self.model = st.SentenceTransformer(
            modules=[first, parts.Pooling(384, pooling_mode="mean"), parts.Normalize()], device="cpu").train()
        named = list(self.model.named_parameters())
        self.optimizer.param_groups.clear()
        for wanted, decay in ((True, DECAY), (False, 0.0)):
            self.optimizer.add_param_group({"params": [p for _, p in named if (p.ndim > 1) == wanted],
                                            "weight_decay": decay, "lr": RATE})

    def embed(self, docs):
        ids, mask = map(self.torch.from_numpy, pad(docs))
        return self.model({"input_ids": ids, "attention_mask": mask,
                           "token_type_ids": self.torch.zeros_like(ids)})["sentence_embedding"]


class Sorted(Training):
    MICRO = 4

    def groups(self, docs):
        order = sorted(range(len(docs)), key=lambda i: len(docs[i]))
        return [list(g) for g in np.array_split(order, self.MICRO)]

    def embed(self, docs):
        torch, out, order = self.torch, [], []
        for g in self.groups(docs):
            ids, mask = map(torch.from_numpy, pad([docs[i] for i in g]))
            h = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
            m = mask[..., None].to(h.dtype)
            out.append((h * m).sum(1) / m.sum(1))
            order += g
        back = torch.from_numpy(np.argsort(order))
        return torch.nn.functional.normalize(torch.cat(out)[back], dim=1)

    def padded(self, docs):
        return sum(len(g) * max(len(docs[i]) for i in g) for g in self.groups(docs))


class Packed(Training):
    """Rows of real tokens; documents of one length lie together, so that attention takes them at
    once as a view: nothing is padded, nothing is copied."""

    def embed(self, docs):
        torch, F = self.torch, self.torch.nn.functional
        order = sorted(range(len(docs)), key=lambda i: len(docs[i]))
        lengths = [len(docs[i]) for i in order]
        groups = [(lengths.count(n), n) for n in sorted(set(lengths))]
        ids = torch.from_numpy(np.concatenate([docs[i] for i in order]).astype(np.int64))
        at = torch.from_numpy(np.concatenate([np.arange(n) for n in lengths]))
        emb = self.bert.embeddings
        x = F.embedding(ids, emb.word_embeddings.weight) + \
            F.embedding(at, emb.position_embeddings.weight) + emb.token_type_embeddings.weight[0]
        x = self.norm(emb.LayerNorm, x)
        for layer in self.bert.encoder.layer:
            x = self.layer(layer, x, groups)
        rows = [p.view(n, t, -1).mean(1) for p, (n, t) in zip(self.split(x, groups), groups)]
        back = torch.from_numpy(np.argsort(order))
        return F.normalize(torch.cat(rows)[back], dim=1)

    def norm(self, m, x):
        return self.torch.nn.functional.layer_norm(x, x.shape[-1:], m.weight, m.bias, m.eps)

    def split(self, x, groups):
        return self.torch.split(x, [n * t for n, t in groups])

    def layer(self, layer, x, groups):
        F = self.torch.nn.functional
        own, out = layer.attention.self, layer.attention.output
        q, k, v = (self.split(p(x), groups) for p in (own.query, own.key, own.value))
        parts = []
        for a, b, c, (n, t) in zip(q, k, v, groups):
            a, b, c = (z.view(n, t, 12, 32).transpose(1, 2) for z in (a, b, c))
            parts.append(F.scaled_dot_product_attention(a, b, c).transpose(1, 2).reshape(n * t, 384))
        x = self.norm(out.LayerNorm, out.dense(self.torch.cat(parts)) + x)
        h = F.gelu(layer.intermediate.dense(x))
        return self.norm(layer.output.LayerNorm, layer.output.dense(h) + x)

    def padded(self, docs):
        return sum(map(len, docs))


class OnnxRuntime:
    def __init__(self, model_path, exchange, batches, threads):
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model_path, options,
                                                    providers=["CPUExecutionProvider"])
        self.inputs = [i.name for i in self.session.get_inputs()]
        self.docs = batches[0][1]
        self.order = sorted(range(len(self.docs)), key=lambda i: -len(self.docs[i]))
        self.exchange = exchange

    def step(self):
        out = None
        for at in range(0, len(self.order), ENCODE_BATCH):
            g = self.order[at:at + ENCODE_BATCH]
            ids, mask = pad([self.docs[i] for i in g])
            feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0}
            h = self.session.run(None, {n: feed[n] for n in self.inputs})[0]
            m = mask[..., None].astype(np.float32)
            e = (h * m).sum(1) / m.sum(1)
            if out is None:
                out = np.empty((len(self.docs), e.shape[1]), np.float32)
            out[g] = e / np.linalg.norm(e, axis=1, keepdims=True)
        self.vectors = out
        return 0.0, len(self.docs), sum(map(len, self.docs))

    def padded(self, docs):
        order = [len(docs[i]) for i in self.order]
        return sum(order[i] * len(order[i:i + ENCODE_BATCH]) for i in range(0, len(order), ENCODE_BATCH))


def rss_kib():
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM:"))


def main():
    peer, model, tokenizer, exchange, threads = sys.argv[1:6]
    batches = read_batches(exchange)
    if peer == "onnx":
        p = OnnxRuntime(model, exchange, batches, int(threads))
    else:
        import torch
        torch.set_num_threads(int(threads))
        p = SentenceTransformers(model, tokenizer, batches) if peer == "st" else \
            {"sorted": Sorted, "packed": Packed}[peer](model, batches)
    real = sum(len(d) for _, docs in batches for d in docs)
    print(json.dumps({"ready": True, "padding": sum(p.padded(d) for _, d in batches) / real}), flush=True)
    for line in sys.stdin:
        each, documents, tokens, cpu = [], 0, 0, time.process_time()
        for _ in range(int(line)):
            began = time.monotonic()
            loss, n, t = p.step()
            each.append([(time.monotonic() - began) * 1e3, loss])
            documents, tokens = documents + n, tokens + t
        cpu = (time.process_time() - cpu) * 1e3
        if peer == "onnx":
            p.vectors.tofile(exchange + ".onnx.f32")
        print(json.dumps({"each": each, "ms": sum(e[0] for e in each), "cpu_ms": cpu, "documents": documents,
                          "tokens": tokens, "rss_kib": rss_kib(), "at_ms": time.monotonic() * 1e3}), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
