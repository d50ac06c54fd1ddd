//! The plugin with files of other programs.

use std::time::Duration;

use gauged_plugin::files::{self, FileStatus};
use gauged_plugin::testing::{
    FIRST_TICK_UNIX_SECONDS, Harness, Host, SampleMap, assert_golden, assert_readme, assert_settings, not_permitted,
};
use gauged_plugin::{Capability, OsError};

use super::*;

const DIRECTORY: &str = "/var/lib/node_exporter";
const CONFIG: &str = r#"{"directories": ["/var/lib/node_exporter"]}"#;
const WITH_TIMES: &str = r#"{"directories": ["/var/lib/node_exporter"], "file_times": true}"#;

fn start(host: Host, config: &str) -> Harness<Textfile> {
    Harness::start(host, config).unwrap_or_else(|error| panic!("{config}: {error:?}"))
}

/// A file that was written so many seconds before the first tick.
fn write(host: &mut Host, name: &str, content: impl Into<Vec<u8>>, age: i64) {
    let (path, content) = (format!("{DIRECTORY}/{name}"), content.into());
    let written = i64::try_from(FIRST_TICK_UNIX_SECONDS).expect("soon") - age;
    let size = content.len() as u64;
    host.status(&path, FileStatus { size, modified_ns: written * 1_000_000_000, ..FileStatus::PLAIN });
    host.file(&path, content);
}

/// A host with these files, written ten seconds before the first tick.
fn host_with(files: &[(&str, &str)]) -> Host {
    let mut host = Host::new();
    for (name, content) in files {
        write(&mut host, name, *content, 10);
    }
    host
}

/// The names of metrics of files, without labels.
fn names(sample: &SampleMap) -> Vec<&str> {
    let names = sample.keys().filter_map(|key| key.strip_prefix("textfile_metrics."));
    names.map(|name| name.split('{').next().unwrap_or_default()).collect()
}

/// The sample of these files, the state of the error, and the warnings.
fn sample(files: &[(&str, &str)]) -> (SampleMap, bool, Vec<String>) {
    let mut textfile = start(host_with(files), CONFIG);
    let sample = textfile.tick().expect("a sample");
    let is_error = sample["textfile.scrape_error"] == true;
    (sample, is_error, textfile.host().warnings().iter().map(|&warning| warning.to_owned()).collect())
}

#[test]
fn files_match_their_golden_file() {
    let mut textfile = start(Host::from_fixture("fixtures/web-1"), CONFIG);
    let sample = textfile.tick().expect("a sample");
    assert_golden("fixtures/web-1/expected", &sample.render());
    assert_eq!(textfile.tick().expect("the same"), sample);
    assert_eq!(textfile.host().messages(), [""; 0]);
    assert_eq!(textfile.needs(), [Need::read("/var/lib/node_exporter/*.prom", "read its metrics")]);
}

#[test]
fn odd_line_costs_only_itself() {
    let (sample, is_error, warnings) = sample(&[("a.prom", "good 1\nbad one\nbetter 2\n"), ("b.prom", "other 3\n")]);
    assert_eq!((names(&sample), is_error), (vec!["better", "good", "other"], true));
    assert_eq!(sample["textfile.mtime_seconds{file=\"/var/lib/node_exporter/a.prom\"}"], 1_789_999_990.0);
    assert_eq!(warnings, ["WARN without bad: /var/lib/node_exporter/a.prom line 2 is malformed: is not a number"]);
}

#[test]
fn files_with_timestamps_are_left_out() {
    let (sample, is_error, warnings) = sample(&[("a.prom", "good 1\nold 2 1395066363000\n"), ("b.prom", "other 3\n")]);
    assert_eq!((names(&sample), is_error), (vec!["other"], true));
    assert!(!sample.contains_key("textfile.mtime_seconds{file=\"/var/lib/node_exporter/a.prom\"}"));
    let why = "WARN without its metrics: /var/lib/node_exporter/a.prom is malformed: has timestamps; write its values without them";
    assert_eq!(warnings, [why]);
}

#[test]
fn first_type_and_description_hold() {
    let first = "# HELP x First.\n# TYPE x counter\nx{a=\"1\"} 1\n";
    let (all, is_error, warnings) = sample(&[
        ("a.prom", first),
        ("b.prom", "# HELP x Second.\n# TYPE x counter\nx{a=\"2\"} 1\n"),
        ("c.prom", "# TYPE x counter\nx{a=\"3\"} 1\n"),
        ("d.prom", "# TYPE x gauge\nx{a=\"4\"} 1\ny 1\n"),
    ]);
    assert_eq!((names(&all), is_error), (vec!["x", "x", "x", "y"], true));
    assert!(!all.contains_key("textfile_metrics.x{a=\"4\"}"));
    assert_eq!(
        warnings,
        [
            "WARN without its description: /var/lib/node_exporter/b.prom is malformed: has another description in \
             /var/lib/node_exporter/a.prom; write the same into both files",
            "WARN without x: /var/lib/node_exporter/d.prom is malformed: has another type in \
             /var/lib/node_exporter/a.prom; write the same into both files",
        ]
    );
    let (_, is_error, warnings) = sample(&[("a.prom", first), ("b.prom", "# TYPE x counter\nx{a=\"2\"} 1\n")]);
    assert!(!is_error && warnings.is_empty(), "{warnings:?}");
    let (_, is_error, warnings) = sample(&[("a.prom", "# TYPE x counter\nx{a=\"2\"} 1\n"), ("b.prom", first)]);
    assert!(!is_error && warnings.is_empty(), "{warnings:?}");
}

#[test]
fn conflicts_of_a_file_are_bounded() {
    let family = |number: u32, kind: &str| format!("# TYPE x{number} {kind}\nx{number} 1\n");
    let families = |kind: &str| (0..5_000).map(|number| family(number, kind)).collect::<Vec<_>>().concat();
    let (all, is_error, warnings) = sample(&[("a.prom", &families("counter")), ("b.prom", &families("gauge"))]);
    assert_eq!((names(&all).len(), is_error), (5_000, true));
    assert_eq!(warnings.len(), MAX_CONFLICTS, "{warnings:?}");
}

#[test]
fn odd_files_are_reported() {
    for (content, why, lost) in [
        (&b"good 1\nbad{a=\"\xff\"} 2\n"[..], "a.prom line 2 is malformed: is not UTF-8", "its metric"),
        (b"good 1\ncut 12", "a.prom line 2 is truncated: is without the end of its line", "cut"),
        (
            b"good 1\nbad NaN\n",
            "a.prom is malformed: has values that are not finite, which samples cannot have",
            "these values",
        ),
        (
            b"good 1\n# TYPE x histogram\nx_sum 1\n",
            "a.prom line 3 is malformed: has neither a last bucket nor a count",
            "x",
        ),
    ] {
        let mut host = Host::new();
        write(&mut host, "a.prom", content, 10);
        let mut textfile = start(host, CONFIG);
        assert_eq!(names(&textfile.tick().expect("a sample")), ["good"], "{why}");
        assert_eq!(textfile.host().warnings(), [format!("WARN without {lost}: {DIRECTORY}/{why}")]);
    }
}

#[test]
fn unreadable_files_leave_the_others() {
    let io = files::Error::Io(OsError::new("EIO", "Input/output error"));
    for (error, why) in [
        (not_permitted(), "b.prom is not permitted"),
        (io, "b.prom is malformed: Input/output error (EIO)"),
        (files::Error::TooLarge(4 << 20), "b.prom is truncated: has more than 4194304 bytes"),
        (files::Error::WrongType, "b.prom is malformed: has an unexpected file type"),
        (files::Error::Timeout, "b.prom is truncated: did not respond in time"),
        (files::Error::Denied(Capability::read("/etc/shadow")), "b.prom is not permitted: may not be read"),
    ] {
        let mut host = host_with(&[("a.prom", "a 1\n"), ("b.prom", "b 1\n"), ("c.prom", "c 1\n")]);
        host.file_fails(&format!("{DIRECTORY}/b.prom"), error);
        let mut textfile = start(host, CONFIG);
        let sample = textfile.tick().expect("a sample");
        assert_eq!(names(&sample), ["a", "c"], "{why}");
        assert_eq!(sample["textfile.scrape_error"], true);
        let warnings = textfile.host().warnings();
        assert!(warnings.iter().any(|warning| warning.contains(why)), "{warnings:?}: {why}");
    }
}

#[test]
fn directories_come_and_go() {
    let config = r#"{"directories": ["/var/lib/node_exporter", "/srv/metrics"]}"#;
    let mut textfile = start(host_with(&[("a.prom", "a 1\n")]), config);
    for _ in 0..2 {
        let sample = textfile.tick().expect("a sample");
        assert_eq!((names(&sample), sample["textfile.scrape_error"] == true), (vec!["a"], true));
    }
    let missing = "WARN /srv/metrics does not exist; its files are read when it does";
    assert_eq!(textfile.host().messages(), [missing]);
    textfile.host().file("/srv/metrics/b.prom", "b 1\n");
    let sample = textfile.tick().expect("a sample");
    assert_eq!((names(&sample), sample["textfile.scrape_error"] == true), (vec!["a", "b"], false));
}

#[test]
fn missing_grants_are_an_error_without_any_file() {
    let capability = Capability::read("/var/lib/node_exporter/*.prom");
    let mut host = host_with(&[("a.prom", "a 1\n")]);
    host.deny(&capability);
    let denied = start(host, CONFIG).tick().expect_err("denied");
    let Error::Denied(need) = denied else { panic!("{denied:?}") };
    assert_eq!(need.capability.kind, Capability::READ);
}

#[test]
fn missing_grant_of_a_file_leaves_the_others() {
    let mut host = host_with(&[("a.prom", "a 1\n"), ("b.prom", "b 1\n"), ("c.prom", "c 1\n")]);
    host.deny(&Capability::read("/var/lib/node_exporter/b.prom"));
    let sample = start(host, CONFIG).tick().expect("a sample");
    assert_eq!((names(&sample), sample["textfile.scrape_error"] == true), (vec!["a", "c"], true));
}

#[test]
fn file_times_are_those_of_modules() {
    let mut host = host_with(&[("my-app.prom", "a 1\n")]);
    write(&mut host, "my.app.prom", "b 2\n", 20);
    write(&mut host, "later.prom", "c 3\n", -5);
    write(&mut host, "old.prom", "d 4\n", 3601);
    let mut textfile = start(host, WITH_TIMES);
    let sample = textfile.tick().expect("a sample");
    assert!(sample["textfile_my_app.a"] == 1.0 && sample["textfile_my_app_2.b"] == 2.0);
    assert!(sample.contains_key("textfile_later.c"), "the tick's time is used");
    assert!(!sample.keys().any(|key| key.starts_with("textfile_old")), "{:?}", sample.keys());
    assert!(sample.contains_key("textfile.mtime_seconds{file=\"/var/lib/node_exporter/old.prom\"}"));
    assert_eq!(sample["textfile.scrape_error"], false);
    // An hour after they were written.
    let sample = textfile.tick_after(Duration::from_secs(3600)).expect("a sample");
    let modules: Vec<&str> = sample.keys().filter_map(|key| key.split_once('.')).map(|(module, _)| module).collect();
    assert_eq!(modules, ["textfile", "textfile", "textfile", "textfile", "textfile", "textfile_later"]);
}

#[test]
fn metrics_with_times_are_described_each_tick() {
    let mut textfile = start(host_with(&[("a.prom", "# TYPE a histogram\na_count 1\n")]), WITH_TIMES);
    for _ in 0..2 {
        assert!(textfile.tick().expect("a sample").contains_key("textfile_a.a"));
        textfile.forget_descriptions();
    }
}

#[test]
fn invalid_directories_are_rejected() {
    let error = |directories: &str| {
        let config = format!(r#"{{"directories": {directories}}}"#);
        match Harness::<Textfile>::start(Host::new(), &config) {
            Err(Error::InvalidConfig(errors)) => errors[0].key.clone(),
            result => panic!("{directories}: {result:?}"),
        }
    };
    assert_eq!(error("[]"), "directories");
    let many: Vec<String> = (0..=MAX_DIRECTORIES).map(|number| format!("/{number}")).collect();
    assert_eq!(error(&format!("{many:?}")), "directories");
    assert_eq!(error(r#"["relative"]"#), "directories[0]");
    assert_eq!(error(r#"["/a", "/b/"]"#), "directories[1]");
    assert_eq!(error(r#"["/a", "/a"]"#), "directories[1]");
    start(Host::new(), r#"{"directories": ["/"]}"#);
}

#[test]
fn settings_and_readme_are_complete() {
    assert_settings::<Textfile>(CONFIG);
    assert_readme::<Textfile>();
}
