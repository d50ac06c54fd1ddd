//! The fuzzer: libFuzzer around one of the functions in `src/fuzzing.rs`, the one that the environment names, since the
//! command line is libFuzzer's. `fuzz/run.sh` builds and runs it.

#![no_main]

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::sync::LazyLock;

use gauged::fuzzing::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

/// What takes a module's world apart has assertions that a hostile one breaks. It runs in the process that compiles, whose
/// panics the agent reports as what they are, so that they are no findings: only what ends that process without a word.
const MAY_PANIC: [&str; 2] = ["/wit-component-", "/wit-parser-"];

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    #[expect(clippy::disallowed_methods, reason = "the command line is libFuzzer's")]
    let wanted = std::env::var("GAUGED_FUZZ_TARGET").unwrap_or_default();
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    let found = TARGETS.iter().find(|(name, _)| *name == wanted);
    let finding = panic::take_hook();
    panic::set_hook(Box::new(move |panicked| {
        let file = panicked.location().map(panic::Location::file).unwrap_or_default();
        if !MAY_PANIC.iter().any(|library| file.contains(library)) {
            finding(panicked);
        }
    }));
    let (_, target) = found.unwrap_or_else(|| panic!("GAUGED_FUZZ_TARGET is to be one of {}", names.join(", ")));
    *target
});

/// What the target is reading: libFuzzer itself says it of most crashes, but of one that has used up the stack it cannot.
static READING: LazyLock<File> =
    LazyLock::new(|| File::create(std::env::temp_dir().join("reading")).expect("a temporary file"));

fuzz_target!(|bytes: &[u8]| {
    READING.write_all_at(bytes, 0).and_then(|()| READING.set_len(bytes.len() as u64)).expect("written");
    let target = *TARGET;
    // Other panics do not come back.
    let _ = panic::catch_unwind(AssertUnwindSafe(|| target(bytes)));
});
