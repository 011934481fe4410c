#!/bin/bash
# demo_data.sh DIR: DIR/train.csv and DIR/test.csv, `content,label`, from WordNet 3.0's glosses
# (Debian's wordnet-base): the content is what a synset means, without its examples; the label is the
# lexicographer file that it was written in. Always the same documents.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
dir=${1:?folder}
per_train=${2:-100}   # documents of each of the 26 labels
per_test=${3:-40}
wordnet=/usr/share/wordnet
[ -r "$wordnet/data.noun" ] || die "$wordnet/data.noun is missing: run ./dev setup (package wordnet-base)"
mkdir -p "$dir"

# A document is taken at equal steps through its label's glosses, so that the sample covers the whole
# file; of each step's documents some train and the others are held out.
LC_ALL=C awk -v per_train="$per_train" -v per_test="$per_test" -v train="$dir/train.new" -v test="$dir/test.new" '
    BEGIN {
        # numbers of the lexicographer files, see lexnames(5WN)
        n = split("04 noun.act 05 noun.animal 06 noun.artifact 07 noun.attribute 08 noun.body " \
            "09 noun.cognition 10 noun.communication 11 noun.event 12 noun.feeling 13 noun.food " \
            "14 noun.group 15 noun.location 17 noun.object 18 noun.person 19 noun.phenomenon " \
            "20 noun.plant 21 noun.possession 22 noun.process 23 noun.quantity 24 noun.relation " \
            "25 noun.shape 26 noun.state 27 noun.substance 28 noun.time 32 verb.communication " \
            "38 verb.motion", w, " ")
        for (i = 1; i < n; i += 2) label[w[i]] = w[i + 1]
    }
    /^ / || !($2 in label) { next }   # the licence; other files
    {
        gloss = substr($0, index($0, " | ") + 3)
        gsub(/"[^"]*"?/, "", gloss)                  # examples
        gsub(/[; \t]+$/, "", gloss)
        gsub(/[ \t]*;[ \t;]*/, "; ", gloss)
        gsub(/^[; \t]+|[ \t]+$/, "", gloss)
        if (length(gloss) < 20 || gloss in seen) next
        seen[gloss]
        text[$2, count[$2]++] = gloss
    }
    END {
        each = per_train + per_test
        for (i = 1; i < n; i += 2) {
            f = w[i]
            for (k = 0; k < each; k++) {
                gloss = text[f, int(k * count[f] / each)]
                gsub(/"/, "\"\"", gloss)
                # spreads per_test of each evenly
                held = int((k + 1) * per_test / each) > int(k * per_test / each)
                printf "\"%s\",%s\n", gloss, label[f] > (held ? test : train)
            }
        }
    }' "$wordnet/data.noun" "$wordnet/data.verb"
mv "$dir/train.new" "$dir/train.csv"
mv "$dir/test.new" "$dir/test.csv"
