#!/bin/sh
# Builds the policy into the folder $OUT, or build/. Needs cargo, its target wasm32-unknown-unknown
# and wasm-tools.
set -eu
cd "$(dirname "$0")"
OUT=${OUT:-build}
mkdir -p "$OUT"

cargo build --quiet --locked --release --target wasm32-unknown-unknown --target-dir "$OUT/target"
wasm-tools component new "$OUT/target/wasm32-unknown-unknown/release/conditions.wasm" -o "$OUT/policy.wasm"
