#!/bin/bash
# seeds.sh SIM SEEDS-FILE: a fixed set of seeds and those that found something once; TRIPLINE_SIM_SLICE=N: and N
# by chance; then defects that have to be found at once.
set -euo pipefail
sim=$1
file=$2
failed=0
run() { # run WHAT OPTIONS...: no promise may be broken
    local what=$1
    shift
    if ! out=$("$sim" "$@"); then
        echo "$what: sim $*"
        echo "$out"
        failed=1
    else
        echo "$what: $(head -1 <<<"$out")"
    fi
}
must_find() { # must_find DEFECT SEEDS
    if "$sim" --seeds "$2" --defect "$1" >/dev/null; then
        echo "the defect $1 is not found in $2 seeds"
        failed=1
    else
        echo "the defect $1 is found"
    fi
}
run "fixed set, each twice" --seeds 12 --twice
while read -r seed _; do
    case $seed in '#'* | '') continue ;; esac
    run "once found something" --seeds 1 --from "$seed"
done <"$file"
if [ -n "${TRIPLINE_SIM_SLICE:-}" ]; then # so many more, chosen by chance
    slice=$((RANDOM * 32768 + RANDOM))
    run "random slice from $slice" --seeds "$TRIPLINE_SIM_SLICE" --from "$slice"
fi
must_find ingest.commits-first 20
must_find ingest.overwrites 20
must_find ingest.copies-later 20
must_find intake.commits-first 40
must_find intake.no-marker 20
exit "$failed"
