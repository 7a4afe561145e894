#!/bin/sh
# Measures one training step of stepstone beside PyTorch: bench/run.sh [S|M|B] [ROUNDS]
set -eu
cd "$(dirname "$0")/.."
shape=${1:-S}
rounds=${2:-40}
threads=${THREADS:-2}
venv=${VENV:-bench/.venv}

if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet -r tools/requirements.txt
fi
cargo build --release -p stepstone-train --example step_server

torch="$venv/bin/python bench/peer_step.py $shape"
# glibc gives large blocks back to the kernel after every step unless told to keep them.
tuned="env MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_TOP_PAD_=67108864"
"$venv/bin/python" bench/interleave.py --rounds "$rounds" \
    "torch f32=$torch dyn --threads $threads" \
    "torch f32 tuned=$tuned $torch grouped --threads $threads" \
    "torch bf16 tuned=$tuned $torch bf16 --threads $threads" \
    "stepstone f32=cargo run --quiet --release -p stepstone-train --example step_server -- $shape --threads $threads"
