#!/bin/sh
# Tests the code, and then the plugin under the agent's limits. GAUGED names the agent, if it is not in the path; CC the
# compiler for this machine.
set -eu
cd "$(dirname "$0")"
cc=${CC:-cc}

die() { printf 'test.sh: %s\n' "$*" >&2; exit 1; }

command -v "$cc" >/dev/null || die "there is no $cc; install a C compiler, or name it by CC"
command -v "${GAUGED:-gauged}" >/dev/null || die "there is no ${GAUGED:-gauged}; install the agent, or name it by GAUGED"
"$cc" -std=c11 -Wall -Wextra -Werror -o measure_test tests/measure_test.c src/measure.c src/settings.c
./measure_test
./build.sh --if-changed
"${GAUGED:-gauged}" plugin test PLUGIN_NAME.wasm
