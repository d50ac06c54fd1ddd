#!/bin/sh
# Tests the code, and then the plugin under the agent's limits. GAUGED names the agent, if it is not in the path; GO the
# compiler, if it is not go.
set -eu
cd "$(dirname "$0")"

die() { printf 'test.sh: %s\n' "$*" >&2; exit 1; }

command -v "${GO:-go}" >/dev/null || die "there is no ${GO:-go}; install Go, version 1.24 or later, or name it by GO"
command -v "${GAUGED:-gauged}" >/dev/null || die "there is no ${GAUGED:-gauged}; install the agent, or name it by GAUGED"
"${GO:-go}" test ./collector ./measure
./build.sh --if-changed
"${GAUGED:-gauged}" plugin test PLUGIN_NAME.wasm
