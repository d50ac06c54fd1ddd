//! Samples in files: agents that are killed, readers that follow, rotations by the agent and by others, and disks that are full.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use crate::harness::{Agent, Sample, Setup, parse, wait_until};

/// How often an agent is killed.
const KILLS: usize = 30;

/// A directory with a configuration of two sinks: standard output, and the file of [`file`] with more keys.
fn setup(keys: &str) -> Setup {
    let setup = Setup::new();
    configure(&setup, &file(&setup), keys);
    setup
}

fn file(setup: &Setup) -> PathBuf {
    setup.path("samples.ndjson")
}

fn configure(setup: &Setup, file: &Path, keys: &str) {
    let sinks = format!(
        "[sinks.stdout]\nkind = \"stdout\"\n[sinks.archive]\nkind = \"file\"\npath = \"{}\"\n{keys}",
        file.display()
    );
    fs::write(setup.path("gauged.toml"), format!("interval = \"100ms\"\n{sinks}\n")).expect("written");
}

/// The paths of a file's rotated files and of the file, in the order of their lines.
fn all_files(file: &Path) -> Vec<PathBuf> {
    let name = file.file_name().expect("a name").to_str().expect("text");
    let entries = fs::read_dir(file.parent().expect("a directory")).expect("readable");
    let names = entries.map(|entry| entry.expect("readable").path());
    let is_rotated = |path: &PathBuf| {
        path.file_name().is_some_and(|other| other.to_str().is_some_and(|other| other.starts_with(&format!("{name}-"))))
    };
    let mut files: Vec<PathBuf> = names.filter(is_rotated).collect();
    files.sort();
    files.extend(file.exists().then(|| file.to_owned()));
    files
}

fn timestamp(sample: &Sample) -> String {
    sample["agent"]["timestamp"].to_string()
}

/// The timestamps of lines that are all whole.
fn timestamps(text: &str) -> Vec<String> {
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    text.lines().map(|line| timestamp(&parse(line))).collect()
}

fn sink_metric(sample: &Sample, metric: &str, labels: &str) -> f64 {
    sample["agent"][&format!("{metric}{{sink=\"archive\"{labels}}}")].as_f64().expect("a number")
}

/// Reads a file as `tail -F` does: each file to its end, and then its successor. A part of a line stays until its rest comes.
struct Follower {
    path: PathBuf,
    file: Option<File>,
    text: Vec<u8>,
}

impl Follower {
    /// Reads what is there. Returns whether that is all of the newest file.
    fn read(&mut self) -> bool {
        let Some(file) = &mut self.file else {
            self.file = File::open(&self.path).ok();
            return false;
        };
        let inode = file.metadata().expect("known").ino();
        let is_inode = |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.ino() == inode);
        let is_last = is_inode(&self.path);
        // After that: one that was renamed has no more lines.
        file.read_to_end(&mut self.text).expect("readable");
        if is_last {
            return true;
        }
        let files = all_files(&self.path);
        let successor = files.iter().skip_while(|path| !is_inode(path)).nth(1);
        self.file = successor.and_then(|path| File::open(path).ok()).or(self.file.take());
        false
    }
}

/// Runs a function while a follower reads a file; returns what it has read in the end.
fn follow(path: &Path, run: impl FnOnce()) -> String {
    let is_over = AtomicBool::new(false);
    let mut follower = Follower { path: path.to_owned(), file: None, text: Vec::new() };
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            loop {
                // Before the last reading.
                let was_over = is_over.load(Ordering::Acquire);
                if follower.read() && was_over {
                    return follower.text;
                }
                thread::yield_now();
            }
        });
        run();
        is_over.store(true, Ordering::Release);
        String::from_utf8(reader.join().expect("no panic")).expect("text")
    })
}

#[test]
fn killed_agents_leave_whole_lines() {
    let setup = setup("rotate_size = \"16KiB\"\nkeep = 1000\ncompress = false");
    let path = file(&setup);
    let random = |most: u64| RandomState::new().hash_one(()) % most;
    let written = || all_files(&path).iter().map(|path| fs::metadata(path).map_or(0, |file| file.len())).sum::<u64>();
    let mut parts = 0;
    let text = follow(&path, || {
        for _ in 0..KILLS {
            let mut agent = setup.start(&[]);
            // At once, or when the file has so many more bytes.
            let until = written() + random(6000);
            wait_until("lines", || written() >= until);
            agent.signal(Signal::KILL);
            agent.wait_exit();
            let is_whole = fs::read(&path).is_ok_and(|bytes| bytes.is_empty() || bytes.ends_with(b"\n"));
            if random(2) == 0 && is_whole {
                // As of a write that was interrupted. Now and then the agent has left a part itself.
                let mut file = File::options().append(true).open(&path).expect("opened");
                file.write_all(b"{\"agent\":{\"timest").expect("written");
                parts += 1;
            }
        }
        let mut agent = setup.start(&[]);
        agent.next();
        agent.next();
        let (status, _) = agent.terminate();
        assert!(status.success(), "{status}\n{}", agent.log());
    });
    let (whole, broken): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
    assert!(broken.len() <= KILLS && broken.len() >= parts, "{parts} of {KILLS}: {broken:#?}");
    assert!(
        broken.iter().all(|line| line.starts_with("{\"agent\":{\"timest") || line.starts_with("{\"")),
        "{broken:#?}"
    );
    assert!(broken.iter().all(|line| line.matches("\"timest").count() <= 1), "two lines in one: {broken:#?}");
    let timestamps: Vec<f64> = whole.iter().map(|line| timestamp(&parse(line)).parse().expect("a number")).collect();
    assert!(timestamps.is_sorted() && timestamps.len() > KILLS, "{timestamps:?}");
    assert!(all_files(&path).len() > 1, "it was rotated");
    let all: String = all_files(&path).iter().map(|path| fs::read_to_string(path).expect("text")).collect();
    assert_eq!(text, all, "the reader has read all of it, once");
}

#[test]
fn rotated_files_are_compressed_and_bounded() {
    let setup = setup("rotate_size = \"16KiB\"\nkeep = 2");
    let path = file(&setup);
    let mut agent = setup.start(&[]);
    let is_gzip = |path: &PathBuf| path.extension().is_some_and(|end| end == "gz");
    // The third one has displaced the first one.
    let mut seen = BTreeSet::new();
    wait_until("three compressed files", || {
        let files: Vec<PathBuf> = all_files(&path).into_iter().filter(is_gzip).collect();
        assert!(files.len() <= 3, "{files:?}");
        seen.extend(files);
        seen.len() >= 3
    });
    let (status, _) = agent.terminate();
    assert!(status.success(), "{status}\n{}", agent.log());
    let mut text = String::new();
    let files = all_files(&path);
    let has_gzip = |path: &PathBuf| files.contains(&PathBuf::from(format!("{}.gz", path.display())));
    // The end may have come between the compressed file and the removal of the plain one.
    for path in files.iter().filter(|path| !has_gzip(path)) {
        let file = File::open(path).expect("opened");
        if is_gzip(path) {
            flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("complete");
        } else {
            { file }.read_to_string(&mut text).expect("text");
        }
    }
    let seconds: Vec<f64> = timestamps(&text).iter().map(|timestamp| timestamp.parse().expect("a number")).collect();
    assert!(seconds.is_sorted() && seconds.len() >= 4, "{seconds:?}");
}

#[test]
fn killed_compression_is_done_again() {
    let setup = setup("");
    let plain = setup.path("samples.ndjson-20200101T000000.000Z");
    let [temporary, compressed] = ["gz.tmp", "gz"].map(|end| plain.with_added_extension(end));
    // It takes a while.
    let state = RandomState::new();
    let noise: Vec<u8> = (0..4 << 20).flat_map(|number: u32| state.hash_one(number).to_ne_bytes()).collect();
    fs::write(&plain, &noise).expect("written");
    let mut agent = setup.start(&[]);
    wait_until("a compression", || temporary.exists());
    agent.signal(Signal::KILL);
    agent.wait_exit();
    assert!(temporary.exists() && !compressed.exists());
    assert!(fs::read(&plain).expect("there") == noise, "it is as it was");
    let mut agent = setup.start(&[]);
    wait_until("it is compressed", || !plain.exists());
    let (status, _) = agent.terminate();
    assert!(status.success(), "{status}\n{}", agent.log());
    let mut content = Vec::new();
    flate2::read::GzDecoder::new(File::open(&compressed).expect("opened")).read_to_end(&mut content).expect("complete");
    assert!(content == noise && !temporary.exists(), "it is all there");
}

#[test]
fn renaming_and_usr1_begin_a_new_file() {
    let setup = setup("");
    let (path, moved) = (file(&setup), setup.path("moved"));
    let mut agent = setup.start(&[]);
    wait_until("lines", || fs::read_to_string(&path).is_ok_and(|text| text.lines().count() > 2));
    fs::rename(&path, &moved).expect("renamed");
    agent.signal(Signal::USR1);
    agent.wait_log("INFO file of samples opened again sink=archive path=");
    assert!(path.exists(), "it is there before that is reported");
    let complete = fs::read_to_string(&moved).expect("text");
    wait_until("lines", || fs::read_to_string(&path).is_ok_and(|text| text.lines().count() > 2));
    let first = agent.next();
    let last = agent.next();
    let (status, _) = agent.terminate();
    assert!(status.success(), "{status}\n{}", agent.log());
    // And all samples are read.
    agent.wait_log("shutting down");
    assert_eq!(fs::read_to_string(&moved).expect("text"), complete, "it is not written any more");
    let found = timestamps(&(complete + &fs::read_to_string(&path).expect("text")));
    assert!(found.contains(&timestamp(&first)) && found.contains(&timestamp(&last)));
    let samples: Vec<String> = agent.samples().iter().map(timestamp).collect();
    assert!(samples.iter().all(|sample| found.contains(sample)), "{samples:?} are not all in {found:?}");
}

#[test]
fn failed_reopening_loses_nothing() {
    let setup = Setup::new();
    let path = setup.path("logs/samples.ndjson");
    configure(&setup, &path, "");
    // There is no sample meanwhile.
    let config = fs::read_to_string(setup.path("gauged.toml")).expect("text");
    fs::write(setup.path("gauged.toml"), config.replace("100ms", "1h")).expect("written");
    let mut agent = setup.start(&[]);
    wait_until("USR1 is caught", || {
        let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("it runs");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a row").trim();
        u64::from_str_radix(caught, 16).expect("a number") & 1 << (Signal::USR1.as_raw() - 1) != 0
    });
    // The first ones are ignored: the agent is starting.
    wait_until("a line about the file", || {
        agent.signal(Signal::USR1);
        agent.log().contains("WARN file of samples not opened again sink=archive reason=\"failed to open ")
    });
    let log = agent.log();
    assert!(!log.contains("samples lost") && !log.contains("opened again sink=archive path"), "{log}");
    fs::create_dir(setup.path("logs")).expect("created");
    agent.signal(Signal::USR1);
    agent.wait_log("INFO file of samples opened again sink=archive path=");
    assert!(path.exists(), "it is there before that is reported");
    let (status, _) = agent.terminate();
    assert!(status.success(), "{status}\n{}", agent.log());
}

#[test]
fn copying_and_truncating_leaves_whole_lines() {
    let setup = setup("");
    let (path, copy) = (file(&setup), setup.path("copy"));
    let mut agent = setup.start(&[]);
    wait_until("lines", || fs::read_to_string(&path).is_ok_and(|text| text.lines().count() > 2));
    fs::copy(&path, &copy).expect("copied");
    File::options().write(true).truncate(true).open(&path).expect("emptied");
    wait_until("lines", || fs::read_to_string(&path).is_ok_and(|text| text.lines().count() > 2));
    let (status, _) = agent.terminate();
    assert!(status.success(), "{status}\n{}", agent.log());
    let (before, after) = (fs::read_to_string(&copy).expect("text"), fs::read_to_string(&path).expect("text"));
    assert!(!after.contains('\0'), "there is a hole");
    // The copy may end within a line that was written meanwhile.
    let whole = before.rfind('\n').map_or(0, |end| end + 1);
    let (before, after) = (timestamps(&before[..whole]), timestamps(&after));
    assert!(before.iter().all(|timestamp| !after.contains(timestamp)));
    assert!(!agent.log().contains("ERROR") && !agent.log().contains("WARN"), "{}", agent.log());
}

#[test]
fn removed_file_is_created_again() {
    let setup = setup("");
    let path = file(&setup);
    let mut agent = setup.start(&[]);
    for _ in 0..3 {
        wait_until("a line", || fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n')));
        fs::remove_file(&path).expect("removed");
    }
    agent.next();
    let (status, _) = agent.terminate();
    assert!(status.success(), "{status}\n{}", agent.log());
}

#[test]
fn missing_directory_costs_only_its_sink() {
    let setup = Setup::new();
    let path = setup.path("logs/samples.ndjson");
    configure(&setup, &path, "");
    let mut agent = setup.start(&[]);
    agent.wait_log("samples lost: file not writable");
    let line = agent.wait_log_lines("file not writable", 1).remove(0);
    assert!(line.contains("remedy=\"create the file's directory") && line.contains("sink=archive"), "{line}");
    let errors = |sample: &Sample| sink_metric(sample, "sink_errors_total", ",reason=\"not_found\"");
    let down = agent.wait(|sample| errors(sample) >= 2.0);
    assert_eq!(sink_metric(&down, "sink_up", ""), 0.0);
    fs::create_dir(path.parent().expect("a directory")).expect("created");
    agent.wait_log("file of samples writable again");
    agent.wait(|sample| sink_metric(sample, "sink_up", "") == 1.0);
    agent.assert_no_gaps();
    assert_eq!(agent.wait_log_lines("file not writable", 1).len(), 1, "it is reported once");
    let (status, _) = agent.terminate();
    assert!(status.success(), "{status}");
    timestamps(&fs::read_to_string(&path).expect("text"));
}

#[test]
fn file_size_limit_loses_lines_of_the_file() {
    let setup = setup("");
    let path = file(&setup);
    let mut agent = setup.start(&[]);
    wait_until("a line", || fs::metadata(&path).is_ok_and(|file| file.len() > 0));
    let pid = Pid::from_raw(agent.pid().cast_signed());
    prlimit(pid, Resource::Fsize, Rlimit { current: Some(10_000), maximum: None }).expect("limited");
    let errors = |sample: &Sample| sink_metric(sample, "sink_errors_total", ",reason=\"too_large\"");
    agent.wait(|sample| errors(sample) >= 2.0);
    agent.wait_log("File too large");
    let cut = fs::read_to_string(&path).expect("text");
    assert_eq!(cut.len(), 10_000, "a part of a line was written");
    prlimit(pid, Resource::Fsize, Rlimit { current: None, maximum: None }).expect("lifted");
    agent.wait_log("file of samples writable again");
    agent.next();
    let last = agent.next();
    let (status, _) = agent.terminate();
    assert!(status.success(), "{status}\n{}", agent.log());
    let text = fs::read_to_string(&path).expect("text");
    assert!(text.starts_with(&cut), "the part is not taken back");
    assert_lines(&text, &agent, &last);
}

/// Asserts that a file has all samples of standard output but those that are counted, up to the last one that was read, and that
/// all lines but one are whole.
fn assert_lines(text: &str, agent: &Agent, last: &Sample) {
    assert!(text.ends_with('\n'));
    let (whole, broken): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
    assert!(broken.len() <= 1, "{broken:#?}");
    let found: BTreeSet<String> = whole.iter().map(|line| timestamp(&parse(line))).collect();
    let samples = agent.samples().iter().map(timestamp).take_while(|sample| *sample <= timestamp(last));
    let missing = samples.filter(|sample| !found.contains(sample)).count() as f64;
    assert_eq!(missing, sink_metric(last, "sink_dropped_samples_total", ",reason=\"failed\""));
    assert!(missing > 0.0);
}

#[test]
fn reload_keeps_an_unchanged_file_open() {
    let setup = setup("");
    let (path, other) = (file(&setup), setup.path("other.ndjson"));
    let mut agent = setup.start(&[]);
    wait_until("a line", || fs::metadata(&path).is_ok_and(|file| file.len() > 0));
    let open = |agent: &Agent| {
        let files = fs::read_dir(format!("/proc/{}/fd", agent.pid())).expect("it runs");
        let links = files.filter_map(|entry| {
            let entry = entry.ok()?.path();
            Some((fs::read_link(&entry).ok()?, entry))
        });
        links
            .filter(|(target, _)| target.starts_with(setup.path("")))
            .filter(|(target, _)| target.extension().is_some_and(|end| end == "ndjson"))
            .collect::<Vec<_>>()
    };
    let before = open(&agent);
    assert_eq!(before.len(), 1, "{before:?}");
    configure(&setup, &path, "[load]\nenabled = false");
    agent.signal(Signal::HUP);
    agent.wait_log_lines("configuration reloaded", 1);
    assert_eq!(open(&agent), before);
    // Another number of files is a matter of the next rotation, another path one of now.
    configure(&setup, &other, "");
    agent.signal(Signal::HUP);
    agent.wait_log_lines("configuration reloaded", 2);
    wait_until("lines in the other file", || fs::metadata(&other).is_ok_and(|file| file.len() > 0));
    wait_until("the first file is closed", || open(&agent).len() == 1);
    // One that cannot be opened is refused before anything changes.
    fs::create_dir(setup.path("directory")).expect("created");
    configure(&setup, &setup.path("directory"), "");
    agent.signal(Signal::HUP);
    agent.wait_log("is a directory, and no regular file");
    let size = fs::metadata(&other).expect("there").len();
    wait_until("more lines", || fs::metadata(&other).is_ok_and(|file| file.len() > size));
    agent.next();
    agent.assert_no_gaps();
    let (status, _) = agent.terminate();
    assert!(status.success(), "{status}\n{}", agent.log());
    // And all samples are read.
    agent.wait_log("shutting down");
    let mut all = timestamps(&fs::read_to_string(&path).expect("text"));
    all.extend(timestamps(&fs::read_to_string(&other).expect("text")));
    let lost: Vec<String> = agent.samples().iter().map(timestamp).filter(|sample| !all.contains(sample)).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn wrong_keys_of_files_are_errors() {
    let setup = Setup::with_config(
        "[sinks.a]\nkind = \"file\"\n[sinks.b]\nkind = \"file\"\npath = \"x\"\nrotate_size = \"1B\"\nrotate_age = \"1s\"\n\
         keep = 0\ncompress = 1\nfsync = \"often\"\n[sinks.c]\nkind = \"file\"\npath = \"/x/y/\"\n[sinks.d]\nkind = \"file\"\n\
         path = \"/x/./y\"\n[sinks.e]\nkind = \"file\"\npath = \"/x//y\"\n[sinks.f]\nkind = \"file\"\npath = \"/z/../x/y\"\n",
    );
    let output = setup.run(&["check"]);
    let errors = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
    assert_eq!(output.status.code(), Some(2), "{errors}");
    for expected in [
        "sinks.a.path: is missing; add path = \"/var/log/gauged/samples.ndjson\"",
        "sinks.b.path: \"x\" is not an absolute path",
        "sinks.b.rotate_size: \"1B\" is out of bounds",
        "sinks.b.rotate_age: \"1s\" is out of bounds",
        "sinks.b.keep: \"0\" is out of bounds",
        "sinks.b.compress: is an integer; write true or false",
        "sinks.b.fsync: \"often\" is not a duration",
        "sinks.c.path: \"/x/y/\" is a directory",
        "sinks.f.path: \"/z/../x/y\" has a part \"..\"; write the path without it",
        "sinks.e: is a second sink with the same target",
    ] {
        assert!(errors.contains(expected), "{expected} is not in:\n{errors}");
    }
}

#[test]
fn links_and_pipes_are_refused_with_a_remedy() {
    let setup = setup("");
    symlink("target", file(&setup)).expect("linked");
    let mut agent = setup.start(&[]);
    agent.wait_log("is a symbolic link, and no regular file\" remedy=\"name the file that it leads to");
    agent.next();
    assert!(!setup.path("target").exists());
    let (status, _) = agent.terminate();
    assert!(status.success(), "{status}\n{}", agent.log());
}
