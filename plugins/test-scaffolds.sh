#!/usr/bin/env bash
# Makes a project in each language by `gauged plugin new`, builds it, and tests it by its own test.sh: all of them, or those
# that are named. What that takes is fetched once, and kept in the user's cache: componentize-py from PyPI (60 MB),
# componentize-js from npm (390 MB), and clang with lld from Debian's packages where they are not installed (60 MB). Nothing
# is installed on the system. GAUGED names the agent; otherwise it is built here. Ends with how many passed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/gauged/scaffold
languages=("$@")
[ $# -gt 0 ] || languages=(rust c python javascript)

say() { printf 'test-scaffolds.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# made DIRECTORY COMMAND…: a directory of the cache that a command makes, once; it is there as a whole or not at all.
made() {
  local directory=$1
  shift
  [ -d "$directory" ] && return
  say "fetching what ${directory##*/} has ..."
  rm -rf "$directory".??????
  local unfinished
  unfinished=$(mktemp -d "$directory.XXXXXX")
  if ! (cd "$unfinished" && "$@") >"$unfinished/log" 2>&1; then
    tail -n 5 "$unfinished/log" >&2
    rm -rf "$unfinished"
    return 1
  fi
  mv "$unfinished" "$directory"
}

# What stands for the content of a file in the name of a directory.
mark() { sha256sum "$1" | cut -c 1-12; }

# These run where a failure does not end the script by itself.

# A virtual environment knows its own place, so what pip fetches is put into a directory of any name, and found by it.
fetch_python() { python3 -m pip install -q --target . -r "$requirements"; }

fetch_javascript() { cp "$package" package.json && npm install --no-audit --no-fund; }

# apt-get with lists and archives of our own, so that neither root nor up-to-date lists of the system are needed.
apt() {
  apt-get -q -o Debug::NoLocking=1 -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none \
    -o Dir::State::lists="$PWD/lists" -o Dir::Cache="$PWD/cache" "$@"
}

fetch_clang() {
  mkdir -p lists/partial cache/archives/partial debs root && apt update || return 1
  local all package wanted=()
  all=$(apt-cache -o Dir::State::lists="$PWD/lists" -o Dir::Cache="$PWD/cache" depends --recurse --no-recommends \
    --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances clang lld | grep -E '^[a-z0-9]' |
    sed 's/:.*//' | sort -u)
  for package in $all; do
    case $package in
      clang-[0-9]* | lld-[0-9]* | libclang-common-* | libclang-cpp* | libclang1-* | libllvm*)
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -q '^installed' || wanted+=("$package")
        ;;
    esac
  done
  (cd debs && apt -o Dir::State::lists="../lists" -o Dir::Cache="../cache" download "${wanted[@]}") || return 1
  local deb
  for deb in debs/*.deb; do dpkg-deb -x "$deb" root || return 1; done
  rm -rf lists cache debs
  ls root/usr/bin/clang-[0-9]*
}

# Fetches what a project takes, and links it to where the project looks for it.
prepare() {
  case $1 in
    rust)
      # The compiler's target, or a toolchain that has it.
      "$here/build.sh" || return 1
      export CARGO_TARGET_DIR=$here/target/wasm32-unknown-unknown/scaffold
      ;;
    c)
      command -v clang >/dev/null && return
      made "$cache/clang" fetch_clang || return 1
      local clang
      clang=$(echo "$cache"/clang/root/usr/bin/clang-[0-9]*)
      export CLANG=$clang PATH=${clang%/*}:$PATH
      LD_LIBRARY_PATH=$(echo "$cache"/clang/root/usr/lib/llvm-*/lib):$cache/clang/root/usr/lib/$(uname -m)-linux-gnu
      export LD_LIBRARY_PATH
      ;;
    python)
      requirements=$PWD/requirements.txt
      local environment
      environment=$cache/python-$(mark "$requirements")
      made "$environment" fetch_python || return 1
      export PATH=$environment/bin:$PATH PYTHONPATH=$environment
      ;;
    javascript)
      package=$PWD/package.json
      local modules
      modules=$cache/javascript-$(mark "$package")
      made "$modules" fetch_javascript || return 1
      ln -s "$modules/node_modules" node_modules
      ;;
    *) die "$1 is not among rust, c, python, javascript" ;;
  esac
}

mkdir -p "$cache"
# Two runs at a time fetch everything once.
exec 9>"$cache/lock"
flock 9
if [ -z "${GAUGED:-}" ]; then
  (cd "$here/.." && cargo build --quiet --locked)
  GAUGED=$here/../target/debug/gauged
fi
export GAUGED
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# What is compiled here is of no use later.
export CACHE_DIRECTORY=$work/cache

passed=() failed=()
for language in "${languages[@]}"; do
  "$GAUGED" plugin new "my-$language" --lang "$language" --into "$work" >/dev/null || die "cannot make a project in $language"
  start=$SECONDS
  say "$language ..."
  if (cd "$work/my-$language" && prepare "$language" && ./test.sh) >"$work/log" 2>&1; then
    passed+=("$language")
    printf '%-12s passed in %4s s, %s bytes\n' "$language" "$((SECONDS - start))" "$(wc -c <"$work/my-$language/my-$language.wasm")"
  else
    failed+=("$language")
    cat "$work/log" >&2
    printf '%-12s failed in %4s s\n' "$language" "$((SECONDS - start))"
  fi
done
echo "${#passed[@]} passed, ${#failed[@]} failed"
[ "${#failed[@]}" -eq 0 ]
