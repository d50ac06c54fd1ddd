//! Which system the measured host runs: the names and versions of the kernel, the host and the distribution.

mod os_release;

use std::path::{Path, PathBuf};

use self::os_release::OsRelease;
#[cfg(any(test, fuzzing))]
pub(crate) use self::os_release::fuzz as fuzz_os_release;
use self::os_release::{NO_VALUE, label_value};
use super::portable;
use crate::hostname::read_name;
use crate::procfs::{HostFiles, Oddities};
use crate::sample::{Label, Labels};

/// How much of `os-release` is read: many times its usual size.
const MAX_OS_RELEASE_BYTES: u64 = 64 << 10;

/// The names of the kernel and the host: files in `/proc/sys/kernel`, and the labels of `uname_info`.
const NAMES: [(&str, &str); 4] =
    [("domainname", "domainname"), ("osrelease", "release"), ("ostype", "sysname"), ("version", "version")];

/// Names and versions as labels.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Identity {
    /// The names of kernel and host. None if the kernel's release is not known.
    pub(super) uname: Option<Labels>,
    /// None without the file.
    pub(super) os: Option<OsRelease>,
    /// The number of lines and values of the files that were left out so far.
    pub(super) skipped_lines: u64,
}

/// Reads them.
#[derive(Debug)]
pub(super) struct IdentityReader {
    root: PathBuf,
    files: HostFiles,
}

impl IdentityReader {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), files: HostFiles::new(root) }
    }

    pub(super) fn read(&mut self) -> Identity {
        self.files.begin();
        let (uname, os) = (self.uname(), self.os_release());
        Identity { uname, os, skipped_lines: self.files.skipped_lines() }
    }

    fn uname(&mut self) -> Option<Labels> {
        let mut names = if cfg!(target_os = "linux") { self.linux_uname() } else { portable::uname() };
        // Otherwise the files are no kernel's.
        names.iter().find(|(label, _)| *label == "release")?;
        // The file is of Linux 6.1. The kernel is the agent's, also under another root.
        names.push(("machine", self.kernel_name("arch").unwrap_or_else(portable::machine)));
        names.sort_unstable();
        Some(names.into_iter().map(|(name, value)| Label { name: name.into(), value: value.into() }).collect())
    }

    fn linux_uname(&mut self) -> Vec<(&'static str, String)> {
        let mut names = Vec::new();
        for (file, label) in NAMES {
            names.extend(self.kernel_name(file).map(|name| (label, name)));
        }
        names.extend(self.node_name().map(|name| ("nodename", name)));
        names
    }

    /// The host's name. Under another root the kernel gives the agent's container's, so that the file counts.
    fn node_name(&mut self) -> Option<String> {
        let own = if self.root == Path::new("/") { None } else { read_name(&self.root) };
        own.or_else(|| self.kernel_name("hostname"))
    }

    fn kernel_name(&mut self, file: &str) -> Option<String> {
        let path = self.files.path(&format!("/proc/sys/kernel/{file}"));
        let parse = |text: &[u8], odd: &mut Oddities| {
            let name = label_value(text.trim_ascii());
            if name.is_none() {
                odd.note(text.trim_ascii(), NO_VALUE, "a label of host.uname_info");
            }
            name
        };
        self.files.read(&path, "a label of host.uname_info", parse).flatten()
    }

    fn os_release(&mut self) -> Option<OsRelease> {
        let all = "host.os_info, host.os_version";
        // A file that may not be read is there, so that the other one does not count.
        let first = self.files.read_linked("/etc/os-release", MAX_OS_RELEASE_BYTES, all, OsRelease::parse).ok()?;
        first.or_else(|| {
            self.files.read_linked("/usr/lib/os-release", MAX_OS_RELEASE_BYTES, all, OsRelease::parse).ok().flatten()
        })?
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// The readings of a host with these files, as texts of labels.
    fn read(files: &[(&str, &str)], prepare: impl FnOnce(&Path)) -> (String, String, u64) {
        let root = tempfile::tempdir().expect("a temporary directory");
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("has one")).expect("created");
            fs::write(path, content).expect("written");
        }
        prepare(root.path());
        let Identity { uname, os, skipped_lines } = IdentityReader::new(root.path()).read();
        let text = |labels: Option<Labels>| labels.map(|labels| labels.text().to_owned()).unwrap_or_default();
        (text(uname), text(os.map(|os| os.info)), skipped_lines)
    }

    const KERNEL: [(&str, &str); 6] = [
        ("proc/sys/kernel/osrelease", "6.1.0-13-amd64\n"),
        ("proc/sys/kernel/ostype", "Linux\n"),
        ("proc/sys/kernel/version", "#1 SMP Debian\n"),
        ("proc/sys/kernel/hostname", "container\n"),
        ("proc/sys/kernel/domainname", "(none)\n"),
        ("proc/sys/kernel/arch", "riscv64\n"),
    ];

    #[test]
    fn uname_names_the_measured_host() {
        let expected = |nodename: &str| {
            format!(
                r##"{{domainname="(none)",machine="riscv64",nodename="{nodename}",release="6.1.0-13-amd64",sysname="Linux",version="#1 SMP Debian"}}"##
            )
        };
        let (uname, _, skipped) = read(&KERNEL, |_| ());
        assert_eq!((uname, skipped), (expected("container"), 0));
        let (uname, ..) = read(&[&KERNEL[..], &[("etc/hostname", "web-1\n")]].concat(), |_| ());
        assert_eq!(uname, expected("web-1"));
    }

    #[test]
    fn missing_kernel_files_cost_their_labels() {
        let without = |files: &[(&str, &str)]| read(files, |_| ()).0;
        assert_eq!(without(&KERNEL[1..]), "", "no release");
        let machine = portable::machine();
        assert_eq!(without(&KERNEL[..1]), format!(r#"{{machine="{machine}",release="6.1.0-13-amd64"}}"#));
        let damaged = [KERNEL[0], KERNEL[5], ("proc/sys/kernel/ostype", "\u{1}\n")];
        let expected = r#"{machine="riscv64",release="6.1.0-13-amd64"}"#.to_owned();
        assert_eq!(read(&damaged, |_| ()), (expected, String::new(), 1));
    }

    #[test]
    fn os_release_links_resolve_within_the_host() {
        let files = [("usr/lib/os-release", "ID=there\n"), ("nix/store/os-release", "ID=nixos\n")];
        assert_eq!(read(&files, |_| ()).1, r#"{id="there"}"#, "the second place");
        let link = |root: &Path| {
            fs::create_dir(root.join("etc")).expect("created");
            symlink("/nix/store/os-release", root.join("etc/os-release")).expect("linked");
        };
        assert_eq!(read(&files, link).1, r#"{id="nixos"}"#);
    }

    #[test]
    fn odd_os_release_is_left_out_and_counted() {
        let directory = |root: &Path| fs::create_dir_all(root.join("etc/os-release")).expect("created");
        assert_eq!(read(&[("usr/lib/os-release", "ID=there\n")], directory), (String::new(), String::new(), 1));
        let pipe = |root: &Path| {
            fs::create_dir(root.join("etc")).expect("created");
            let path = root.join("etc/os-release");
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o644.into(), 0).expect("made");
        };
        assert_eq!(read(&[], pipe), (String::new(), String::new(), 1), "it is not waited for");
        assert_eq!(read(&[("etc/os-release", "\n# nothing\n")], |_| ()), (String::new(), String::new(), 0));
    }
}
