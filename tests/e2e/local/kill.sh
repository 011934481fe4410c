#!/bin/bash
# kill.sh TRIPLINE: a run that is killed at 20 random steps, each time begun again with another
# number of threads, gives the same bytes as one that nobody disturbed; a SIGTERM is answered by a
# checkpoint and a word; a checkpoint of another kind of machine is refused, or the result is marked.
# TRIPLINE_KILL_SEED repeats a run's choices.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/world.sh"

seed=${TRIPLINE_KILL_SEED:-$RANDOM}
RANDOM=$seed
KILLS=20
long=(--eval test.csv --epochs 150 --set checkpoint_steps=1 --set lanes=3)
start() { # the process itself, so that it can be killed
    exec "$TRIPLINE" fit --local --train train.csv --model backbone --out "$@" "${long[@]}"
}
newest() { # newest FOLDER: the step of its newest checkpoint, 0: there is none
    local all=("$1"/step-*.ckpt) last
    last=${all[-1]##*/step-}
    last=${last%.ckpt}
    case $last in *[!0-9]*) echo 0 ;; *) echo $((10#$last)) ;; esac
}
model_of() { sha256sum < "$1/onnx/model.onnx"; }

fit whole "${long[@]}" --json > whole.json 2> whole.log
want=$(model_of whole)
steps=$(grep -o '"steps":[0-9]*' whole.json | cut -d: -f2)

# ---- kill -9: each at a step chosen by chance from those that are left, so that all 20 find a place
at=()
while [ "${#at[@]}" -lt $KILLS ]; do
    now=$(newest killed.work)
    target=$((now + 1 + RANDOM % (2 * (steps - now) / (KILLS - ${#at[@]} + 1))))
    start killed --threads $((RANDOM % 3 + 1)) > killed.txt 2> killed.log &
    pid=$!
    while [ "$(newest killed.work)" -lt $target ] && kill -0 $pid 2> /dev/null; do sleep 0.002; done
    sleep "0.00$((RANDOM % 9))"
    if ! kill -9 $pid 2> /dev/null; then # it was faster: once more from the beginning
        wait $pid || fail "seed $seed: $(tail -1 killed.log)"
        [ "$(model_of killed)" = "$want" ] || fail "seed $seed: other bytes after kills at ${at[*]}"
        rm -rf killed
        continue
    fi
    wait $pid 2> /dev/null || true
    at+=("$(newest killed.work)")
    if [ -e killed/manifest.json ]; then # then it is whole
        [ "$(model_of killed)" = "$want" ] || fail "seed $seed: a manifest beside a half model"
    fi
done
fit killed "${long[@]}" --threads 2 --json > killed.json 2> killed.log ||
    fail "seed $seed: the last try: $(tail -1 killed.log)"
[ "$(model_of killed)" = "$want" ] || fail "seed $seed: other bytes after kills at ${at[*]}"
grep -q "\"resumed_step\":${at[-1]}," killed.json || fail "seed $seed: it did not go on from ${at[-1]}"
[ ! -e killed.work ] || fail "the checkpoints of a finished run are still there"
echo "seed $seed: of $steps steps killed after ${at[*]}: the same bytes"

# ---- SIGTERM
stop() { # stop OUT: by SIGTERM once there is a checkpoint
    start "$1" > asked.txt 2> asked.log &
    local pid=$! status=0
    while ! compgen -G "$1.work/*.ckpt" > /dev/null; do
        kill -0 $pid 2> /dev/null || fail "fit: $(tail -1 asked.log)"
        sleep 0.01
    done
    kill -TERM $pid
    wait $pid || status=$?
    [ "$status" = 75 ] || fail "SIGTERM: status $status, $(tail -1 asked.log)"
    grep -q '^tripline: stopped after step .* the same command again goes on' asked.log ||
        fail "SIGTERM: $(tail -1 asked.log)"
    compgen -G "$1.work/*.ckpt" > /dev/null || fail "SIGTERM: no checkpoint"
    [ ! -e "$1" ] || fail "SIGTERM: something is left in the artifact's place"
}
stop asked
fit asked "${long[@]}" > asked.txt 2> asked.log
grep -q 'resumed after step' asked.log || fail "it did not resume"
[ "$(model_of asked)" = "$want" ] || fail "other bytes after a SIGTERM"
echo "stopped once: the same bytes"

# ---- a checkpoint that a machine with other instructions would have written
foreign() { # foreign FILE: another fingerprint in its head, and the digest that fits it
    LC_ALL=C sed -i 's/onednn-/elsewhr/' "$1"
    truncate -s -64 "$1"
    sha256sum < "$1" | head -c 64 > digest
    cat digest >> "$1"
}
stop moved
for file in moved.work/*.ckpt; do foreign "$file"; done
sum=$(cat moved.work/*.ckpt | sha256sum)
status=0
fit moved "${long[@]}" > moved.txt 2> moved.log || status=$?
[ "$status" = 78 ] || fail "another fingerprint: status $status"
tail -1 moved.log | grep -q 'was made under .*elsewhr.*, this is .*onednn-' || fail "$(tail -1 moved.log)"
[ ! -e moved ] || fail "the refused run left something in the artifact's place"
[ "$(cat moved.work/*.ckpt | sha256sum)" = "$sum" ] || fail "the refused run touched the checkpoints"
fit moved "${long[@]}" --resume-any --json > moved.json 2> moved.log || fail "$(tail -1 moved.log)"
grep -q '"exact":false' moved.json || fail "--resume-any: $(cat moved.json)"
grep -q '"exact": *false' moved/manifest.json || fail "the manifest calls it exact"
grep -q '"exact": *true' killed/manifest.json || fail "the manifest of a killed run calls it inexact"
echo "a checkpoint of another fingerprint: refused, or marked"
