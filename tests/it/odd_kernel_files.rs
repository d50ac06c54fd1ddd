//! Kernel files that are not as the kernel writes them: each costs the metrics that it alone gives, is reported once, and is
//! counted. The machines are those of `tests/fixtures`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use gauged::collector::bounds::{PARTS, TABLE};
use gauged::collector::native::Natives;
use gauged::config::{Config, Overrides};
use gauged::sample::{Sample as Collected, SeriesAccount, Value};
use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::geteuid;

use crate::harness::{Agent, Sample, Setup, repository};
use crate::natives::{machines, overlay};

const MESSAGE: &str = "kernel values left out";

/// What happens to a file.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Damage {
    Removed,
    Emptied,
    Cut,
    Doubled,
    Garbled,
    OtherLineEnds,
    WithoutLastLineEnd,
    Directory,
    Pipe,
    Refused,
}

use Damage::{Cut, Directory, Doubled, Emptied, Garbled, OtherLineEnds, Pipe, Refused, Removed, WithoutLastLineEnd};

const DAMAGES: [Damage; 10] =
    [Removed, Emptied, Cut, Doubled, Garbled, OtherLineEnds, WithoutLastLineEnd, Directory, Pipe, Refused];

impl Damage {
    /// Puts the damaged file in the place of one with this content.
    fn apply(self, path: &Path, content: &[u8]) {
        // In place if it can be: the collectors keep it open.
        let has_content = [Emptied, Cut, Doubled, Garbled, OtherLineEnds, WithoutLastLineEnd].contains(&self);
        if !has_content || !fs::symlink_metadata(path).is_ok_and(|found| found.is_file()) {
            remove(path);
        }
        let write = |content: &[u8]| fs::write(path, content).expect("written");
        match self {
            Removed => {}
            Emptied => write(b""),
            Cut => write(&content[..content.len() / 2]),
            Doubled => write(&content.repeat(2)),
            Garbled => {
                let odd = |(at, byte): (usize, &u8)| if at % 5 == 3 { b"\0\xff-x"[at % 4] } else { *byte };
                write(&content.iter().enumerate().map(odd).collect::<Vec<u8>>());
            }
            OtherLineEnds => {
                write(&content.split_inclusive(|&byte| byte == b'\n').flat_map(windows_line).collect::<Vec<u8>>());
            }
            WithoutLastLineEnd => write(content.trim_ascii_end()),
            Directory => fs::create_dir(path).expect("created"),
            Pipe => mkfifoat(CWD, path, Mode::from_raw_mode(0o600)).expect("made"),
            // Nothing refuses root; a link to itself cannot be opened either.
            Refused if geteuid().is_root() => symlink(path, path).expect("linked"),
            Refused => {
                write(content);
                fs::set_permissions(path, fs::Permissions::from_mode(0o000)).expect("set");
            }
        }
    }

    /// Whether the file has the same in other words.
    fn is_harmless(self, file: &str) -> bool {
        match self {
            Doubled => ["proc/stat", "proc/loadavg", "proc/meminfo", "proc/vmstat"].contains(&file),
            OtherLineEnds | WithoutLastLineEnd => !file.ends_with("auxv"),
            _ => false,
        }
    }
}

fn windows_line(line: &[u8]) -> Vec<u8> {
    let text = line.strip_suffix(b"\n");
    text.map_or(line.to_vec(), |text| [text, b"\r\n"].concat())
}

fn remove(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir(path).expect("removed"),
        Ok(_) => fs::remove_file(path).expect("removed"),
        Err(_) => {}
    }
}

/// The metrics that depend on a file: module, and the beginnings of their names.
fn dependants(file: &str) -> Vec<(&'static str, &'static [&'static str])> {
    const FREQUENCIES: (&str, &[&str]) = ("cpu", &["freq_"]);
    const CORES: (&str, &[&str]) = ("cpu", &["count_physical"]);
    const SWAPPED: (&str, &[&str]) = ("swap", &["sin", "sout"]);
    const AVAILABLE: (&str, &[&str]) = ("memory", &["available", "used", "percent"]);
    const TIMES: &[&str] = &["percent", "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest"];
    match file {
        "proc/stat" => vec![("cpu", TIMES), ("cpu", &["count_", "ctx", "interrupts", "soft_"])],
        "proc/loadavg" => vec![("load", &[""])],
        "proc/meminfo" => vec![("memory", &[""]), ("swap", &["total", "used", "free", "percent"])],
        "proc/vmstat" => vec![SWAPPED],
        "proc/zoneinfo" => vec![AVAILABLE],
        "proc/cpuinfo" => vec![CORES, ("cpu", &["freq_current"])],
        // Seconds and bytes, by the units of the machine.
        "proc/self/auxv" => vec![("cpu", TIMES), SWAPPED, AVAILABLE],
        _ if file.contains("topology") => vec![CORES],
        _ => vec![FREQUENCIES],
    }
}

type Metrics = BTreeMap<(String, String), Value>;

/// The metrics of the second of two readings, before which the files of `next` take their places.
fn measure(root: &Path, next: impl FnOnce()) -> Metrics {
    let config = Config::load(&Overrides { root: Some(root.to_owned()), ..Overrides::default() }).expect("valid");
    let mut natives = Natives::new(&config, &SeriesAccount::standalone());
    next();
    metrics(&mut natives)
}

fn metrics(natives: &mut Natives) -> Metrics {
    let mut sample = Collected::default();
    natives.collect(&mut sample);
    let each = sample.modules.iter().flat_map(|module| {
        module.metrics().map(|metric| ((module.name().to_string(), metric.name().to_owned()), metric.value.clone()))
    });
    each.collect()
}

/// The files below a directory, with their paths from it; links are not followed, since they lead to others of them.
fn files(directory: &Path) -> Vec<String> {
    let (mut open, mut found) = (vec![directory.to_owned()], Vec::new());
    while let Some(next) = open.pop() {
        for path in fs::read_dir(next).expect("readable").map(|entry| entry.expect("readable").path()) {
            if path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(directory).expect("below it").to_str().expect("text").to_owned());
            }
        }
    }
    found.sort_unstable();
    found
}

/// Whether a file is damaged: those that only plugins read are not, and of many files of the same kind one is enough.
fn is_damaged(file: &str) -> bool {
    let is_native = ["proc/1/", "proc/pressure/", "proc/sys/"].iter().all(|of_plugins| !file.starts_with(of_plugins));
    let is_first = |cpu: &str| !cpu.starts_with(|digit: char| ('1'..='9').contains(&digit));
    let mut cpus =
        file.strip_prefix("sys/devices/system/cpu/").into_iter().flat_map(|below| below.split("cpu").skip(1));
    let is_of_cpus = !file.starts_with("sys/") || file.starts_with("sys/devices/system/cpu/");
    is_native && is_of_cpus && cpus.all(is_first)
}

/// One machine, one of whose files is damaged at a time.
fn damage_each_file(machine: &Path) {
    let root = tempfile::tempdir().expect("a temporary directory");
    let root = root.path();
    let read_below = |directory: PathBuf| -> BTreeMap<String, Vec<u8>> {
        let found = if directory.is_dir() { files(&directory) } else { Vec::new() };
        found.into_iter().map(|file| (file.clone(), fs::read(directory.join(file)).expect("readable"))).collect()
    };
    let mut before = read_below(machine.to_owned());
    before.retain(|file, _| file.starts_with("proc/") || file.starts_with("sys/"));
    let next = read_below(machine.join("next"));
    for (file, content) in &before {
        let path = root.join(file);
        fs::create_dir_all(path.parent().expect("it has one")).expect("created");
        fs::write(path, content).expect("written");
    }
    let write = |files: &BTreeMap<String, Vec<u8>>, except: Option<&str>| {
        for (file, content) in files.iter().filter(|(file, _)| Some(file.as_str()) != except) {
            fs::write(root.join(file), content).expect("written");
        }
    };
    let good = measure(root, || write(&next, None));
    for file in before.keys().filter(|file| is_damaged(file)) {
        for damage in DAMAGES {
            for (other, content) in before.iter().filter(|(other, _)| next.contains_key(*other)) {
                fs::write(root.join(other), content).expect("written");
            }
            let path = root.join(file);
            damage.apply(&path, &before[file]);
            let damaged = measure(root, || {
                write(&next, Some(file));
                if let Some(content) = next.get(file) {
                    damage.apply(&path, content);
                }
            });
            let case = format!("{}: {file} {damage:?}", machine.display());
            compare(&good, &damaged, file, damage, &case);
            remove(&path);
            fs::write(&path, &before[file]).expect("written");
        }
    }
}

fn compare(good: &Metrics, damaged: &Metrics, file: &str, damage: Damage, case: &str) {
    assert!(good.keys().eq(damaged.keys()), "{case}: the same metrics");
    for ((module, name), value) in damaged {
        let before = &good[&(module.clone(), name.clone())];
        let is_dependant = dependants(file)
            .iter()
            .any(|(own, names)| own == module && names.iter().any(|beginning| name.starts_with(beginning)));
        if damage.is_harmless(file) || !is_dependant {
            assert_eq!(value, before, "{case}: {module}.{name}");
        }
        let number = number(value);
        let bound = TABLE.iter().find(|(own, names, _)| own == module && names.contains(&name.as_str()));
        let (_, _, bound) = bound.expect("each metric has bounds");
        assert!(number.is_none_or(|number| bound.holds(number)), "{case}: {module}.{name} is {value:?}");
        for (_, _, whole) in PARTS.iter().filter(|(own, parts, _)| own == module && parts.contains(&name.as_str())) {
            let whole = crate::odd_kernel_files::number(&damaged[&(module.clone(), (*whole).to_owned())]);
            assert!(
                number.zip(whole).is_none_or(|(part, whole)| part <= whole),
                "{case}: {module}.{name} is {value:?}"
            );
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    match *value {
        Value::Unsigned(number) => Some(number as f64),
        Value::Float(number) => Some(number),
        _ => None,
    }
}

#[test]
fn damaged_file_costs_only_its_own_metrics() {
    for machine in machines() {
        damage_each_file(&machine);
    }
}

#[test]
fn percentages_return_after_a_jump() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let machine = repository().join("tests/fixtures/steal-jumps");
    overlay(&machine, root.path());
    let config =
        Config::load(&Overrides { root: Some(root.path().to_owned()), ..Overrides::default() }).expect("valid");
    let mut natives = Natives::new(&config, &SeriesAccount::standalone());
    let mut percentage = |stat: &str| {
        fs::write(root.path().join("proc/stat"), stat).expect("written");
        let metrics = metrics(&mut natives);
        ["percent", "steal"].map(|name| number(&metrics[&("cpu".to_owned(), name.to_owned())]))
    };
    let jumped = fs::read_to_string(machine.join("next/proc/stat")).expect("readable");
    assert_eq!(percentage(&jumped), [None, None]);
    let later = jumped.replace("1010 0 505 20085", "1020 0 510 20170");
    assert_eq!(percentage(&later), [Some(15.0), Some(0.0)]);
    let back = later.replace("1020 0 510 20170", "1030 0 515 20255").replace("18446744072877094182", "194028");
    assert_eq!(percentage(&back), [Some(15.0), Some(0.0)], "a counter that falls counts as unchanged");
}

/// An agent for a measured host, below `host`, that is a copy of a machine.
fn setup_of(machine: &str) -> Setup {
    let setup = Setup::with_config("interval = \"100ms\"\n");
    let host = setup.path("host");
    fs::create_dir(&host).expect("created");
    fs::create_dir(host.join("etc")).expect("created");
    fs::write(host.join("etc/hostname"), "web-1\n").expect("written");
    overlay(&repository().join("tests/fixtures").join(machine), &host);
    setup
}

fn skipped_lines(sample: &Sample, collector: &str) -> u64 {
    let key = format!("collector_skipped_lines_total{{collector=\"{collector}\"}}");
    sample["agent"][&key].as_u64().expect("a counter")
}

fn left_out(agent: &Agent) -> Vec<String> {
    agent.log().lines().filter(|line| line.contains(MESSAGE)).map(str::to_owned).collect()
}

#[test]
fn odd_lines_are_reported_once_and_counted() {
    let setup = setup_of("server");
    let mut agent = setup.start(&["--root", "host"]);
    let sample = agent.next();
    assert_eq!(["cpu", "load", "memory"].map(|collector| skipped_lines(&sample, collector)), [0, 0, 0]);
    let rewrite = |file: &str, from: &str, to: &str| {
        let path = setup.path("host").join(file);
        let text = fs::read_to_string(&path).expect("readable");
        assert!(text.contains(from), "{text}");
        // Renamed files would not be seen: the agent keeps them open.
        fs::write(path, text.replace(from, to)).expect("written");
    };
    rewrite("proc/stat", "ctxt 654321", "ctxt -654321");
    let sample = agent.wait(|sample| skipped_lines(sample, "cpu") >= 5);
    assert!(sample["cpu"]["ctx_switches"].is_null() && sample["cpu"]["interrupts"] == 123_456, "{sample:?}");
    assert_eq!(["load", "memory"].map(|collector| skipped_lines(&sample, collector)), [0, 0]);
    assert_eq!(sample["agent"]["collector_success{collector=\"cpu\"}"], 1);
    let line = " WARN kernel values left out file=host/proc/stat line=7 word=-654321 reason=\"is not a number of 64 bits\" \
                left_out=cpu.ctx_switches";
    assert!(matches!(&*left_out(&agent), [only] if only.ends_with(line)), "{}", agent.log());

    rewrite("proc/meminfo", "SwapFree:        3000000 kB", "SwapFree: 18446744073709346016 kB");
    let sample = agent.wait(|sample| skipped_lines(sample, "memory") >= 5);
    for metric in ["free", "used", "percent"] {
        assert!(sample["swap"][metric].is_null(), "{sample:?}");
    }
    assert_eq!(
        (&sample["swap"]["total"], &sample["memory"]["free"]),
        (&4_096_000_000_u64.into(), &1_024_000_000.into())
    );
    let lines = left_out(&agent);
    assert!(
        lines.len() == 2 && lines[1].contains("file=host/proc/meminfo line=14 word=\"18446744073709346016 kB\""),
        "{lines:?}"
    );
    rewrite("proc/stat", "ctxt -654321", "ctxt 654322");
    agent.wait(|sample| sample["cpu"]["ctx_switches"] == 654_322);
    assert_eq!(left_out(&agent).len(), 2);
}

#[test]
fn missing_files_are_no_warning() {
    let setup = setup_of("gvisor");
    let output = setup.command(&["--once", "--root", "host"]).env("GAUGED_LOG", "debug").output().expect("it runs");
    let log = String::from_utf8(output.stderr).expect("text");
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    assert!(log.contains("DEBUG kernel file missing file=host/proc/vmstat"), "{log}");
    let (sample, log) = setup.once_with(&["--root", "host"]);
    assert_eq!((&*log, &sample["swap"]["sin"]), ("", &serde_json::Value::Null));
    assert_eq!(sample["memory"]["total"], 2_147_483_648_u64);
}

#[test]
fn refused_files_are_reported_with_a_remedy() {
    // As on Android since version 8.
    let setup = setup_of("server");
    for file in ["stat", "loadavg"] {
        let path = setup.path("host/proc").join(file);
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).expect("set");
    }
    let mut agent = Agent::start(setup.command_without_root(&["--root", "host", "--interval", "100ms"]));
    for _ in 0..5 {
        let sample = agent.next();
        assert!(sample["cpu"]["percent"].is_null() && sample["load"]["1min"].is_null(), "{sample:?}");
        assert_eq!(
            (&sample["cpu"]["count_physical"], &sample["memory"]["total"]),
            (&2.into(), &8_192_000_000_u64.into())
        );
    }
    let lines = agent.wait_log_lines("kernel file not readable", 2);
    for (line, file) in lines.iter().zip(["stat", "loadavg"]) {
        assert!(
            line.contains(&format!("file=host/proc/{file} reason=\"failed to read it: Permission denied")),
            "{line}"
        );
        assert!(line.contains("remedy=\"let the agent's user read it"), "{line}");
    }
    assert_eq!(agent.log().matches("WARN").count(), 2, "{}", agent.log());
}

#[test]
fn closed_directories_of_cpus_are_reported() {
    let setup = setup_of("server");
    let cpus = setup.path("host/sys/devices/system/cpu");
    let policy = cpus.join("cpufreq/policy0");
    fs::create_dir_all(&policy).expect("created");
    fs::write(policy.join("scaling_min_freq"), "800000\n").expect("written");
    // Otherwise the number of cores comes from there.
    fs::write(setup.path("host/proc/cpuinfo"), "processor : 0\n").expect("written");
    for directory in ["cpu1", "cpufreq"] {
        fs::set_permissions(cpus.join(directory), fs::Permissions::from_mode(0o000)).expect("set");
    }
    let mut agent = Agent::start(setup.command_without_root(&["--root", "host"]));
    let sample = agent.wait(|sample| skipped_lines(sample, "cpu") >= 2);
    for metric in ["count_physical", "freq_min"] {
        assert!(sample["cpu"][metric].is_null(), "{metric} {sample:?}");
    }
    let lines = agent.wait_log_lines(MESSAGE, 2);
    for (line, (directory, metrics)) in lines
        .iter()
        .zip([("cpu1/topology", "cpu.count_physical"), ("cpufreq", "\"cpu.freq_current, cpu.freq_min, cpu.freq_max\"")])
    {
        let expected = format!(
            "file=host/sys/devices/system/cpu/{directory} reason=\"the agent's user may not read it\" left_out={metrics} remedy="
        );
        assert!(line.contains(&expected), "{line}");
    }
    // So that the directory can be removed.
    for directory in ["cpu1", "cpufreq"] {
        fs::set_permissions(cpus.join(directory), fs::Permissions::from_mode(0o700)).expect("set");
    }
}

#[test]
fn foreign_topology_is_left_out_and_reported() {
    let setup = setup_of("lxd-4-of-32-cpus");
    let mut agent = setup.start(&["--root", "host"]);
    let sample = agent.wait(|sample| skipped_lines(sample, "cpu") >= 2);
    assert_eq!(
        (&sample["cpu"]["count_logical"], &sample["cpu"]["count_physical"]),
        (&4.into(), &serde_json::Value::Null)
    );
    let lines = left_out(&agent);
    assert!(lines.len() == 1 && lines[0].contains("left_out=cpu.count_physical remedy="), "{lines:?}");
}
