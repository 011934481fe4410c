#!/bin/bash
# failpoints.sh ROOT BIN: the failpoints in the code, in the schedule of tests/chaos and in docs/development.md
# are the same; the programs that are installed have none.
set -euo pipefail
root=${1:?the root of the tree}
bin=${2:?the folder of the programs}
cd "$root"
code=$(grep -rhoE 'FAILPOINT\("[a-z.]+"\)' ingest trainer publisher | grep -oE '[a-z]+\.[a-z]+' | sort)
plan=$(sed -n '/ failpoints\[\] = {/,/^};/p' tests/chaos/faults_procs.c | grep -oE '[a-z]+\.[a-z]+' | sort)
page=$(sed -n '/^Failpoints/,/^$/p' docs/development.md | grep -oE '`[a-z]+\.[a-z]+`' | tr -d '`' | sort)
bad=0
same() { # same WHAT A B
    if [ "$2" != "$3" ]; then
        echo "failpoints: the code and $1 differ:" >&2
        diff <(echo "$2") <(echo "$3") >&2 || true
        bad=1
    fi
}
same "tests/chaos/faults_procs.c" "$code" "$plan"
same "docs/development.md" "$code" "$page"
for program in ingest trainer publisher; do
    [ -x "$bin/tripline-$program" ] && [ -x "$bin/chaos-$program" ] || { echo "the programs are not built"; exit 77; }
    if grep -q TRIPLINE_FAILPOINT "$bin/tripline-$program"; then
        echo "failpoints: $bin/tripline-$program has them" >&2
        bad=1
    fi
    grep -q TRIPLINE_FAILPOINT "$bin/chaos-$program" || { echo "failpoints: $bin/chaos-$program has none" >&2; bad=1; }
done
exit $bad
