#!/usr/bin/env python3
"""bench_ingest.py BENCH_INGEST [--messages N] [--rounds N] [--level N] [--formats json,msgpack] [--json] [--out FILE]

Runs tests/bench/ingest among the servers of the environment and prints what it measured; ends with 1 when
ingest is slower, hungrier or larger than docs/benchmarks.md promises."""
import argparse
import json
import os
import statistics
import subprocess
import sys

import bench_common

RATE, CPU_S, RSS_MIB = 0.10, 4.0, 128.0  # of the raw consumer's rate; per million messages; resident at most


def measure(args):
    words = ["messages=%d" % args.messages, "rounds=%d" % args.rounds, "level=%d" % args.level,
             "formats=" + args.formats]
    load = os.getloadavg()[0]
    done = subprocess.run([args.program] + words, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit("bench: bench_ingest ended with status %d" % done.returncode)
    result = json.loads(done.stdout)
    result["machine"] = {"cpu": bench_common.cpu_name(), "cores": os.cpu_count(), "load_before": load,
                         "load_after": os.getloadavg()[0]}
    return result


def summary(result):
    """One row a format: medians over the rounds."""
    rows = []
    for name in sorted({r["format"] for r in result["rounds"]}):
        rounds = [r for r in result["rounds"] if r["format"] == name]
        median = lambda who, key: statistics.median(r[who][key] for r in rounds)
        rows.append({"format": name, "rounds": len(rounds),
                     "rate_ratio": statistics.median(r["rate_ratio"] for r in rounds),
                     "messages_per_s": median("ingest", "messages_per_s"),
                     "raw_messages_per_s": median("raw", "messages_per_s"),
                     "cpu_s_per_million": median("ingest", "cpu_s_per_million"),
                     "raw_cpu_s_per_million": median("raw", "cpu_s_per_million"),
                     "rss_mib": max(r["ingest"]["rss_mib"] for r in rounds),
                     "stored_bytes_per_message": median("ingest", "stored_bytes_per_message")})
    return rows


def table(result):
    m = result["machine"]
    print("%d messages of %d bytes, %d partitions; %s, %d cores, load %.1f before, %.1f after" %
          (result["messages"], result["bytes"], result["partitions"], m["cpu"], m["cores"], m["load_before"],
           m["load_after"]))
    print("tripline %s, librdkafka %s, zstd %s at level %s" %
          (result["tripline"], result["librdkafka"], result["zstd"], result["compression"] or "of ingest's default"))
    print("%-8s %12s %12s %7s %14s %10s %9s %16s" % ("format", "messages/s", "raw", "ratio", "CPU s/million", "raw",
                                                     "RSS MiB", "bytes stored"))
    for r in result["summary"]:
        print("%-8s %12.0f %12.0f %7.2f %14.2f %10.2f %9.0f %16.0f" % (
            r["format"], r["messages_per_s"], r["raw_messages_per_s"], r["rate_ratio"], r["cpu_s_per_million"],
            r["raw_cpu_s_per_million"], r["rss_mib"], r["stored_bytes_per_message"]))


def main():
    a = argparse.ArgumentParser(prog="./dev bench ingest", description="Ingest beside a raw librdkafka consumer.")
    a.add_argument("program", help=argparse.SUPPRESS)
    a.add_argument("--messages", type=int, default=1000000)
    a.add_argument("--rounds", type=int, default=1)
    a.add_argument("--level", type=int, default=0, help="of zstd; 0: ingest's default")
    a.add_argument("--formats", default="json,msgpack")
    bench_common.add_outputs(a)
    args = a.parse_args()
    result = measure(args)
    result["summary"] = summary(result)
    bench_common.show(args, result, table)
    for r in result["summary"]:
        for value, bound, good, what in ((r["rate_ratio"], RATE, r["rate_ratio"] >= RATE, "of the raw consumer's rate"),
                                         (r["cpu_s_per_million"], CPU_S, r["cpu_s_per_million"] <= CPU_S,
                                          "CPU seconds per million"),
                                         (r["rss_mib"], RSS_MIB, r["rss_mib"] <= RSS_MIB, "MiB")):
            if not good:
                print("bench: %s: %.2f %s, the aim is %.2f" % (r["format"], value, what, bound), file=sys.stderr)
    sys.exit(0 if all(r["rate_ratio"] >= RATE and r["cpu_s_per_million"] <= CPU_S and r["rss_mib"] <= RSS_MIB
                      for r in result["summary"]) else 1)


if __name__ == "__main__":
    main()
