//! The name that the host has in its samples: set by the operator, or read from the measured host and read again from
//! time to time, since it may change while the agent runs.

use std::path::{Path, PathBuf};

use crate::hostfile::read_file;
use crate::hostpath::below;

/// The longest name: that of the domain name system (RFC 1035).
const MAX_BYTES: usize = 253;

/// How much of the file is read: the name and some lines of comments.
const MAX_FILE_BYTES: u64 = 4096;

/// Where the name comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostnameSource {
    /// The operator: it never changes.
    Fixed(String),
    /// `/etc/hostname` of a host whose root is mounted here: the kernel's name is the container's.
    Root(PathBuf),
    /// The kernel.
    Kernel,
}

impl HostnameSource {
    /// The source where the operator sets no name, for a measured host with this root.
    #[must_use]
    pub fn measured(root: &Path) -> Self {
        if root == Path::new("/") { Self::Kernel } else { Self::Root(root.to_owned()) }
    }

    fn read(&self) -> Option<String> {
        match self {
            Self::Fixed(name) => Some(name.clone()),
            Self::Root(root) => read_name(root),
            Self::Kernel => sysinfo::System::host_name().ok().filter(|name| check(name).is_ok()),
        }
    }
}

/// The name in `/etc/hostname` of the host with this root.
pub(crate) fn read_name(root: &Path) -> Option<String> {
    let text = String::from_utf8(read_file(root, "/etc/hostname", MAX_FILE_BYTES).ok()?).ok()?;
    parse_file(&text)
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
pub(crate) fn check(text: &str) -> Result<(), String> {
    let is_plain = |character: char| character.is_ascii_graphic() || (character.is_alphanumeric());
    if text.is_empty() || text.len() > MAX_BYTES || !text.chars().all(is_plain) {
        return Err(format!("{text:?} is not a host name; use 1 to {MAX_BYTES} characters, without spaces"));
    }
    Ok(())
}

/// The current name.
#[derive(Debug)]
pub(crate) struct Hostname {
    source: HostnameSource,
    name: Option<String>,
}

impl Hostname {
    /// Reads the name. A host without one has none, which is logged.
    #[must_use]
    pub(crate) fn new(source: HostnameSource) -> Self {
        let name = source.read();
        if name.is_none() {
            let file = match &source {
                HostnameSource::Root(root) => Some(below(root, "/etc/hostname")),
                HostnameSource::Fixed(_) | HostnameSource::Kernel => None,
            };
            let remedy = "write the name there, or set it with --hostname or the key hostname";
            let source = file.as_ref().map_or("kernel".to_owned(), |file| file.display().to_string());
            // Not every distribution has the file.
            if file.is_some_and(|file| matches!(file.try_exists(), Ok(false))) {
                tracing::info!(source, remedy, "host name missing");
            } else {
                tracing::warn!(source, remedy, "host name missing");
            }
        }
        Self { source, name }
    }

    /// Where it is read.
    #[must_use]
    pub(crate) fn source(&self) -> &HostnameSource {
        &self.source
    }

    /// The name that was read last.
    #[must_use]
    pub(crate) fn get(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Reads the name again. Returns whether it changed, which is logged. A name that cannot be read any more stays.
    pub(crate) fn refresh(&mut self) -> bool {
        if matches!(self.source, HostnameSource::Fixed(_)) {
            return false;
        }
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
    use std::fs;

    use super::*;

    #[test]
    fn comments_and_blank_lines_are_skipped() {
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
    fn a_changed_file_is_read_again() {
        let root = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(root.path().join("etc")).expect("created");
        fs::write(root.path().join("etc/hostname"), "old\n").expect("written");
        let mut hostname = Hostname::new(HostnameSource::measured(root.path()));
        fs::write(root.path().join("etc/hostname"), "new\n").expect("written");
        assert!(hostname.refresh() && hostname.get() == Some("new"));
        assert!(!hostname.refresh(), "it has not changed since");
        fs::remove_file(root.path().join("etc/hostname")).expect("removed");
        assert!(!hostname.refresh() && hostname.get() == Some("new"), "the last name stays");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn links_resolve_within_the_measured_host() {
        let root = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(root.path().join("etc")).expect("created");
        std::os::unix::fs::symlink("/etc/static-name", root.path().join("etc/hostname")).expect("linked");
        let name = || Hostname::new(HostnameSource::measured(root.path())).name;
        assert_eq!(name(), None);
        fs::write(root.path().join("etc/static-name"), "web-1\n").expect("written");
        assert_eq!(name().as_deref(), Some("web-1"));
    }

    #[test]
    fn a_fixed_name_is_never_read() {
        let mut hostname = Hostname::new(HostnameSource::Fixed("mine".to_owned()));
        assert!(!hostname.refresh() && hostname.get() == Some("mine"));
    }
}
