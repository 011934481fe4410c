#!/bin/bash
# kill.sh TRIPLINE: a run that is killed at random moments and begun again gives the same bytes as
# one that nobody disturbed; a SIGTERM is answered by a checkpoint and a word.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/world.sh"

long=(--eval test.csv --epochs 150 --set checkpoint_steps=3 --set lanes=3)
start() { # the process itself, so that it can be killed
    exec "$TRIPLINE" fit --local --train train.csv --model backbone --out "$1" "${long[@]}"
}
fit whole "${long[@]}" --json > whole.json 2> whole.log
want=$(sha256sum < whole/onnx/model.onnx)

kills=0
for _ in $(seq 60); do
    if [ "$kills" -ge 8 ]; then break; fi
    start killed > killed.txt 2> killed.log &
    pid=$!
    sleep "0.$((RANDOM % 70 + 10))"
    if ! kill -9 "$pid" 2> /dev/null; then # it was faster: once more from the beginning
        wait "$pid" || fail "fit: $(tail -1 killed.log)"
        [ "$(sha256sum < killed/onnx/model.onnx)" = "$want" ] || fail "other bytes after $kills kills"
        rm -rf killed
        continue
    fi
    wait "$pid" 2> /dev/null || true
    kills=$((kills + 1))
    if [ -e killed/manifest.json ]; then # then it is whole
        [ "$(sha256sum < killed/onnx/model.onnx)" = "$want" ] || fail "a manifest beside a half model"
    fi
done
[ "$kills" -ge 8 ] || fail "60 tries, and only $kills of them could be killed"
fit killed "${long[@]}" --threads 2 --json > killed.json 2> killed.log ||
    fail "the last try: $(tail -1 killed.log)"
[ "$(sha256sum < killed/onnx/model.onnx)" = "$want" ] || fail "other bytes after $kills kills"
[ ! -e killed.work ] || fail "the checkpoints of a finished run are still there"

start asked > asked.txt 2> asked.log &
pid=$!
for _ in $(seq 200); do
    if compgen -G 'asked.work/*.ckpt' > /dev/null; then break; fi
    sleep 0.02
done
kill -TERM "$pid"
status=0
wait "$pid" || status=$?
[ "$status" = 75 ] || fail "SIGTERM: status $status, $(tail -1 asked.log)"
grep -q '^tripline: stopped after step .* the same command again goes on' asked.log ||
    fail "SIGTERM: $(tail -1 asked.log)"
compgen -G 'asked.work/*.ckpt' > /dev/null || fail "SIGTERM: no checkpoint"
[ ! -e asked ] || fail "SIGTERM: something is left in the artifact's place"
fit asked "${long[@]}" > asked.txt 2> asked.log
grep -q 'resumed after step' asked.log || fail "it did not resume"
[ "$(sha256sum < asked/onnx/model.onnx)" = "$want" ] || fail "other bytes after a SIGTERM"
echo "killed $kills times, stopped once: the same bytes"
