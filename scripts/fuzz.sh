#!/bin/bash
# fuzz.sh [TARGET [SECONDS]]: builds the libFuzzer targets with clang and runs each (or one) for SECONDS.
# What is found lands in build-fuzz/found/TARGET/. A dictionary is tests/fuzz/ROOM/WORD.dict for a target that
# ends in WORD.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
ls "$ROOT"/tests/fuzz/*/CMakeLists.txt >/dev/null 2>&1 || die -64 "this tree has no fuzz targets (tests/fuzz/)"
command -v clang >/dev/null || "$ROOT/scripts/setup.sh" extra
seconds=${2:-20}
dir=$ROOT/build-fuzz
options=(-DCMAKE_C_COMPILER=clang -DTRIPLINE_FUZZ=ON -DTRIPLINE_SANITIZE=asan)
"$ROOT/scripts/build.sh" --dir "$dir" --configure "${options[@]}"
mapfile -t all < <(ninja -C "$dir" -t targets all | sed -n 's/^fuzz_\([a-z0-9_]*\): phony.*/\1/p' | sort -u)
names=("${all[@]}")
if [ -n "${1:-}" ]; then
    [[ " ${all[*]} " == *" $1 "* ]] || die -64 "no fuzz target '$1'; there are: ${all[*]}"
    names=("$1")
fi
"$ROOT/scripts/build.sh" --dir "$dir" "${options[@]}" "${names[@]/#/fuzz_}"

bad=0
for name in "${names[@]}"; do
    program=$dir/bin/fuzz_$name
    corpus=$dir/corpus/$name
    found=$dir/found/$name
    mkdir -p "$corpus" "$found"
    mapfile -t seeds <"$dir/seeds/$name"
    words=()
    for dict in "$ROOT"/tests/fuzz/*/"${name##*_}.dict"; do
        if [ -e "$dict" ]; then words=(-dict="$dict"); fi
    done
    if "$program" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -artifact_prefix="$found/" \
        "${words[@]}" "$corpus" "${seeds[@]}" >"$dir/$name.log" 2>&1; then
        echo "fuzz $name: $(grep -oE '^Done [0-9]+ runs' "$dir/$name.log" | tail -1), $(grep -oE 'cov: [0-9]+' "$dir/$name.log" | tail -1), nothing found"
    else
        bad=1
        tail -25 "$dir/$name.log"
        echo "fuzz $name: FAILED, inputs in $found"
    fi
done
exit $bad
