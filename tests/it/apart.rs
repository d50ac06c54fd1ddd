//! Tests that need a machine of their own: its mounts, its network. Such a test runs once more, by itself, in namespaces
//! that end with it. It needs no privilege where the kernel gives such namespaces to anybody; where it gives none, the
//! test was not made, and says so where nobody overlooks it.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::DEADLINE;

/// Names the file in which the test that runs apart says how far it has come.
const PROGRESS: &str = "GAUGED_TEST_PROGRESS";

const BEGUN: &str = "begun";
const DONE: &str = "done";

/// What this machine does not give.
#[derive(Debug)]
pub struct Refused(pub String);

/// Runs what a test does in namespaces of its own. The test is named as the test program names it.
pub fn apart(test: &str, body: impl FnOnce() -> Result<(), Refused>) {
    if let Some(progress) = std::env::var_os(PROGRESS) {
        fs::write(&progress, BEGUN).expect("written");
        let end = body().map_or_else(|Refused(why)| why, |()| DONE.to_owned());
        return fs::write(&progress, end).expect("written");
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (progress, output) = (directory.path().join("progress"), directory.path().join("output"));
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net"]);
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.arg(std::env::current_exe().expect("known")).args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(PROGRESS, &progress).stdin(Stdio::null());
    let file = File::create(&output).expect("created");
    command.stdout(file.try_clone().expect("cloned")).stderr(file);
    let ended = command.spawn().map(|child| Apart(child).wait());
    let output = fs::read_to_string(&output).expect("text");
    let why = match (ended, fs::read_to_string(&progress)) {
        (Ok(true), Ok(end)) if end == DONE => return,
        (Ok(true), Ok(why)) if why != BEGUN => why,
        (Ok(false), Err(_)) => output,
        (Err(error), _) => format!("failed to run unshare: {error}"),
        // A test that does not begin is one that is not there.
        (ended, _) => panic!("{test} failed in its namespaces ({ended:?}):\n{output}"),
    };
    // What is printed is shown of tests that fail only; this passes by.
    let _ = writeln!(std::io::stderr(), "\nNOT TESTED HERE: {test}: {}", why.trim());
}

/// A test that runs apart. What it has started and mounted ends with it.
struct Apart(Child);

impl Apart {
    /// Waits for its end; answers whether it succeeded.
    fn wait(&mut self) -> bool {
        let until = Instant::now() + 4 * DEADLINE;
        while Instant::now() < until {
            if let Some(status) = self.0.try_wait().expect("it can be waited for") {
                return status.success();
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
