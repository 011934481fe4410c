# Sourced by tests with the arguments TRIPLINE INGEST READ_TOPIC: a deployment of their own, with an owner, a
# dataset `news` of one partition, and an ingester.
set -euo pipefail
tripline=$1 ingest=$2 read_topic=$3
name=${0##*/} name=${name%.sh}
work=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT
export XDG_CONFIG_HOME=$work/config HOME=$work
export TRIPLINE_TRIPLINE_PREFIX=$name$RANDOM TRIPLINE_OWNER=$name$RANDOM
owner=$TRIPLINE_OWNER
docs=$TRIPLINE_TRIPLINE_PREFIX.docs.$owner.news

die() { echo "$name.sh: $*" >&2; exit 1; }
start_ingest() { # behind a document and a seal: offsets 0 and 1
    "$tripline" owner create "$owner" >/dev/null 2>&1
    printf '{"id":"good","label":"a","text":"hello"}\n' >"$work/good.jsonl"
    "$tripline" push news "$work/good.jsonl" --partitions 1 >/dev/null 2>&1
    "$ingest" --set http.address=127.0.0.1:0 --set ingest.segment_age=400ms 2>"$work/log" &
    pid=$!
}
stop_ingest() {
    kill "$pid"
    wait "$pid" || die "ingest ended with $?"
    pid=
}
