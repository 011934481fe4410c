#!/bin/bash
# tidy_bites.sh TIDY: plants files that break one habit each and expects exactly that finding.
set -euo pipefail
tidy=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0

# expect NAME PATH FINDING (empty: none) <FILE
expect() {
    local out
    rm -rf "$dir/tree"
    mkdir -p "$dir/tree/$(dirname "$2")"
    cat >"$dir/tree/$2"
    out=$("$tidy" "$dir/tree" | grep -v '^tidy: ' || true)
    if { [ -z "$3" ] && [ -n "$out" ]; } || { [ -n "$3" ] && [[ $out != *"$3"* ]]; }; then
        printf '%s: expected [%s], got [%s]\n' "$1" "$3" "$out"
        failures=1
    fi
}
body() { # a function of N lines
    echo 'int f(void)'
    echo '{'
    for ((i = 0; i < $1 - 4; i++)); do echo '    g();'; done
    echo '    return 0;'
    echo '}'
}

body 70 | expect 'seventy lines' ingest/a.c ''
body 71 | expect 'seventy-one lines' ingest/a.c 'ingest/a.c:1: a function of 71 lines'
body 71 | expect 'tests count too' tests/unit/a.c 'a function of 71 lines'
{ body 70; body 71; } | expect 'the second one' ingest/a.c 'ingest/a.c:71: a function of 71 lines'
{ echo 'static const int a[] = {'; for ((i = 0; i < 90; i++)); do echo '    1,'; done; echo '};'; } |
    expect 'a long table is no function' ingest/a.c ''
{ echo '#define A(x) \'; echo '    if (x) {'; body 70; } | expect 'an odd brace in a macro' ingest/a.c ''
{ echo '/* { */ // {'; echo "static const char *q = \"{\", c = '{';"; body 70; } |
    expect 'braces in comments and strings' ingest/a.c ''
{ echo 'extern "C" {'; body 71; echo '}'; } | expect 'inside extern "C"' trainer/engine/backend/cuda/a.cu 'a function of 71'

include() { echo "#include \"$1\""; }
include platform/bus/bus.h | expect 'a service uses a port' ingest/a.c ''
include ingest/segment.h | expect 'services do not meet' publisher/a.c 'an arrow that is not drawn'
include schemas/keys.h | expect 'the ground has no domain' platform/bus/a.c 'an arrow that is not drawn'
include platform/bus/bus.h | expect 'base is at the bottom' platform/base/a.c 'an arrow that is not drawn'
include trainer/engine/graph/graph.h | expect 'outsiders include engine.h' trainer/learn/a.c 'an arrow that is not drawn'
include trainer/engine/engine.h | expect 'outsiders include engine.h' trainer/learn/a.c ''
include trainer/engine/graph/graph.h | expect 'ops do not know graphs' trainer/engine/op/a.c 'an arrow that is not drawn'
include trainer/engine/backend/backend.h | expect 'the planner knows what a backend is' trainer/engine/graph/a.c ''
include trainer/engine/backend/cpu/cpu.h | expect 'and no backend' trainer/engine/graph/a.c 'an arrow that is not drawn'
include platform/bus/bus_int.h | expect 'a folder keeps its inside' ingest/a.c 'bus_int.h" is of its folder alone'
include platform/bus/bus_int.h | expect 'its own folder may' platform/bus/a.c ''
include segment.h | expect 'from the root' ingest/a.c 'spelled from the root'
include platform/base/err.h | expect 'a room nobody drew' garage/a.c 'an arrow that is not drawn'
echo '#include <curl/curl.h>' | expect 'one room knows curl' ingest/a.c 'belongs to platform/blob/ alone'
{ echo '#include <stdio.h>'; include ingest/a.h; } | expect 'own header first' ingest/a.c 'own header first'
{ include ingest/a.h; echo '#include <stdio.h>'; } | expect 'own header first' ingest/a.c ''

call() { printf 'void f(void)\n{\n    %s;\n}\n' "$1"; }
for name in strcpy strcat sprintf gets strtok rand alloca; do
    call "$name(x)" | expect "$name" tests/unit/a.c "a.c:3: a call of $name"
done
call 'atoi(x)' | expect atoi cli/a.c 'a call of atoi'
call 'atoi(x)' | expect 'atoi in a test' tests/unit/a.c ''
call 'system(x)' | expect system cli/a.c 'a call of system'
for name in time getrandom pthread_create nanosleep; do
    for room in ingest publisher trainer trainer/data; do
        call "$name(x)" | expect "$name" $room/a.c "a call of $name"
    done
done
call 'pthread_create(x)' | expect 'the engine has threads' trainer/engine/a.c ''
call 'c->ops->random(c)' | expect 'a member of that name' ingest/a.c ''
call 'my_time(x)' | expect 'a longer name' ingest/a.c ''
call 'puts("time(x)") /* rand() */' | expect 'in strings and comments' ingest/a.c ''

printf 'int a; \n' | expect 'a blank at the end' ingest/a.c "a blank at the line's end"
printf '\tint a;\n' | expect 'a tab' ingest/a.c 'a tab'
printf 'int a;\r\n' | expect 'a carriage return' ingest/a.c 'a carriage return'
printf 'int a;' | expect 'no last newline' ingest/a.c "no newline at the file's end"
printf '/* %s: later */\n' TO''DO | expect 'an open end' ingest/a.c 'an open end'
printf 'x\n' | expect 'a file name' 'docs/My Page.md' 'a file name of other characters'
exit $failures
