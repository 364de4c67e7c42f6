#!/bin/sh
# Builds the policy into the folder $OUT, or build/. Needs node, npm and wasm-tools.
set -eu
cd "$(dirname "$0")"
WIT=$(cd ../../../wit && pwd)
OUT=${OUT:-build}
mkdir -p "$OUT"

cp package.json policy.ts contract.ts name-exports.mjs "$OUT"
cd "$OUT"
npm install --no-package-lock --no-audit --no-fund --loglevel=error
# stub: an allocator that never frees, since each evaluation has a memory of its own. abort= : a trap is a
# trap, without an import that prints.
node_modules/.bin/asc policy.ts --outFile module.wasm -O3 --noAssert --runtime stub --use abort=
node name-exports.mjs module.wasm
wasm-tools component embed "$WIT" --world policy module.wasm -o embedded.wasm
wasm-tools component new embedded.wasm -o policy.wasm
