//! Tests that need mounts and a network of their own. Such a test runs a second time, alone, in namespaces that end with
//! it. That needs no privilege where the kernel gives such namespaces to any user; where it refuses them, the test is
//! skipped.

use std::fs::{self, File};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::DEADLINE;
use crate::process_state::{describe, processes_beside};
use crate::skip::skip;

/// The environment variable with the name of the file in which a test in namespaces keeps its progress.
const PROGRESS: &str = "GAUGED_TEST_PROGRESS";

/// How long a test in namespaces may take: a few conditions that are met just in time.
const LIMIT: Duration = DEADLINE.saturating_mul(4);

const BEGUN: &str = "begun";
const DONE: &str = "done";

/// The reason why this machine cannot run a test.
#[derive(Debug)]
pub struct Refused(pub String);

/// Runs a test's body in namespaces of its own. The name is the test's full one, as libtest prints it.
pub fn run_in_namespaces(test: &str, body: impl FnOnce() -> Result<(), Refused>) {
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
    let ended = command.spawn().map(|child| NamespacedTest(child).wait());
    let output = fs::read_to_string(&output).expect("text");
    let why = match (ended, fs::read_to_string(&progress)) {
        (Ok(End::Success), Ok(end)) if end == DONE => return,
        (Ok(End::Success), Ok(why)) if why != BEGUN => why,
        (Ok(End::Failure), Err(_)) => output,
        (Err(error), _) => format!("failed to run unshare: {error}"),
        (Ok(End::Overdue { processes }), _) => {
            panic!("{test} had not ended after {LIMIT:?} and was killed\n{processes}its output:\n{output}")
        }
        // A test that has not begun has another name.
        (ended, _) => panic!("{test} failed in its namespaces ({ended:?}):\n{output}"),
    };
    skip(test, &why);
}

/// How a test in namespaces ended.
#[derive(Debug)]
enum End {
    Success,
    Failure,
    /// It has not ended within [`LIMIT`]. These are its processes then, and what they wait for.
    Overdue {
        processes: String,
    },
}

/// The process of a test in namespaces. Its own processes and mounts end with it.
struct NamespacedTest(Child);

impl NamespacedTest {
    /// Waits for its end, for at most [`LIMIT`].
    fn wait(&mut self) -> End {
        match self.exit_status(LIMIT) {
            Some(status) if status.success() => End::Success,
            Some(_) => End::Failure,
            None => End::Overdue { processes: processes_beside(self.0.id()).into_iter().map(describe).collect() },
        }
    }

    /// How it exited. None when it has not within this time.
    fn exit_status(&mut self, limit: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + limit;
        loop {
            let status = self.0.try_wait().expect("it can be waited for");
            if status.is_some() || Instant::now() >= until {
                return status;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for NamespacedTest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        // A process that hangs in the kernel stays. The failure is reported all the same.
        let _ = self.exit_status(DEADLINE);
    }
}
