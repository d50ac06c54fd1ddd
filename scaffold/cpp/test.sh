#!/bin/sh
# Tests the code, and then the plugin under the agent's limits. GAUGED names the agent, if it is not in the path; CXX the
# compiler for this machine.
set -eu
cd "$(dirname "$0")"
cxx=${CXX:-c++}

die() { printf 'test.sh: %s\n' "$*" >&2; exit 1; }

command -v "$cxx" >/dev/null || die "there is no $cxx; install a C++ compiler, or name it by CXX"
command -v "${GAUGED:-gauged}" >/dev/null || die "there is no ${GAUGED:-gauged}; install the agent, or name it by GAUGED"
"$cxx" -std=c++23 -Wall -Wextra -Werror -o measure_test tests/measure_test.cpp src/measure.cpp src/settings.cpp
./measure_test
./build.sh --if-changed
"${GAUGED:-gauged}" plugin test PLUGIN_NAME.wasm
