#!/bin/bash
# tour.sh ROOT BIN: the README's tour without servers, word for word, on a tiny backbone.
set -euo pipefail
root=${1:?the root of the tree}
bin=${2:?the folder of the programs}
[ -x "$bin/tripline" ] || { echo "tripline is not built"; exit 77; }

# what the README's first block of shell behind "Without any server" says, less what installs and builds
steps=$(awk '/^Without any server/ { on = 1 } on && /^```/ { if (inside) exit; inside = 1; next } inside' \
    "$root/README.md" | grep -vE '^(\./dev|backbone=)')
[ "$(grep -c '^build/bin/tripline ' <<<"$steps")" -ge 4 ] || { echo "the README has no tour any more" >&2; exit 1; }

. "$root/tests/e2e/local/world.sh" "$bin/tripline"   # a folder with backbone/, train.csv, test.csv
mkdir -p build
ln -s "$bin" build/bin
cp test.csv in.csv
backbone=$PWD/backbone bash -euo pipefail -c "$steps" >said 2>&1 || { cat said >&2; exit 1; }
for file in model/onnx/model.onnx model/tokenizer.json model/modules.json model/golden.json vectors.npy; do
    [ -s "$file" ] || { echo "the tour left no $file" >&2; exit 1; }
done
