//! File systems that do not answer: real ones, mounted by a server that never says a word.

use std::fmt::Write as _;
use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::Value;

use crate::apart::{Refused, apart};
use crate::capabilities::reading_as;
use crate::guest::Guest;
use crate::harness::{Host, Sample, about, value};
use crate::run::ends_in_time;

/// What the contract's errors are to [`reading_as`]: their numbers.
const NOT_FOUND: u32 = 2;
const TIMEOUT: u32 = 5;
const IO: u32 = 6;

/// How many operations of one plugin, and of all together, may be stuck.
const PLACES: f64 = 2.0;
const ALL_PLACES: f64 = 64.0;

/// How many threads an agent has besides those that are stuck, at most: its own, and some that have just done what may
/// wait.
const OTHER_THREADS: u64 = 20;

/// A mount whose server reads no request. Who asks it waits until the server is gone, at the latest with this.
struct DeadMount {
    at: PathBuf,
    server: Option<OwnedFd>,
}

impl DeadMount {
    fn over(directory: &Path) -> Result<Self, Refused> {
        let device = "/dev/fuse";
        let refused = |what: &str, error| Refused(format!("{what}: {error}"));
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let server = rustix::fs::open(device, flags, Mode::empty()).map_err(|error| refused(device, error))?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
        let options = std::ffi::CString::new(options).expect("no NUL");
        mount("none", directory, "fuse", MountFlags::NOSUID | MountFlags::NODEV, &*options)
            .map_err(|error| refused("mount", error))?;
        Ok(Self { at: directory.to_owned(), server: Some(server) })
    }

    /// The server goes away: whoever waits gets an error.
    fn end(&mut self) {
        self.server = None;
    }
}

impl Drop for DeadMount {
    fn drop(&mut self) {
        self.end();
        let _ = unmount(&self.at, UnmountFlags::DETACH);
    }
}

fn stuck(sample: &Sample, plugin: &str) -> Option<f64> {
    about(sample, "plugin_stuck_operations", plugin)
}

fn is_up(sample: &Sample, plugin: &str) -> bool {
    about(sample, "plugin_up", plugin) == Some(1.0)
}

/// What they have measured.
fn answers(sample: &Sample, plugins: [&str; 3]) -> [Option<Value>; 3] {
    plugins.map(|plugin| value(sample, plugin))
}

/// Each has been answered with this error.
fn errors(number: u32) -> [Option<Value>; 3] {
    [number; 3].map(|number| Some(number.into()))
}

#[test]
fn a_dead_mount_holds_up_only_who_asks_it() {
    apart("stuck::a_dead_mount_holds_up_only_who_asks_it", || {
        const ASKING: [&str; 3] = ["lister", "reader", "sizer"];
        let host = Host::new();
        fs::create_dir(host.path("dead")).expect("created");
        let directory = host.path("dead").canonicalize().expect("it is there");
        let dead = directory.to_str().expect("text");
        let mut configuration = "interval = \"250ms\"\n".to_owned();
        for plugin in ASKING {
            let usage = if plugin == "sizer" { dead } else { "/" };
            let written = write!(
                configuration,
                "[plugins.{plugin}]\ntimeout = \"500ms\"\nread = [\"{dead}/*\", \"{dead}/*/*\"]\nusage = [\"{usage}\"]\n"
            );
            written.expect("memory can be written to");
        }
        fs::write(host.path("gauged.toml"), configuration).expect("written");
        let mut mount = DeadMount::over(&directory)?;
        Guest::new("able").install(&host.plugin("able.wasm"));
        // What is needed is held against the grants: of a number, whether it is the agent's in some process file system; of
        // a usage, whether there is a mount, which needs no grant.
        let file = format!("{dead}/1/file");
        reading_as("lister", "list", dead).needs(0, &file, "read").install(&host.plugin("lister.wasm"));
        reading_as("reader", "read", &file).needs(1, dead, "size").install(&host.plugin("reader.wasm"));
        reading_as("sizer", "usage", dead).install(&host.plugin("sizer.wasm"));

        let mut agent = host.start(&[]);
        let is_all_stuck = |sample: &Sample| {
            let is_stuck = |plugin| stuck(sample, plugin) == Some(PLACES) && is_up(sample, plugin);
            ASKING.into_iter().all(is_stuck) && answers(sample, ASKING) == errors(TIMEOUT)
        };
        for _ in 0..4 {
            agent.wait(is_all_stuck);
        }

        mount.end();
        let is_free = |sample: &Sample| ASKING.iter().all(|plugin| stuck(sample, plugin) == Some(0.0));
        agent.wait(|sample| is_free(sample) && answers(sample, ASKING) == errors(IO));
        drop(mount);
        // The directory beneath is empty.
        agent.wait(|sample| {
            let [lister, reader, sizer] = answers(sample, ASKING);
            let is_sized = sizer.and_then(|total| total.as_u64()) > Some(1 << 20);
            lister == Some("".into()) && reader == Some(NOT_FOUND.into()) && is_sized
        });

        let _mount = DeadMount::over(&directory)?;
        agent.wait(is_all_stuck);
        agent.assert_undisturbed(&["able"]);
        // What a mount does not tell is not held against a plugin.
        assert!(!agent.log().contains("lacks a grant"), "{}", agent.log());
        ends_in_time(agent);
        Ok(())
    });
}

#[test]
fn threads_that_are_stuck_are_few() {
    apart("stuck::threads_that_are_stuck_are_few", || {
        // More than find a place.
        let asking: Vec<String> = (0..36).map(|number| format!("asks{number}")).collect();
        let host = Host::new();
        let directory = host.path("dead");
        fs::create_dir(&directory).expect("created");
        let mut configuration = "interval = \"250ms\"\n".to_owned();
        for plugin in &asking {
            writeln!(configuration, "[plugins.{plugin}]\nfile = \"asks.wasm\"\ntimeout = \"300ms\"")
                .expect("memory can be written to");
        }
        fs::write(host.path("gauged.toml"), configuration).expect("written");
        let _mount = DeadMount::over(&directory)?;
        Guest::new("able").install(&host.plugin("able.wasm"));
        // That a mount may be sized needs no grant.
        reading_as("asks", "usage", directory.to_str().expect("text")).install(&host.plugin("asks.wasm"));
        let mut agent = host.start(&[]);
        let all_stuck = |sample: &Sample| asking.iter().filter_map(|plugin| stuck(sample, plugin)).sum::<f64>();
        let is_full = |sample: &Sample| {
            assert!(all_stuck(sample) <= ALL_PLACES, "{sample:?}");
            all_stuck(sample) == ALL_PLACES && asking.iter().all(|plugin| is_up(sample, plugin))
        };
        for _ in 0..4 {
            agent.wait(is_full);
        }
        agent.wait(|sample| is_full(sample) && value(sample, "asks") == Some(TIMEOUT.into()));
        let threads = agent.status("Threads");
        assert!((64..=64 + OTHER_THREADS).contains(&threads), "{threads} threads");
        agent.assert_undisturbed(&["able"]);
        ends_in_time(agent);
        Ok(())
    });
}
