#!/bin/bash
# full.sh TRIPLINE: fit on disks of every size that is too small: for the checkpoint, for the model,
# for each of the small files beside it, the report among them. One line says so, nothing
# half-written is left, and with room again the same command goes on to the same bytes.
# Needs to mount: root, or a user who may have a namespace of its own; else exit 77 skips.
set -euo pipefail
if [ "${2:-}" != inside ]; then
    for own in -m -rm; do
        if unshare $own mount -t tmpfs none /mnt 2> /dev/null; then exec unshare $own "$0" "$1" inside; fi
    done
    echo "mounting is not permitted here: skipped"
    exit 77
fi
. "$(dirname "${BASH_SOURCE[0]}")/world.sh"
trap 'umount disk 2> /dev/null || :; rm -rf "$WORLD"' EXIT
mkdir disk
mount -t tmpfs none disk

options=(--epochs 1 --work disk/work)
fit disk/out "${options[@]}" > whole.txt 2> whole.log
want=$(sha256sum < disk/out/onnx/model.onnx)
one=$(du -sk disk/work | cut -f1)
all=$(du -sk disk | cut -f1)
umount disk

refused=0
for room in $(seq 8 24 "$one") $(seq "$one" 4 $((all - 4))); do
    mount -t tmpfs -o "size=${room}k" none disk
    status=0
    fit disk/out "${options[@]}" > out.txt 2> err.txt || status=$?
    [ $status = 74 ] || fail "$room KiB: status $status: $(cat err.txt)"
    [ "$(grep -c '^tripline: ' err.txt)" = 1 ] || fail "$room KiB: not one line: $(cat err.txt)"
    tail -1 err.txt | grep -q 'free some space' || fail "$room KiB: $(cat err.txt)"
    tail -1 err.txt >> said.txt
    left=$(find disk -mindepth 1 ! -path disk/work ! -name 'step-*.ckpt')
    [ -z "$left" ] || fail "$room KiB: left $left"
    mount -o remount,size=4m disk
    fit disk/out "${options[@]}" > out.txt 2> err.txt || fail "$room KiB, then more: $(cat err.txt)"
    [ "$(sha256sum < disk/out/onnx/model.onnx)" = "$want" ] || fail "$room KiB: other bytes"
    umount disk
    refused=$((refused + 1))
done
for place in work onnx/model.onnx tokenizer.json report.html; do
    grep -q "$place" said.txt || fail "no disk was full at $place: $(sort said.txt | uniq -c)"
done
echo "$refused full disks refused, and gone on from"
