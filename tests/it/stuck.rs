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
use crate::first_party::built;
use crate::guest::Guest;
use crate::harness::{Host, Sample, about, repository, value};
use crate::natives::overlay;
use crate::run::ends_in_time;

/// What the contract's errors are to [`reading_as`]: their numbers.
const NOT_FOUND: u32 = 2;
const TIMEOUT: u32 = 5;
const IO: u32 = 6;

/// How many operations of one plugin that asks mounts, and of all together, may be stuck.
const PLACES: usize = 9;
const ALL_PLACES: u64 = 128;

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

/// A mount that answers.
struct LiveMount(PathBuf);

impl LiveMount {
    fn over(directory: &Path) -> Result<Self, Refused> {
        mount("none", directory, "tmpfs", MountFlags::empty(), None)
            .map_err(|error| Refused(format!("mount: {error}")))?;
        Ok(Self(directory.to_owned()))
    }
}

impl Drop for LiveMount {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// A measured host with the plugin `filesystem`, of which the mounts are real.
struct Measured {
    host: Host,
    root: PathBuf,
}

impl Measured {
    /// With directories of these names.
    fn with(configuration: &str, directories: &[String]) -> Self {
        let host = Host::configured(configuration);
        fs::create_dir(host.path("host")).expect("created");
        let root = host.path("host").canonicalize().expect("it is there");
        overlay(&repository().join("tests/fixtures/server"), &root);
        for directory in directories {
            fs::create_dir(root.join(directory)).expect("created");
        }
        fs::write(host.plugin("filesystem.wasm"), built("filesystem")).expect("copied");
        Self { host, root }
    }

    fn dead(&self, directories: &[String]) -> Result<Vec<DeadMount>, Refused> {
        directories.iter().map(|directory| DeadMount::over(&self.root.join(directory))).collect()
    }

    fn live(&self, directory: &str) -> Result<LiveMount, Refused> {
        LiveMount::over(&self.root.join(directory))
    }

    /// Tells of the mounts as the kernel does.
    fn list(&self) {
        let all = fs::read_to_string("/proc/self/mountinfo").expect("readable");
        let below = format!(" {}/", self.root.to_str().expect("text"));
        let listed = all.lines().filter(|line| line.contains(&below)).map(|line| line.replacen(&below, " /", 1) + "\n");
        let process = self.root.join("proc/1");
        fs::create_dir_all(&process).expect("created");
        fs::write(process.join("new"), listed.collect::<String>()).expect("written");
        fs::rename(process.join("new"), process.join("mountinfo")).expect("renamed");
    }
}

/// What the plugin `filesystem` says of a mount.
fn told<'a>(sample: &'a Sample, metric: &str, directory: &str) -> Option<&'a Value> {
    let key = format!("{metric}{{mount=\"/{directory}\",");
    sample.get("filesystem")?.iter().find_map(|(name, value)| name.starts_with(&key).then_some(value))
}

/// Whether its result is in the sample; on a busy machine it may be late for one, and goes with the next.
fn has_arrived(sample: &Sample) -> bool {
    sample.contains_key("filesystem")
}

fn is_measured(sample: &Sample, directory: &str) -> bool {
    let is_sized = told(sample, "total_bytes", directory).is_some_and(|total| total.as_u64() > Some(0));
    is_sized && told(sample, "device_error", directory) == Some(&false.into())
}

fn is_in_error(sample: &Sample, directory: &str) -> bool {
    told(sample, "device_error", directory) == Some(&true.into()) && told(sample, "total_bytes", directory).is_none()
}

fn names(kind: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{kind}{number}")).collect()
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
        // a usage, whether there is a mount, which needs no grant and is asked below this one.
        let (file, below) = (format!("{dead}/1/file"), format!("{dead}/below"));
        reading_as("lister", "list", dead).needs(0, &file, "read").install(&host.plugin("lister.wasm"));
        reading_as("reader", "read", &file).needs(1, &below, "size").install(&host.plugin("reader.wasm"));
        reading_as("sizer", "usage", dead).install(&host.plugin("sizer.wasm"));

        let mut agent = host.start(&[]);
        let is_all_stuck = |sample: &Sample, places: [f64; 3]| {
            let is_stuck = |(plugin, places)| stuck(sample, plugin) == Some(places) && is_up(sample, plugin);
            ASKING.into_iter().zip(places).all(is_stuck) && answers(sample, ASKING) == errors(TIMEOUT)
        };
        // What is asked at every tick keeps one place; what the reader needs was asked when it was loaded.
        for _ in 0..8 {
            agent.wait(|sample| is_all_stuck(sample, [1.0, 2.0, 1.0]));
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
        agent.wait(|sample| is_all_stuck(sample, [1.0; 3]));
        agent.assert_undisturbed(&["able"]);
        // What a mount does not tell is not held against a plugin.
        assert!(!agent.log().contains("grants missing"), "{}", agent.log());
        ends_in_time(agent);
        Ok(())
    });
}

#[test]
fn threads_that_are_stuck_are_few() {
    apart("stuck::threads_that_are_stuck_are_few", || {
        // More than find a place.
        let asking: Vec<String> = (0..136).map(|number| format!("asks{number}")).collect();
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
        let all_stuck = |sample: &Sample| asking.iter().filter_map(|plugin| stuck(sample, plugin)).sum::<f64>() as u64;
        let is_full = |sample: &Sample| {
            assert!(all_stuck(sample) <= ALL_PLACES, "{sample:?}");
            all_stuck(sample) == ALL_PLACES && asking.iter().all(|plugin| is_up(sample, plugin))
        };
        for _ in 0..4 {
            agent.wait(is_full);
        }
        agent.wait(|sample| is_full(sample) && value(sample, "asks") == Some(TIMEOUT.into()));
        let threads = agent.status("Threads");
        assert!((ALL_PLACES..=ALL_PLACES + OTHER_THREADS).contains(&threads), "{threads} threads");
        agent.assert_undisturbed(&["able"]);
        ends_in_time(agent);
        Ok(())
    });
}

#[test]
fn dead_mounts_cost_the_live_ones_nothing() {
    apart("stuck::dead_mounts_cost_the_live_ones_nothing", || {
        const TIMEOUT_SECONDS: f64 = 0.4;
        let configuration = "interval = \"500ms\"\n[plugins.filesystem]\ntimeout = \"400ms\"\n";
        let (dead, live) = (names("dead", 3), ["first".to_owned(), "last".to_owned()]);
        let measured = Measured::with(configuration, &[&*dead, &live].concat());
        let _first = measured.live("first")?;
        let mut mounts = measured.dead(&dead)?;
        let _last = measured.live("last")?;
        measured.list();
        let mut agent = measured.host.start(&["--root", "host"]);

        // One is found out at each tick, for which the live one that is listed before them need not wait.
        let is_known = |sample: &Sample| {
            live.iter().all(|live| is_measured(sample, live)) && dead.iter().all(|dead| is_in_error(sample, dead))
        };
        let is_stuck = |sample: &Sample| stuck(sample, "filesystem") == Some(3.0) && is_up(sample, "filesystem");
        agent.wait(|sample| is_known(sample) && is_stuck(sample));
        for _ in 0..6 {
            let sample = agent.wait(has_arrived);
            assert!(is_known(&sample) && is_stuck(&sample), "{sample:?}");
            // To wait for one of them takes nine tenths.
            let took = about(&sample, "plugin_duration_seconds", "filesystem").expect("it was called");
            assert!(took < TIMEOUT_SECONDS / 2.0, "{took} s");
        }

        // The servers go: who asks gets an error at once.
        mounts.iter_mut().for_each(DeadMount::end);
        agent.wait(|sample| stuck(sample, "filesystem") == Some(0.0) && is_known(sample));
        drop(mounts);
        // And they come back.
        let _mounts = dead.iter().map(|dead| measured.live(dead)).collect::<Result<Vec<_>, _>>()?;
        measured.list();
        let sample = agent.wait(|sample| dead.iter().chain(&live).all(|mount| is_measured(sample, mount)));

        assert!(!sample["agent"].keys().any(|key| key.starts_with("plugin_faults_total")), "{sample:?}");
        assert_eq!(about(&sample, "plugin_skipped_total", "filesystem"), Some(0.0));
        let all = agent.seen().iter().filter(|sample| has_arrived(sample));
        let missing: Vec<_> = all.filter(|sample| !is_measured(sample, "first")).collect();
        assert!(missing.is_empty(), "{missing:?}");
        agent.assert_undisturbed(&[]);
        ends_in_time(agent);
        Ok(())
    });
}

#[test]
fn what_is_mounted_is_found_out_whatever_is_dead() {
    apart("stuck::what_is_mounted_is_found_out_whatever_is_dead", || {
        let configuration = "interval = \"250ms\"\n[plugins.filesystem]\ntimeout = \"200ms\"\n";
        let dead = names("dead", PLACES + 2);
        let (few, more) = dead.split_at(PLACES - 1);
        let measured = Measured::with(configuration, &[&*dead, &["live".to_owned()]].concat());
        let _live = measured.live("live")?;
        let mut mounts = measured.dead(few)?;
        measured.list();
        let mut agent = measured.host.start(&["--root", "host"]);

        let are_in_error = |sample: &Sample, dead: &[String]| dead.iter().all(|dead| is_in_error(sample, dead));
        let are_stuck = |sample: &Sample, count: usize| {
            stuck(sample, "filesystem") == Some(count as f64) && is_up(sample, "filesystem")
        };
        // As long as one place is left, the others are asked.
        let is_known =
            |sample: &Sample| are_stuck(sample, few.len()) && are_in_error(sample, few) && is_measured(sample, "live");
        agent.wait(is_known);
        for _ in 0..4 {
            let sample = agent.wait(has_arrived);
            assert!(is_known(&sample), "{sample:?}");
        }
        // When none is, there is still one for the kernel's list of mounts.
        mounts.extend(measured.dead(more)?);
        measured.list();
        let is_full = |sample: &Sample| are_stuck(sample, PLACES) && are_in_error(sample, &dead);
        agent.wait(is_full);
        for _ in 0..4 {
            let sample = agent.wait(has_arrived);
            assert!(is_full(&sample), "{sample:?}");
        }

        mounts.iter_mut().for_each(DeadMount::end);
        agent.wait(|sample| are_stuck(sample, 0) && is_measured(sample, "live"));
        agent.assert_undisturbed(&[]);
        ends_in_time(agent);
        Ok(())
    });
}
