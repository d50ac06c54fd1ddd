#!/bin/sh
# Makes PLUGIN_NAME.wasm. With --debug it keeps the names of functions, which the backtraces of `gauged plugin test` show; with
# --if-changed it does nothing if no file has changed since then. CLANG names the compiler, if it is not clang.
set -eu
cd "$(dirname "$0")"
clang=${CLANG:-clang} optimise=-O2 strip=--strip-all if_changed=
case ${1:-} in
  '') ;;
  --debug) optimise=-O1 strip=--strip-debug ;;
  --if-changed) if_changed=1 ;;
  *) echo 'usage: build.sh [--debug | --if-changed]' >&2; exit 2 ;;
esac

die() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }

install="install clang and lld, version 14 or later, as in 'apt-get install clang lld'"
command -v "$clang" >/dev/null || die "there is no $clang; $install, or name it by CLANG"
# The linker that clang would run.
linker=$("$clang" --target=wasm32 -nostdlib -### -x c /dev/null 2>&1 | sed -n 's/^ "\([^"]*wasm-ld[^"]*\)".*/\1/p')
command -v "${linker:-wasm-ld}" >/dev/null || die "$clang finds no linker for wasm, wasm-ld; $install"
# The files that the plugin is made of, to compare with those of the last build.
sources() {
  printf '%s %s\n' "$clang" "$optimise"
  find . -name '.?*' -prune -o -name measure_test -prune -o -type f ! -name '*.wasm' -exec cksum {} + | sort
}
state=$(sources)
if [ -n "$if_changed" ] && [ -e PLUGIN_NAME.wasm ] && [ "$state" = "$(cat .PLUGIN_NAME.built 2>/dev/null)" ]; then
  echo 'build.sh: nothing has changed' >&2
  exit
fi
rm -f .PLUGIN_NAME.built
# No C library and no WASI: libc/ has the few functions that the plugin uses.
"$clang" --target=wasm32 -std=c11 $optimise -mbulk-memory -ffreestanding -nostdlib -Wall -Wextra -Werror -Ilibc \
  -Wl,--no-entry -Wl,$strip -Wl,-z,stack-size=65536 -o .PLUGIN_NAME.wasm.new \
  src/collector.c src/measure.c src/settings.c libc/libc.c bindings/plugin.c bindings/component_type.c
mv .PLUGIN_NAME.wasm.new PLUGIN_NAME.wasm
printf '%s\n' "$state" >.PLUGIN_NAME.built
printf 'build.sh: PLUGIN_NAME.wasm, %s bytes\n' "$(wc -c <PLUGIN_NAME.wasm)" >&2
