#!/usr/bin/env python3
"""The first line of tests/unit/data/lines.c where our ids are not those of the `tokenizers` library.

  pip install tokenizers==0.23.3; scripts/golden/tokenizer_diff.py cases|subwords CASE [BUILD [TOKENIZER.json]]

CASE is its place in tests/golden/tokenizer_FILE.json, as the test prints it. BUILD is a build folder (default:
build). TOKENIZER.json is needed for a case of a downloaded file.
"""
import json
import os
import struct
import subprocess
import sys
import tempfile
from tokenizer_ids import all_lines, opened, side_of
from tokenizer_subwords import GOLDEN, patched


def text_of(file, case, path):
    if "file_sha256" in case:
        return open(path).read()
    if file == "cases":
        return json.dumps({**json.load(open(GOLDEN % "tiny")), **case["patch"]})
    return json.dumps(patched(json.load(open(GOLDEN % case["name"])), case["patch"]))


def ours(file, number, build):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "ids")
        program = "%s/bin/test_data_tokenizer%s" % (build, "_subwords" if file == "subwords" else "")
        subprocess.run([program], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       env={**os.environ, "TRIPLINE_IDS": "%s:%d" % (file, number), "TRIPLINE_IDS_TO": path})
        raw = open(path, "rb").read()
    at = 0
    while at < len(raw):
        count, = struct.unpack_from("<I", raw, at)
        yield list(struct.unpack_from("<%di" % count, raw, at + 4))
        at += 4 + 4 * count


def main():
    file, number = sys.argv[1], int(sys.argv[2])
    build, path = (sys.argv[3:] + ["build", None][len(sys.argv[3:]):])[:2]
    case = json.load(open(GOLDEN % file))["cases"][number]
    step = case.get("step", 1)
    t = opened(text_of(file, case, path), case["max"], side_of(case.get("patch", {})))
    for i, (line, ids) in enumerate(zip(all_lines()[::step], ours(file, number, build))):
        e = t.encode(line)
        if e.ids == ids:
            continue
        k = next((k for k, (a, b) in enumerate(zip(e.ids, ids)) if a != b), min(len(e.ids), len(ids)))
        print("line %d, id %d: the library's %s (%s), ours %s" % (i * step, k, e.ids[k:k + 8], e.tokens[k:k + 8],
                                                                  ids[k:k + 8]))
        where = e.offsets[k][0] if k < len(e.ids) else len(line)
        print("at character %d: %a" % (where, line[max(0, where - 30):where + 30]))
        return 1
    print("no difference")
    return 0


if __name__ == "__main__":
    sys.exit(main())
