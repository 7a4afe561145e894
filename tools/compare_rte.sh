#!/usr/bin/env bash
# Compares RTE means of one encoder: three seeds of stepstone and three of transformers by the same recipe.
#
#   tools/compare_rte.sh MODEL DATA OUT [FLAG VALUE]...
#
# The flags go to both sides (--threads, --max-steps, --max-length, ...); without flags both use the preset `default`.
# PYTHON names the interpreter with tools/requirements.txt. After an interruption, the same command resumes.
set -euo pipefail
if (($# < 3)); then
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 64
fi
model=$1 data=$2 out=$3
flags=("${@:4}")
tools=$(dirname "$0")
python=${PYTHON:-python3}
seeds=(0 1 2)
mkdir -p "$out"
cargo build --release --manifest-path "$tools/../Cargo.toml"
program=${CARGO_TARGET_DIR:-$tools/../target}/release/stepstone
for seed in "${seeds[@]}"; do
    "$program" train --model "$model" --task rte --data "$data" --seed "$seed" --out "$out/ours-$seed" "${flags[@]}"
done
for seed in "${seeds[@]}"; do
    if [[ ! -s $out/peer-$seed.jsonl ]]; then
        "$python" "$tools/peer_finetune.py" --model "$model" --task rte --data "$data" --seed "$seed" \
            --json "$out/peer-$seed.jsonl" "${flags[@]}"
    fi
done
peers=("${seeds[@]/#/$out/peer-}")
"$python" "$tools/compare_seeds.py" --ours "${seeds[@]/#/$out/ours-}" --peer "${peers[@]/%/.jsonl}"
