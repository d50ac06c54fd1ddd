#!/bin/sh
# Makes PLUGIN_NAME.wasm. With --debug it keeps the names of functions, which the backtraces of `gauged plugin test` show; with
# --if-changed it does nothing if no file has changed since then. GO names the compiler, if it is not go.
set -eu
cd "$(dirname "$0")"
go=${GO:-go} strip='-s -w' if_changed=
case ${1:-} in
  '') ;;
  --debug) strip=-w ;;
  --if-changed) if_changed=1 ;;
  *) echo 'usage: build.sh [--debug | --if-changed]' >&2; exit 2 ;;
esac

die() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }

command -v "$go" >/dev/null || die "there is no $go; install Go, version 1.24 or later, or name it by GO"
# The files that the plugin is made of, to compare with those of the last build.
sources() {
  printf '%s %s %s\n' "$go" "$("$go" version)" "$strip"
  find . -name '.?*' -prune -o -type f ! -name '*.wasm' -exec cksum {} + | sort
}
state=$(sources)
if [ -n "$if_changed" ] && [ -e PLUGIN_NAME.wasm ] && [ "$state" = "$(cat .PLUGIN_NAME.built 2>/dev/null)" ]; then
  echo 'build.sh: nothing has changed' >&2
  exit
fi
rm -f .PLUGIN_NAME.built
GOOS=wasip1 GOARCH=wasm "$go" build -buildmode=c-shared -trimpath -ldflags="$strip" -o .PLUGIN_NAME.wasm.new .
# The section by which the module is known to be a plugin. It may be the last one.
# shellcheck disable=SC2059 # the file is a format: a sequence of escapes
printf "$(tr -d '\n' <bindings/component_type)" >>.PLUGIN_NAME.wasm.new
mv .PLUGIN_NAME.wasm.new PLUGIN_NAME.wasm
printf '%s\n' "$state" >.PLUGIN_NAME.built
printf 'build.sh: PLUGIN_NAME.wasm, %s bytes\n' "$(wc -c <PLUGIN_NAME.wasm)" >&2
