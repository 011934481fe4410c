#!/bin/bash
# commands.sh ROOT BIN: every command that a page shows is one: `tripline CMD --option` in a block of shell or
# in `code` is known to that command's --help, `./dev WORD` to ./dev help, `tripline-SERVICE --option` to its.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "${1:?the root of the tree}"
bin=${2:?the folder of the programs}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ -x "$bin/tripline" ] || { echo "tripline is not built"; exit 77; }

"$bin/tripline" --help >"$work/help"
./dev help >"$work/dev.help"

# One command a line: continuation lines joined, comments cut, chains and substitutions taken apart.
commands_of() {
    {
        awk '/^ *```/ { on = !on && /```(sh|bash)$/; next } on' "$1" | sed -e ':a' -e '/\\$/N; s/\\\n//; ta'
        grep -oE '`[^`]+`' "$1" | tr -d '`'
    } | sed -E -e 's/(^|[[:space:]])#.*//' | sed -E -e 's/;|&&|\|\||\||"?\$\(|\)/\n/g' |
        sed -E -e 's/^[[:space:]]+//' -e 's/^(eval |exec )+"?//' -e 's/^([A-Z_]+=[^ ]* )+//' \
            -e 's/^build\/bin\///' | grep -E '^(tripline|\./dev)' || true
}

has_option() { # has_option HELP OPTION
    grep -qE -- "(^|[ ,])$2([ ,=]|\$)" "$1"
}
options_in() { # options_in PAGE HELP WORD...: of a command
    local page=$1 help=$2 word
    shift 2
    for word; do
        case $word in
        --) return 0 ;;
        --[a-z]* | -[a-zA-Z]) has_option "$help" "${word%%=*}" || complain "$page: ${line}: no option ${word%%=*}" ;;
        esac
    done
}
check_tripline() { # check_tripline PAGE COMMAND WORD...
    local page=$1 command=$2
    shift 2
    case $command in
    [A-Z\<]* | '') return 0 ;;   # a placeholder
    --*) options_in "$page" "$work/help" "$command"; return 0 ;;
    esac
    if ! grep -qE "^  $command " "$work/help"; then
        complain "$page: $line: no command '$command'"
        return 0
    fi
    [ -e "$work/$command" ] || "$bin/tripline" "$command" --help >"$work/$command"
    options_in "$page" "$work/$command" "$@"
}
check_dev() { # check_dev PAGE COMMAND WORD...
    local page=$1 command=${2:-}
    case $command in '' | [A-Z]* | help) return 0 ;; esac
    grep -qE "^  $command( |\$)" "$work/dev.help" || complain "$page: $line: no ./dev $command"
    grep -E -A1 "^  $command" "$work/dev.help" >"$work/dev.one"
    if grep -q '\[ARGS\]' "$work/dev.one"; then return 0; fi   # they go to another program
    options_in "$page" "$work/dev.one" "${@:3}"
}
check_service() { # check_service PAGE PROGRAM WORD...
    local page=$1 program=$2
    [ -x "$bin/$program" ] || return 0
    [ -e "$work/$program" ] || "$bin/$program" --help >"$work/$program"
    options_in "$page" "$work/$program" "${@:3}"
}

count=0
for page in $(pages); do
    while IFS= read -r line; do
        read -ra words <<<"$line"
        count=$((count + 1))
        case ${words[0]} in
        tripline) if [ ${#words[@]} -gt 1 ]; then check_tripline "$page" "${words[@]:1}"; fi ;;
        ./dev) check_dev "$page" "${words[@]:1}" ;;
        tripline-ingest | tripline-trainer | tripline-publisher) check_service "$page" "${words[@]}" ;;
        esac
    done < <(commands_of "$page")
done
[ "$count" -gt 20 ] || complain "only $count commands were found in the pages"
exit $bad
