#!/bin/sh
# Makes PLUGIN_NAME.wasm: a component with the Python interpreter, about 18 MB. With --if-changed only if a file has changed
# since then. --debug changes nothing: tracebacks have names in any case.
set -eu
cd "$(dirname "$0")"

if_changed=
case ${1:-} in
  '' | --debug) ;;
  --if-changed) if_changed=1 ;;
  *) echo 'usage: build.sh [--debug | --if-changed]' >&2; exit 2 ;;
esac

die() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }

componentize=componentize-py
[ -x .venv/bin/componentize-py ] && componentize=.venv/bin/componentize-py
command -v "$componentize" >/dev/null ||
  die "componentize-py is not installed; run 'python3 -m venv .venv && .venv/bin/pip install -r requirements.txt'"
# The files that the plugin is made of, to compare with those of the last build.
sources() {
  find . -name '.?*' -prune -o -name __pycache__ -prune -o -type f ! -name '*.wasm' -exec cksum {} + | sort
}
state=$(sources)
if [ -n "$if_changed" ] && [ -e PLUGIN_NAME.wasm ] && [ "$state" = "$(cat .PLUGIN_NAME.built 2>/dev/null)" ]; then
  echo 'build.sh: nothing has changed' >&2
  exit
fi
rm -f .PLUGIN_NAME.built
"$componentize" -d wit -w plugin componentize app -o .PLUGIN_NAME.wasm.new
mv .PLUGIN_NAME.wasm.new PLUGIN_NAME.wasm
printf '%s\n' "$state" >.PLUGIN_NAME.built
printf 'build.sh: PLUGIN_NAME.wasm, %s bytes\n' "$(wc -c <PLUGIN_NAME.wasm)" >&2
