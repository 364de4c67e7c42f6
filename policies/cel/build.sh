#!/bin/sh
# Builds the policy: cel.wasm in the folder $OUT, or build/. Needs cargo, its target wasm32-unknown-unknown and
# wasm-tools.
set -eu
cd "$(dirname "$0")"
OUT=${OUT:-build}
TARGET=${CARGO_TARGET_DIR:-../../target}/guests
mkdir -p "$OUT"

# A stack of 64 KiB: what is touched has to be cleared after each evaluation.
RUSTFLAGS='-Clink-arg=-zstack-size=65536' cargo build --quiet --locked --package cel-policy --lib \
  --profile policy --target wasm32-unknown-unknown --target-dir "$TARGET"
wasm-tools component new "$TARGET/wasm32-unknown-unknown/policy/cel_policy.wasm" -o "$OUT/cel.wasm"
