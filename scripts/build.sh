#!/bin/bash
# build.sh [--dir DIR] [--configure] [-DNAME=VALUE...] [TARGET...]: configures when needed, then builds
# (not with --configure).
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need cmake ninja

dir=$ROOT/build
options=()
targets=()
configure_only=
while [ $# -gt 0 ]; do
    case $1 in
    --dir) dir=${2:?--dir needs a folder}; shift ;;
    --configure) configure_only=1 ;;
    -D*) options+=("$1") ;;
    -*) die -64 "unknown option '$1'" ;;
    *) targets+=("$1") ;;
    esac
    shift
done

# Ninja configures again by itself when a CMakeLists.txt changes; a tree that moved, another cache or
# other options are what it cannot see.
settings="$ROOT|$CACHE|${options[*]}"
if [ ! -e "$dir/build.ninja" ] || [ "$(cat "$dir/.settings" 2>/dev/null)" != "$settings" ]; then
    if [ -e "$dir/CMakeCache.txt" ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$ROOT" "$dir/CMakeCache.txt"; then
        rm -rf "$dir/CMakeCache.txt" "$dir/CMakeFiles"
    fi
    cmake -S "$ROOT" -B "$dir" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -UDNNL_\* -DTRIPLINE_CACHE="$CACHE" "${options[@]}" >&2
    printf '%s' "$settings" >"$dir/.settings"
fi
[ -z "$configure_only" ] || exit 0
cmake --build "$dir" -j "$(jobs_count)" ${targets:+--target "${targets[@]}"} >&2
