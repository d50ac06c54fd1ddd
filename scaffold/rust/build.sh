#!/bin/sh
# Makes PLUGIN_NAME.wasm. With --debug it keeps the names of functions, which the backtraces of `gauged plugin test` show, and
# checks for overflows.
set -eu
cd "$(dirname "$0")"
target=wasm32-unknown-unknown

case ${1:-} in
  '') ;;
  --debug)
    export CARGO_PROFILE_RELEASE_STRIP=debuginfo CARGO_PROFILE_RELEASE_OPT_LEVEL=1
    export CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true
    ;;
  *) echo 'usage: build.sh [--debug]' >&2; exit 2 ;;
esac

die() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }

command -v cargo >/dev/null || die "cargo is not installed; install Rust, version 1.88 or later, from https://rustup.rs"
has_target() { ls "$("${RUSTC:-rustc}" --print target-libdir --target $target 2>/dev/null)"/libstd-*.rlib >/dev/null 2>&1; }
if ! has_target; then
  # The agent's plugins/build.sh may have made a private toolchain.
  private=${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/gauged/wasm-toolchain/rustc
  linker=$(find "$(rustc --print sysroot)/lib/rustlib" -name rust-lld 2>/dev/null | head -n 1)
  [ -x "$private" ] && [ -n "$linker" ] ||
    die "the target $target is not installed; run 'rustup target add $target'"
  export RUSTC="$private" CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$linker"
fi
# A directory of its own: tests may use another compiler, whose output does not fit.
built=${CARGO_TARGET_DIR:-target}/plugin
cargo build --release --target $target --target-dir "$built"
cp "$built/$target/release/$(printf %s PLUGIN_NAME | tr - _).wasm" .PLUGIN_NAME.wasm.new
mv .PLUGIN_NAME.wasm.new PLUGIN_NAME.wasm
printf 'build.sh: PLUGIN_NAME.wasm, %s bytes\n' "$(wc -c <PLUGIN_NAME.wasm)" >&2
