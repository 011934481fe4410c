#!/bin/bash
# verdicts.sh TRIPLINE INGEST READ_TOPIC: what `validate` says of a file of odd documents is what ingest says of
# the same bytes as messages: the same ones, the same code, reason and position; the partition reaches its end.
set -euo pipefail
. "${BASH_SOURCE[0]%/*}/owner.sh"

many() { head -c "$2" /dev/zero | sed "s/\\x0/$1/g"; } # many TEXT COUNT
sent=0
row() { # row REST: a document without its brace; the key of its message is its id
    sent=$((sent + 1))
    printf '%b\n' "{\"id\":\"d$sent\",$1" >>"$work/docs.jsonl"
}

for value in NaN -Infinity 1e999 -0 1.0 "$(many 1 100000)" "0.$(many 1 100000)" 9223372036854775807 \
    9223372036854775808 null true '{}' '[1,2]' '""' '" "' "\"$(many l 1024)\"" "\"$(many l 1025)\""; do
    row "\"text\":\"x\",\"label\":$value}"
done
for meta in NaN 1e-400 1e99999 "$(many 7 100000)" "$(many '[' 22)$(many ']' 22)" "$(many '[' 24)$(many ']' 24)" \
    "$(many '[' 100000)" '{"a":1,"a":2}' '{"a":1,"\\\\u0061":2}' '"\\\\ud800"' '"a\\\\u0000b"' '"\x01"' '"\0000"'; do
    row "\"text\":\"x\",\"label\":1,\"meta\":$meta}"
done
for bytes in '\xc3' '\xed\xa0\x80' '\xc0\x80' '\xff' '\xf4\x90\x80\x80' '\xf0\x9f\x98\x80' '\xef\xbb\xbf' '\x7f'; do
    row "\"label\":1,\"text\":\"a${bytes}b\"}"
done
part='{"modality":"a","text":"x"}'
for rest in '"label":1}' '"text":"x"}' '"label":1,"text":""}' '"label":1,"label":2,"text":"x"}' '"label":1,"text":"x"' \
    '"label":1,"text":"x"} x' '"label":1,"text":"x"}{}' '"label":1,"text":"x"}\0000' '"label":1,"finetuner_label":1,"text":"x"}' \
    '"label":1,"text":"x","split":"test"}' '"label":1,"text":"x","new":[1,{"a":null}]}' '"label":1,"text":"x","score":1}' \
    '"label":1,"text":"x","uri":"owners/other/x"}' '"label":1,"uri":"owners/other/x"}' '"label":1,"uri":"http://a/x"}' \
    "\"label\":1,\"uri\":\"owners/$owner/../other/x\"}" "\"label\":1,\"uri\":\"owners/$owner-two/x\"}" \
    "\"label\":1,\"parts\":[]}" "\"parts\":[$part,$part],\"score\":0.5}" "\"parts\":[$part,$part],\"score\":NaN}" \
    "\"label\":1,\"parts\":[$(many "$part," 64)$part]}" '"label":1,"points":[[1,2,3],[1,2]]}' \
    '"label":1,"tensor":{"shape":[4294967296,4294967296],"dtype":"float64","data":"AA=="}}' \
    '"label":1,"tensor":{"shape":[2],"dtype":"uint8","data":"AA=="}}' '"label":1,"image":"AAAA"}' '"label":1,"image":"!!"}'; do
    row "$rest"
done
[ "$(wc -l <"$work/docs.jsonl")" = $sent ] || die "a document has a line break"

rc=0
"$tripline" validate "$work/docs.jsonl" --json >"$work/validated" || rc=$?
[ $rc = 65 ] || die "validate: status $rc"
# "line code reason" of each; a line's number is its document's, d1, d2, ...
sed 's/{"code"/\n&/g' "$work/validated" | sed -n 's/^{"code":"\([A-Z_]*\)","field":[^,]*,"line":\([0-9]*\),"reason":\(".*"\)}.*/d\2 \1 \3/p' >"$work/offline"
[ "$(wc -l <"$work/offline")" -gt 40 ] || die "validate refused only $(wc -l <"$work/offline")"
grep -q "\"refused\":$(wc -l <"$work/offline")" "$work/validated" || die "$(head -c 2000 "$work/validated")"

start_ingest
"$read_topic" --lines "$docs" "$work/docs.jsonl"
"$tripline" push news "$work/good.jsonl" >/dev/null 2>&1
for i in $(seq 300); do
    ! grep -q "\"next\":$((sent + 4))," "$work/log" || break
    sleep 0.2
done
grep -q "\"next\":$((sent + 4))," "$work/log" || die "the partition stopped: $(tail -3 "$work/log")"
"$tripline" rejected news --json >"$work/rejected"
sed -n 's/^{"code":"\([A-Z_]*\)","reason":\(".*"\),"topic":"[^"]*","partition":"0","offset":"[0-9]*","key":"\(d[0-9]*\)".*/\3 \1 \2/p' "$work/rejected" |
    sort -u >"$work/online"
sort -u "$work/offline" | diff - "$work/online" >"$work/diff" || die "validate (<) and ingest (>) differ: $(cut -c1-300 "$work/diff")"
stop_ingest
