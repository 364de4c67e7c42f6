#!/bin/sh
# Builds the policy into the folder $OUT, or build/. Needs wit-bindgen, wasm-tools and a C compiler for
# WebAssembly: Debian's packages clang and lld; or PyPI's ziglang, with
# CC='python3 -m ziglang cc --target=wasm32-freestanding'.
set -eu
cd "$(dirname "$0")"
OUT=${OUT:-build}
CC=${CC:-clang --target=wasm32}
mkdir -p "$OUT"

wit-bindgen c --world policy --out-dir "$OUT/bindings" ../../../wit
# A stack of 64 KiB: what is touched has to be cleared after each evaluation.
$CC -O2 -flto -Wall -Wextra -mbulk-memory -fno-builtin-malloc -nostdlib -I include -I "$OUT" \
  policy.c "$OUT/bindings/policy.c" "$OUT/bindings/policy_component_type.o" \
  -Wl,--no-entry -Wl,--strip-debug -Wl,-z,stack-size=65536 -o "$OUT/module.wasm"
wasm-tools component new "$OUT/module.wasm" -o "$OUT/policy.wasm"
