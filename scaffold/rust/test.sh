#!/bin/sh
# Tests the code, and then the plugin under the agent's limits. GAUGED names the agent, if it is not in the path.
set -eu
cd "$(dirname "$0")"

die() { printf 'test.sh: %s\n' "$*" >&2; exit 1; }

command -v cargo >/dev/null || die "cargo is not installed; install Rust, version 1.88 or later, from https://rustup.rs"
command -v "${GAUGED:-gauged}" >/dev/null || die "there is no ${GAUGED:-gauged}; install the agent, or name it by GAUGED"
cargo test --quiet
./build.sh
"${GAUGED:-gauged}" plugin test PLUGIN_NAME.wasm
