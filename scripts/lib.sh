# Sourced by every script here: where things are, and how to say that something is wrong.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${TRIPLINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tripline}
STATE=${XDG_STATE_HOME:-$HOME/.local/state}/tripline
PINS=$ROOT/scripts/pins
export TRIPLINE_CACHE=$CACHE
. "$PINS/versions.env"

say() { printf '%s\n' "$*" >&2; }
die() { # die [-STATUS] TEXT: one line that says what to do, then the status (1 unless given)
    local status=1
    case $1 in -[0-9]*) status=${1#-}; shift ;; esac
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit "$status"
}
need() { # need COMMAND...: each must be there
    local c
    for c; do command -v "$c" >/dev/null 2>&1 || die "'$c' is missing: run ./dev setup"; done
}
jobs_count() { # what make and ctest may use at once
    echo "${TRIPLINE_JOBS:-$(env -u OMP_NUM_THREADS nproc)}"   # nproc would obey it
}
now_ms() { local t=${EPOCHREALTIME/[.,]/}; echo $((t / 1000)); }
seconds() { # seconds MS: 12.3
    printf '%d.%d' $(($1 / 1000)) $(($1 % 1000 / 100))
}
