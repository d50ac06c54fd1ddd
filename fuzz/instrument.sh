#!/bin/sh
# Stands before the compiler and adds libFuzzer's instrumentation to what reads untrusted bytes: this program, and the
# parsers that it uses. Everything else is built as it is, and so is what the compiler itself loads: procedural macros
# and what they use are built for no target.
case " $* " in
  *" --target "*) ;;
  *) exec "$@" ;;
esac
case $CARGO_PKG_NAME in
  gauged | gauged-fuzz | wasmparser | toml | toml_parser | humantime | bytesize)
    exec "$@" --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
      -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
      -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1
    ;;
  *) exec "$@" ;;
esac
