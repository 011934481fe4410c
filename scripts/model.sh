#!/bin/bash
# model.sh [--deep] [NAME...]: spin's verdict on tests/model: every good model holds, every planted bug (a
# BUG_x of a model) gives a counter-example, every invariant finds one. NAME: only those lines of the table
# below (a model's or a bug's name). --deep: the good models with more faults and more processes (minutes, gigabytes).
# A counter-example's steps: model.sh --show BUG_x
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command -v spin >/dev/null || { echo "model: spin is not installed (./dev setup)"; exit 77; }
need gcc

models=$ROOT/tests/model
list=table show=
case ${1:-} in
--deep) list=deep_table; shift ;;
--show) show=1; shift ;;
esac

# holds  MODEL  safety (all its invariants) or the name of an ltl   DEFINITIONS
# fails  MODEL  the invariant or ltl that finds it                  DEFINITIONS
table() {
    cat <<'TEXT'
holds runs    safety                  FAULTS=1
holds runs    safety                  FAULTS=1 INTAKES=2 WORKERS=1
holds runs    safety                  FAULTS=2 WORKERS=1
holds runs    safety                  FAULTS=1 TRIES=1
holds runs    ends                    FAULTS=1 WORKERS=1
holds runs    ends                    FAULTS=2 TRIES=1 WORKERS=1 NO_CANCEL
holds runs    remembered              FAULTS=1 INTAKES=2 WORKERS=1 NO_CANCEL
holds runs    safety                  FAULTS=1 POISON
holds runs    ends                    FAULTS=1 POISON WORKERS=1
holds chain   safety                  FAULTS=2
holds runs    safety                  FAULTS=2 WORKERS=1 TRIES=1
holds chain   safety                  FAULTS=2 GOOD=4 BAD=1
holds chain   all_taken               FAULTS=1 LOW=2
holds topic   safety                  COMPACTED=0
holds topic   safety                  INGESTERS=2 N=2 FAULTS=0
holds topic   present_taken           COMPACTED=1
holds publish safety                  FAULTS=2 GIVES=2
holds publish safety                  FAULTS=1 GIVES=2 VARIANT_ID_PER_PROCESS
holds publish safety                  FAULTS=1 GIVES=2 VARIANT_NO_GROUP
holds publish told                    FAULTS=1 GIVES=2 NO_FORGER
fails chain   in_one_segment          BUG_412_IS_A_WIN
fails chain   reached                 BUG_COMMIT_BEFORE_CREATE
fails chain   all_taken               BUG_COMMIT_BEFORE_CREATE FAULTS=1
fails chain   copied_first            BUG_COPY_AFTER_CREATE
fails chain   nothing_else            BUG_KEEP_BUFFER
fails chain   whole_range             BUG_LOSER_READS_ON
fails chain   whole_range             BUG_MISSING_SILENT
fails chain   missing_is_gone         BUG_MISSING_TOO_MUCH
fails chain   not_cut_off             BUG_OVERWRITE
fails chain   no_overlap              BUG_OVERWRITE
fails topic   only_if_made_anew       BUG_ABSENT_IS_NEW
fails topic   present_taken           BUG_CHAIN_ALONE
fails topic   present_taken           BUG_LAST_RECORD_ONLY
fails topic   present_taken           BUG_NOT_COMPARED_AT_CUT
fails topic   present_taken           BUG_NO_WATCH
fails topic   in_one_incarnation      BUG_NOT_CLOSED INGESTERS=2 N=2
fails runs    not_of_redis_alone      BUG_412_IS_A_LOSS TRIES=1
fails runs    cancel_answers_what_won BUG_CANCEL_ANSWERS_ITSELF FAULTS=1
fails runs    one_end                 BUG_CANCEL_OVERWRITES
fails runs    event_if_finished       BUG_CANCEL_OVERWRITES
fails runs    not_of_redis_alone      BUG_COUNTS_LATER FAULTS=1 TRIES=1
fails runs    tried_no_more           BUG_CRASH_IS_RELEASED FAULTS=1 POISON
fails runs    whole_before_end        BUG_END_BEFORE_MANIFEST
fails runs    event_is_whole          BUG_END_BEFORE_MANIFEST
fails runs    not_of_redis_alone      BUG_GIVES_UP_UNFENCED FAULTS=1 TRIES=1
fails runs    one_worker              BUG_TOKEN_FROM_REDIS
fails runs    final                   BUG_TOKEN_FROM_REDIS
fails runs    ends                    BUG_COMMIT_BEFORE_JOB FAULTS=1 WORKERS=1 NO_CANCEL
fails runs    ends                    BUG_MARKER_AFTER_JOB FAULTS=2 TRIES=1 WORKERS=1 NO_CANCEL
fails runs    ends                    BUG_MARKER_BEFORE_DONE FAULTS=1 WORKERS=1 NO_CANCEL
fails runs    ends                    BUG_NO_MARKER FAULTS=1 WORKERS=1 NO_CANCEL
fails runs    ends                    BUG_NO_SWEEP FAULTS=1 WORKERS=1 NO_CANCEL
fails runs    remembered              BUG_SWEEP_TIDIES FAULTS=1 WORKERS=1 NO_CANCEL
fails publish one_event               BUG_DONE_BELIEVED
fails publish one_event               BUG_KEY_AFTER_COMMIT
fails publish event_with_key          BUG_KEY_AFTER_COMMIT
fails publish one_event               BUG_KNOWN_KEPT
fails publish one_event               BUG_LOST_COMMIT_AGAIN
fails publish one_event               BUG_NO_FENCING
fails publish one_event               BUG_PUBLISHED_NOT_READ
fails publish one_event               BUG_READ_BEFORE_FENCE
fails publish told                    BUG_KEY_BEFORE_COMMIT FAULTS=1 GIVES=2 NO_FORGER
fails publish told                    BUG_MARKER_BEFORE_EVENT FAULTS=1 GIVES=2 NO_FORGER
TEXT
}

deep_table() {
    cat <<'TEXT'
holds runs    safety                  FAULTS=2
holds runs    safety                  FAULTS=2 TRIES=1
holds runs    safety                  FAULTS=2 INTAKES=2 WORKERS=1
holds runs    ends                    FAULTS=2 WORKERS=1
holds runs    ends                    FAULTS=1
holds runs    ends                    FAULTS=1 INTAKES=2 WORKERS=1
holds runs    remembered              FAULTS=2 INTAKES=2 WORKERS=1
holds chain   safety                  FAULTS=3
holds chain   safety                  FAULTS=2 N=4 GOOD=9 BAD=2 LOW=2
holds chain   all_taken               FAULTS=2
holds topic   safety                  N=4 LOW=2 COMPACTED=2
holds topic   safety                  INGESTERS=2 FAULTS=1
holds topic   present_taken           N=4 LOW=2
holds publish safety                  FAULTS=3 GIVES=3
holds publish told                    FAULTS=2 GIVES=3
TEXT
}

is_ltl() { grep -qE "^ltl $1 " "$models"/*.pml; }
# every invariant of the models finds a planted bug
each_bites() {
    local name missed=0
    while IFS= read -r name; do
        if table | grep -qE "^fails [a-z]+ +$name "; then continue; fi
        echo "model: no planted bug shows that '$name' bites"
        missed=1
    done < <(grep -ohE '^ltl [a-z_]+|HOLDS\([a-z_]+,' "$models"/{chain,topic,runs,publish}.pml | grep -oE '[a-z_]+' | grep -vx ltl | sort -u)
    return "$missed"
}
# verify WANT MODEL PROPERTY DEFINITION...: one line; in a folder of its own.
verify() {
    local want=$1 model=$2 property=$3 began
    local defines=("${@:4}") search=(-m3000000 -w23) built=(-O1 -w) got=holds
    began=$(now_ms)
    mkdir "$dir/$BASHPID" && cd "$dir/$BASHPID" && cp "$models"/*.pml .
    if is_ltl "$property"; then defines+=(LIVE); fi
    if [ "$want" = fails ]; then
        defines+=(ONE)
        sed -i "s/HOLDS($property, /ONLY(/g" ./*.pml
    fi
    spin -a "${defines[@]/#/-D}" "$model.pml" >spin.log 2>&1 || { cat spin.log; return 1; }
    if is_ltl "$property"; then
        built+=(-DNFAIR=3)
        search+=(-a -f -N "$property")
    else
        built+=(-DSAFETY -DNOCLAIM)
    fi
    gcc "${built[@]}" -o pan pan.c
    ./pan "${search[@]}" >pan.log 2>&1 || true
    if [ -e "$model.pml.trail" ]; then
        got=fails
    elif ! grep -q 'errors: 0' pan.log || grep -qE 'max search depth too small|not completed' pan.log; then
        got="did not finish"
    fi
    printf '%-5s %-7s %-23s %-46s %9s states %6s s\n' "$got" "$model" "$property" "${defines[*]}" \
        "$(sed -n 's/^ *\([0-9e+.]*\) states, stored.*/\1/p' pan.log | head -1)" "$(seconds $(($(now_ms) - began)))"
    if [ -n "$show" ] && [ "$got" = fails ]; then spin -t -p -g -l "${defines[@]/#/-D}" "$model.pml"; fi
    [ "$got" = "$want" ] && return 0
    tail -20 pan.log
    echo "model: '$model $property ${defines[*]}' should be: $want"
    return 1
}

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0 running=0
while read -r want model property defines; do
    if [ $# -gt 0 ] && [[ " $* " != *" $model "* && " $* " != *" ${defines%% *} "* ]]; then continue; fi
    if [ "$running" -ge "$(jobs_count)" ] || [ "$running" -ge 2 ]; then
        wait -n || bad=1
        running=$((running - 1))
    fi
    # shellcheck disable=SC2086 # a line's definitions are words
    (verify "$want" "$model" "$property" $defines) &
    running=$((running + 1))
done < <($list)
while [ "$running" -gt 0 ]; do
    wait -n || bad=1
    running=$((running - 1))
done
each_bites || bad=1
if [ "$bad" = 0 ]; then echo "model: as it should be"; fi
exit "$bad"
