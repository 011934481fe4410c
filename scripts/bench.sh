#!/bin/bash
# bench.sh train|encode [--pairs N] [--steps N] [--json]: Tripline and its peers in turn, in one run.
# bench.sh quality [--recipes A,B] [--peer] [...]: what recipes reach on held-out documents, PyTorch beside.
# bench.sh ingest [--messages N] [--rounds N] [--level N] [--json]: ingest beside a raw librdkafka consumer.
# bench.sh kernels [ISA [GEMM]]: every kernel of the CPU backend.   bench.sh profile: a training step by kernel.
# The peers (PyTorch, sentence-transformers, ONNX Runtime) are installed once, in a virtual environment
# in the cache; TRIPLINE_BENCH_VENV names another one.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
venv=${TRIPLINE_BENCH_VENV:-$CACHE/bench-venv}
build=${TRIPLINE_BENCH_BUILD:-$ROOT/build}
backbone=$CACHE/backbones/all-MiniLM-L6-v2

peers_setup() {
    local pins=$PINS/bench.txt
    [ -z "${TRIPLINE_BENCH_VENV:-}" ] || { [ -x "$venv/bin/python" ] || die "$venv has no bin/python"; return 0; }
    ! cmp -s "$pins" "$venv/pins.txt" || return 0
    python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        die "the peers need Python 3.11 with venv (as root: apt-get install python3-venv)"
    say "bench: installing the peers into $venv (5 GB; PyPI's torch brings CUDA's libraries with it)"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install -q --no-deps --no-cache-dir --disable-pip-version-check -r "$pins" ||
        die "pip could not install the peers; another index is set with PIP_INDEX_URL"
    cp "$pins" "$venv/pins.txt"
}

data_find() { # two lines: the file's name for people, its folder
    local shared=${TRIPLINE_SHARED:-$ROOT/../shared}/data/banking77
    if [ -r "$shared/train.csv" ]; then
        printf 'banking77\n%s\n' "$shared"
        return
    fi
    say "bench: no banking77 (TRIPLINE_SHARED/data/banking77); WordNet's glosses instead"
    "$ROOT/scripts/demo_data.sh" "$CACHE/bench-data" 400 100
    printf 'WordNet glosses\n%s\n' "$CACHE/bench-data"
}

programs_build() { # programs_build TARGET...
    [ -z "${TRIPLINE_BENCH_BUILD:-}" ] || return 0
    "$ROOT/scripts/build.sh" "$@"
}

profile() {
    work=$(mktemp -d) # not local: the trap outlives the function
    trap 'rm -rf "$work"' EXIT
    printf '2\n%s\n' "${1:-20}" | "$build/bin/bench_speed" train "$backbone/model.onnx" "$backbone/tokenizer.json" \
        "${data[1]}/train.csv" "$work/batches" profile=1 | sed '/^{/d'
}

ingest() {
    programs_build bench_ingest tripline-ingest
    work=$(mktemp -d) # not local: the trap outlives the function
    trap '"$ROOT/scripts/servers.sh" stop "$work/servers" >&2 || true; rm -rf "$work"' EXIT
    "$ROOT/scripts/servers.sh" fresh "$work/servers" kafka s3 >&2
    "$ROOT/scripts/with-servers.sh" "$work/servers" python3 "$ROOT/scripts/bench_ingest.py" "$build/bin/bench_ingest" "$@"
}

quality() {
    local python=python3
    programs_build tripline
    case " $* " in *" --peer "*)
        peers_setup
        python=$venv/bin/python
        ;;
    esac
    exec "$python" "$ROOT/scripts/bench_quality.py" --bin "$build/bin" --backbone "$backbone" \
        --data "${TRIPLINE_SHARED:-$ROOT/../shared}/data" "$@"
}

what=${1:-}
[ $# -eq 0 ] || shift
case $what in
train | encode | profile | quality) ;;
ingest)
    ingest "$@"
    exit
    ;;
kernels)
    programs_build bench_kernels
    exec "$build/bin/bench_kernels" "$@"
    ;;
*) die -64 "what? ./dev bench train|encode|profile|quality|kernels|ingest" ;;
esac
[ -r "$backbone/model.onnx" ] || "$ROOT/scripts/setup.sh" local
if [ "$what" = quality ]; then
    quality "$@"
fi
programs_build bench_speed tripline
mapfile -t data < <(data_find)
[ ${#data[@]} = 2 ] || die "no documents to run on"
if [ "$what" = profile ]; then
    profile "$@"
    exit
fi
peers_setup
exec "$venv/bin/python" "$ROOT/scripts/bench.py" "$what" --bin "$build/bin" --backbone "$backbone" \
    --data "${data[1]}" --name "${data[0]}" "$@"
