//! Skipped tests: one line for each, and their number as the last line of the run. libtest knows neither skips at run time nor
//! output of tests that pass. The unit tests of `src/` use this file too.

use std::ffi::c_int;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many tests of this run were skipped.
static SKIPPED: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "libtest calls nothing when all tests are over")]
unsafe extern "C" {
    safe fn atexit(function: extern "C" fn()) -> c_int;
}

extern "C" fn print_count() {
    let count = SKIPPED.load(Ordering::Relaxed);
    print(&format!("SKIPPED {count} of these tests, each for the reason in its line above\n"));
}

/// Reports that a test, or a part of it, cannot run on this machine.
pub fn skip(test: &str, reason: &str) {
    if SKIPPED.fetch_add(1, Ordering::Relaxed) == 0 {
        assert_eq!(atexit(print_count), 0, "registered");
    }
    print(&format!("SKIPPED {test}: {}", reason.trim()));
}

/// Prints a line that libtest does not capture.
pub fn print(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The name of the test that this thread runs.
pub fn current_test() -> String {
    std::thread::current().name().unwrap_or("a test").to_owned()
}
