#!/bin/bash
# planted.sh TRIPLINE: a graph with one operator that can't be trained. `fit` ends with one line that
# names the operator and its node, before it opens the documents: there are none.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../e2e/local/world.sh"

try() { # try: its last line
    local status=0
    "$TRIPLINE" fit --local --train no.csv --model backbone --out new > out.txt 2> err.txt || status=$?
    [ "$(grep -c '^tripline: ' err.txt)" = 1 ] && [ ! -s out.txt ] || fail "not one line: $(cat err.txt out.txt)"
    [ ! -e new ] && [ ! -e new.work ] || fail "something is left of the run"
    printf '%s %s\n' "$status" "$(tail -1 err.txt)"
}

plant() { # plant MODEL OPERATOR OTHER NODE: the first such node becomes the other one
    local length got
    [ ${#2} = ${#3} ] || fail "$2 and $3 are not of one length"
    printf -v length '\\x%02x' ${#2}
    LC_ALL=C sed "0,/\"$length$2/s//\"$length$3/" "$GOLDEN/engine/$1.onnx" > backbone/model.onnx
    ! cmp -s "$GOLDEN/engine/$1.onnx" backbone/model.onnx || fail "$1 has no $2"
    got=$(try)
    printf '%s: %s\n' "$1" "$got"
    case $got in
    "65 "*"$3 "*"'$4'"*) ;;
    *) fail "$1, $2 -> $3: expected status 65, $3 and '$4'" ;;
    esac
}

old=/model/encoder/layer.0
plant bert-old Erf Sin $old/intermediate/intermediate_act_fn/Erf
plant bert-old Softmax Hardmax $old/attention/self/Softmax
plant bert-old MatMul Einsum $old/attention/self/query/MatMul
plant bert-old Sqrt Ceil /model/embeddings/LayerNorm/Sqrt
plant bert-old Gather Resize /model/embeddings/Gather
plant bert-old Where Whose /model/Where
plant bert-new LayerNormalization BatchNormalization node_layer_norm
plant bert-new Erf GRU node_Erf_127
plant distilbert-new MatMul QLinea node_MatMul_56
plant albert-old Tanh Sinh /model/encoder/albert_layer_groups.0/albert_layers.0/activation/Tanh

# What stands behind the cut may be anything: the pooler's activation here. Then the documents are missed.
LC_ALL=C sed '0,/"\x04Tanh/s//"\x04Sinh/' "$GOLDEN/engine/bert-old.onnx" > backbone/model.onnx
got=$(try)
case $got in "66 "*no.csv*) ;; *) fail "a head that is cut off: $got" ;; esac
