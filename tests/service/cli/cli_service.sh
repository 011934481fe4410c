#!/bin/bash
# cli_service.sh TRIPLINE READ_TOPIC: the commands against real Kafka, S3 and Redis, no service running.
set -euo pipefail
tripline() { "$binary" "$@" 2>>"$work/log"; }
binary=$1
read_topic=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_CONFIG_HOME=$work/config TRIPLINE_PREFIX=cli-$RANDOM$RANDOM
unset TRIPLINE_PROFILE TRIPLINE_OWNER
owner=cli-$RANDOM$RANDOM
die() { echo "cli_service.sh: $*" >&2; tail -20 "$work/log" >&2; exit 1; }
says() { # says STATUS PATTERN COMMAND...
    local status=$1 pattern=$2 rc=0
    shift 2
    "$@" >"$work/out" 2>"$work/err" || rc=$?
    [ $rc = "$status" ] || die "$*: status $rc, not $status: $(cat "$work/err")"
    grep -qE -- "$pattern" "$work/err" "$work/out" || die "$*: no '$pattern': $(cat "$work/err" "$work/out")"
}

# an owner and a profile that only its owner reads
says 66 "owner create $owner" "$binary" login --owner "$owner"
tripline owner create "$owner" --json --write "$work/owner.conf" >"$work/owner.json"
grep -q "\"tripline:{$owner}:\"" "$work/owner.json" || grep -q "\"owners/$owner/\"" "$work/owner.json" || die "owner create: $(cat "$work/owner.json")"
[ "$(stat -c %a "$work/owner.conf")" = 600 ] || die "the owner's profile can be read by others"
says 0 "keeps its password" "$binary" owner create "$owner"
tripline login --owner "$owner" >/dev/null
[ "$(stat -c %a "$work/config/tripline/profile.conf")" = 600 ] || die "the profile can be read by others"

# the profile alone is enough; wrong secrets are named
(
    unset TRIPLINE_KAFKA TRIPLINE_REDIS TRIPLINE_S3_ENDPOINT TRIPLINE_S3_BUCKET TRIPLINE_REDIS_PASSWORD
    unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY TRIPLINE_REDIS_USERNAME
    says 0 "has no runs yet" "$binary" runs
)
says 77 "AWS_SECRET_ACCESS_KEY" env AWS_SECRET_ACCESS_KEY=wrong "$binary" runs
says 77 "redis: .*password" env TRIPLINE_REDIS_PASSWORD=wrong "$binary" login
says 69 "127.0.0.1:1" env TRIPLINE_S3_ENDPOINT=http://127.0.0.1:1 TRIPLINE_S3_DEADLINE=1s "$binary" runs

# the owner's Redis user reads its own keys and no other's
password=$(sed -n 's/^password = //p' "$work/owner.conf")
redis() { REDISCLI_AUTH=$password redis-cli -h "${TRIPLINE_REDIS%:*}" -p "${TRIPLINE_REDIS##*:}" --user "$owner" "$@" 2>&1; }
[ "$(redis hget "$TRIPLINE_PREFIX:{$owner}:run:x" state)" = "" ] || die "its own key: $(redis hget "$TRIPLINE_PREFIX:{$owner}:run:x" state)"
redis hget "$TRIPLINE_PREFIX:{$owner-two}:run:x" state | grep -q NOPERM || die "another owner's key is readable"
redis hset "$TRIPLINE_PREFIX:{$owner}:run:x" state x | grep -q NOPERM || die "its own key is writable"
redis eval 'return 1' 1 "$TRIPLINE_PREFIX:{$owner}:run:x" | grep -q NOPERM || die "a script may run"
redis keys '*' | grep -q NOPERM || die "keys may be listed"

# push: nothing is sent of a file with a bad line; an id stays in its partition; every partition is sealed
printf '{"label":"a","text":"one"}\n{"label":[]}\n' >"$work/bad.jsonl"
says 65 "bad.jsonl:2" "$binary" push news "$work/bad.jsonl"
says 66 "no dataset news" "$binary" fit --dataset news --backbone tiny
seq 1 500 | sed 's/.*/text &,l&/' >"$work/a.csv"
tripline push news "$work/a.csv" --partitions 3 --json >"$work/push.json"
grep -q '"documents":500,"partitions":3' "$work/push.json" || die "push: $(cat "$work/push.json")"
tripline push news "$work/a.csv" --split eval --json >/dev/null
"$read_topic" "$TRIPLINE_PREFIX.docs.$owner.news" >"$work/records"
[ "$(grep -c tripline-control=seal "$work/records")" = 6 ] || die "seals: $(grep -c seal "$work/records")"
[ "$(grep -vc tripline-control "$work/records")" = 1000 ] || die "records: $(wc -l <"$work/records")"
[ "$(awk '!/tripline-control/ { print $1, $2 }' "$work/records" | sort -u | wc -l)" = 500 ] || die "the same text has another id or partition"
for p in 0 1 2; do
    awk -v p=$p '$1 == p { last = $0 } END { exit last !~ /tripline-control=seal/ }' "$work/records" || die "partition $p does not end with a seal"
done

# a topic that push makes takes what a document may be; one that doesn't: the document is named (random
# letters: a batch is compressed)
{ echo 'text,label'; echo 'small,a'; head -c 2000000 /dev/urandom | base64 -w0; echo ',b'; } >"$work/large.csv"
tripline push huge "$work/large.csv" --json | grep -q '"documents":2,' || die "a large document"
"$read_topic" --make "$TRIPLINE_PREFIX.docs.$owner.large" max.message.bytes=1048588
says 65 "large.csv:3: Kafka does not take so much .[0-9]* bytes.*max.message.bytes of $TRIPLINE_PREFIX.docs.$owner.large" "$binary" push large "$work/large.csv"

# backbones: once, for ever
mkdir -p "$work/tiny/onnx"
cp tests/golden/engine/bert-new.onnx "$work/tiny/onnx/model.onnx"
cp tests/golden/tokenizer_tiny.json "$work/tiny/tokenizer.json"
says 66 "no backbone tiny" "$binary" fit --dataset news --backbone tiny
tripline backbone push tiny "$work/tiny" >/dev/null
says 0 "was there" "$binary" backbone push tiny "$work/tiny"
echo >>"$work/tiny/tokenizer.json"
says 73 "choose another name" "$binary" backbone push tiny "$work/tiny"
says 66 "tokenizer|model" "$binary" backbone push empty "$work/config"

# a job is sent; nobody takes it
tripline fit --dataset news --backbone tiny --name r1 --json | grep -q '"run":"r1"' || die "fit"
"$read_topic" "$TRIPLINE_PREFIX.jobs.$owner" | grep -q '^0 r1 .*"dataset":"news"' || die "no job message"
says 75 "has not ended within 1 s" "$binary" cancel r1 --wait 1
says 75 "nobody has accepted such a run" "$binary" cancel r2 --wait 1
says 64 "reason: 500 bytes, at most 400" "$binary" cancel r1 --reason "$(printf '%500s' x)"
says 66 "no run r1" "$binary" status r1
says 66 "has not ended" "$binary" pull r1 "$work/r1"
[ ! -e "$work/r1" ] || die "a pull left something"
says 0 "no rejected documents" "$binary" rejected news
says 66 "has no dataset new: there is no topic" "$binary" rejected new
says 66 "has no dataset new" "$binary" rejected new --out "$work/refused"
[ ! -e "$work/refused" ] || die "a file without a dataset"
says 64 "needs a file" "$binary" rejected news --out /dev/null
says 74 "No such file" "$binary" rejected news --out "$work/none/file"
[ -z "$(tripline watch --all --no-wait)" ] || die "there is an event"
