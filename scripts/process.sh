# Sourced: background processes of a folder DIR, each with NAME.pid and NAME.log there; free ports.

# A process is its id and its start time: an id alone may belong to somebody else by now.
start_time() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    set -- ${stat##*) }
    [ "$1" != Z ] && echo "${20}"
}
running() { # running NAME: sets `pid`
    local started
    pid=
    { read -r pid started <"$DIR/$1.pid"; } 2>/dev/null || return 1
    [ -n "$started" ] && [ "$(start_time "$pid")" = "$started" ]
}
launch() { # launch NAME COMMAND...: in a session of its own; a log of an earlier life is kept once
    local name=$1 p
    shift
    if [ -s "$DIR/$name.log" ]; then mv -f "$DIR/$name.log" "$DIR/$name.log.1"; fi
    : >"$DIR/$name.log"
    (cd "$DIR" && exec setsid "$@" >"$DIR/$name.log" 2>&1 </dev/null 9>&-) &
    p=$!
    echo "$p $(start_time "$p" || true)" >"$DIR/$name.pid"
}
end() { # end NAME SIGNAL [SECONDS]: SIGKILL after SECONDS, 10 unless given
    local i
    if running "$1"; then
        kill "-$2" "$pid" 2>/dev/null || true
        for ((i = 0; i < ${3:-10} * 20; i++)); do running "$1" || break; sleep 0.05; done
        if running "$1"; then
            say "$1: still there after ${3:-10} s, killed"
            kill -KILL "$pid" 2>/dev/null || true
            for ((i = 0; i < 100; i++)); do running "$1" || break; sleep 0.05; done
        fi
    fi
    rm -f "$DIR/$1.pid"
}

listening() { # a port of this machine that somebody listens on
    local hex
    printf -v hex ':%04X ' "$1"
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v h="$hex" '
        $4 == "0A" && index($2 " ", h) { found = 1 } END { exit !found }'
}
pick_port() { # below the range that the kernel hands out to clients
    local p
    while :; do
        p=$((10240 + (RANDOM * 32768 + RANDOM) % 22000))
        listening "$p" || { echo "$p"; return; }
    done
}
