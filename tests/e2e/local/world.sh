# Sourced with the program as the script's argument: a folder of its own with a tiny backbone
# (61 tokens, 20 positions), its tokenizer, and labeled documents; it goes with the script.
TRIPLINE=$(realpath "$1")
GOLDEN=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../../golden")
WORLD=$(mktemp -d)
trap 'rm -rf "$WORLD"' EXIT
chmod 755 "$WORLD"
cd "$WORLD"

fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

tokenizer() {
    local i=0 sep='' t tokens=('[PAD]' '[UNK]' '[CLS]' '[SEP]' '[MASK]')
    printf '{"version":"1.0","added_tokens":['
    for t in "${tokens[@]}"; do
        printf '%s{"id":%d,"content":"%s","single_word":false,"lstrip":false,' "$sep" "$i" "$t"
        printf '"rstrip":false,"normalized":false,"special":true}'
        sep=, i=$((i + 1))
    done
    printf '],"normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,'
    printf '"strip_accents":null,"lowercase":true},"pre_tokenizer":{"type":"BertPreTokenizer"},'
    printf '"post_processor":{"type":"TemplateProcessing","single":['
    printf '{"SpecialToken":{"id":"[CLS]","type_id":0}},{"Sequence":{"id":"A","type_id":0}},'
    printf '{"SpecialToken":{"id":"[SEP]","type_id":0}}],"pair":[],"special_tokens":{'
    printf '"[CLS]":{"id":"[CLS]","ids":[2],"tokens":["[CLS]"]},'
    printf '"[SEP]":{"id":"[SEP]","ids":[3],"tokens":["[SEP]"]}}},"decoder":null,'
    printf '"model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##",'
    printf '"max_input_chars_per_word":100,"vocab":{'
    sep='' i=0
    for t in "${tokens[@]}" {a..z} '##'{a..z}; do
        printf '%s"%s":%d' "$sep" "$t" "$i"
        sep=, i=$((i + 1))
    done
    printf '}}}'
}

documents() { # documents COUNT SEED: content,label of five labels
    awk -v n="$1" -v seed="$2" 'BEGIN {
        srand(seed)
        for (i = 0; i < n; i++) {
            text = ""
            for (k = 4 + int(8 * rand()); k > 0; k--)
                text = text substr("abcdefghijklmnopqrstuvwxyzabc", i % 5 * 5 + 1 + int(8 * rand()), 1)
            print text ",label " i % 5
        }
    }'
}

mkdir backbone
cp "$GOLDEN/engine/bert-new.onnx" backbone/model.onnx
tokenizer > backbone/tokenizer.json
documents 80 1 > train.csv
documents 40 2 > test.csv

fit() { # fit OUT [OPTIONS...]
    "$TRIPLINE" fit --local --train train.csv --model backbone --out "$@"
}
