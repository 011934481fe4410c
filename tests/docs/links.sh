#!/bin/bash
# links.sh ROOT: every relative link of a page leads to a file, every #anchor to a heading, and every file
# that a page names in `code` exists.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "${1:?the root of the tree}"

anchors() { # as GitHub makes them of headings
    sed -n 's/^##* //p' "$1" | tr '[:upper:]' '[:lower:]' | sed -e 's/[^a-z0-9 _-]//g' -e 's/ /-/g'
}

for page in $(pages); do
    while IFS= read -r link; do
        case $link in http://* | https://* | mailto:*) continue ;; esac
        target=${link%%#*}
        path=$page
        if [ -n "$target" ]; then path=$(dirname "$page")/$target; fi
        if [ ! -e "$path" ]; then
            complain "$page: the link to $link leads nowhere"
        elif [[ $link == *#* ]] && ! anchors "$path" | grep -qxF -- "${link#*#}"; then
            complain "$page: $link: no such heading"
        fi
    done < <(grep -oE '\]\([^)[:space:]]+\)' "$page" | sed -e 's/^](//' -e 's/)$//')

    # `platform/base/err.h`, `tests/tidy`, `scripts/pins/apt.txt`: in a folder of ours, without wild cards
    while IFS= read -r name; do
        case $name in *[\<\>*{}…]*) continue ;; esac
        [ -e "$name" ] || [ -e "trainer/$name" ] || complain "$page: \`$name\` does not exist"
    done < <(grep -oE '`(platform|schemas|ingest|trainer|publisher|cli|tests|scripts|docker|config|docs|cmake|data|learn|engine)/[^` ]+`' "$page" | tr -d '`' | sort -u)
done
exit $bad
