#!/bin/bash
# docs_settings.sh write|check FILE BIN: the settings tables of docs/operations.md, from what the programs
# in BIN print. They stand between the lines `<!-- settings: begin -->` and `<!-- settings: end -->`.
set -euo pipefail
action=${1:?write or check}
file=${2:?a page}
bin=${3:?the folder of the programs}
programs=(trainer ingest publisher client)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for p in "${programs[@]}"; do
    name=tripline-$p
    if [ "$p" = client ]; then name=tripline; fi
    "$bin/$name" --print-config-page >"$work/$name"
done

# A section is shown once, with the defaults of the first program that has it; what the others default
# to stands in a list behind.
tables() {
    (cd "$work" && awk -F' [|] ' '
        /^### / { section = $0; next }
        /^[|] `/ {
            key = substr($1, 3)
            if (!(key in first)) {
                first[key] = $3
                if (!(section in rows)) order[++sections] = section
                rows[section] = rows[section] $0 "\n"
            } else if ($3 != first[key]) {
                others = others "| " key " | `" FILENAME "` | " $3 " |\n"
            }
        }
        END {
            for (i = 1; i <= sections; i++) {
                print order[i] "\n"
                print "| key | type | default | allowed | environment | meaning |"
                print "| --- | --- | --- | --- | --- | --- |"
                print rows[order[i]]
            }
            print "### Where a program has another default\n"
            print "| key | program | default |\n| --- | --- | --- |"
            printf "%s", others
        }' tripline-trainer tripline-ingest tripline-publisher tripline)
}

tables >"$work/tables"
awk -v tables="$work/tables" '
    /^<!-- settings: end -->$/ { inside = 0; ended = 1 }
    !inside { print }
    /^<!-- settings: begin -->$/ {
        inside = 1
        print ""
        while ((getline line < tables) > 0) print line
        print ""
    }
    END { if (!ended) exit 1 }' "$file" >"$work/page" || {
    echo "docs_settings.sh: $file has no lines '<!-- settings: begin -->' and '<!-- settings: end -->'" >&2
    exit 65
}
case $action in
write) cmp -s "$work/page" "$file" || cp "$work/page" "$file" ;;
check)
    diff -u "$file" "$work/page" >&2 || {
        echo "docs_settings.sh: $file is not what the programs print: ./dev docs writes it anew" >&2
        exit 1
    }
    ;;
*)
    echo "docs_settings.sh: '$action'? write or check" >&2
    exit 64
    ;;
esac
