//! Debian's `node_exporter`, and the metrics that it serves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::requirement::Program;
use crate::services::Daemon;

/// Labels of one series. Those that are empty are left out, as Prometheus does.
pub type Labels = BTreeMap<String, String>;
/// A metric's name and labels.
pub type Series = (String, Labels);

/// The series of an agent at one moment.
#[derive(Default)]
pub struct Scrape {
    pub series: BTreeMap<Series, f64>,
    /// The type of each metric.
    pub types: BTreeMap<String, String>,
}

impl Scrape {
    /// Parses a text of Prometheus'.
    pub fn parse(text: &str) -> Self {
        let mut scrape = Self::default();
        for line in text.lines() {
            if let Some(described) = line.strip_prefix("# TYPE ") {
                let (name, kind) = described.split_once(' ').expect("a type");
                scrape.types.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                let (key, value) = line.rsplit_once(' ').expect("a value");
                let (name, mut labels) = series(key);
                labels.retain(|_, value| !value.is_empty());
                scrape.series.insert((name, labels), value.parse().expect("a number"));
            }
        }
        scrape
    }

    /// The names of the metrics.
    pub fn names(&self) -> BTreeSet<&str> {
        self.series.keys().map(|(name, _)| &**name).collect()
    }

    /// The sum of all series of a metric.
    pub fn total(&self, name: &str) -> f64 {
        self.series.iter().filter(|((of, _), _)| of == name).map(|(_, value)| value).sum()
    }
}

/// A `node_exporter` that runs until it is dropped.
pub struct Exporter {
    _daemon: Daemon,
    address: SocketAddr,
    /// The root directory of the machine that it measures.
    root: PathBuf,
}

impl Exporter {
    /// Starts it with further options, for the machine with this root directory.
    pub fn start(program: &Program, root: &Path, options: &[&str]) -> Self {
        Self::start_command(program.command(), root, options)
    }

    /// The same by a command of its own.
    pub fn start_command(mut command: Command, root: &Path, options: &[&str]) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
        command.arg(format!("--web.listen-address={address}"));
        for (option, path) in [("procfs", "proc"), ("sysfs", "sys"), ("rootfs", ""), ("udev.data", "run/udev/data")] {
            command.arg(format!("--path.{option}={}", root.join(path).display()));
        }
        command.args(options);
        Self { _daemon: Daemon::start(command, address), address, root: root.to_owned() }
    }

    /// Its metrics at this moment.
    pub fn scrape(&self) -> Scrape {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a response");
        assert!(head.contains(" 200 "), "{head}");
        let chips = chips(&self.root);
        let mut scrape = Scrape::parse(body);
        let numbered = |((name, mut labels), value): (Series, f64)| {
            if let Some(number) = labels.get("chip").and_then(|chip| chips.get(chip)).cloned() {
                labels.remove("chip");
                labels.insert("hwmon".to_owned(), number);
            }
            ((name, labels), value)
        };
        scrape.series = scrape.series.into_iter().map(numbered).collect();
        scrape
    }
}

/// The kernel's number of each chip, as `hwmon3`, by the name that `node_exporter` gives it: the last two parts of the path
/// of its device.
fn chips(root: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(root.join("sys/class/hwmon")).into_iter().flatten();
    let chips = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let device = fs::canonicalize(entry.path().join("device")).ok()?;
        let parts: Vec<String> = device.iter().rev().take(2).map(|part| word(&part.to_string_lossy())).collect();
        let [name, bus] = &parts[..] else { return None };
        Some((format!("{bus}_{name}"), entry.file_name().to_string_lossy().into_owned()))
    });
    chips.collect()
}

/// A part of a path as `node_exporter` writes it in a label.
fn word(part: &str) -> String {
    let is_kept = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || ":_".contains(letter);
    let written = part.to_lowercase().replace(|letter| !is_kept(letter), "_");
    written.trim_matches('_').to_owned()
}

/// Splits a series into name and labels: `name{label="value"}`, as Prometheus and the agent write it.
pub fn series(key: &str) -> (String, Labels) {
    let Some((name, mut rest)) = key.split_once('{') else { return (key.to_owned(), Labels::new()) };
    let mut labels = Labels::new();
    while let Some((label, quoted)) = rest.split_once("=\"") {
        let (mut value, mut end, mut is_escaped) = (String::new(), quoted.len(), false);
        for (at, letter) in quoted.char_indices() {
            match letter {
                'n' if is_escaped => value.push('\n'),
                '"' if !is_escaped => {
                    end = at + 1;
                    break;
                }
                '\\' if !is_escaped => {}
                _ => value.push(letter),
            }
            is_escaped = letter == '\\' && !is_escaped;
        }
        labels.insert(label.trim_start_matches(',').to_owned(), value);
        rest = quoted.get(end..).unwrap_or_default();
    }
    (name.to_owned(), labels)
}

#[test]
fn series_name_and_labels_are_parsed() {
    let (name, labels) = series(r#"a_b{c="1",d="x\"y\\z\nw"}"#);
    let expected = [("c", "1"), ("d", "x\"y\\z\nw")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!((&*name, labels), ("a_b", Labels::from(expected)));
    assert_eq!(series("a_b"), ("a_b".to_owned(), Labels::new()));
}
