#!/usr/bin/env bash
# Builds every plugin in this directory and puts it beside its sources as <name>.wasm. Takes seconds when nothing has
# changed. With --test it then runs the tests of the plugins and of the SDK, for which they are built for this machine.
# Uses the Rust compiler's target wasm32-unknown-unknown where it is installed. Otherwise it makes a private toolchain of
# Debian's packages, once, in the user's cache; nothing is installed on the system.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=wasm32-unknown-unknown
cache=${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/gauged/wasm-toolchain

usage="usage: build.sh [--test]"
case $# in
  0) tests= ;;
  1) [ "$1" = --test ] || { echo "$usage" >&2; exit 2; }; tests=1 ;;
  *) echo "$usage" >&2; exit 2 ;;
esac

say() { printf 'build.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# The compiler for the target only.
compiler=${RUSTC:-rustc}

# Whether the compiler has the target's standard library.
has_target() {
  local libraries
  libraries=$("$compiler" --print target-libdir --target "$target" 2>/dev/null) || return 1
  compgen -G "$libraries/libstd-*.rlib" >/dev/null
}

# apt-get with lists and archives of its own, so that neither root nor the system's lists are needed.
apt() {
  apt-get -q -o Debug::NoLocking=1 -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none \
    -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" "$@"
}

# Prints the packages to unpack: Debian's newer compiler, its source, and the libraries that they depend on and that are
# not installed, such as LLVM's.
packages() {
  local all package
  all=$(apt-cache -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" depends --recurse --no-recommends \
    --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances rustc-web rust-web-src 2>/dev/null |
    grep -E '^[a-z0-9]' | sed 's/:.*//' | sort -u)
  for package in $all; do
    case $package in
      rustc-web | rust-web-src | libstd-rust-web-* | libllvm[0-9]*) echo "$package" ;;
      # Tools that compile for the machine itself are not needed.
      gcc* | g++* | cpp* | binutils* | libc6-dev | libc-dev* | linux-libc-dev | libgcc-*-dev | perl* | python*) ;;
      lib*) dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -q '^installed' || echo "$package" ;;
    esac
  done
}

make_toolchain() {
  local add="run 'rustup target add $target'"
  for tool in apt-get apt-cache dpkg-deb; do
    command -v "$tool" >/dev/null || die "the target $target is missing, and so is $tool to make up for it; $add"
  done
  say "the target $target is not installed; where rustup can download, 'rustup target add $target' is quicker"
  say "making a private toolchain in $cache (a minute, 560 MB) ..."

  work=$(mktemp -d "$cache.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work"/lists/partial "$work"/cache/archives/partial "$work"/debs "$work"/root "$work"/std/src
  apt update >"$work/log" 2>&1 || die "apt-get update failed: $(tail -n 3 "$work/log"); $add"
  local wanted
  mapfile -t wanted < <(packages)
  [ "${#wanted[@]}" -ge 4 ] || die "this machine's package sources have no rustc-web with its libraries; $add"
  (cd "$work/debs" && apt download "${wanted[@]}" >"$work/log" 2>&1) ||
    die "the download of ${wanted[*]} failed: $(tail -n 3 "$work/log"); $add"
  for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$work/root"; done

  # The compiler looks for its libraries where they were unpacked, not where Debian would install them.
  local usr=$work/root/usr final=$cache/root/usr libraries
  libraries=$(dirname "$(find "$usr/lib" -name 'librustc_driver-*.so' -print -quit)")
  wrapper "$work/rustc" "$usr" "${libraries#"$usr"/}"
  "$work/rustc" --version >"$work/log" 2>&1 || die "the unpacked compiler does not start: $(tail -n 3 "$work/log"); $add"

  # The standard library, built once, so that no later build needs unstable options. Without embedded bitcode a plugin
  # that is optimised at link time would not link.
  printf '[package]\nname = "stdbuild"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n' >"$work/std/Cargo.toml"
  : >"$work/std/src/lib.rs"
  (cd "$work/std" && RUSTC=$work/rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS='-C embed-bitcode=yes' CARGO_TARGET_DIR=$work/std/t \
    cargo build -q --release -Zbuild-std=std,panic_abort --target "$target" >"$work/log" 2>&1) ||
    die "building the standard library for $target failed: $(tail -n 5 "$work/log"); $add"
  mkdir -p "$usr/lib/rustlib/$target/lib"
  cp "$work/std/t/$target"/release/deps/*.r{lib,meta} "$usr/lib/rustlib/$target/lib/"
  rm -f "$usr/lib/rustlib/$target"/lib/libstdbuild*

  wrapper "$work/rustc" "$final" "${libraries#"$usr"/}"
  rm -rf "$work"/{lists,cache,debs,std,log} "$usr/src" "$usr/share"
  rm -rf "$cache"
  mv "$work" "$cache"
  trap - EXIT
  say "made $("$cache/rustc" --version)"
}

# wrapper FILE USR LIBRARIES: a compiler that finds the libraries it was built with.
wrapper() {
  printf '#!/bin/sh\nLD_LIBRARY_PATH="%s:%s${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" exec "%s/bin/rustc" "$@"\n' \
    "$2/$3" "$2/lib" "$2" >"$1"
  chmod +x "$1"
}

command -v cargo >/dev/null || die "cargo is not installed; install Rust, version 1.95 or later, by rustup"
if ! has_target; then
  mkdir -p "$(dirname "$cache")"
  # Concurrent builds make one toolchain.
  exec 9>"$cache.lock"
  flock 9
  [ -x "$cache/rustc" ] && "$cache/rustc" --version >/dev/null 2>&1 || make_toolchain
  exec 9>&-
  linker=$(find "$(rustc --print sysroot)/lib/rustlib" -name rust-lld -print -quit 2>/dev/null || true)
  [ -n "$linker" ] || linker=$(command -v wasm-ld) ||
    die "no linker for $target: neither rust-lld nor wasm-ld is installed; install lld, or run 'rustup target add $target'"
  export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$linker
  compiler=$cache/rustc
fi

# Cargo does not notice that the standard library has changed, and what was built against another one does not link.
identity=$(stat -c '%i %Y %n' "$("$compiler" --print target-libdir --target "$target")"/libstd-*.rlib)
if [ "$(cat "$here/target/$target/built-against" 2>/dev/null)" != "$identity" ]; then
  rm -rf "$here/target/$target"
  mkdir -p "$here/target/$target"
  printf '%s\n' "$identity" >"$here/target/$target/built-against"
fi

cd "$here"
RUSTC=$compiler cargo build --release --locked --target "$target" --target-dir "$here/target"
for manifest in */Cargo.toml; do
  grep -q '^crate-type = .*"cdylib"' "$manifest" || continue
  name=${manifest%/Cargo.toml}
  built=target/$target/release/${name//-/_}.wasm
  [ -e "$built" ] || die "cargo has not built plugins/$built; is the package in plugins/$manifest called $name?"
  # Only changed files are replaced, and atomically: an agent may be watching the directory.
  if ! cmp -s "$built" "$name.wasm"; then
    cp "$built" ".$name.wasm.new"
    mv ".$name.wasm.new" "$name.wasm"
    say "built plugins/$name.wasm ($(wc -c <"$name.wasm") bytes)"
  fi
done

# The target and profile differ from those of the plugins, so both fit into one directory.
if [ -n "$tests" ]; then
  cargo test --workspace --locked --target-dir "$here/target"
fi
