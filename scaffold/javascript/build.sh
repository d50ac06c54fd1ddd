#!/bin/sh
# Makes PLUGIN_NAME.wasm: a component with a JavaScript engine, about 12 MB. With --if-changed only if a file has changed since
# then. --debug changes nothing: stacks have names in any case.
set -eu
cd "$(dirname "$0")"

if_changed=
case ${1:-} in
  '' | --debug) ;;
  --if-changed) if_changed=1 ;;
  *) echo 'usage: build.sh [--debug | --if-changed]' >&2; exit 2 ;;
esac

die() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }

command -v node >/dev/null || die "node is not installed; install Node.js, version 20 or later"
[ -d node_modules/@bytecodealliance/componentize-js ] || die "componentize-js is not installed; run 'npm install'"
# The files that the plugin is made of, to compare with those of the last build.
sources() {
  find . -name '.?*' -prune -o -name node_modules -prune -o -type f ! -name '*.wasm' -exec cksum {} + | sort
}
state=$(sources)
if [ -n "$if_changed" ] && [ -e PLUGIN_NAME.wasm ] && [ "$state" = "$(cat .PLUGIN_NAME.built 2>/dev/null)" ]; then
  echo 'build.sh: nothing has changed' >&2
  exit
fi
rm -f .PLUGIN_NAME.built
node build.mjs .PLUGIN_NAME.wasm.new
mv .PLUGIN_NAME.wasm.new PLUGIN_NAME.wasm
printf '%s\n' "$state" >.PLUGIN_NAME.built
printf 'build.sh: PLUGIN_NAME.wasm, %s bytes\n' "$(wc -c <PLUGIN_NAME.wasm)" >&2
