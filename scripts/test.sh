#!/bin/bash
# test.sh [--sanitize asan|tsan] [CTEST ARGUMENTS...]: setup, build, tests; then where the time went
# and, last, ctest's summary.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

dir=$ROOT/build
options=()
if [ "${1:-}" = --sanitize ]; then
    dir=$ROOT/build-$2
    options=("-DTRIPLINE_SANITIZE=$2")
    # what an uninstrumented library does among its own threads is not ours to judge
    export TSAN_OPTIONS=suppressions=$ROOT/scripts/tsan.supp:halt_on_error=1:second_deadlock_stack=1
    export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1
    export UBSAN_OPTIONS=print_stacktrace=1
    if [ "$2" = tsan ]; then export OMP_NUM_THREADS=1; fi
    shift 2
fi

began=$(now_ms)
"$ROOT/scripts/setup.sh"
set_up=$(now_ms)
"$ROOT/scripts/build.sh" --dir "$dir" "${options[@]}"
built=$(now_ms)

row() { printf '  %-22s %8s s   %s\n' "$@"; }
where_the_time_went() { # reads the end of ctest's output
    local line
    echo "Where the time went"
    row setup "$(seconds $((set_up - began)))" ""
    row build "$(seconds $((built - set_up)))" ""
    while IFS= read -r line; do
        if [[ $line =~ ^([a-z0-9_-]+)\ +=\ +([0-9.]+)\ sec\*proc\ \(([0-9]+)\ test ]]; then
            row "tests: ${BASH_REMATCH[1]}" "$(printf '%.1f' "${BASH_REMATCH[2]}")" \
                "${BASH_REMATCH[3]} tests, summed over processes"
        fi
    done
    row "tests, wall" "$(seconds $((tested - built)))" "$(jobs_count) at once"
    row total "$(seconds $((tested - began)))" ""
    echo
}

# Lines go through as they come until ctest's summary begins; that is kept for the end.
summary=$(mktemp)
trap 'rm -f "$summary"' EXIT
rc=0
(cd "$dir" && exec ctest --output-on-failure --no-tests=error -j "$(jobs_count)" "$@" 2>&1) | {
    in_summary=
    while IFS= read -r line; do
        if [[ $line =~ ^[0-9]+%\ tests\ passed ]]; then in_summary=1; fi
        if [ -n "$in_summary" ]; then printf '%s\n' "$line" >>"$summary"; else printf '%s\n' "$line"; fi
    done
} || rc=$?
tested=$(now_ms)
where_the_time_went <"$summary"
cat "$summary"
exit $rc
