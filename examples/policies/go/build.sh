#!/bin/sh
# Builds the policy into the folder $OUT, or build/. Needs Go from 1.25 on, wit-bindgen and wasm-tools.
set -eu
cd "$(dirname "$0")"
WIT=$(cd ../../../wit && pwd)
HERE=$(pwd)
OUT=${OUT:-build}
mkdir -p "$OUT"

cd "$OUT"
wit-bindgen go --world policy "$WIT"
cp "$HERE/go.mod" "$HERE/go.sum" .
mkdir -p export_node_readiness_policy_decide
cp "$HERE/policy/policy.go" export_node_readiness_policy_decide/
# checklinkname=0: the bindings' allocator calls a function of Go's runtime that has no name outside.
GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -trimpath -ldflags='-s -w -checklinkname=0' -o module.wasm
wasm-tools component embed "$WIT" --world policy module.wasm -o embedded.wasm
wasm-tools component new embedded.wasm --adapt "wasi_snapshot_preview1=$HERE/no-wasi.wat" -o policy.wasm
