//! A transfer and heartbeat server in Go, built from `tests/fixtures/falcon_transfer`: it runs until it is dropped, and everything that it
//! receives can be read.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use crate::harness::{repository, wait_until};
use crate::requirement::Go;

/// A running transfer.
pub struct FalconTransfer {
    child: Child,
    address: SocketAddr,
    /// What it has printed after its address: the calls that it received.
    calls: Arc<Mutex<Vec<Value>>>,
    _program: tempfile::TempDir,
}

impl FalconTransfer {
    /// Builds it, and starts it on a port of its own.
    pub fn start(go: &Go) -> Self {
        Self::start_at(go, "127.0.0.1:0")
    }

    /// Builds it, and starts it at an address of this machine: one that was stopped comes back there.
    pub fn start_at(go: &Go, address: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let program = directory.path().join("falcon_transfer");
        go.build(&repository().join("tests/fixtures/falcon_transfer/main.go"), &program);
        let mut command = Command::new(&program);
        let mut child = command.arg(address).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        let first: Value = serde_json::from_str(&lines.next().expect("its address")).expect("JSON");
        let address = first["listening"].as_str().and_then(|text| text.parse().ok()).expect("an address");
        let calls = Arc::<Mutex<Vec<Value>>>::default();
        let received = Arc::clone(&calls);
        thread::spawn(move || {
            for line in lines {
                received.lock().expect("no panic").push(serde_json::from_str(&line).expect("JSON"));
            }
        });
        Self { child, address, calls, _program: directory }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The calls that it has received, in their order: `method`, and `points` with the number of `invalid` ones, or `status`.
    pub fn calls(&self) -> Vec<Value> {
        self.calls.lock().expect("no panic").clone()
    }

    /// Waits for calls that meet a condition, and returns all so far.
    pub fn wait(&self, what: &str, condition: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        wait_until(what, || condition(&self.calls.lock().expect("no panic")));
        self.calls()
    }
}

impl Drop for FalconTransfer {
    fn drop(&mut self) {
        // It has nothing to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
