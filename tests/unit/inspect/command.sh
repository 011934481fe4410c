#!/bin/bash
# command.sh TRIPLINE: `tripline inspect` with each of its options.
set -euo pipefail
tripline=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp tests/golden/engine/bert-old.onnx "$work/model.onnx"
printf '{}' >"$work/tokenizer.json"

fail() { echo "command.sh: $*" >&2; exit 1; }

has() { # has FILE TEXT...
    local file=$1 text
    shift
    for text; do grep -qF -- "$text" "$file" || fail "no '$text' in: $(head -60 "$file")"; done
}

refused() { # refused STATUS TEXT OPTION...
    local status=$1 text=$2 rc=0
    shift 2
    "$tripline" inspect "$work" "$@" >"$work/out" 2>"$work/err" || rc=$?
    [ $rc = "$status" ] || fail "$*: status $rc, not $status"
    has "$work/err" "$text"
    [ "$(wc -l <"$work/err")" = 1 ] || fail "$*: not one line"
    [ ! -s "$work/out" ] || fail "$*: something was printed"
}

"$tripline" inspect "$work" >"$work/text"
has "$work/text" "layers: 2, 7,258 parameters, 7,258 of them would train" "head: cut at last_hidden_state" \
    "2 parameters are cut off, 342 numbers" "frozen: nothing" "0 operators stay padded" \
    "forward   a token 10,656 + n x 144" "memory of 64 documents at once in 2 lanes" "parameters: 37"

"$tripline" inspect "$work" --set freeze=layers:1 --set batch_classes=4 --set lanes=3 --set output_dim=7 >"$work/text"
has "$work/text" "frozen: 4,394 numbers" "frozen: embeddings go with the first blocks" "projection" \
    "memory of 16 documents at once in 3 lanes" "gives      7 numbers"
"$tripline" inspect "$work" --set batch_classes=4096 --set items_per_class=1024 >"$work/text"
has "$work/text" "none: so many documents are no batch"
"$tripline" inspect "$work" --set pooling=cls --set freeze=embeddings --json >"$work/json"
[ "$(wc -l <"$work/json")" = 1 ] || fail "--json: not one line"
has "$work/json" '"pooling":"cls"' '"frozen":{"numbers":1530,'

"$tripline" inspect "$work" --dot >"$work/dot"
has "$work/dot" "digraph" "block 1"
"$tripline" inspect "$work" --svg >"$work/svg"
has "$work/svg" "<svg" "block 1" "</svg>"
if command -v dot >/dev/null; then
    dot -Tcanon "$work/dot" >"$work/canon" 2>"$work/err" || fail "dot: $(cat "$work/err")"
    [ "$(grep -c -- '->' "$work/canon")" = "$(grep -c -- '->' "$work/dot")" ] || fail "dot sees other edges"
else
    echo "dot is not installed: its own reading of --dot was not tried"
fi

refused 64 "choose one of --json, --dot and --svg" --dot --svg
refused 64 "there is no parameter 'freezes'" --set freezes=none
refused 78 "the backbone has 2 blocks" --set freeze=layers:3
refused 78 "no parameter's name fits 'nothing.*'" --set 'freeze=name:nothing.*'
refused 78 "65 lanes; 1 to 64" --set lanes=65
refused 78 "no tensor 'nowhere'" --cut nowhere
