#!/bin/bash
# seeds.sh SIM SEEDS-FILE: a fixed set of seeds, those that found something once, a slice by chance
# (TRIPLINE_SIM_SLICE=N seeds, 0: none; TRIPLINE_SIM_FROM=S: not by chance); then defects that have to be found.
set -euo pipefail
sim=$1
file=$2
slice=${TRIPLINE_SIM_SLICE:-120}
from=${TRIPLINE_SIM_FROM:-$((10000000 + $(od -An -N4 -tu4 /dev/urandom)))}
failed=0
run() { # run WHAT OPTIONS...: no promise may be broken
    local what=$1 seed
    shift
    if out=$("$sim" "$@" 2>/dev/null); then
        echo "$what: $(head -1 <<<"$out")"
        return
    fi
    echo "$what: sim $*"
    echo "$out"
    failed=1
    seed=$(sed -n 's/^violation: seed //p' <<<"$out")
    [ -n "$seed" ] || return 0
    echo "once more, with the few faults that are enough: ./dev sim --seed $seed"
    echo "to keep it: a line '$seed what it found' in tests/sim/seeds.txt"
}
must_find() { # must_find DEFECT SEEDS
    if "$sim" --seeds "$2" --jobs 2 --defect "$1" >/dev/null 2>&1; then
        echo "the defect $1 is not found in $2 seeds"
        failed=1
    else
        echo "the defect $1 is found"
    fi
}
run "fixed set, each twice" --seeds 24 --jobs 2 --twice
while read -r seed _; do
    case $seed in '#'* | '') continue ;; esac
    run "once found something" --seeds 1 --from "$seed"
done <"$file"
if [ "$slice" -gt 0 ]; then
    run "by chance, from $from" --seeds "$slice" --from "$from" --jobs 2
fi
must_find ingest.commits-first 20
must_find ingest.overwrites 20
must_find ingest.missing-early 20
must_find ingest.copies-later 20
must_find ingest.chain-not-reread 20
must_find ingest.begins-unclosed 20
must_find intake.commits-first 40
must_find intake.no-marker 20
must_find worker.attempt-overwrites 20
must_find publish.not-fenced 60
must_find publish.reads-before-fence 300
must_find publish.pending-kept 20
exit "$failed"
