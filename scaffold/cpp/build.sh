#!/bin/sh
# Makes PLUGIN_NAME.wasm. With --debug it keeps the names of functions, which the backtraces of `gauged plugin test` show; with
# --if-changed it does nothing if no file has changed since then. WASI_CXX names the compiler, if it is neither zig nor
# python-zig, such as the clang++ of wasi-sdk.
set -eu
cd "$(dirname "$0")"
optimise=-Os if_changed=
case ${1:-} in
  '') ;;
  --debug) optimise='-Os -g' ;;
  --if-changed) if_changed=1 ;;
  *) echo 'usage: build.sh [--debug | --if-changed]' >&2; exit 2 ;;
esac

die() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }

cxx=${WASI_CXX:-}
for name in .venv/bin/python-zig zig python-zig; do
  [ -n "$cxx" ] || ! command -v "$name" >/dev/null || cxx="$name c++"
done
[ -n "$cxx" ] ||
  die "there is no C++ compiler for WASI; install Zig, as by 'python3 -m venv .venv && .venv/bin/pip install -r" \
    "requirements.txt', or name one by WASI_CXX, as the clang++ of wasi-sdk"
# The files that the plugin is made of, to compare with those of the last build.
sources() {
  printf '%s %s\n' "$cxx" "$optimise"
  find . -name '.?*' -prune -o -name measure_test -prune -o -type f ! -name '*.wasm' -exec cksum {} + | sort
}
state=$(sources)
if [ -n "$if_changed" ] && [ -e PLUGIN_NAME.wasm ] && [ "$state" = "$(cat .PLUGIN_NAME.built 2>/dev/null)" ]; then
  echo 'build.sh: nothing has changed' >&2
  exit
fi
rm -f .PLUGIN_NAME.built
# The bindings are C.
object=.PLUGIN_NAME.o
trap 'rm -f "$object"' EXIT
$cxx -target wasm32-wasi -x c -std=c11 $optimise -c -o "$object" bindings/plugin.c
# A guest cannot unwind, so there are no exceptions. The checks of the standard library and of assert stay: what they print is
# in the log. The first build of each kind makes the standard library, which takes a minute.
$cxx -target wasm32-wasi -mexec-model=reactor -std=c++23 -fno-exceptions -fno-rtti $optimise -Wall -Wextra -Werror \
  -Wl,-z,stack-size=262144 -UNDEBUG -U_LIBCPP_HARDENING_MODE -D_LIBCPP_HARDENING_MODE=_LIBCPP_HARDENING_MODE_FAST \
  -o .PLUGIN_NAME.wasm.new src/collector.cpp src/measure.cpp src/settings.cpp "$object" -x c++ bindings/component_type.c
mv .PLUGIN_NAME.wasm.new PLUGIN_NAME.wasm
printf '%s\n' "$state" >.PLUGIN_NAME.built
printf 'build.sh: PLUGIN_NAME.wasm, %s bytes\n' "$(wc -c <PLUGIN_NAME.wasm)" >&2
