#!/bin/bash
# names.sh ROOT: docs/operations.md names every metric and every log event of the services, and none that
# is not there.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "${1:?the root of the tree}"
page=docs/operations.md
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
code=(ingest/*.c publisher/*.c trainer/*.c platform/proc/service.c)

metrics() { grep -ohE '"(tripline|process)_[a-z_]+"' "${code[@]}" | tr -d '"' | grep -v '^tripline_model$'; }
# the first dotted word of each call, or the first word of a log_error
events() {
    cat "${code[@]}" | tr '\n' ' ' |
        grep -oE '(log_event|log_error|part_failed)\([^;]*;' |
        sed -nE -e 's/^[^"]*"([a-z_]+\.[a-z_]+)".*/\1/p' -e 't' \
            -e 's/^log_event\(strcmp[^;]*"([a-z_]+\.[a-z_]+)", "reason".*/\1/p' -e 't' \
            -e 's/^log_error\("([a-z_]+)".*/\1/p'
}
section() { # section TITLE: the rows' first cells, from that heading to the next of its level
    awk -v title="## $1" '/^## / { on = $0 == title } on && /^[|] `/' "$page" |
        sed -E 's/^[|] ([^|]*) [|].*/\1/' | grep -oE '`[a-z_.]+`' | tr -d '`'
}
agree() { # agree WHAT CODE PAGE
    local name
    while IFS= read -r name; do complain "$page: no word of $1 $name"; done < <(comm -23 "$2" "$3")
    while IFS= read -r name; do complain "$page: the code has no $1 $name"; done < <(comm -13 "$2" "$3")
}

metrics | sort -u >"$work/metrics.code"
section Metrics | sort -u >"$work/metrics.page"
events | sort -u >"$work/events.code"
section "Log events" | sort -u >"$work/events.page"
[ -s "$work/metrics.code" ] && [ -s "$work/events.code" ] || complain "names.sh reads the code no more"
agree metric "$work/metrics.code" "$work/metrics.page"
agree event "$work/events.code" "$work/events.page"
exit $bad
