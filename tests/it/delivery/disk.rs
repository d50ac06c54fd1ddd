//! Disks for state directories, in namespaces of the test's own: small ones, which can be full, and dead ones.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::protocol::Protocol;
use super::receiver::Receiver;
use super::sender::{END, Sender, all_lost, metric, wait_delivering, wait_ticks};
use crate::fuse::DeadMount;
use crate::namespaces::{Refused, run_in_namespaces};

/// A small disk, which is the state directory of an agent.
pub struct Disk(PathBuf);

impl Disk {
    /// Mounts one.
    pub fn mount(path: &Path) -> Result<Self, Refused> {
        fs::create_dir(path).expect("created");
        let size = c"size=64m,mode=700";
        mount("none", path, "tmpfs", MountFlags::empty(), Some(size))
            .map_err(|error| Refused(format!("mount: {error}")))?;
        Ok(Self(path.to_owned()))
    }

    /// Takes all the space that is left.
    pub fn fill(&self) -> Filler {
        let path = self.0.join("filler");
        let (mut file, block) = (File::create(&path).expect("created"), vec![0; 64 << 10]);
        while file.write_all(&block).is_ok() {}
        while file.write_all(b"x").is_ok() {}
        Filler(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// What fills a disk, until it is dropped.
pub struct Filler(PathBuf);

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Turns on the loopback interface of this network namespace.
pub fn open_loopback() -> Result<(), Refused> {
    let refused = |error: String| Refused(format!("ip link set lo up: {error}"));
    let output = Command::new("ip").args(["link", "set", "lo", "up"]).output();
    let output = output.map_err(|error| refused(error.to_string()))?;
    output.status.success().then_some(()).ok_or_else(|| refused(String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[test]
fn hanging_state_directory_does_not_stop_delivery() {
    run_in_namespaces("delivery::disk::hanging_state_directory_does_not_stop_delivery", || {
        open_loopback()?;
        let protocol = Protocol::RemoteWrite;
        let (sender, receiver) = (Sender::new("200ms", 20).keys("queue_samples = 1000"), Receiver::start(protocol));
        fs::create_dir(&sender.state).expect("created");
        let _mount = DeadMount::over(&sender.state)?;
        let mut agent = sender.start(&[&receiver]);
        wait_delivering(&mut agent, protocol.name());
        receiver.leave();
        wait_ticks(&mut agent, 20);
        receiver.take();
        let last = agent.wait(|sample| metric(sample, "sink_behind_samples", protocol.name()) == 0.0);
        assert_eq!(all_lost(&last, protocol.name()), 0.0, "{}", agent.log());
        agent.assert_no_gaps();
        let (status, took) = agent.terminate();
        assert!(status.success() && took < END, "{status}, {took:?}\n{}", agent.log());
        receiver.compare(&sender.measured()).assert_complete(protocol.name(), &[]);
        Ok(())
    });
}
