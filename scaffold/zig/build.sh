#!/bin/sh
# Makes PLUGIN_NAME.wasm. With --debug it keeps the names of functions, which the backtraces of `gauged plugin test` show; with
# --if-changed it does nothing if no file has changed since then. ZIG names the compiler, if it is neither zig nor python-zig.
set -eu
cd "$(dirname "$0")"
strip=-fstrip if_changed=
case ${1:-} in
  '') ;;
  --debug) strip=-fno-strip ;;
  --if-changed) if_changed=1 ;;
  *) echo 'usage: build.sh [--debug | --if-changed]' >&2; exit 2 ;;
esac

die() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }

install="install Zig 0.17, as by 'python3 -m venv .venv && .venv/bin/pip install -r requirements.txt', or name it by ZIG"
zig=${ZIG:-}
for name in .venv/bin/python-zig zig python-zig; do
  [ -n "$zig" ] || zig=$(command -v "$name") || :
done
[ -n "$zig" ] || die "there is no zig; $install"
# The language still changes from version to version.
version=$("$zig" version) || die "$zig does not run; $install"
case $version in
  0.17.*) ;;
  *) die "$zig is version $version; $install" ;;
esac
# The files that the plugin is made of, to compare with those of the last build.
sources() {
  printf '%s %s %s\n' "$zig" "$version" "$strip"
  find . -name '.?*' -prune -o -type f ! -name '*.wasm' -exec cksum {} + | sort
}
state=$(sources)
if [ -n "$if_changed" ] && [ -e PLUGIN_NAME.wasm ] && [ "$state" = "$(cat .PLUGIN_NAME.built 2>/dev/null)" ]; then
  echo 'build.sh: nothing has changed' >&2
  exit
fi
rm -f .PLUGIN_NAME.built
# Safe: a defect is a panic with a message, and no undefined behaviour.
"$zig" build-exe -target wasm32-freestanding -OReleaseSafe $strip -fno-entry -rdynamic --stack 65536 \
  -femit-bin=.PLUGIN_NAME.wasm.new --dep plugin bindings/component_type.c -Mroot=src/collector.zig \
  -Mplugin=bindings/plugin.zig
mv .PLUGIN_NAME.wasm.new PLUGIN_NAME.wasm
printf '%s\n' "$state" >.PLUGIN_NAME.built
printf 'build.sh: PLUGIN_NAME.wasm, %s bytes\n' "$(wc -c <PLUGIN_NAME.wasm)" >&2
