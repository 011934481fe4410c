#!/bin/bash
# A deployment that stays: real servers and Tripline's services, in one folder.
#   stack.sh up [--dir DIR]             installs, builds, starts what does not run; prints how to use it
#   stack.sh env [--dir DIR]            prints `export X=...` lines
#   stack.sh down [--dir DIR] [--wipe]  drains and stops; --wipe forgets all data too
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$ROOT/scripts/process.sh"

SERVICES=(ingest trainer publisher)
command=${1:?up, env or down}
shift
DIR=$STATE/dev
wipe=
while [ $# -gt 0 ]; do
    case $1 in
    --dir) DIR=$(realpath -m -- "${2:?--dir needs a folder}"); shift ;;
    --wipe) wipe=1 ;;
    *) die -64 "unknown argument '$1'" ;;
    esac
    shift
done
servers=$DIR/servers

up() {
    local name
    "$ROOT/scripts/setup.sh"
    "$ROOT/scripts/build.sh" tripline "${SERVICES[@]/#/tripline-}"
    mkdir -p "$DIR"
    chmod 700 "$DIR"
    exec 9>"$DIR/lock"
    flock -w 300 9 || die "another start or stop of $DIR does not end"
    "$ROOT/scripts/servers.sh" start "$servers" 9>&-
    . "$servers/env"
    for name in "${SERVICES[@]}"; do running "$name" || start_service "$name"; done
    for name in "${SERVICES[@]}"; do wait_ready "$name"; done
}

start_service() { # its settings are the environment's; metrics and health on a free port, kept in NAME.port
    pick_port >"$DIR/$1.port"
    TRIPLINE_HTTP_ADDRESS=127.0.0.1:$(cat "$DIR/$1.port") TRIPLINE_TRAINER_WORK=$DIR/trainer launch "$1" "$ROOT/build/bin/tripline-$1"
}

wait_ready() { # an ingest without any dataset yet has nothing to be ready for: it answers, that is enough
    local name=$1 until=$((SECONDS + 60)) answer
    while [ $SECONDS -lt $until ]; do
        if ! running "$name"; then
            tail -5 "$DIR/$name.log" >&2
            die "tripline-$name ended while starting; see $DIR/$name.log"
        fi
        answer=$(curl -s --noproxy '*' --max-time 2 "http://127.0.0.1:$(cat "$DIR/$name.port")/readyz" || true)
        case $answer in ok* | 'no partition is assigned'*) return 0 ;; esac
        sleep 0.1
    done
    die "tripline-$name was not ready within 60 s; see $DIR/$name.log"
}

print_env() {
    [ -e "$servers/env" ] || die "nothing runs in $DIR: ./dev up"
    cat "$servers/env"
    printf 'export PATH=%q:"$PATH"\n' "$ROOT/build/bin"
}

explain() {
    local name
    for name in "${SERVICES[@]}"; do
        if running "$name"; then
            printf '  %-10s process %s, http://127.0.0.1:%s/metrics, log %s\n' \
                "$name" "$pid" "$(cat "$DIR/$name.port")" "$DIR/$name.log"
        fi
    done
    cat <<TEXT

  eval "\$(./dev env)"                     the servers as shell variables, tripline in PATH
  tripline owner create acme              topics, rights and a place for an owner
  tripline login --owner acme             stores a profile, after trying it
  tripline backbone push minilm $CACHE/backbones/all-MiniLM-L6-v2 --operator
  tripline push intents train.csv
  tripline fit --dataset intents --backbone minilm --follow --pull model
  ./dev down                              stops all (--wipe: forgets all)
TEXT
}

down() {
    local i
    [ -d "$DIR" ] || return 0
    exec 9>"$DIR/lock"
    flock -w 300 9 || die "another start or stop of $DIR does not end"
    for ((i = ${#SERVICES[@]} - 1; i >= 0; i--)); do   # SIGTERM drains
        if [ -e "$DIR/${SERVICES[i]}.pid" ]; then end "${SERVICES[i]}" TERM 30; fi
    done
    "$ROOT/scripts/servers.sh" stop "$servers" 9>&-
    if [ -n "$wipe" ] && [ -e "$servers/settings" ]; then rm -rf --one-file-system -- "$DIR"; fi
}

case $command in
up)
    up
    say "Tripline runs; its folder is $DIR"
    explain
    ;;
env) print_env ;;
down) down ;;
*) die -64 "unknown command '$command'" ;;
esac
