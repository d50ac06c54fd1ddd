//! What some tests need besides cargo and the built plugins: servers of Debian's, Python, namespaces. A test asks for it
//! first, and returns where it is missing. The test is skipped then: one line says so, and the last line of the run counts
//! such tests. Under `CI` a test fails instead when `.ci/servers` provides what it needs.

use std::env;
use std::ffi::c_int;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where the system keeps programs, some of which are not in every user's `PATH`.
const SYSTEM: [&str; 4] = ["usr/sbin", "usr/bin", "sbin", "bin"];

/// How many tests of this run were skipped.
static SKIPPED: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "libtest reports nothing of its own when all tests are over")]
unsafe extern "C" {
    safe fn atexit(function: extern "C" fn()) -> c_int;
}

extern "C" fn print_count() {
    let count = SKIPPED.load(Ordering::Relaxed);
    let _ = writeln!(std::io::stderr(), "SKIPPED {count} of these tests, each for the reason in its line above\n");
}

/// Reports that a test cannot run on this machine.
pub fn skip(test: &str, reason: &str) {
    if SKIPPED.fetch_add(1, Ordering::Relaxed) == 0 {
        assert_eq!(atexit(print_count), 0, "registered");
    }
    print(&format!("SKIPPED {test}: {}", reason.trim()));
}

/// Prints a line that libtest does not capture: it shows the output of failed tests only.
pub fn print(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Reports that the test of this thread needs something that `.ci/servers` fetches.
fn skip_without(needed: &str) {
    assert!(env::var_os("CI").is_none(), "{needed} is missing; run .ci/servers");
    let thread = std::thread::current();
    skip(thread.name().unwrap_or("a test"), &format!("{needed} is missing; .ci/servers fetches it"));
}

/// The directory that `.ci/servers` fills.
fn servers() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/var/tmp".into()));
    let cache = env::var_os("XDG_CACHE_HOME").map_or_else(|| home().join(".cache"), PathBuf::from);
    cache.join("gauged/servers")
}

/// A program of one of Debian's packages, and the libraries that were unpacked with it.
pub struct Program {
    path: PathBuf,
    libraries: String,
}

impl Program {
    /// The command that runs it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if !self.libraries.is_empty() {
            command.env("LD_LIBRARY_PATH", &self.libraries);
        }
        command
    }

    /// Whether it finds its libraries; its answer to this argument does not matter.
    fn starts(&self) -> bool {
        self.command().arg("-v").status().is_ok_and(|status| status.code().is_some_and(|code| code != 127))
    }
}

/// Finds a program: the machine's own, or the one that `.ci/servers` has unpacked.
pub fn program(name: &str) -> Option<Program> {
    let unpacked = servers().join("debian");
    let libraries: Vec<String> = ["usr/lib", "lib"]
        .into_iter()
        .flat_map(|below| directories(&unpacked.join(below)))
        .map(|directory| directory.display().to_string())
        .collect();
    let installed = SYSTEM.map(|directory| (Path::new("/").join(directory), String::new()));
    let fetched = SYSTEM.map(|directory| (unpacked.join(directory), libraries.join(":")));
    let found = installed
        .into_iter()
        .chain(fetched)
        .map(|(directory, libraries)| Program { path: directory.join(name), libraries })
        .find(Program::starts);
    if found.is_none() {
        skip_without(name);
    }
    found
}

/// A directory and those in it.
fn directories(path: &Path) -> Vec<PathBuf> {
    let below = fs::read_dir(path).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    std::iter::once(path.to_owned()).chain(below).filter(|path| path.is_dir()).collect()
}

/// Python with the packages that `.ci/servers` has fetched, as far as they have this module.
pub fn python(module: &str) -> Option<Python> {
    let python = Python { packages: servers().join("python") };
    let found = python.command(&["-c", &format!("import {module}")]).output();
    let is_there = found.is_ok_and(|output| output.status.success());
    if !is_there {
        skip_without(&format!("the Python package {module}"));
    }
    is_there.then_some(python)
}

/// The machine's Python, with packages besides its own.
#[derive(Clone)]
pub struct Python {
    packages: PathBuf,
}

impl Python {
    /// The command that runs it with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("python3");
        command.args(arguments).env("PYTHONPATH", &self.packages).stdin(Stdio::null());
        command
    }
}
