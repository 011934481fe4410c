#!/bin/bash
# chaos.sh [--minutes N] [--seed S] [--defect NAME]: real servers and the built programs, killed, stopped
# and starved for N minutes (5); then every acknowledged record and job is accounted for. Exit 1: a violation,
# whose log and folder stay.
# --defect: the programs have a planted defect (ingest.forgets, publish.again), which must be found.
# TRIPLINE_CHAOS_BUILD names a build that is there already.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
build=${TRIPLINE_CHAOS_BUILD:-}
if [ -z "$build" ]; then
    build=$ROOT/build
    "$ROOT/scripts/setup.sh"
    "$ROOT/scripts/build.sh" chaos
fi

# A full disk is a small file system: who may not mount one does so in a namespace of his own.
space=(unshare --user --map-current-user --keep-caps --mount)
if [ "$(id -u)" != 0 ] && [ -z "${TRIPLINE_CHAOS_SPACE:-}" ] && "${space[@]}" true 2>/dev/null; then
    TRIPLINE_CHAOS_BUILD=$build TRIPLINE_CHAOS_SPACE=1 exec "${space[@]}" "$0" "$@"
fi

folder=$(mktemp -d "${TMPDIR:-/tmp}/tripline-chaos-XXXXXX")
clean_up() { # also after a death of the driver: its programs die with it, its servers do not
    "$ROOT/scripts/servers.sh" kill "$folder/servers" >/dev/null 2>&1 || true
    umount -l "$folder/trainer-1" 2>/dev/null || true
}
trap clean_up EXIT
trap 'exit 130' INT TERM

cd "$ROOT"
rc=0
"$build/bin/chaos" --programs "$build/bin" --scripts "$ROOT/scripts" --folder "$folder" "$@" || rc=$?
clean_up
if [ $rc = 0 ]; then
    rm -rf --one-file-system -- "$folder"
else
    rm -rf --one-file-system -- "$folder/servers/kafka" "$folder/servers/settings"
    say "chaos: logs and objects stay in $folder"
fi
exit $rc
