#!/usr/bin/env bash
# Writes what the program prints today into README.md and docs/*.md, over the outputs that they quote. The test of the same
# name compares.
set -euo pipefail
cd "$(dirname "$0")/.."
STEPSTONE_QUOTES=write cargo test --release -p stepstone --test program quoted_outputs
git diff --stat -- README.md docs bench/README.md
