#!/bin/sh
# Build a TensorRT engine from a folder that `tulou models export NAME --format onnx --to DIR` wrote:
#
#   deploy/tensorrt/build.sh DIR [ENGINE]       writes ENGINE, by default DIR/model.plan
#
# Run it on the machine, with the GPU and the TensorRT, that will serve: an engine fits no other. Batches up to MAX_BATCH
# (32) and texts up to the model's longest are allowed; it is tuned for OPT_BATCH (8) texts of OPT_LENGTH (64) tokens.
# PRECISION is fp16 (default), bf16 or fp32. TRTEXEC names the builder, by default trtexec on the PATH. DRY_RUN=1 prints
# the command instead.
set -eu

fail() {
    echo "build.sh: $1" >&2
    exit 1
}

[ $# -ge 1 ] || fail "usage: build.sh DIR [ENGINE]"
dir=$1
engine=${2:-$dir/model.plan}
[ -f "$dir/model.onnx" ] || fail "$dir has no model.onnx; write it with: tulou models export NAME --format onnx --to $dir"
[ -f "$dir/model.json" ] || fail "$dir has no model.json; write it with: tulou models export NAME --format onnx --to $dir"

longest=$(sed -n 's/^ *"max_tokens": *\([0-9][0-9]*\).*/\1/p' "$dir/model.json" | head -n 1)
[ -n "$longest" ] || fail "$dir/model.json does not say max_tokens"

max_batch=${MAX_BATCH:-32}
opt_batch=${OPT_BATCH:-8}
opt_length=${OPT_LENGTH:-64}
[ "$opt_length" -le "$longest" ] || opt_length=$longest
[ "$opt_batch" -le "$max_batch" ] || opt_batch=$max_batch

case ${PRECISION:-fp16} in
fp16) precision=--fp16 ;;
bf16) precision=--bf16 ;;
fp32) precision=--noTF32 ;;
*) fail "PRECISION is '$PRECISION'; choose fp16, bf16 or fp32" ;;
esac

shapes() { echo "input_ids:$1x$2,attention_mask:$1x$2"; }

set -- "${TRTEXEC:-trtexec}" "--onnx=$dir/model.onnx" "--saveEngine=$engine" "$precision" \
    "--minShapes=$(shapes 1 1)" "--optShapes=$(shapes "$opt_batch" "$opt_length")" \
    "--maxShapes=$(shapes "$max_batch" "$longest")"

if [ "${DRY_RUN:-}" ]; then
    printf '%s\n' "$@"
    exit 0
fi
command -v "$1" >/dev/null || fail "$1 is not installed; it comes with TensorRT (NVIDIA's tensorrt container has it)"
exec "$@"
