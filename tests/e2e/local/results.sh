#!/bin/bash
# results.sh TRIPLINE: what the local commands print, and that they agree with each other.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/world.sh"

number() { # number FILE KEY: of one JSON line, the last with this name
    grep -o "\"$2\":[-0-9.e+]*" "$1" | tail -1 | cut -d: -f2
}

fit model --eval test.csv --epochs 3 --set learning_rate=1e-3 --json > fit.json 2> fit.log
[ "$(wc -l < fit.json)" = 1 ] || fail "fit --json: not one line"
for key in after before dimension docs_per_s exact fingerprint loss manifest_sha256 out \
    resumed_step seconds steps; do
    grep -q "\"$key\":" fit.json || fail "fit --json has no $key"
done
[ "$(number fit.json dimension)" = 18 ] || fail "dimension"
grep -q "\"manifest_sha256\":\"$(sha256sum < model/manifest.json | cut -d' ' -f1)\"" fit.json ||
    fail "the manifest's hash"

for what in backbone:before model:after; do
    "$TRIPLINE" eval "${what%:*}" test.csv --json > eval.json
    [ "$(wc -l < eval.json)" = 1 ] || fail "eval --json: not one line"
    for key in precision_at_1 map_at_k recall_at_k mrr_at_k ndcg_at_k hit_at_k r_precision k; do
        is=$(number eval.json "$key")
        grep -o "\"${what#*:}\":{[^}]*}" fit.json > half.json
        [ "$is" = "$(number half.json "$key")" ] || fail "$what: $key is $is in eval, else in fit"
    done
    [ "$(number eval.json documents)" = 40 ] || fail "documents"
    [ "$(number eval.json excluded)" = 0 ] || fail "excluded"
    grep -q '"docs_per_s":' eval.json || fail "docs_per_s"
done
"$TRIPLINE" eval model test.csv --k 5 > eval.txt
grep -q 'k = 5' eval.txt || fail "--k"

"$TRIPLINE" encode model test.csv --out one.npy --threads 1 --json > encode.json
[ "$(number encode.json documents)" = 40 ] || fail "encode: documents"
"$TRIPLINE" encode model test.csv --out two.npy --threads 2 > /dev/null
cmp one.npy two.npy || fail "the vectors depend on the threads"
cut -d, -f1 test.csv > texts.csv
"$TRIPLINE" encode model texts.csv --out three.npy > /dev/null
cmp one.npy three.npy || fail "the vectors depend on the labels"
"$TRIPLINE" encode model/onnx/model.onnx test.csv --out four.npy > /dev/null
cmp one.npy four.npy || fail "the .onnx itself is another model"

"$TRIPLINE" inspect backbone --json > inspect.json
[ "$(wc -l < inspect.json)" = 1 ] || fail "inspect --json: not one line"
"$TRIPLINE" inspect backbone > inspect.txt
grep -q 'last_hidden_state' inspect.txt || fail "inspect: the cut"

# Tables for people, and a header row that may stand in any order.
fit table --epochs 1 2> table.log > table.txt
grep -q 'the model is in table' table.txt || fail "fit without --eval: $(cat table.txt)"
fit profiled --epochs 1 --profile > profiled.txt 2> profiled.log
grep -q '^linear  *forward' profiled.txt || fail "--profile: $(cat profiled.txt profiled.log)"
cmp table/onnx/model.onnx profiled/onnx/model.onnx || fail "--profile changes what is trained"
fit profiled --force --epochs 2 --profile --json > profiled.json 2> profiled.log
grep -q '"profile":{"kernels":\[{' profiled.json || fail "--profile --json: $(cat profiled.json profiled.log)"
awk -F, 'BEGIN { print "label,text" } { print $2 "," $1 }' test.csv > header.csv
"$TRIPLINE" encode model header.csv --out five.npy > /dev/null
cmp one.npy five.npy || fail "a header is not understood"
# Scored pairs: with a header, or asked for; fit measures what eval measures.
awk -F, 'BEGIN { print "text,text,score" } { if (NR % 2) { t = $1; l = $2 } else print t "," $1 "," ($2 == l) + NR % 3 }' \
    train.csv > scored.csv
tail -n +2 scored.csv > bare.csv
fit scored --train scored.csv --eval scored.csv --set learning_rate=1e-3 --json > fit.json \
    2> fit.log || [ $? = 3 ] || fail "fit on scored pairs: $(cat fit.log)" # 3: it got worse
"$TRIPLINE" eval backbone bare.csv --columns text,text,score --json > eval.json
for key in spearman pearson; do
    grep -o '"before":{[^}]*}' fit.json > half.json
    [ -n "$(number eval.json $key)" ] && [ "$(number eval.json $key)" = "$(number half.json $key)" ] ||
        fail "$key: $(cat eval.json half.json)"
done
[ "$(number eval.json pairs)" = 40 ] || fail "pairs"
"$TRIPLINE" eval scored scored.csv > eval.txt
grep -q '^spearman ' eval.txt || fail "eval without --json: $(cat eval.txt)"
# What got worse says so, and the untrained model beside it is what was measured before.
status=0
fit bad --eval test.csv --epochs 1 --set learning_rate=10 --set warmup=0 --json > fit.json 2> fit.log || status=$?
[ $status = 3 ] || fail "a model that got worse: status $status: $(cat fit.log)"
grep -q 'IT GOT WORSE: map_at_k fell from .* in bad.untrained$' fit.log || fail "$(cat fit.log)"
grep -q '"untrained":"bad.untrained"' fit.json || fail "fit --json: $(cat fit.json)"
grep -o '"before":{[^}]*}' fit.json > half.json
"$TRIPLINE" eval bad.untrained test.csv --json > eval.json
[ "$(number eval.json map_at_k)" = "$(number half.json map_at_k)" ] || fail "the untrained model: $(cat eval.json half.json)"
"$TRIPLINE" fit --local --train train.csv --model backbone --check-determinism --json > check.json 2> check.log
grep -q '"equal":true' check.json || fail "--check-determinism: $(cat check.json check.log)"
echo "fit, eval, encode and inspect agree"
