//! A property of all plugins that read files: one file that is damaged, missing or refused costs the metrics that it gives,
//! and nothing else.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::reply_damage::line_damages;
use super::{Harness, Host, INTERVAL, SampleMap};
use crate::select::Pattern;
use crate::{Capability, Error, OsError, PermissionError, Plugin, Sample, Tick, component, files};

/// Damages each file of a host in each way, one at a time, and checks that the metrics of other files stay the same, and that
/// all are there a minute after the file is whole again. Metrics of a file that the agent's user may
/// not read go with a warning. Then damages each for one tick of several: no metric may have another value in the tick after it, so
/// that a counter that dips, or is gone for a tick, is no rate, and none is counted twice.
///
/// `given` returns the metrics that a file gives, as patterns for keys without the module: `forks_*`, or
/// `sensor_celsius{chip="nvme"*`. Only these may change or go. `collect` may fail only where they are all metrics.
///
/// ```
/// use gauged_plugin::kernel::File;
/// use gauged_plugin::skipped::Skipped;
/// use gauged_plugin::testing::{Host, assert_damage_is_contained};
/// use gauged_plugin::{About, Error, NoConfig, Plugin, Sample, Tick};
///
/// gauged_plugin::metrics! {
///     module "entropy";
///     /// Random bits available in the kernel's pool.
///     AVAILABLE: gauge "available_bits" in "bit";
///     /// Size of the pool.
///     POOL: gauge "pool_bits" in "bit";
/// }
///
/// struct Entropy(Skipped);
///
/// impl Plugin for Entropy {
///     const ABOUT: About = About { version: "1.0.0", description: "Random numbers.", settings: &[], metrics: METRICS };
///     type Config = NoConfig;
///
///     fn configure(_: NoConfig) -> Result<Self, Error> {
///         Ok(Self(Skipped::default()))
///     }
///
///     fn collect(&mut self, _: Tick, sample: &mut Sample) -> Result<(), Error> {
///         for (path, metric) in [("/proc/sys/kernel/random/entropy_avail", AVAILABLE), ("/proc/sys/kernel/random/poolsize", POOL)] {
///             let file = self.0.read(path, metric.name);
///             sample.set(metric, file.and_then(|file| self.0.keep(file.number::<u64>(), metric.name)));
///         }
///         self.0.finish(sample)
///     }
/// }
///
/// let mut host = Host::new();
/// host.file("/proc/sys/kernel/random/entropy_avail", "256\n").file("/proc/sys/kernel/random/poolsize", "4096\n");
/// assert_damage_is_contained::<Entropy>(&host, "{}", |path| {
///     if path.ends_with("entropy_avail") { &["available_bits"] } else { &["pool_bits"] }
/// });
/// ```
///
/// # Panics
///
/// The property does not hold: the message names the file, the damage and the metric.
pub fn assert_damage_is_contained<P: Plugin>(
    host: &Host,
    config: &str,
    given: impl Fn(&str) -> &'static [&'static str],
) {
    assert_damage_is_contained_for::<P, _>(host, config, |path| {
        given(path).iter().map(|&text| text.to_owned()).collect()
    });
}

/// As [`assert_damage_is_contained`], for metrics whose labels depend on the path.
///
/// # Panics
///
/// As [`assert_damage_is_contained`].
pub fn assert_damage_is_contained_for<P: Plugin, G: Fn(&str) -> Vec<String>>(host: &Host, config: &str, given: G) {
    let whole = Whole::<P>::new(host, config);
    let mut paths = host.paths();
    let read = files_read::<P>(host, config);
    paths.retain(|path| read.contains(path));
    assert!(!paths.is_empty(), "the host has no files that are read");
    for path in &paths {
        let patterns = given(path);
        for (damage, damaged) in damages(&host.content(path)) {
            whole.check(path, &damage, &damaged, &patterns);
        }
    }
}

/// Damages each line of a file after `head` lines in each way, one at a time, and checks as [`assert_damage_is_contained`] that the
/// metrics of other lines stay the same: for files with a line per device, interface or mount.
///
/// `given` returns the metrics that a line gives, as patterns for keys without the module.
///
/// # Panics
///
/// The property does not hold: the message names the line, the damage and the metric.
pub fn assert_line_damage_is_contained<P: Plugin>(
    host: &Host,
    config: &str,
    path: &str,
    head: usize,
    given: impl Fn(&str) -> Vec<String>,
) {
    let whole = Whole::<P>::new(host, config);
    let content = host.content(path);
    let lines: Vec<&[u8]> = content.split_inclusive(|&byte| byte == b'\n').collect();
    assert!(lines.len() > head, "{path} has no lines");
    for (at, line) in lines.iter().enumerate().skip(head) {
        let patterns = given(&String::from_utf8_lossy(line));
        for (damage, damaged) in line_damages(line) {
            let damaged = [&lines[..at].concat(), &*damaged, &lines[at + 1..].concat()].concat();
            whole.check(path, &format!("line {} {damage}", at + 1), &Ok(damaged), &patterns);
        }
    }
}

/// A plugin on a host that is whole, and its samples.
struct Whole<'a, P> {
    host: &'a Host,
    config: &'a str,
    /// Of three ticks, and of one a minute later.
    samples: [SampleMap; 4],
    plugin: PhantomData<P>,
}

impl<'a, P: Plugin> Whole<'a, P> {
    fn new(host: &'a Host, config: &'a str) -> Self {
        let mut plugin = Harness::<P>::start(host.clone(), config).expect("valid settings");
        let samples = [INTERVAL, INTERVAL, INTERVAL, RECOVERY].map(|after| plugin.tick_after(after).expect("a sample"));
        assert!(!samples[0].is_empty(), "nothing is measured");
        Self { host, config, samples, plugin: PhantomData }
    }

    /// Checks that a damaged file costs metrics with these patterns only: from the start, and for one tick.
    fn check(&self, path: &str, damage: &str, damaged: &Damaged, patterns: &[String]) {
        let patterns: Vec<Pattern> = patterns.iter().map(|text| Pattern::new(text)).collect();
        let may_change = |key: &str| {
            let name = key.split_once('.').map_or(key, |(_, name)| name);
            patterns.iter().any(|pattern| pattern.matches(name))
        };
        // Grants change only with a new instance.
        let is_refused = damage == REFUSED;
        let mut host = self.host.clone();
        break_file(&mut host, path, damaged);
        let mut plugin = Harness::<P>::start(host, self.config).expect("valid settings");
        check_damaged_tick(&mut plugin, path, damage, &self.samples[0], may_change);
        if is_refused {
            return;
        }
        *plugin.host() = self.host.clone();
        plugin.allow_counter_reset();
        let later = plugin.tick_after(RECOVERY).expect("a whole sample");
        let missing = self.samples[0].keys().find(|key| !later.contains_key(*key));
        assert_eq!(missing, None, "{path} {damage}, and then is whole: still missing");

        let mut plugin = Harness::<P>::start(self.host.clone(), self.config).expect("valid settings");
        plugin.tick().expect("a whole sample");
        break_file(plugin.host(), path, damaged);
        plugin.allow_counter_reset();
        check_damaged_tick(&mut plugin, path, damage, &self.samples[1], may_change);
        *plugin.host() = self.host.clone();
        for (after, expected) in [INTERVAL, RECOVERY].into_iter().zip(&self.samples[2..]) {
            plugin.allow_counter_reset();
            let sample = plugin.tick_after(after).expect("a whole sample");
            for (key, value) in expected.iter() {
                let got = sample.get(key);
                let may_be_missing = got.is_none() && after == INTERVAL && may_change(key);
                assert!(
                    may_be_missing || got == Some(value),
                    "{path} {damage} for a tick: {key} is then {got:?}, not {value:?}"
                );
            }
        }
    }
}

/// Collects with a damaged file, and checks the sample.
fn check_damaged_tick<P: Plugin>(
    plugin: &mut Harness<P>,
    path: &str,
    damage: &str,
    expected: &SampleMap,
    may_change: impl Fn(&str) -> bool,
) {
    let tick = catch_unwind(AssertUnwindSafe(|| plugin.tick()));
    match tick.unwrap_or_else(|_| panic!("{path} {damage}: the plugin panics or breaks an SDK rule")) {
        Ok(sample) => {
            for (key, value) in expected.iter().filter(|(key, _)| !may_change(key)) {
                assert_eq!(sample.get(key), Some(value), "{path} {damage}: {key}");
            }
            let lost = expected.keys().find(|key| !sample.contains_key(*key));
            let is_reported = plugin.host().messages().iter().any(|message| message.starts_with("WARN"));
            let is_silent = damage == NOT_PERMITTED && lost.is_some() && !is_reported;
            assert!(!is_silent, "{path} {damage}: lost without a warning: {lost:?}");
        }
        Err(error) => {
            let other = expected.keys().find(|key| !may_change(key));
            assert_eq!(other, None, "{path} {damage}: fails for a metric of another file: {error:?}");
        }
    }
}

fn break_file(host: &mut Host, path: &str, damaged: &Damaged) {
    match damaged {
        Ok(content) => host.file(path, content.clone()),
        Err(error) => host.file_fails(path, error.clone()),
    };
}

/// Replaces each line of a file after `head` lines by garbage, and checks that the sample is the same as without the line: for
/// files with a line per device, interface or mount.
///
/// # Panics
///
/// The property does not hold: the message names the line.
pub fn assert_lines_are_independent<P: Plugin>(host: &Host, config: &str, path: &str, head: usize) {
    let content = host.content(path);
    let lines: Vec<&[u8]> = content.split_inclusive(|&byte| byte == b'\n').collect();
    assert!(lines.len() > head, "{path} has no lines");
    for at in head..lines.len() {
        let sample = |line: &[u8]| {
            let mut host = host.clone();
            host.file(path, [&lines[..at].concat(), line, &lines[at + 1..].concat()].concat());
            Harness::<P>::start(host, config).expect("valid settings").tick().unwrap_or_default()
        };
        let without = sample(b"");
        for garbage in [GARBAGE, b"\n", b"garbage\n"] {
            assert_eq!(sample(garbage), without, "{path}: garbage instead of line {}", at + 1);
        }
    }
}

/// The error of a file that the agent's user may not read.
///
/// ```
/// use gauged_plugin::files;
/// use gauged_plugin::testing::{Host, assert_not_permitted, not_permitted};
///
/// let mut host = Host::new();
/// host.file_fails("/proc/stat", not_permitted());
/// assert_not_permitted(&host.run(|| files::read("/proc/stat")).map_err(Into::into), "/proc/stat");
/// ```
#[must_use]
pub fn not_permitted() -> files::Error {
    files::Error::NotPermitted(PermissionError::new("EACCES", "Permission denied", "run it as root"))
}

/// Checks that a result is the error of a file that the agent's user may not read: it names the file, and does not call the host
/// unsupported.
///
/// # Panics
///
/// It is another result.
pub fn assert_not_permitted<T: fmt::Debug>(result: &Result<T, Error>, path: &str) {
    match result {
        Err(Error::Unavailable(why) | Error::Failed(why)) if why.contains(path) => {}
        other => panic!("{other:?} instead of {path} not permitted"),
    }
}

/// The paths that a plugin reads in its first tick: damage elsewhere cannot matter.
fn files_read<P: Plugin>(host: &Host, config: &str) -> BTreeSet<String> {
    let mut host = host.clone();
    let tick = Tick { unix_ms: 0, monotonic_ns: 1_000_000_000, budget_ms: 1000, interval_ms: 10_000 };
    host.run(|| {
        component::configure::<P>(config)
            .map(|mut plugin| component::collect(&mut plugin, tick, &mut Sample::default()))
            .ok()
    });
    let accesses = host.take_accesses().into_iter().filter(|access| !access.is_list);
    let read = accesses.filter(|access| access.capability.kind == Capability::READ);
    read.map(|access| access.capability.target).collect()
}

/// A line that is none of any format.
pub(super) const GARBAGE: &[u8] = b"\xff\x00 :: x=y -1\n";

/// Texts in place of numbers, each with its kind.
pub(super) const ODD_NUMBERS: [(&str, &str); 7] = [
    ("zero", "0"),
    ("negative", "-7"),
    ("beyond 64 bits", "98446744073709551616"),
    ("2^64 - 1", "18446744073709551615"),
    ("words", "(unknown)"),
    ("not a number", "nan"),
    ("empty", ""),
];

/// A file that the agent's user may not read.
const NOT_PERMITTED: &str = "is not permitted";

/// A missing grant.
const REFUSED: &str = "is refused";

/// The time within which a plugin has to notice that a file is whole again.
const RECOVERY: Duration = Duration::from_secs(60);

type Damaged = Result<Vec<u8>, files::Error>;

/// The ways in which files are damaged.
fn damages(content: &[u8]) -> Vec<(String, Damaged)> {
    let mut damages: Vec<(String, Damaged)> = vec![
        ("is empty".to_owned(), Ok(Vec::new())),
        ("is a line end".to_owned(), Ok(b"\n".to_vec())),
        ("is doubled".to_owned(), Ok([content, content].concat())),
        ("is of zeros".to_owned(), Ok(vec![0; content.len()])),
        ("is of bytes that are not UTF-8".to_owned(), Ok(content.iter().map(|&byte| byte | 0x80).collect())),
        ("is text of another program".to_owned(), Ok(b"<html>\n<body>: = : 1 2 3</body>\n".to_vec())),
        ("is a directory".to_owned(), Err(files::Error::WrongType)),
        ("is missing".to_owned(), Err(files::Error::NotFound)),
        (REFUSED.to_owned(), Err(files::Error::Denied(Capability::read("/")))),
        (NOT_PERMITTED.to_owned(), Err(not_permitted())),
        ("is broken".to_owned(), Err(files::Error::Io(OsError::new("EIO", "Input/output error")))),
        ("is too large".to_owned(), Err(files::Error::TooLarge(1 << 20))),
    ];
    // Cuts at the beginning, the end, and in the middle of lines and words.
    let cuts = (1..8).map(|part| content.len() * part / 8).chain([1, content.len().saturating_sub(2)]);
    for at in cuts.collect::<BTreeSet<_>>() {
        damages.push((format!("ends after {at} bytes"), Ok(content[..at.min(content.len())].to_vec())));
    }
    for (name, number) in ODD_NUMBERS {
        damages.push((format!("has numbers that are {name}"), Ok(with_numbers(content, number))));
    }
    // One line at a time; of long files, ten.
    let lines: Vec<&[u8]> = content.split_inclusive(|&byte| byte == b'\n').collect();
    for at in (0..if lines.len() > 1 { lines.len() } else { 0 }).step_by(lines.len() / 10 + 1) {
        let with = |line: &[u8]| Ok([&lines[..at].concat(), line, &lines[at + 1..].concat()].concat());
        damages.push((format!("lacks line {}", at + 1), with(b"")));
        damages.push((format!("has garbage in line {}", at + 1), with(GARBAGE)));
        damages.push((format!("has line {} twice", at + 1), with(&[lines[at], lines[at]].concat())));
    }
    damages
}

/// The content with another text in place of each number.
pub(super) fn with_numbers(content: &[u8], number: &str) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(content.len());
    let mut is_within = false;
    for &byte in content {
        if !byte.is_ascii_digit() {
            replaced.push(byte);
        } else if !is_within {
            replaced.extend_from_slice(number.as_bytes());
        }
        is_within = byte.is_ascii_digit();
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::File;
    use crate::{About, NoConfig};

    crate::metrics! {
        module "two";
        /// The first.
        FIRST: gauge "first" in "1";
        /// The second.
        SECOND: gauge "second" in "1";
    }

    /// Loses both if one is damaged.
    struct Fragile;

    impl Plugin for Fragile {
        const ABOUT: About = About { version: "1", description: "Two files.", settings: &[], metrics: METRICS };
        type Config = NoConfig;

        fn configure(_: NoConfig) -> Result<Self, Error> {
            Ok(Self)
        }

        fn collect(&mut self, _: Tick, sample: &mut Sample) -> Result<(), Error> {
            let (first, second) = (
                File::read("/proc/sys/vm/first")?.number::<u64>()?,
                File::read("/proc/sys/vm/second")?.number::<u64>()?,
            );
            sample.set(FIRST, first);
            sample.set(SECOND, second);
            Ok(())
        }
    }

    fn host() -> Host {
        let mut host = Host::new();
        host.file("/proc/sys/vm/first", "1\n").file("/proc/sys/vm/second", "2\n");
        host
    }

    #[test]
    #[should_panic(expected = "/proc/sys/vm/first is empty: fails for a metric of another file")]
    fn damage_that_spreads_is_reported() {
        assert_damage_is_contained::<Fragile>(&host(), "{}", |path| match path {
            "/proc/sys/vm/first" => &["first"],
            _ => &["second"],
        });
    }

    #[test]
    fn damage_may_cost_what_a_file_gives() {
        assert_damage_is_contained::<Fragile>(&host(), "{}", |_| &["first", "second"]);
    }

    #[test]
    fn numbers_are_replaced_as_a_whole() {
        assert_eq!(with_numbers(b"a 12 b34:5\n", "x"), b"a x bx:x\n");
    }
}
