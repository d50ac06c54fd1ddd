#!/usr/bin/env bash
# fuzz/run.sh [SECONDS] [TARGET...]: builds the fuzzer and runs each target for so long (60 s; all targets), from the
# seeds in fuzz/corpus/ and what earlier runs have added to fuzz/target/corpus/. Ends with 1 when a target has found
# something, and names the file with the input. Needs g++ for libFuzzer itself, and the stable compiler.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here"

# The longest input, in bytes: a small plugin, or the kernel's longest file on a machine with a few CPUs.
longest=8192
# The limits of one input: a parser of kilobytes that needs this much has found a way to need more.
most_seconds=10
most_mib=1024

say() { printf 'run.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 2; }

seconds=60
if [[ ${1:-} =~ ^[0-9]+$ ]]; then seconds=$1; shift; fi
[ "$seconds" -gt 0 ] || die "0 seconds would be without end; give each target at least one"
command -v cargo >/dev/null || die "cargo is not installed; install Rust, version 1.95 or later, by rustup"
command -v "${CXX:-c++}" >/dev/null || die "no C++ compiler builds libFuzzer; install g++, or name one in CXX"
targets=("$@")
if [ ${#targets[@]} = 0 ]; then targets=($(cd corpus && ls)); fi
for target in "${targets[@]}"; do
  [ -d "corpus/$target" ] || die "there is no target $target; there are: $(cd corpus && echo *)"
done

machine=$(rustc -vV | sed -n 's/^host: //p')
# Procedural macros, which the compiler loads, cannot be instrumented: with a named target the wrapper recognises them.
RUSTC_WRAPPER=$here/instrument.sh cargo build --release --locked --target "$machine"
fuzzer=target/$machine/release/gauged-fuzz

# Collectors read files, which then are in memory.
export TMPDIR
TMPDIR=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")" gauged-fuzz.XXXXXX)
trap 'rm -rf "$TMPDIR"' EXIT

mkdir -p target/found
failed=0
for target in "${targets[@]}"; do
  mkdir -p "target/corpus/$target"
  log=target/found/$target.log
  if GAUGED_FUZZ_TARGET=$target "$fuzzer" "target/corpus/$target" "corpus/$target" -artifact_prefix="target/found/$target-" \
    -max_total_time="$seconds" -max_len=$longest -timeout=$most_seconds -rss_limit_mb=$most_mib \
    -entropic_scale_per_exec_time=1 -print_final_stats=1 >"$log" 2>&1; then
    # The first line after the seeds and the last: how much of the code was reached, in edges, before and after.
    reached=$(sed -n 's/.*\(INITED\|DONE\) *cov: \([0-9]*\).*/\2/p' "$log" | paste -sd' ' | sed 's/ / to /')
    rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
    count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    say "$target: nothing found; $count inputs in $seconds s ($rate a second), from $reached edges"
  else
    failed=1
    sed -n '/panicked at/,/^stack backtrace/p; /^SUMMARY\|ERROR: libFuzzer/p' "$log" | grep -v '^stack backtrace' >&2 || true
    input=$(sed -n 's/.*Test unit written to //p' "$log")
    if [ -z "$input" ]; then
      input=target/found/$target-crash-without-a-word
      cp "$TMPDIR/reading" "$input"
    fi
    say "$target: FOUND something; the input is fuzz/$input, the log is fuzz/$log"
    say "to see it again: GAUGED_FUZZ_TARGET=$target fuzz/$fuzzer fuzz/$input"
  fi
done
exit $failed
