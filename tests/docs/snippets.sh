#!/bin/bash
# snippets.sh ROOT BIN JSON: JSON in the pages is well-formed (the program JSON says so), and a block of
# settings, whose first line names its program, is taken by that program.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "${1:?the root of the tree}"
bin=${2:?the folder of the programs}
json=${3:?the program that reads JSON}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

count=0
for page in $(pages); do
    rm -rf "$work"/*
    mkdir "$work/json" "$work/ini"
    blocks "$page" json "$work/json"
    blocks "$page" ini "$work/ini"
    for snippet in "$work"/json/* "$work"/ini/*; do
        [ -e "$snippet" ] || continue
        count=$((count + 1))
        at=$page:${snippet##*/}
        if [[ $snippet == */json/* ]]; then
            "$json" <"$snippet" || complain "$at: this is not JSON"
            continue
        fi
        program=$(sed -nE '1s/^# (tripline-[a-z]+).*/\1/p' "$snippet")
        if [ -z "$program" ]; then
            complain "$at: the first line of settings names their program: # tripline-ingest"
        elif [ -x "$bin/$program" ]; then
            env -i "$bin/$program" --config "$snippet" --print-config >/dev/null ||
                complain "$at: $program does not take these settings"
        fi
    done
done
[ $count -gt 0 ] || complain "no snippets were found"
exit $bad
