#!/bin/bash
# fmt.sh [--check]: clang-format over the tree's C files; --check changes nothing and lists what would.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command -v clang-format >/dev/null || "$ROOT/scripts/setup.sh" extra
mapfile -d '' -t files < <(cd "$ROOT" && git ls-files -z --cached --others --exclude-standard -- '*.c' '*.h' '*.cu' '*.cuh')
cd "$ROOT"
case ${1:-} in
--check) exec clang-format --dry-run -Werror "${files[@]}" ;;
'') exec clang-format -i "${files[@]}" ;;
*) die -64 "unknown argument '$1'" ;;
esac
