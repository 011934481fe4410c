#!/usr/bin/env python3
"""How good recipes are, in Tripline and in PyTorch with pytorch-metric-learning; called by bench.sh.

A recipe is a name of RECIPES, with training parameters behind colons if other ones are wanted:
`multi-similarity:learning_rate=1e-4`. Each is trained from the same backbone and measured by
leave-one-out retrieval on documents that it has not seen: a stratified fifth of train.csv, where
recipes are chosen, or test.csv. With --work a finished run's figures stay and are not computed again, so
that a table can be made in pieces.

The peer (bench_quality_peer.py) gets the parameters from the manifest of Tripline's run, and its "before"
must be Tripline's.
"""
import argparse
import csv
import glob
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile

import bench_common

RECIPES = {
    "default": {},
    "multi-similarity": {"loss": "multi-similarity", "learning_rate": "5e-5"},
    "supcon": {"loss": "supcon", "learning_rate": "5e-5"},
    "triplet-.1": {"loss": "triplet", "margin": "0.1", "learning_rate": "5e-5"},
    "triplet-.2": {"loss": "triplet", "margin": "0.2", "learning_rate": "5e-5"},
    "multiple-negatives": {"loss": "multiple-negatives", "learning_rate": "5e-5"},
    "batch-semi-hard": {"loss": "batch-semi-hard", "learning_rate": "2e-5"},
}
FIGURES = ("map_at_k", "precision_at_1")
PACKAGES = ("torch", "pytorch-metric-learning", "sentence-transformers", "transformers", "tokenizers")
SPLIT_SEED = 1


def recipe_parameters(recipe):
    name, *more = recipe.split(":")
    if name not in RECIPES or not all("=" in m for m in more):
        sys.exit("bench: no recipe '%s': %s, with :name=value behind it" % (recipe, ", ".join(RECIPES)))
    return {**RECIPES[name], **dict(m.split("=", 1) for m in more)}


# ---- documents ----


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as f:
        head, *rows = csv.reader(f)
    return head, rows


def write_csv(path, head, rows):
    with open(path, "w", newline="", encoding="utf-8") as f:
        csv.writer(f).writerows([head] + rows)


def split(source, folder):
    """A fifth of each label is held out; which documents, a hash decides."""
    head, rows = read_csv(os.path.join(source, "train.csv"))
    labels, held = {}, set()
    for i, row in enumerate(rows):
        labels.setdefault(row[1], []).append(i)
    lot = lambda i: hashlib.sha256(("%d\n%d\n%s" % (SPLIT_SEED, i, rows[i][0])).encode()).digest()
    for members in labels.values():
        held.update(sorted(members, key=lot)[:round(len(members) / 5)])
    os.makedirs(folder, exist_ok=True)
    for name, wanted in (("train", False), ("eval", True)):
        write_csv(os.path.join(folder, name + ".csv"), head,
                  [r for i, r in enumerate(rows) if (i in held) == wanted])


def documents(args, data):
    """Paths of what is trained on and of what is held out."""
    source = os.path.join(args.data, data)
    if not os.path.exists(os.path.join(source, "train.csv")):
        sys.exit("bench: %s/train.csv is missing: TRIPLINE_SHARED names the folder above data/" % source)
    if args.on == "test":
        return os.path.join(source, "train.csv"), os.path.join(source, "test.csv")
    folder = os.path.join(args.work, "split", data)
    if not os.path.exists(os.path.join(folder, "eval.csv")):
        split(source, folder)
    return os.path.join(folder, "train.csv"), os.path.join(folder, "eval.csv")


# ---- Tripline ----


def tripline(args, recipe, seed, train, held, folder):
    out = os.path.join(folder, "model")
    command = [os.path.join(args.bin, "tripline"), "fit", "--local", "--json", "--train", train,
               "--eval", held, "--model", args.backbone, "--out", out, "--seed", str(seed), "--threads", str(args.threads)]
    for pair in recipe_parameters(recipe).items():
        command += ["--set", "%s=%s" % pair]
    with open(os.path.join(folder, "log"), "w") as log:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, text=True)
    if done.returncode not in (0, 3):  # 3: it got worse, which is a result
        sys.exit("bench: tripline failed, see %s/log" % folder)
    result = json.loads(done.stdout)
    with open(os.path.join(out, "manifest.json")) as f:
        result["parameters"] = json.load(f)["parameters"]
    for path in glob.glob(out + "*"):  # the model, its checkpoints, what it left beside
        shutil.rmtree(path)
    return result


# ---- PyTorch ----


def pytorch(args, recipe, seed, train, held, folder):
    import bench_quality_peer
    ours = figures(args, "tripline", recipe, seed, train, held, folder)
    result = bench_quality_peer.run(args.backbone, ours["parameters"], read_csv(train)[1], read_csv(held)[1],
                                    seed, args.threads)
    if any(abs(result["before"][f] - ours["before"][f]) > 1e-4 for f in FIGURES):
        sys.exit("bench: the backbone has %s in PyTorch and %s in Tripline: not the same work" %
                 (result["before"], ours["before"]))
    return result


# ---- the table ----


def figures(args, who, recipe, seed, train, held, folder):
    """Of a run that has been, or runs it."""
    path = os.path.join(folder, who + ".json")
    if not os.path.exists(path):
        os.makedirs(folder, exist_ok=True)
        print("bench: %s: %s" % (who, folder), file=sys.stderr, flush=True)
        run = {"tripline": tripline, "pytorch": pytorch}[who]
        result = run(args, recipe, seed, train, held, folder)
        with open(path + ".new", "w") as f:
            json.dump(result, f, indent=1)
        os.rename(path + ".new", path)
    with open(path) as f:
        return json.load(f)


def machine():
    return {"cpu": bench_common.cpu_name(), "cores": os.cpu_count()}


def bench(args):
    runs = []
    for data in args.sets.split(","):
        train, held = documents(args, data)
        for recipe in args.recipes.split(","):
            for seed in args.seeds.split(","):
                folder = os.path.join(args.work, args.on, data, "%s-seed%s" % (recipe, seed))
                run = {"data": data, "recipe": recipe, "seed": int(seed)}
                for who in ("tripline", "pytorch")[:1 + args.peer]:
                    run[who] = figures(args, who, recipe, int(seed), train, held, folder)
                runs.append(run)
    versions = {p: importlib.metadata.version(p) for p in PACKAGES} if args.peer else {}
    versions["tripline"] = runs[0]["tripline"]["fingerprint"]
    return {"on": args.on, "threads": args.threads, "machine": machine(), "versions": versions, "runs": runs}


def table(r):
    print("mAP@20 / precision@1 on %s; %s" %
          ({"split": "a stratified fifth of train.csv", "test": "test.csv"}[r["on"]],
           ", ".join("%s %s" % v for v in r["versions"].items())))
    print("%-10s %-44s %4s %16s %16s %16s" % ("", "recipe", "seed", "before", "Tripline", "PyTorch"))
    pair = lambda x: "%.4f / %.4f" % tuple(x[f] for f in FIGURES)
    for run in r["runs"]:
        t, p = run["tripline"], run.get("pytorch")
        print("%-10s %-44s %4d %16s %16s %16s" % (run["data"], run["recipe"], run["seed"], pair(t["before"]),
                                                  pair(t["after"]), pair(p["after"]) if p else ""))


def main():
    a = argparse.ArgumentParser(prog="./dev bench quality",
                                description="Recipes in Tripline, and with --peer in PyTorch beside it.")
    a.add_argument("--sets", default="banking77,hwu64", help="of TRIPLINE_SHARED/data")
    a.add_argument("--recipes", default="default", help="of %s; more parameters as NAME:parameter=value" %
                   ",".join(RECIPES))
    a.add_argument("--seeds", default="1")
    a.add_argument("--on", choices=["split", "test"], default="split")
    a.add_argument("--peer", action="store_true", help="PyTorch too")
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--work", help="a folder where the figures of finished runs stay, to go on from")
    bench_common.add_outputs(a)
    for name in ("bin", "backbone", "data"):
        a.add_argument("--" + name, required=True, help=argparse.SUPPRESS)
    args = a.parse_args()
    for recipe in args.recipes.split(","):
        recipe_parameters(recipe)
    with tempfile.TemporaryDirectory() as work:
        args.work = args.work or work
        result = bench(args)
    bench_common.show(args, result, table)


if __name__ == "__main__":
    main()
