//! The fuzzer: libFuzzer around one target of `src/fuzzing.rs`. The environment names the target, because libFuzzer uses
//! the command line. `fuzz/run.sh` builds and runs the fuzzer.

#![no_main]

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::sync::LazyLock;

use gauged::fuzzing::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

/// Libraries that parse a module's world and panic on hostile ones. The agent runs them in its compiler process and reports
/// their panics, so these are not findings. A crash without a panic is.
const MAY_PANIC: [&str; 2] = ["/wit-component-", "/wit-parser-"];

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    #[expect(clippy::disallowed_methods, reason = "the command line is libFuzzer's")]
    let target_name = std::env::var("GAUGED_FUZZ_TARGET").unwrap_or_default();
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    let target = TARGETS.iter().find(|(name, _)| *name == target_name);
    let report_finding = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let file = info.location().map(panic::Location::file).unwrap_or_default();
        if !MAY_PANIC.iter().any(|library| file.contains(library)) {
            report_finding(info);
        }
    }));
    let (_, target) = target.unwrap_or_else(|| panic!("set GAUGED_FUZZ_TARGET to one of {}", names.join(", ")));
    *target
});

/// A file with the current input, for `run.sh`. libFuzzer itself saves the input of a crash, except on stack overflow.
static CURRENT_INPUT: LazyLock<File> =
    LazyLock::new(|| File::create(std::env::temp_dir().join("reading")).expect("a temporary file"));

fuzz_target!(|bytes: &[u8]| {
    CURRENT_INPUT.write_all_at(bytes, 0).and_then(|()| CURRENT_INPUT.set_len(bytes.len() as u64)).expect("written");
    let target = *TARGET;
    // The hook aborts on other panics.
    let _ = panic::catch_unwind(AssertUnwindSafe(|| target(bytes)));
});
