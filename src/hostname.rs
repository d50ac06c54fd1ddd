//! The name that the host has in its samples: set by the operator, or read from the measured host and read again from
//! time to time, since it may change while the agent runs.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::hostpath::below;

/// How often the name is read again.
const REFRESH: Duration = Duration::from_secs(10);

/// The longest name: that of the domain name system (RFC 1035).
const MAX_BYTES: usize = 253;

/// How much of the file is read: the name and some lines of comments.
const MAX_FILE_BYTES: u64 = 4096;

/// Where the name comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostnameSource {
    /// The operator: it never changes.
    Fixed(String),
    /// `/etc/hostname` of a host whose root is mounted elsewhere: the kernel's name is the container's there.
    File(PathBuf),
    /// The kernel.
    Kernel,
}

impl HostnameSource {
    /// The source where the operator sets no name, for a measured host with this root.
    #[must_use]
    pub fn measured(root: &Path) -> Self {
        if root == Path::new("/") { Self::Kernel } else { Self::File(below(root, "/etc/hostname")) }
    }

    fn read(&self) -> Option<String> {
        match self {
            Self::Fixed(name) => Some(name.clone()),
            Self::File(path) => parse_file(&read_file(path).ok()?),
            Self::Kernel => sysinfo::System::host_name().ok().filter(|name| !name.is_empty()),
        }
    }
}

/// Reads a regular file of bounded size: the measured host may have a pipe or an endless device there.
fn read_file(path: &Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// The first line of `/etc/hostname` that is neither empty nor a comment (hostname(5)).
fn parse_file(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))?;
    check(line).ok().map(|()| line.to_owned())
}

/// Whether a text can be a host's name: it becomes a label of every series.
///
/// # Errors
///
/// The form that is right.
pub fn check(text: &str) -> Result<(), String> {
    let is_plain = |character: char| character.is_ascii_graphic() || (character.is_alphanumeric());
    if text.is_empty() || text.len() > MAX_BYTES || !text.chars().all(is_plain) {
        return Err(format!("{text:?} is not a host name; use 1 to {MAX_BYTES} characters, without spaces"));
    }
    Ok(())
}

/// The current name.
#[derive(Debug)]
pub struct Hostname {
    source: HostnameSource,
    name: Option<String>,
    read_at: Instant,
}

impl Hostname {
    /// Reads the name. A host without one has none.
    #[must_use]
    pub fn new(source: HostnameSource, now: Instant) -> Self {
        Self { name: source.read(), source, read_at: now }
    }

    /// The name that was read last.
    #[must_use]
    pub fn get(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Reads the name again when it is time to. Returns whether it changed, which is logged. A name that cannot be read
    /// any more stays.
    pub fn refresh(&mut self, now: Instant) -> bool {
        if matches!(self.source, HostnameSource::Fixed(_)) || now.saturating_duration_since(self.read_at) < REFRESH {
            return false;
        }
        self.read_at = now;
        let Some(name) = self.source.read().filter(|name| self.name.as_ref() != Some(name)) else { return false };
        tracing::warn!(
            previous = self.name.as_deref().unwrap_or_default(),
            hostname = name,
            remedy = "none is needed if this was intended; the key hostname fixes the name",
            "host name changed"
        );
        self.name = Some(name);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blank_lines_of_the_file_are_skipped() {
        assert_eq!(parse_file("# static\n\n  web-1  \nother\n").as_deref(), Some("web-1"));
        assert_eq!((parse_file(""), parse_file("a b\n")), (None, None));
    }

    #[test]
    fn names_have_no_spaces_and_a_length() {
        for good in ["web-1", "web-1.example.org", "größe", &"x".repeat(MAX_BYTES)] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\n", "\u{202e}x", &"x".repeat(MAX_BYTES + 1)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_changed_file_is_read_after_a_while() {
        let root = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(root.path().join("etc")).expect("created");
        fs::write(root.path().join("etc/hostname"), "old\n").expect("written");
        let start = Instant::now();
        let mut hostname = Hostname::new(HostnameSource::measured(root.path()), start);
        fs::write(root.path().join("etc/hostname"), "new\n").expect("written");
        assert!(!hostname.refresh(start + REFRESH / 2));
        assert!(hostname.refresh(start + REFRESH) && hostname.get() == Some("new"));
        fs::remove_file(root.path().join("etc/hostname")).expect("removed");
        assert!(!hostname.refresh(start + REFRESH * 2) && hostname.get() == Some("new"), "the last name stays");
    }

    #[test]
    fn a_fixed_name_is_never_read() {
        let start = Instant::now();
        let mut hostname = Hostname::new(HostnameSource::Fixed("mine".to_owned()), start);
        assert!(!hostname.refresh(start + REFRESH * 2) && hostname.get() == Some("mine"));
    }
}
