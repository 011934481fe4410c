#!/bin/bash
# fuzz.sh [TARGET [SECONDS]]: builds the libFuzzer targets with clang and runs each (or one) for SECONDS.
# What is found lands in build-fuzz/found/TARGET/; seeds are those of tests/fuzz/corpus/TARGET/.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
ls "$ROOT"/tests/fuzz/*.c >/dev/null 2>&1 || die -64 "this tree has no fuzz targets (tests/fuzz/*.c)"
command -v clang >/dev/null || "$ROOT/scripts/setup.sh" extra
seconds=${2:-20}
dir=$ROOT/build-fuzz
"$ROOT/scripts/build.sh" --dir "$dir" -DCMAKE_C_COMPILER=clang -DTRIPLINE_FUZZ=ON -DTRIPLINE_SANITIZE=asan

mapfile -t programs < <(find "$dir/bin" -name "fuzz_${1:-*}" -type f | sort)
[ ${#programs[@]} -gt 0 ] || die -64 "no fuzz target '${1:-}'; there are: $(cd "$dir/bin" && ls | sed -n 's/^fuzz_//p' | tr '\n' ' ')"
bad=0
for program in "${programs[@]}"; do
    name=${program##*/fuzz_}
    corpus=$dir/corpus/$name
    found=$dir/found/$name
    mkdir -p "$corpus" "$found"
    seeds=()
    if [ -d "$ROOT/tests/fuzz/corpus/$name" ]; then seeds=("$ROOT/tests/fuzz/corpus/$name"); fi
    if "$program" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -artifact_prefix="$found/" \
        "$corpus" "${seeds[@]}" >"$dir/$name.log" 2>&1; then
        echo "fuzz $name: $(grep -oE '^Done [0-9]+ runs' "$dir/$name.log" | tail -1), $(grep -oE 'cov: [0-9]+' "$dir/$name.log" | tail -1), nothing found"
    else
        bad=1
        tail -25 "$dir/$name.log"
        echo "fuzz $name: FAILED, inputs in $found"
    fi
done
exit $bad
