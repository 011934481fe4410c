#!/bin/bash
# The whole line on real input, step by step; --local does the fine-tuning without any server.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

EPOCHS=2
local_only=
case ${1:-} in
--local) local_only=1 ;;
'') ;;
*) die -64 "unknown argument '$1': --local or nothing" ;;
esac

work=$STATE/demo
backbone=$CACHE/backbones/all-MiniLM-L6-v2
step_count=0
step() {
    step_count=$((step_count + 1))
    printf '\n== %d. %s  [%s s]\n' "$step_count" "$*" "$(seconds $(($(now_ms) - BEGAN)))"
}

"$ROOT/scripts/setup.sh" ${local_only:+local}
"$ROOT/scripts/build.sh" tripline tripline-ingest tripline-trainer tripline-publisher
tripline=$ROOT/build/bin/tripline
[ -x "$tripline" ] || die "the build left no build/bin/tripline"
BEGAN=$(now_ms)

step "Documents: WordNet 3.0's glosses (Debian wordnet-base), labeled by their lexicographer file"
"$ROOT/scripts/demo_data.sh" "$work"
echo "   train.csv $(wc -l <"$work/train.csv") documents, test.csv $(wc -l <"$work/test.csv") held out, 26 labels, such as"
awk 'NR % 700 == 1 { print "     " $0 }' "$work/train.csv"

table() { # table BEFORE.json AFTER.json: retrieval over the held-out documents
    awk 'function get(line, key,    v) {
            if (!match(line, "\"" key "\": *[0-9.eE+-]+")) return "-"
            v = substr(line, RSTART, RLENGTH); sub(/.*: */, "", v); return v
        }
        { text[FILENAME] = text[FILENAME] $0 }
        END {
            printf "\n   %-18s %10s %10s %10s\n", "held-out documents", "before", "after", "change"
            n = split("precision_at_1 map_at_k recall_at_k mrr_at_k ndcg_at_k", key, " ")
            for (i = 1; i <= n; i++) {
                a = get(text[ARGV[1]], key[i]); b = get(text[ARGV[2]], key[i])
                printf "   %-18s %10.4f %10.4f %+10.4f\n", key[i], a, b, b - a
            }
        }' "$1" "$2"
}

if [ -n "$local_only" ]; then
    step "Before: the backbone as it is"
    "$tripline" eval "$backbone" "$work/test.csv" --k 20 --json >"$work/before.json"
    step "Fine-tuning on pairs mined from each batch, $EPOCHS epochs"
    rm -rf "$work/local"
    "$tripline" fit --local --train "$work/train.csv" --model "$backbone" --out "$work/local" \
        --epochs "$EPOCHS" --seed 1
    step "After"
    "$tripline" eval "$work/local" "$work/test.csv" --k 20 --json >"$work/after.json"
    table "$work/before.json" "$work/after.json"
    step "Done: the model is $work/local"
    exit 0
fi

step "Kafka, S3 and Redis on free loopback ports; ingest, trainer, publisher"
trap '"$ROOT/scripts/stack.sh" down --dir "$work/stack"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
"$ROOT/scripts/stack.sh" up --dir "$work/stack" >/dev/null
eval "$("$ROOT/scripts/stack.sh" env --dir "$work/stack")"
export XDG_CONFIG_HOME=$work/config   # the demo's profile is not the user's

step "An owner: topics, rights, a place in the bucket; a profile; the backbone, for all owners"
tripline owner create demo
tripline login --owner demo
tripline backbone push minilm "$backbone" --operator

step "push: documents through Kafka, ingest writes segments to S3"
tripline push glosses "$work/train.csv"
tripline push glosses "$work/test.csv" --split eval

step "fit: a job message; a worker fine-tunes; the publisher announces; the model is pulled and verified"
rm -rf "$work/model"
tripline fit --dataset glosses --backbone minilm --model glosses --epochs "$EPOCHS" --seed 1 \
    --follow --pull "$work/model"

step "Before and after, on the held-out documents"
tripline eval "$backbone" "$work/test.csv" --k 20 --json >"$work/before.json"
tripline eval "$work/model" "$work/test.csv" --k 20 --json >"$work/after.json"
table "$work/before.json" "$work/after.json"
step "Done: the model is $work/model; ./dev up leaves servers and services running"
