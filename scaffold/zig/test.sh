#!/bin/sh
# Tests the code, and then the plugin under the agent's limits. GAUGED names the agent, if it is not in the path; ZIG the
# compiler, if it is neither zig nor python-zig.
set -eu
cd "$(dirname "$0")"

die() { printf 'test.sh: %s\n' "$*" >&2; exit 1; }

zig=${ZIG:-}
for name in .venv/bin/python-zig zig python-zig; do
  [ -n "$zig" ] || zig=$(command -v "$name") || :
done
[ -n "$zig" ] ||
  die "there is no zig; install Zig 0.17, as by 'python3 -m venv .venv && .venv/bin/pip install -r requirements.txt'"
command -v "${GAUGED:-gauged}" >/dev/null || die "there is no ${GAUGED:-gauged}; install the agent, or name it by GAUGED"
"$zig" test src/measure.zig
./build.sh --if-changed
"${GAUGED:-gauged}" plugin test PLUGIN_NAME.wasm
