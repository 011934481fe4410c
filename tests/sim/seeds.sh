#!/bin/bash
# seeds.sh SIM SEEDS-FILE: a fixed set of seeds; each seed of the file with the defect that it names, which it has
# to find, and without, when it has to be green; each defect of the program, which has to be in the file; a slice by
# chance (TRIPLINE_SIM_SLICE=N seeds, 0: none; TRIPLINE_SIM_FROM=S: not by chance); what shrinking leaves of a failure.
# seeds.sh --renew SIM SEEDS-FILE: each line's seed becomes the next from it on that finds its defect, and a defect that
# has no line gets one: after a change of the simulation, which gives seeds other stories.
set -euo pipefail
renew=
if [ "$1" = --renew ]; then renew=1; shift; fi
sim=$1
file=$2
slice=${TRIPLINE_SIM_SLICE:-120}
from=${TRIPLINE_SIM_FROM:-$((10000000 + $(od -An -N4 -tu4 /dev/urandom)))}
failed=0
most=10000 # seeds, for a defect

complain() { echo "$*"; failed=1; }
has_seed() { grep -q "^[0-9]* $1\( \|$\)" "$2"; } # has_seed DEFECT SEEDS-FILE
defects() { "$sim" --defect '' 2>&1 | sed -n 's/^defects: //p' | tr ' ' '\n'; }
run() { # run WHAT OPTIONS...: no promise may be broken
    local what=$1 seed
    shift
    if out=$("$sim" "$@" 2>/dev/null); then
        echo "$what: $(head -1 <<<"$out")"
        return
    fi
    complain "$what: sim $*"
    echo "$out"
    seed=$(sed -n 's/^violation: seed //p' <<<"$out")
    [ -n "$seed" ] || return 0
    echo "once more, with the few faults that are enough: ./dev sim --seed $seed"
    echo "to keep it: a line '$seed DEFECT what it found' in tests/sim/seeds.txt"
}
finds() { # finds SEED DEFECT
    [ "$("$sim" --seeds 1 --from "$1" --defect "$2" 2>/dev/null | sed -n 's/^violation: seed //p')" = "$1" ]
}
next_seed() { # next_seed SEED DEFECT: one from there on that finds the defect and is green without
    local seed=$1 end=$(($1 + most))
    while [ "$seed" -lt "$end" ]; do
        seed=$("$sim" --seeds $((end - seed)) --from "$seed" --defect "$2" 2>/dev/null | sed -n 's/^violation: seed //p')
        [ -n "$seed" ] || break
        if "$sim" --seeds 1 --from "$seed" >/dev/null 2>&1; then echo "$seed"; return; fi
        seed=$((seed + 1))
    done
    echo "seeds.sh: $2 is not found in $most seeds" >&2
    return 1
}
renew_all() {
    local seed defect what new
    new=$(mktemp)
    while read -r seed defect what; do
        case $seed in
        '#'*) ;;
        *) seed=$(next_seed "$seed" "$defect") || return 1 ;;
        esac
        echo "$seed $defect${what:+ $what}"
    done <"$file" >"$new"
    for defect in $(defects); do
        if has_seed "$defect" "$new"; then continue; fi
        seed=$(next_seed 1 "$defect") || return 1
        echo "$seed $defect" >>"$new"
    done
    cat "$new" >"$file"
    rm "$new"
}
words() { sed -E -e 's/^[0-9]+ s: //' -e 's/-two|[0-9]//g'; } # of a verdict, whatever it is about
# The faults that are left are few and break the same promise, in the replay with its trace, too.
shrinks() { # shrinks SEED DEFECT MOST
    local out few whole less traced
    out=$("$sim" --seed "$1" --defect "$2" 2>/dev/null) && complain "seed $1 is green with $2"
    few=$(sed -n 's/^[0-9]* faults, \([0-9]*\) of them are enough:$/\1/p' <<<"$out")
    [ -n "$few" ] && [ "$few" -le "$3" ] || complain "seed $1 with $2: ${few:-no} faults are left, not $3 at most"
    whole=$(sed -n "s/^seed $1: //p" <<<"$out" | head -1)
    less=$(sed -n "s/^seed $1, shrunk: //p" <<<"$out")
    traced=$(sed -n 's/^ *[0-9.]* VIOLATION //p' <<<"$out")
    [ "$(words <<<"$whole")" = "$(words <<<"$less")" ] || complain "seed $1 with $2: '$whole', shrunk '$less'"
    [ "$less" = "$traced" ] || complain "seed $1 with $2: '$less', in its trace '$traced'"
    echo "seed $1 with $2: ${few:-no} faults are enough for: $less"
}

if [ -n "$renew" ]; then renew_all; exit; fi
run "fixed set, each twice" --seeds 24 --jobs 2 --twice
found=0
while read -r seed defect _; do
    case $seed in '#'* | '') continue ;; esac
    "$sim" --seeds 1 --from "$seed" >/dev/null 2>&1 || run "without a defect" --seeds 1 --from "$seed"
    if finds "$seed" "$defect"; then
        found=$((found + 1))
    else
        complain "seed $seed does not find $defect any more: seeds.sh --renew"
    fi
done <"$file"
for defect in $(defects); do
    has_seed "$defect" "$file" || complain "no seed of $file finds $defect: seeds.sh --renew"
done
echo "$found seeds find their defect, and nothing without it"
shrinks "$(sed -n 's/^\([0-9]*\) intake.no-marker\b.*/\1/p' "$file" | head -1)" intake.no-marker 12
if [ "$slice" -gt 0 ]; then
    run "by chance, from $from" --seeds "$slice" --from "$from" --jobs 2
fi
exit "$failed"
