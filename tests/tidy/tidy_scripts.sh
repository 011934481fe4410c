#!/bin/bash
# tidy_scripts.sh ROOT: every shell script parses, says how it fails, and can be started.
set -euo pipefail
cd "$1"
bad=0
complain() { echo "$*"; bad=1; }
while IFS= read -r f; do
    bash -n "$f" || bad=1
    if grep -nE $'[[:space:]]$|\t' "$f"; then complain "$f: blanks at a line's end, or tabs (above)"; fi
    case $(head -1 "$f") in
    '#!'*)
        [ -x "$f" ] || complain "$f: not executable"
        grep -qE '^set -euo pipefail|lib\.sh"$|^exec ' "$f" || complain "$f: goes on after a failure (set -euo pipefail)"
        ;;
    esac
done < <(find dev .ci scripts docker tests -type f \( -name '*.sh' -o -path dev -o -path .ci/run \))
exit $bad
