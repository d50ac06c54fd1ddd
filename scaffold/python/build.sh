#!/bin/sh
# Makes PLUGIN_NAME.wasm: a component with the Python interpreter, about 18 MB.
set -eu
cd "$(dirname "$0")"

die() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }

componentize=componentize-py
[ -x .venv/bin/componentize-py ] && componentize=.venv/bin/componentize-py
command -v "$componentize" >/dev/null ||
  die "componentize-py is not installed; run 'python3 -m venv .venv && .venv/bin/pip install -r requirements.txt'"
"$componentize" -d wit -w plugin componentize app -o .PLUGIN_NAME.wasm.new
mv .PLUGIN_NAME.wasm.new PLUGIN_NAME.wasm
printf 'build.sh: PLUGIN_NAME.wasm, %s bytes\n' "$(wc -c <PLUGIN_NAME.wasm)" >&2
