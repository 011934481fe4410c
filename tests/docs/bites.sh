#!/bin/bash
# bites.sh ROOT BIN JSON: each test of the pages fails on a page that is wrong in its way, in a copy.
set -euo pipefail
root=${1:?the root of the tree}
bin=${2:?the folder of the programs}
json=${3:?the program that reads JSON}
[ -x "$bin/tripline" ] && [ -x "$bin/tripline-ingest" ] || { echo "the programs are not built"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0

fresh() {
    rm -rf "$work/tree"
    mkdir "$work/tree"
    for name in "$root"/*; do
        case ${name##*/} in
        docs | README.md | ingest) cp -r "$name" "$work/tree/" ;;
        *) ln -s "$name" "$work/tree/" ;;
        esac
    done
    cd "$work/tree"
}
bites() { # bites FILE SED TEST ARGUMENTS...
    local file=$1 change=$2
    shift 2
    fresh
    sed -i "$change" "$file"
    if cmp -s "$file" "$root/$file"; then echo "$file: '$change' changes nothing" >&2; bad=1; fi
    if "$root/tests/docs/$1.sh" "$work/tree" "${@:2}" >/dev/null 2>&1; then
        echo "$1.sh lets pass: $change" >&2
        bad=1
    fi
}

bites README.md 's#(docs/engine.md)#(docs/engines.md)#' links
bites docs/operations.md 's/#exit-status/#exit-states/' links
bites docs/operations.md 's#`platform/base/err.h`#`platform/base/error.h`#' links
bites docs/operations.md 's/^| `tripline_trainer_steps_total`/| `tripline_trainer_step_total`/' names
bites ingest/place.c 's/"chain.ahead"/"chain.behind"/' names
bites docs/protocol.md 's/chain.pml: all_taken/chain.pml: all_given/' promises
bites docs/protocol.md 's/`runs.pml: remembered`, //' promises
bites docs/protocol.md 's/check_chain.c: is lost/check_chain.c: is found/' promises
bites docs/protocol.md 's/oracle.c: nobody sent that record/oracles.c: nobody sent that record/' promises
bites docs/protocol.md 's/`watch.c: was changed`, `watch.c: is gone`/`watch.c: was changed`/' promises
bites docs/protocol.md 's/`unit.ingest.ingest_test.c: test_zombie_loses`/`unit\/ingest\/ingest_test.c: test_zombie_wins`/' promises
bites docs/protocol.md "s/- \`open.\` is not read there/-/" promises
bites docs/protocol.md '/^| `BUG_NO_SWEEP`/d' promises
bites README.md 's/--follow --pull/--follows --pull/' commands "$bin"
bites README.md 's/^tripline watch/tripline watched/' commands "$bin"
bites README.md 's#^./dev up#./dev upp#' commands "$bin"
bites docs/operations.md 's/^brokers = /broker = /' snippets "$bin" "$json"
bites docs/cli.md 's/"Version": "2012-10-17",/"Version": "2012-10-17"/' snippets "$bin" "$json"
bites README.md 's/encode model in.csv/encode model no.csv/' tour "$bin"
exit $bad
