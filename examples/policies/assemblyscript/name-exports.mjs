// Gives the exports of a module the names that the contract wants: AssemblyScript has no way to write them.
// node name-exports.mjs MODULE.wasm

import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

// The copy that AssemblyScript brings.
const path = createRequire(`${process.cwd()}/`).resolve('binaryen');
const { default: binaryen } = await import(pathToFileURL(path));

const [file] = process.argv.slice(2);
const module = binaryen.readBinary(readFileSync(file));
module.setFeatures(binaryen.Features.All);
for (const name of ['describe', 'check', 'evaluate']) {
  const { value } = binaryen.getExportInfo(module.getExport(name));
  module.removeExport(name);
  module.addFunctionExport(value, `node-readiness:policy/decide@0.1.0#${name}`);
}
writeFileSync(file, module.emitBinary());
