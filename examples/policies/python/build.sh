#!/bin/sh
# Builds the policy into the folder $OUT, or build/. Needs python3 with venv.
set -eu
cd "$(dirname "$0")"
OUT=${OUT:-build}
mkdir -p "$OUT/source"

python3 -m venv "$OUT/venv"
"$OUT/venv/bin/pip" install --quiet --requirement requirements.txt
# Everything in the folder of the source becomes part of the policy.
cp conditions.py "$OUT/source"
# --stub-wasi: nothing of WASI is left.
"$OUT/venv/bin/componentize-py" --quiet --wit-path ../../../wit --world policy componentize \
  --stub-wasi --python-path "$OUT/source" --output "$OUT/policy.wasm" conditions
