#!/bin/bash
# promises.sh ROOT: docs/protocol.md says of each promise who holds it. Every name in that table is one of its
# file: an invariant of a model, words of a verdict, a test; and the other way round, each invariant, each
# verdict of the simulation and of chaos belongs to a promise. The planted bugs of the page are those of the models.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "${1:?the root of the tree}"
page=docs/protocol.md
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
folders=(tests/model tests/sim tests/chaos tests) # of the columns behind the promise

invariants() { sed -nE -e 's/^ltl ([a-z_]+) .*/\1/p' "$@" && grep -ohE 'HOLDS\([a-z_]+,' "$@" | grep -oE '[a-z_]+'; }
verdicts() { # verdicts FILE: the words of each violation, one a line
    tr '\n' ' ' <"$1" | grep -oE '\b(world_)?violation\([^;]*;' | sed -E -e 's/"[[:space:]]+"//g' |
        sed -nE 's/^[^"]*"([^"]*)".*/\1/p' | grep -iE '[a-z]{3}' || true
}
has() { # has FILE NAME
    case $1 in
    *.pml) invariants "$1" | grep -xF -- "$2" ;;
    *_test.c | */suite.c) grep -E -- "^static void $2\(" "$1" ;;
    *) verdicts "$1" | grep -F -- "$2" ;;
    esac >/dev/null # all of it is read: grep -q would end the pipe early
}
held_by() { # held_by PROMISE CELL FOLDER: names, or a reason why there is none
    local names entry file name
    names=$(grep -oE '`[^`]+: [^`]+`' <<<"$2" | tr -d '`' || true)
    if [ -z "$names" ] && ! grep -qE '^ *- [a-z`].* .*' <<<"$2"; then complain "$page: $1: neither a name nor a reason in '$2'"; fi
    while IFS= read -r entry; do
        [ -n "$entry" ] || continue
        file=$3/${entry%%: *} name=${entry#*: }
        if [ ! -f "$file" ]; then
            complain "$page: $1: there is no $file"
        elif ! has "$file" "$name"; then
            complain "$page: $1: $file has no '$name'"
        fi
        printf '%s\n' "$name" >>"$work/${file//\//+}"
    done <<<"$names"
}
belongs() { # belongs FILE: each line of stdin is, or has in it, what a promise names of the file
    local line list=$work/${1//\//+}
    touch "$list"
    while IFS= read -r line; do
        case $1 in
        *.pml) grep -qxF -- "$line" "$list" ;;
        *) grep -qF -f "$list" <<<"$line" ;;
        esac || complain "$page: no promise names '$line' of $1"
    done
}
bugs() { grep -ohE '\bBUG_[A-Z0-9_]+' "$@" | sort -u; }

count=0
while IFS='|' read -r _ promise model sim chaos tests _; do
    count=$((count + 1))
    cells=("$model" "$sim" "$chaos" "$tests")
    promise=${promise%%:*}
    for i in 0 1 2 3; do held_by "${promise# }" "${cells[i]}" "${folders[i]}"; done
done < <(awk '/^## / { on = $0 == "## Promises" } on && /^[|] [A-Z][0-9]+:/' "$page")
[ "$count" -ge 20 ] || complain "$page: only $count promises were found"

for file in tests/model/{chain,topic,runs,publish}.pml; do belongs "$file" < <(invariants "$file" | sort -u); done
for file in tests/sim/{check_*,watch}.c tests/chaos/oracle*.c; do
    if [[ $file != *_test.c ]]; then belongs "$file" < <(verdicts "$file"); fi
done
diff <(bugs "$page" | grep -vx BUG_X) <(bugs tests/model/*.pml) >"$work/bugs" || complain "$page and the models differ in planted bugs: $(tr '\n' ' ' <"$work/bugs")"
exit $bad
