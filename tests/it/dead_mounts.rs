//! Dead mounts that plugins read: real file systems (FUSE) whose server never responds.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::Value;

use crate::capabilities::{FILE_TIMEOUT, file_guest_as};
use crate::first_party::built;
use crate::fuse::DeadMount;
use crate::guest::Guest;
use crate::harness::{Sample, Setup, all_faults, plugin_metric, repository, value};
use crate::namespaces::{Refused, run_in_namespaces};
use crate::natives::overlay;
use crate::run::assert_ends_in_time;

/// The numbers that [`file_guest_as`] returns for the errors of the WIT.
const NOT_FOUND: u32 = 3;
const IO: u32 = 9;

/// How many operations on mounts may be stuck at once: of one plugin, and of all plugins.
const PERMITS: usize = 9;
const ALL_PERMITS: u64 = 128;

/// The most threads that an agent has besides stuck ones: its own, and some that have just finished an operation.
const OTHER_THREADS: u64 = 20;

/// A mount that responds.
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

/// A measured host with real mounts, and the plugin `filesystem`.
struct Measured {
    setup: Setup,
    root: PathBuf,
}

impl Measured {
    /// Makes one with directories of these names.
    fn with(configuration: &str, directories: &[String]) -> Self {
        let setup = Setup::with_config(configuration);
        fs::create_dir(setup.path("host")).expect("created");
        let root = setup.path("host").canonicalize().expect("it is there");
        overlay(&repository().join("tests/fixtures/server"), &root);
        for directory in directories {
            fs::create_dir(root.join(directory)).expect("created");
        }
        fs::write(setup.plugin("filesystem.wasm"), built("filesystem")).expect("copied");
        Self { setup, root }
    }

    fn dead(&self, directories: &[String]) -> Result<Vec<DeadMount>, Refused> {
        directories.iter().map(|directory| DeadMount::over(&self.root.join(directory))).collect()
    }

    fn live(&self, directory: &str) -> Result<LiveMount, Refused> {
        LiveMount::over(&self.root.join(directory))
    }

    /// Writes the list of its mounts as the kernel does.
    fn write_mountinfo(&self) {
        let all = fs::read_to_string("/proc/self/mountinfo").expect("readable");
        let below = format!(" {}/", self.root.to_str().expect("text"));
        let listed = all.lines().filter(|line| line.contains(&below)).map(|line| line.replacen(&below, " /", 1) + "\n");
        let process = self.root.join("proc/1");
        fs::create_dir_all(&process).expect("created");
        fs::write(process.join("new"), listed.collect::<String>()).expect("written");
        fs::rename(process.join("new"), process.join("mountinfo")).expect("renamed");
    }
}

/// A metric of the plugin `filesystem` for a mount.
fn metric<'a>(sample: &'a Sample, name: &str, directory: &str) -> Option<&'a Value> {
    let key = format!("{name}{{mount=\"/{directory}\",");
    sample.get("filesystem")?.iter().find_map(|(name, value)| name.starts_with(&key).then_some(value))
}

/// Whether its result is in the sample. On a busy machine it may be late and arrive with the next one.
fn has_arrived(sample: &Sample) -> bool {
    sample.contains_key("filesystem")
}

fn is_measured(sample: &Sample, directory: &str) -> bool {
    let is_sized = metric(sample, "total_bytes", directory).is_some_and(|total| total.as_u64() > Some(0));
    is_sized && metric(sample, "device_error", directory) == Some(&false.into())
}

fn is_in_error(sample: &Sample, directory: &str) -> bool {
    metric(sample, "device_error", directory) == Some(&true.into())
        && metric(sample, "total_bytes", directory).is_none()
}

fn names(kind: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{kind}{number}")).collect()
}

fn stuck(sample: &Sample, plugin: &str) -> Option<f64> {
    plugin_metric(sample, "plugin_stuck_operations", plugin)
}

fn is_up(sample: &Sample, plugin: &str) -> bool {
    plugin_metric(sample, "plugin_up", plugin) == Some(1.0)
}

/// The values of these plugins.
fn values(sample: &Sample, plugins: [&str; 3]) -> [Option<Value>; 3] {
    plugins.map(|plugin| value(sample, plugin))
}

/// The values when each plugin has received this error.
fn errors(number: u32) -> [Option<Value>; 3] {
    [number; 3].map(|number| Some(number.into()))
}

#[test]
fn dead_mount_blocks_only_plugins_that_read_it() {
    run_in_namespaces("dead_mounts::dead_mount_blocks_only_plugins_that_read_it", || {
        const ASKING: [&str; 3] = ["lister", "reader", "sizer"];
        let setup = Setup::new();
        fs::create_dir(setup.path("dead")).expect("created");
        let directory = setup.path("dead").canonicalize().expect("it is there");
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
        fs::write(setup.path("gauged.toml"), configuration).expect("written");
        let mut mount = DeadMount::over(&directory)?;
        Guest::new("able").install(&setup.plugin("able.wasm"));
        // Needs are compared with the grants when a plugin is loaded. That must not wait either: a number in a path may be
        // the agent's own in a process file system, and a usage below a mount needs no grant.
        let (file, below) = (format!("{dead}/1/file"), format!("{dead}/below"));
        file_guest_as("lister", "list", dead).needs("read", &file, "read").install(&setup.plugin("lister.wasm"));
        file_guest_as("reader", "read", &file).needs("usage", &below, "size").install(&setup.plugin("reader.wasm"));
        file_guest_as("sizer", "usage", dead).install(&setup.plugin("sizer.wasm"));

        let mut agent = setup.start(&[]);
        let is_all_stuck = |sample: &Sample, permits: [f64; 3]| {
            let is_stuck = |(plugin, permits)| stuck(sample, plugin) == Some(permits) && is_up(sample, plugin);
            ASKING.into_iter().zip(permits).all(is_stuck) && values(sample, ASKING) == errors(FILE_TIMEOUT)
        };
        // A call repeated at every tick keeps one permit. The reader has a second one: its need was checked at load.
        for _ in 0..8 {
            agent.wait(|sample| is_all_stuck(sample, [1.0, 2.0, 1.0]));
        }

        mount.end();
        let is_free = |sample: &Sample| ASKING.iter().all(|plugin| stuck(sample, plugin) == Some(0.0));
        agent.wait(|sample| is_free(sample) && values(sample, ASKING) == errors(IO));
        drop(mount);
        // The directory beneath is empty.
        agent.wait(|sample| {
            let [lister, reader, sizer] = values(sample, ASKING);
            let is_sized = sizer.and_then(|total| total.as_u64()) > Some(1 << 20);
            lister == Some("".into()) && reader == Some(NOT_FOUND.into()) && is_sized
        });

        let _mount = DeadMount::over(&directory)?;
        agent.wait(|sample| is_all_stuck(sample, [1.0; 3]));
        agent.assert_undisturbed(&["able"]);
        // A grant that cannot be checked is not reported as missing.
        assert!(!agent.log().contains("grants missing"), "{}", agent.log());
        assert_ends_in_time(agent);
        Ok(())
    });
}

#[test]
fn stuck_threads_are_limited() {
    run_in_namespaces("dead_mounts::stuck_threads_are_limited", || {
        // More than there are permits.
        let asking: Vec<String> = (0..136).map(|number| format!("asks{number}")).collect();
        let setup = Setup::new();
        let directory = setup.path("dead");
        fs::create_dir(&directory).expect("created");
        let mut configuration = "interval = \"250ms\"\n".to_owned();
        for plugin in &asking {
            writeln!(configuration, "[plugins.{plugin}]\nfile = \"asks.wasm\"\ntimeout = \"300ms\"")
                .expect("memory can be written to");
        }
        fs::write(setup.path("gauged.toml"), configuration).expect("written");
        let _mount = DeadMount::over(&directory)?;
        Guest::new("able").install(&setup.plugin("able.wasm"));
        // The size of a mount needs no grant.
        file_guest_as("asks", "usage", directory.to_str().expect("text")).install(&setup.plugin("asks.wasm"));
        let mut agent = setup.start(&[]);
        let all_stuck = |sample: &Sample| asking.iter().filter_map(|plugin| stuck(sample, plugin)).sum::<f64>() as u64;
        let is_full = |sample: &Sample| {
            assert!(all_stuck(sample) <= ALL_PERMITS, "{sample:?}");
            all_stuck(sample) == ALL_PERMITS && asking.iter().all(|plugin| is_up(sample, plugin))
        };
        for _ in 0..4 {
            agent.wait(is_full);
        }
        agent.wait(|sample| is_full(sample) && value(sample, "asks") == Some(FILE_TIMEOUT.into()));
        let threads = agent.status("Threads");
        assert!((ALL_PERMITS..=ALL_PERMITS + OTHER_THREADS).contains(&threads), "{threads} threads");
        agent.assert_undisturbed(&["able"]);
        assert_ends_in_time(agent);
        Ok(())
    });
}

#[test]
fn dead_mounts_do_not_delay_live_mounts() {
    run_in_namespaces("dead_mounts::dead_mounts_do_not_delay_live_mounts", || {
        let configuration = "interval = \"500ms\"\n[plugins.filesystem]\ntimeout = \"400ms\"\n";
        let (dead, live) = (names("dead", 3), ["first".to_owned(), "last".to_owned()]);
        let measured = Measured::with(configuration, &[&*dead, &live].concat());
        let _first = measured.live("first")?;
        let mut mounts = measured.dead(&dead)?;
        let _last = measured.live("last")?;
        measured.write_mountinfo();
        let mut agent = measured.setup.start(&["--root", "host"]);

        // One dead mount is recognised at each tick; the live one listed before them does not wait for that.
        let is_known = |sample: &Sample| {
            live.iter().all(|live| is_measured(sample, live)) && dead.iter().all(|dead| is_in_error(sample, dead))
        };
        let is_stuck = |sample: &Sample| stuck(sample, "filesystem") == Some(3.0) && is_up(sample, "filesystem");
        agent.wait(|sample| is_known(sample) && is_stuck(sample));
        for _ in 0..6 {
            let sample = agent.wait(has_arrived);
            assert!(is_known(&sample) && is_stuck(&sample), "{sample:?}");
        }

        // The servers close: every operation ends with an error at once.
        mounts.iter_mut().for_each(DeadMount::end);
        agent.wait(|sample| stuck(sample, "filesystem") == Some(0.0) && is_known(sample));
        drop(mounts);
        // They return.
        let _mounts = dead.iter().map(|dead| measured.live(dead)).collect::<Result<Vec<_>, _>>()?;
        measured.write_mountinfo();
        let sample = agent.wait(|sample| dead.iter().chain(&live).all(|mount| is_measured(sample, mount)));

        assert_eq!(all_faults(&sample), 0.0, "{sample:?}");
        assert_eq!(plugin_metric(&sample, "plugin_skipped_total", "filesystem"), Some(0.0));
        let all = agent.samples().iter().filter(|sample| has_arrived(sample));
        let missing: Vec<_> = all.filter(|sample| !is_measured(sample, "first")).collect();
        assert!(missing.is_empty(), "{missing:?}");
        agent.assert_undisturbed(&[]);
        assert_ends_in_time(agent);
        Ok(())
    });
}

#[test]
fn mount_list_is_read_despite_dead_mounts() {
    run_in_namespaces("dead_mounts::mount_list_is_read_despite_dead_mounts", || {
        let configuration = "interval = \"250ms\"\n[plugins.filesystem]\ntimeout = \"200ms\"\n";
        let dead = names("dead", PERMITS + 2);
        let (few, more) = dead.split_at(PERMITS - 1);
        let measured = Measured::with(configuration, &[&*dead, &["live".to_owned()]].concat());
        let _live = measured.live("live")?;
        let mut mounts = measured.dead(few)?;
        measured.write_mountinfo();
        let mut agent = measured.setup.start(&["--root", "host"]);

        let are_in_error = |sample: &Sample, dead: &[String]| dead.iter().all(|dead| is_in_error(sample, dead));
        let are_stuck = |sample: &Sample, count: usize| {
            stuck(sample, "filesystem") == Some(count as f64) && is_up(sample, "filesystem")
        };
        // While a permit is left, the other mounts are measured.
        let is_known =
            |sample: &Sample| are_stuck(sample, few.len()) && are_in_error(sample, few) && is_measured(sample, "live");
        agent.wait(is_known);
        for _ in 0..4 {
            let sample = agent.wait(has_arrived);
            assert!(is_known(&sample), "{sample:?}");
        }
        // When none is left, the kernel's list of mounts still has one of its own.
        mounts.extend(measured.dead(more)?);
        measured.write_mountinfo();
        let is_full = |sample: &Sample| are_stuck(sample, PERMITS) && are_in_error(sample, &dead);
        agent.wait(is_full);
        for _ in 0..4 {
            let sample = agent.wait(has_arrived);
            assert!(is_full(&sample), "{sample:?}");
        }

        mounts.iter_mut().for_each(DeadMount::end);
        agent.wait(|sample| are_stuck(sample, 0) && is_measured(sample, "live"));
        agent.assert_undisturbed(&[]);
        assert_ends_in_time(agent);
        Ok(())
    });
}
