#!/bin/sh
# A compiler wrapper (RUSTC_WRAPPER) that adds libFuzzer's instrumentation to the crates that read untrusted bytes. Other
# crates are built unchanged, and so are procedural macros, which have no --target option.
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
