#!/bin/bash
# errors.sh TRIPLINE: every bad input ends with one line that says what is wrong, the status that
# docs/cli.md lists, and nothing half-written.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/world.sh"

bad() { # bad STATUS TEXT COMMAND...: fails with this status, one line with this text, leaves nothing
    local status=0 want=$1 text=$2
    shift 2
    "$@" > out.txt 2> err.txt || status=$?
    [ "$status" = "$want" ] || fail "$*: status $status instead of $want: $(cat err.txt)"
    [ "$(grep -c '^tripline: ' err.txt)" = 1 ] || fail "$*: not one line: $(cat err.txt)"
    tail -1 err.txt | grep -qF -- "$text" || fail "$*: '$text' is not in: $(cat err.txt)"
    [ ! -s out.txt ] || fail "$*: wrote $(cat out.txt)"
    [ ! -e new ] && [ ! -e new.work ] && [ ! -e new.npy ] || fail "$*: left $(ls -d new*)"
}

# ---- documents
printf 'only text\nmore\n' > columns.csv
printf '"a b,label\n' > quote.csv
printf 'a\xff b,l\nc,m\n' > utf8.csv
: > empty.csv
printf 'a,l\nb,l\n' > one.csv
printf 'a,l\nb,m\nc,n\n' > singles.csv
printf 'a,l\n,m\n' > content.csv
printf 'a,l\nb,\n' > label.csv
bad 65 'columns.csv:1: 1 column' fit new --train columns.csv
bad 65 'quote.csv:1: a quote is opened' fit new --train quote.csv
bad 65 'utf8.csv:1: a byte that is not UTF-8' fit new --train utf8.csv
bad 65 'empty.csv: no documents' fit new --train empty.csv
bad 78 'two labels or more' fit new --train one.csv
bad 65 'single document' fit new --train singles.csv
bad 65 'content.csv:2: the content is empty' fit new --train content.csv
bad 65 'label.csv:2: the label is empty' fit new --train label.csv
bad 66 'missing.csv' fit new --train missing.csv
bad 65 'columns.csv:1' fit new --eval columns.csv
bad 65 'columns.csv:1' "$TRIPLINE" eval backbone columns.csv
bad 65 'utf8.csv:1' "$TRIPLINE" encode backbone utf8.csv --out new.npy

# ---- pairs
printf 'text,text,score\na,b,1\nc,d,\n' > score.csv
printf 'text,text,score\na,b,nan\n' > nan.csv
printf 'text,text,score\na,b,2e6\n' > range.csv
printf 'text,text,score\na,b\n' > missing-score.csv
printf 'a,b,1\nc,d,2\n' > bare.csv
printf 'text,text,score\na,b,1\nc,d,1\n' > equal.csv
printf 'text,text\na,b\nb,c\n' > joined.csv
{ echo 'text,text,score' && cat bare.csv; } > scored.csv
bad 65 "score.csv:3: score: ''" fit new --train score.csv --set loss=cosent
bad 65 "nan.csv:2: score: 'nan'" fit new --train nan.csv --set loss=cosent
bad 65 "range.csv:2: score: '2e6' is not a number from -1000000 to 1000000" "$TRIPLINE" eval backbone range.csv
bad 65 'missing-score.csv:2: 2 columns where 3 are expected, the score is missing' fit new --train missing-score.csv
bad 65 'bare.csv:1: 3 columns where 2' "$TRIPLINE" eval backbone bare.csv
bad 65 'test.csv:1: 2 columns where 3 are expected' "$TRIPLINE" eval backbone test.csv --columns text,text,score
bad 65 'no two different scores' "$TRIPLINE" eval backbone equal.csv
bad 64 '--columns' "$TRIPLINE" eval backbone test.csv --columns label,text
bad 78 'these are scored pairs: choose the loss cosent' fit new --train scored.csv --set loss=supcon
bad 78 'the loss cosent needs scored pairs' fit new --set loss=cosent
bad 78 'two labels or more' fit new --train joined.csv
bad 64 'multi-similarity has no margin' fit new --set margin=0.2
bad 64 'swap belongs to the loss triplet' fit new --set loss=supcon --set swap=true
bad 64 'takes no miner hard' fit new --set loss=contrastive --set miner=hard
bad 64 'semihard goes with easy or hard only' fit new --set loss=triplet --set miner=batch-easy-hard \
    --set pos_strategy=all
bad 64 'eval_steps needs held-out documents' fit new --set eval=none --set eval_steps=5

bad 64 'are for a run on the servers' fit new --dataset news
bad 64 'are for a run on the servers' fit new --min-gain 0.1
bad 64 'splits what was pushed' fit new --set eval=stratified
bad 64 'go with --local' "$TRIPLINE" fit --dataset news --backbone tiny --threads 2

# ---- backbones
spoiled() { # spoiled: a fresh copy to spoil
    rm -rf spoiled
    cp -r backbone spoiled
}
spoiled && truncate -s 30000 spoiled/model.onnx
for command in 'fit new --model spoiled' "$TRIPLINE eval spoiled test.csv" \
    "$TRIPLINE encode spoiled test.csv --out new.npy" "$TRIPLINE inspect spoiled"; do
    # shellcheck disable=SC2086
    bad 65 'not an ONNX file, or a damaged one' $command
done
spoiled && head -c 40000 /dev/urandom > spoiled/model.onnx
bad 65 'spoiled/model.onnx' fit new --model spoiled
spoiled && : > spoiled/model.onnx
bad 65 'spoiled/model.onnx' fit new --model spoiled
spoiled && rm spoiled/tokenizer.json
bad 66 'spoiled/tokenizer.json is missing' fit new --model spoiled
bad 66 'spoiled/tokenizer.json is missing' "$TRIPLINE" eval spoiled test.csv
spoiled && echo '{' > spoiled/tokenizer.json
bad 65 'spoiled/tokenizer.json' fit new --model spoiled
spoiled && cp "$GOLDEN/tokenizer_tiny.json" spoiled/tokenizer.json
bad 65 'do not belong together' fit new --model spoiled
bad 65 'do not belong together' "$TRIPLINE" encode spoiled test.csv --out new.npy
bad 66 'is it a backbone?' fit new --model .
bad 66 'nowhere' fit new --model nowhere

# ---- options
bad 64 "no parameter 'colour'" fit new --set colour=red
bad 64 'write NAME=VALUE' fit new --set colour
bad 64 'epochs' fit new --set epochs=x
bad 64 'epochs' fit new --epochs 0
bad 64 'pooling' fit new --set pooling=sum
bad 64 'freeze' fit new --set freeze=layers
bad 64 'learning_rate' fit new --set learning_rate=nan
bad 78 'zebra' fit new --set freeze=name:zebra
bad 78 'has 2 blocks' fit new --set freeze=layers:99
bad 64 'choose mean' fit new --set pooling=none
bad 64 '--train is missing' "$TRIPLINE" fit --local --model backbone --out new
bad 64 '--model is missing' "$TRIPLINE" fit --local --train train.csv --out new
bad 64 '--out is missing' "$TRIPLINE" fit --local --train train.csv --model backbone
bad 64 'too many words' fit new word
bad 64 'something is missing' "$TRIPLINE" eval backbone
bad 64 '--out is missing' "$TRIPLINE" encode backbone test.csv
bad 78 'nothing' "$TRIPLINE" inspect backbone --cut nothing

# ---- places
echo x > file
bad 73 'file is a file' fit file
bad 73 'file is a file' fit new --work file
bad 74 '/proc/no' fit /proc/no/such
bad 74 'no-such-folder' "$TRIPLINE" encode backbone test.csv --out no-such-folder/new.npy
mkdir mine && echo x > mine/thesis.tex
bad 73 'thesis.tex' fit mine
[ "$(ls mine)" = thesis.tex ] || fail "mine holds $(ls mine)"
fit model --epochs 1 > /dev/null 2>&1
before=$(sha256sum < model/manifest.json)
bad 73 'another run' fit model --epochs 2
[ "$before" = "$(sha256sum < model/manifest.json)" ] || fail "the refused run touched the model"
fit model --epochs 2 --force > /dev/null 2>&1 || fail "--force was refused"

user=(setpriv --reuid=65534 --regid=65534 --clear-groups --)
if [ "$(id -u)" = 0 ] && "${user[@]}" "$TRIPLINE" --version > /dev/null 2>&1; then
    mkdir closed
    bad 74 'permissions' "${user[@]}" "$TRIPLINE" fit --local --train train.csv --model backbone \
        --out closed --work /dev/null
    bad 74 'permissions' "${user[@]}" "$TRIPLINE" fit --local --train train.csv --model backbone \
        --out new
    bad 74 'permissions' "${user[@]}" "$TRIPLINE" encode backbone test.csv --out new.npy
fi

# ---- a full disk: files that may not grow, and where it may be mounted a small one
limited() (
    ulimit -f 30 # KiB
    "$@"
)
bad 74 'writing' limited fit new
printf 'a,l\nb,m\n' > many.csv
for _ in $(seq 12); do cat many.csv many.csv > more.csv && mv more.csv many.csv; done
bad 74 'new.npy' limited "$TRIPLINE" encode backbone many.csv --out new.npy
small() { # runs a command beside a disk of 200 KiB at ./small; whole checkpoints may stay on it
    unshare -m bash -c 'mount -t tmpfs -o size=200k none small && shift && "$@"; s=$?
        left=$(find small -mindepth 1 ! -name new.work ! -name "step-*.ckpt")
        [ -z "$left" ] || { echo "left: $left" >&2; exit 99; }; exit $s' - "" "$@"
}
mkdir small
if [ "$(id -u)" = 0 ] && unshare -m mount -t tmpfs none small 2> /dev/null; then
    bad 74 'free some space' small "$TRIPLINE" fit --local --train train.csv --model backbone \
        --out small/new
    bad 74 'free some space' small "$TRIPLINE" encode backbone many.csv --out small/new.npy
fi
echo "every bad input was refused in one line"
