#!/bin/bash
# commands.sh TRIPLINE: every command's help, and errors of people: their status, one line, what to do.
set -euo pipefail
tripline=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_CONFIG_HOME=$work/config HOME=$work
unset TRIPLINE_PROFILE TRIPLINE_OWNER TRIPLINE_KAFKA TRIPLINE_REDIS TRIPLINE_S3_ENDPOINT TRIPLINE_S3_BUCKET
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
failed=

complain() { echo "commands.sh: $*" >&2; failed=1; }

says() { # says STATUS PATTERN WORD...: the command ends so, with one line on stderr that matches
    local status=$1 pattern=$2 rc=0
    shift 2
    "$tripline" "$@" >"$work/out" 2>"$work/err" </dev/null || rc=$?
    [ $rc = "$status" ] || complain "tripline $*: status $rc, not $status: $(cat "$work/err")"
    [ "$(grep -c '^tripline: ' "$work/err")" = 1 ] || complain "tripline $*: not one line: $(cat "$work/err")"
    grep -qE -- "$pattern" "$work/err" || complain "tripline $*: no '$pattern' in: $(cat "$work/err")"
}

commands=$("$tripline" --help | awk '/^  [a-z]+ / { print $1 }')
[ "$(wc -w <<<"$commands")" -ge 16 ] || complain "--help lists only: $commands"
for c in $commands; do
    "$tripline" "$c" --help >"$work/help" 2>&1 || complain "$c --help fails"
    for word in usage: options: examples: "tripline $c"; do
        grep -qF "$word" "$work/help" || complain "$c --help has no '$word'"
    done
    grep -qF "\`$c" docs/cli.md || grep -qF "\`tripline $c" docs/cli.md || complain "docs/cli.md has no $c"
done
"$tripline" --version | grep -qE '^tripline [0-9]+\.' || complain "--version"
"$tripline" --print-config-page | grep -q 'kafka.brokers' || complain "--print-config-page"

says 64 "did you mean 'push'" psuh
says 64 "did you mean --split" push d f.csv --spilt eval
says 64 "something is missing" push d
says 64 "too many words" runs now
says 78 "tripline login" runs
says 78 "tripline login" push d README.md --format csv

printf 'hello,greeting\n' >"$work/ok.csv"
printf '\xff\xfe,greeting\n' >"$work/latin.csv"
printf '{"id":"1","label":[],"text":"x"}\n' >"$work/label.jsonl"
export TRIPLINE_OWNER=acme
"$tripline" push d "$work/ok.csv" --check 2>/dev/null | grep -q '1 documents' || complain "push --check"
says 65 "latin.csv:1: .*UTF-8" push d "$work/latin.csv" --check
says 65 "label.jsonl:1: label: expected a string or an integer" push d "$work/label.jsonl" --check
says 66 "missing.csv" push d "$work/missing.csv" --check
says 64 "is it CSV or JSON" push d "$work/out.bin" --check
says 64 "owner 'Acme'" push d "$work/ok.csv" --check --owner Acme
says 64 "dataset" push 'a.b' "$work/ok.csv" --check
says 64 "run 'A'" status A
says 66 "nothing.conf" runs --settings "$work/nothing.conf"

mkdir -p "$work/config/tripline"
printf '[kafka]\nbroker = x\n' >"$work/config/tripline/profile.conf"
says 78 "profile.conf:2: .*kafka.brokers" runs
printf '[kafka]\nbrokers = 127.0.0.1:1\n[s3]\nendpoint = http://127.0.0.1:1\nbucket = b\naccess_key = k\nsecret_key = s\ndeadline = 1s\n' \
    >"$work/config/tripline/profile.conf"
says 69 "127.0.0.1:1" runs
says 64 "go with --local" fit --train x.csv
says 64 "--backbone is missing" fit --dataset d
says 64 "there is no parameter 'epoch'" fit --dataset d --backbone b --set epoch=3
says 64 "epochs" fit --dataset d --backbone b --set epochs=0

# a full disk: results can't be printed
if [ -w /dev/full ]; then
    rc=0
    "$tripline" --print-example-config >/dev/full 2>"$work/err" || rc=$?
    [ $rc = 74 ] && grep -q 'space' "$work/err" || complain "a full disk: status $rc, $(cat "$work/err")"
fi
[ -z "$failed" ]
