#!/bin/bash
# part.sh sim|chaos|bench [ARGS...]: the tests of that label, or scripts/NAME.sh where a part has one.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
part=${1:?part}
shift
if [ -x "$ROOT/scripts/$part.sh" ]; then exec "$ROOT/scripts/$part.sh" "$@"; fi

has_label() {
    grep -rqsE "LABELS[^)]*\b$part\b" "$ROOT/tests" --include=CMakeLists.txt
}
has_label || die -64 "this tree has no $part tests (no scripts/$part.sh, no test with the label '$part')"
"$ROOT/scripts/setup.sh"
"$ROOT/scripts/build.sh"
cd "$ROOT/build"
exec ctest --output-on-failure --no-tests=error -L "^$part\$" "$@"
