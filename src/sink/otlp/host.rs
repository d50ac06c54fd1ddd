//! Facts about the measured host that do not change while it runs: its id, and when it was booted. They are read once, where the sink
//! is prepared.

use std::path::Path;
use std::time::Duration;

use crate::hostfile::read_file;
use crate::procfs::{keyed_lines, whole_number};

/// The files with the id, of systemd and of D-Bus before it (machine-id(5)).
const ID_FILES: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/// How much of such a file is read: the id and the end of the line.
const MAX_ID_BYTES: u64 = 64;

/// How many digits an id has.
const ID_DIGITS: usize = 32;

/// How much of `/proc/stat` is read. A host with 4,096 CPUs has 1 MiB before the line.
const MAX_STAT_BYTES: u64 = 4 << 20;

/// The facts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HostFacts {
    /// The machine id: 32 digits.
    pub(super) id: Option<String>,
    /// When the host was booted, since the Unix epoch, by the clock at that time.
    pub(super) boot: Option<Duration>,
}

impl HostFacts {
    /// The machine id.
    pub(in crate::sink) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Reads the facts of the host with this root.
    pub(crate) fn read(root: &Path) -> Self {
        let id = ID_FILES.iter().find_map(|file| parse_id(&read_file(root, file, MAX_ID_BYTES).ok()?));
        let boot = read_file(root, "/proc/stat", MAX_STAT_BYTES).ok().and_then(|stat| parse_boot(&stat));
        Self { id, boot }
    }
}

/// A machine id. An image that is not booted yet has a word instead, or nothing.
fn parse_id(text: &[u8]) -> Option<String> {
    let text = text.trim_ascii();
    let is_id =
        text.len() == ID_DIGITS && text.iter().all(u8::is_ascii_hexdigit) && text.iter().any(|digit| *digit != b'0');
    is_id.then(|| text.iter().map(|digit| char::from(digit.to_ascii_lowercase())).collect())
}

/// The time of boot in `/proc/stat`.
fn parse_boot(stat: &[u8]) -> Option<Duration> {
    let (_, seconds) = keyed_lines(stat).find(|(key, _)| *key == b"btime")?;
    whole_number(seconds.trim_ascii()).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn facts(files: &[(&str, &str)]) -> HostFacts {
        let root = tempfile::tempdir().expect("a temporary directory");
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("has one")).expect("created");
            fs::write(path, content).expect("written");
        }
        HostFacts::read(root.path())
    }

    #[test]
    fn facts_are_those_of_the_measured_host() {
        let stat = "cpu  1 2 3\nintr 5 0 0\nctxt 4\nbtime 1706898049\nprocesses 9\n";
        let (id, boot) = (Some(ID.to_owned()), Some(Duration::from_secs(1_706_898_049)));
        let files = [("etc/machine-id", "0123456789ABCDEF0123456789abcdef\n"), ("proc/stat", stat)];
        assert_eq!(facts(&files), HostFacts { id: id.clone(), boot });
        assert_eq!(facts(&[("var/lib/dbus/machine-id", ID)]).id, id);
        assert_eq!(facts(&[]), HostFacts::default());
    }

    #[test]
    fn uninitialized_ids_are_none() {
        let zeros = "0".repeat(ID_DIGITS);
        for text in ["", "\n", "uninitialized\n", &zeros, &ID[1..], &format!("{ID}0"), &format!("{}g", &ID[1..])] {
            assert_eq!(parse_id(text.as_bytes()), None, "{text}");
        }
        for stat in ["", "btime\n", "btime -1\n", "btime x\n", "cpu 1\n"] {
            assert_eq!(parse_boot(stat.as_bytes()), None, "{stat}");
        }
    }
}
