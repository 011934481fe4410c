#!/bin/bash
# rejected.sh TRIPLINE INGEST READ_TOPIC: refused documents are listed, written to a file, repaired and
# sent back, once; a second replay sends nothing; what its producer sent anew is left out.
set -euo pipefail
. "${BASH_SOURCE[0]%/*}/owner.sh"

eventually() { # eventually COMMAND...: within a minute
    local i
    for i in $(seq 300); do ! "$@" || return 0; sleep 0.2; done
    die "not within a minute: $*"
}
refused() { "$tripline" rejected news --json 2>/dev/null | grep -c '"reason"' || true; }
refused_are() { [ "$(refused)" = "$1" ]; }

start_ingest

# two that a producer of its own sends: no label, and a class that is a list
"$read_topic" --send "$docs" first '{"text":"no label"}'
"$read_topic" --send "$docs" second '{"label":["x"],"text":"a list"}'
eventually refused_are 2
"$tripline" rejected news --out "$work/file" | grep -q '^2 rejected' || die "--out says something else"
[ "$(wc -l <"$work/file")" = 2 ] || die "the file has $(wc -l <"$work/file") lines"
grep -q '"code":"FORMAT".*"key":"first".*"offset":2,"partition":0,"reason":"label: missing' "$work/file" || die "$(cat "$work/file")"

# as they are they would be refused again: said by line, and nothing is sent
rc=0
"$tripline" rejected news --replay "$work/file" 2>"$work/err" || rc=$?
[ $rc = 65 ] && grep -q 'file:1: label: missing' "$work/err" || die "status $rc: $(cat "$work/err")"
sed -i -e 's/\\"text\\":\\"no label\\"/\\"label\\":\\"b\\",\\"text\\":\\"no label\\"/' -e 's/\[\\"x\\"\]/\\"x\\"/' "$work/file"
"$read_topic" --send "$docs" second '{"label":"anew","text":"a list"}'
"$tripline" rejected news --replay "$work/file" --json | grep -qx '{"lines":2,"replayed_before":0,"sent":1,"superseded":1}' || die "the first replay"
"$tripline" rejected news --replay "$work/file" --json | grep -qx '{"lines":2,"replayed_before":1,"sent":0,"superseded":1}' || die "the second replay"
"$read_topic" "$docs" >"$work/all"
[ "$(grep -c 'tripline-replay=2 .*"label":"b"' "$work/all")" = 1 ] || die "$(cat "$work/all")"
sed 's/"topic":"[^"]*"/"topic":"other"/' "$work/file" >"$work/other"
! "$tripline" rejected news --replay "$work/other" 2>"$work/err" || die "another topic's file was sent"
grep -q "another dataset's" "$work/err" || die "$(cat "$work/err")"

# a position at which nothing was refused: behind the end, or a good document's
for offset in 99999999 0; do
    sed "s/\"offset\":3,/\"offset\":$offset,/" "$work/file" >"$work/moved"
    rc=0
    "$tripline" rejected news --replay "$work/moved" 2>"$work/err" || rc=$?
    [ $rc = 65 ] && grep -q "moved:2: offset: no copy of a refused message at partition 0, offset $offset is there: leave" "$work/err" || die "status $rc: $(cat "$work/err")"
done
"$read_topic" "$docs" | diff "$work/all" - >/dev/null || die "something was sent"

stop_ingest
refused_are 2 || die "a repaired one was refused again"
