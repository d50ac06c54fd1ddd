#!/bin/sh
# Tests the code, and then the plugin under the agent's limits. GAUGED names the agent, if it is not in the path.
set -eu
cd "$(dirname "$0")"

die() { printf 'test.sh: %s\n' "$*" >&2; exit 1; }

command -v python3 >/dev/null || die "python3 is not installed; install Python, version 3.10 or later"
command -v "${GAUGED:-gauged}" >/dev/null || die "there is no ${GAUGED:-gauged}; install the agent, or name it by GAUGED"
python3 -m unittest --quiet
./build.sh --if-changed
"${GAUGED:-gauged}" plugin test PLUGIN_NAME.wasm
