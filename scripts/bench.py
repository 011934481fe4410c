#!/usr/bin/env python3
"""Tripline and its peers, in turn, in one run; called by bench.sh.

Every contestant is a process of its own that opens its model once and then waits. A round gives
each peer a segment of steps with a segment of Tripline before it, so that what disturbs the machine
hits both; a ratio is of two neighbours. All train on the same batches in the same order from the
same weights: their losses are compared, and so are vectors when encoding.
"""
import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

import bench_common

NAMES = {"tripline": "Tripline", "st": "sentence-transformers", "sorted": "PyTorch, sorted micro-batches",
         "packed": "PyTorch, packed by hand", "onnx": "ONNX Runtime, sorted batches"}
PACKAGES = {"train": ["torch", "sentence-transformers", "transformers", "pytorch-metric-learning"],
            "encode": ["onnxruntime"]}
COMPARED = 10  # steps whose losses are compared
MEMORY_MB = 700  # that Tripline's training may take at most


class Contestant:
    def __init__(self, name, command, threads):
        env = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads),
                   TOKENIZERS_PARALLELISM="false", TRANSFORMERS_VERBOSITY="error",
                   HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1", PYTHONWARNINGS="ignore")
        self.name, self.began = name, time.monotonic() * 1e3
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.log, text=True, env=env)
        self.losses, self.segments = [], []
        self.ready = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            text = self.log.read().decode(errors="replace").strip().splitlines()
            sys.exit("bench: %s ended: %s" % (NAMES[self.name], text[-1] if text else "no message"))
        return json.loads(line)

    def run(self, n):
        self.process.stdin.write("%d\n" % n)
        self.process.stdin.flush()
        a = self.answer()
        a["docs_per_s"] = a["documents"] / a["ms"] * 1e3
        self.losses += [e[1] for e in a["each"]]
        return a

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def machine(fingerprint):
    return {"cpu": bench_common.cpu_name(), "cores": os.cpu_count(), "load": os.getloadavg()[0], "fingerprint": fingerprint,
            "isa": next((i for i in ("avx512", "avx2", "sse2") if i in fingerprint), "?")}


def rounds(ours, peers, pairs, steps):
    """ratios[peer] = [{wall, cpu}, ...]; every segment is kept in its contestant."""
    ratios = {p.name: [] for p in peers}
    for i in range(pairs):
        for p in peers:
            a, b = (ours, p) if i % 2 == 0 else (p, ours)
            first, second = a.run(steps), b.run(steps)
            mine, theirs = (first, second) if i % 2 == 0 else (second, first)
            ours.segments.append(mine)
            p.segments.append(theirs)
            per = lambda s, key: s[key] / s["documents"]
            ratios[p.name].append({"wall": per(theirs, "ms") / per(mine, "ms"),
                                   "cpu": per(theirs, "cpu_ms") / per(mine, "cpu_ms")})
            print("bench: pair %d of %d, %s: %.1f and %.1f documents/s" %
                  (i + 1, pairs, p.name, theirs["docs_per_s"], mine["docs_per_s"]), file=sys.stderr, flush=True)
    return ratios


def summary(c, ratios):
    rates = [s["docs_per_s"] for s in c.segments]
    out = {"name": NAMES[c.name], "docs_per_s": statistics.median(rates), "docs_per_s_min": min(rates),
           "docs_per_s_max": max(rates), "peak_rss_mb": c.segments[-1]["rss_kib"] / 1024,
           "padding": c.ready.get("padding", 1.0)}
    for key in ("wall", "cpu"):
        if ratios:
            r = [x[key] for x in ratios]
            out["ratio_" + key] = {"median": statistics.median(r), "min": min(r), "max": max(r), "all": r}
    return out


def first_step(args, work):
    """Seconds from the start of a process to its first step's end, of processes of their own; its
    memory at most after some more steps."""
    seconds, memory = [], []
    for i in range(3):
        c = ours(args, os.path.join(work, "first"), 4)
        seconds.append((c.run(1)["at_ms"] - c.began) / 1e3)
        memory.append(c.run(3)["rss_kib"] / 1024)
        c.end()
    return {"seconds_to_first_step": statistics.median(seconds), "peak_rss_mb": max(memory)}


def ours(args, exchange, steps):
    return Contestant("tripline", [
        os.path.join(args.bin, "bench_speed"), args.what, args.backbone + "/model.onnx",
        args.backbone + "/tokenizer.json", os.path.join(args.data, "train.csv" if args.what == "train" else "test.csv"),
        exchange, "threads=%d" % args.threads, "lanes=%d" % args.lanes, "steps=%d" % steps,
        "length=%d" % args.length, "documents=%d" % args.documents], args.threads)


def peer(args, name, exchange):
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bench_peers.py")
    return Contestant(name, [sys.executable, script, name, args.backbone + "/model.onnx",
                             args.backbone + "/tokenizer.json", exchange, str(args.threads)], args.threads)


def compare(args, us, peers, exchange):
    """Largest differences: of losses over the first steps, or of vectors' components."""
    if args.what == "encode":
        a, b = (np.fromfile(exchange + end, np.float32) for end in (".f32", ".onnx.f32"))
        return {"onnx": float(np.abs(a - b).max())}
    return {p.name: max(abs(x - y) for x, y in zip(us.losses[:COMPARED], p.losses)) for p in peers}


def bench(args, work):
    exchange = os.path.join(work, "batches")
    names = {"train": ["st", "sorted", "packed"], "encode": ["onnx"]}[args.what]
    names = [n for n in names if not args.peers or n in args.peers.split(",")]
    warm = 2 if args.what == "train" else 1
    us = ours(args, exchange, warm + len(names) * args.pairs * args.steps)
    result = {"what": args.what, "data": args.name, "threads": args.threads, "pairs": args.pairs,
              "steps_per_segment": args.steps, "max_length": args.length, "machine": machine(us.ready["fingerprint"]),
              "versions": {p: importlib.metadata.version(p) for p in PACKAGES[args.what]},
              "tokenised_texts_per_s": us.ready["tokenised"] / us.ready["tokenise_ms"] * 1e3,
              "tokens_per_document": us.ready["tokens"] / us.ready["documents"]}
    peers = [peer(args, n, exchange) for n in names]
    for c in [us] + peers:
        c.run(warm)
    ratios = rounds(us, peers, args.pairs, args.steps)
    result["difference"] = compare(args, us, peers, exchange)
    result["contestants"] = [summary(c, ratios.get(c.name)) for c in [us] + peers]
    for c in [us] + peers:
        c.end()
    if args.what == "train":
        result["start"] = first_step(args, work)
    return result


def table(r):
    m = r["machine"]
    kind = "losses of %d steps" % COMPARED if r["what"] == "train" else "vectors"
    print("%s on %s, %.1f tokens a document, %d threads of %d cores: %s (%s), load %.1f" %
          (r["what"], r["data"], r["tokens_per_document"], r["threads"], m["cores"], m["cpu"], m["isa"], m["load"]))
    print("%d pairs of %d %s; %s" % (r["pairs"], r["steps_per_segment"], "steps" if r["what"] == "train" else "passes",
                                     ", ".join("%s %s" % v for v in r["versions"].items())))
    print("%-32s %12s %22s %16s %9s %8s" % ("", "documents/s", "Tripline is x faster", "processor time", "padding", "RSS MB"))
    for c in r["contestants"]:
        w, p = c.get("ratio_wall"), c.get("ratio_cpu")
        print("%-32s %12.1f %22s %16s %9.2f %8.0f" % (
            c["name"], c["docs_per_s"], "%.2f (%.2f-%.2f)" % (w["median"], w["min"], w["max"]) if w else "",
            "%.2f" % p["median"] if p else "", c["padding"], c["peak_rss_mb"]))
    print("largest difference of %s: %s" % (kind, ", ".join("%s %.1e" % v for v in r["difference"].items())))
    print("tokenising: %.0f texts/s on one core" % r["tokenised_texts_per_s"])
    if "start" in r:
        print("from a process's start to its first step: %.2f s; it takes at most %.0f MB" %
              (r["start"]["seconds_to_first_step"], r["start"]["peak_rss_mb"]))


def main():
    a = argparse.ArgumentParser(prog="./dev bench", description="Tripline and its peers in one run.")
    a.add_argument("what", choices=["train", "encode"])
    a.add_argument("--pairs", type=int, default=5)
    a.add_argument("--steps", type=int, default=0, help="in a segment: training steps (20) or passes (1)")
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--lanes", type=int, default=2)
    a.add_argument("--length", type=int, default=64, help="tokens of a document at most")
    a.add_argument("--documents", type=int, default=1000, help="of a pass when encoding; 0: the whole file")
    a.add_argument("--peers", help="only these of st,sorted,packed")
    bench_common.add_outputs(a)
    for name in ("bin", "backbone", "data", "name"):
        a.add_argument("--" + name, required=True, help=argparse.SUPPRESS)
    args = a.parse_args()
    args.steps = args.steps or (20 if args.what == "train" else 1)
    with tempfile.TemporaryDirectory() as work:
        result = bench(args, work)
    bench_common.show(args, result, table)
    bad = [k for k, d in result["difference"].items() if not d <= 1e-4]
    if bad:
        sys.exit("bench: not the same numbers as %s: the speeds above compare different work" % ", ".join(bad))
    if result.get("start", {}).get("peak_rss_mb", 0) > MEMORY_MB:
        sys.exit("bench: training took %.0f MB; %d is the most" % (result["start"]["peak_rss_mb"], MEMORY_MB))


if __name__ == "__main__":
    main()
