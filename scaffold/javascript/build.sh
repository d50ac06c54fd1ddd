#!/bin/sh
# Makes PLUGIN_NAME.wasm: a component with a JavaScript engine, about 12 MB.
set -eu
cd "$(dirname "$0")"

die() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }

command -v node >/dev/null || die "node is not installed; install Node.js, version 20 or later"
[ -d node_modules/@bytecodealliance/componentize-js ] || die "componentize-js is not installed; run 'npm install'"
node build.mjs .PLUGIN_NAME.wasm.new
mv .PLUGIN_NAME.wasm.new PLUGIN_NAME.wasm
printf 'build.sh: PLUGIN_NAME.wasm, %s bytes\n' "$(wc -c <PLUGIN_NAME.wasm)" >&2
