#!/bin/sh
# Builds the policy into the folder $OUT, or build/. Needs node and npm.
set -eu
cd "$(dirname "$0")"
OUT=${OUT:-build}
mkdir -p "$OUT"

cp package.json "$OUT"
npm install --prefix "$OUT" --no-package-lock --no-audit --no-fund --loglevel=error
# --stub-wasi: nothing of WASI is left. --sync: no exported function is asynchronous. --disable-gc: each
# evaluation has a memory of its own, which is dropped as a whole.
"$OUT/node_modules/.bin/componentize-qjs" --wit ../../../wit --world policy --js policy.js \
  --stub-wasi --sync --disable-gc --minify --output "$OUT/policy.wasm"
