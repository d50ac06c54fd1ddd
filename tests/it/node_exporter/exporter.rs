//! Debian's `node_exporter`, and the metrics that it serves.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use crate::requirement::Program;
use crate::services::Daemon;

/// Labels of one series.
pub type Labels = BTreeMap<String, String>;
/// Series by the name of their metric.
pub type Scrape = BTreeMap<String, Vec<(Labels, f64)>>;

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
        let address = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
        let mut command = program.command();
        command.arg(format!("--web.listen-address={address}"));
        for (option, path) in [("procfs", "proc"), ("sysfs", "sys"), ("rootfs", ""), ("udev.data", "run/udev/data")] {
            command.arg(format!("--path.{option}={}", root.join(path).display()));
        }
        command.args(options);
        Self { _daemon: Daemon::start(command, address), address, root: root.to_owned() }
    }

    /// Its metrics at this moment, with the agent's names for labels.
    pub fn scrape(&self) -> Scrape {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a response");
        assert!(head.contains(" 200 "), "{head}");
        let mut scrape = Scrape::new();
        for line in body.lines().filter(|line| !line.starts_with('#')) {
            let (key, value) = line.rsplit_once(' ').expect("a value");
            let (name, labels) = series(key);
            scrape.entry(name).or_default().push((labels, value.parse().expect("a number")));
        }
        translate(&mut scrape, &chips(&self.root));
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

/// Gives labels the names and values that the agent uses.
fn translate(scrape: &mut Scrape, chips: &BTreeMap<String, String>) {
    for (metric, (labels, _)) in
        scrape.iter_mut().flat_map(|(metric, all)| all.iter_mut().map(move |one| (metric, one)))
    {
        if metric.starts_with("node_cooling_device_") {
            let number = labels.remove("name");
            labels.extend(number.map(|number| ("device".to_owned(), number)));
        }
        if let Some(mount) = labels.remove("mountpoint") {
            labels.insert("mount".to_owned(), mount);
        }
        if let Some(vector) = labels.get_mut("vector") {
            // The kernel's name since 4.5.
            *vector = vector.to_lowercase().replace("block_iopoll", "irq_poll");
        }
        if let Some(chip) = labels.remove("chip") {
            let number = chips.get(&chip).cloned().unwrap_or(chip);
            labels.insert("hwmon".to_owned(), number);
        }
    }
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
