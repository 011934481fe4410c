# Sourced by the tests of the pages: which pages there are, and how to say what is wrong with them.
set -euo pipefail

bad=0
complain() { echo "$*" >&2; bad=1; }
pages() { # of the folder we are in
    ls README.md docs/*.md
}
# blocks FILE LANGUAGE FOLDER: every fenced block of that language into FOLDER/<line of its fence>
blocks() {
    awk -v want="$2" -v folder="$3" '
        /^ *```/ {
            if (out) { close(out); out = "" }
            else if (!inside && $0 ~ "^ *```" want "$") { out = folder "/" FNR; printf "" > out }
            inside = !inside
            next
        }
        out { print > out }' "$1"
}
