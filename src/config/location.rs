//! Where the agent's files are when nothing names them: the configuration, the plugins, compiled plugins. A file in the
//! working directory is used only when nobody but root and the agent's user can have put it there.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::makedev;
use rustix::process::{getegid, geteuid};

use crate::thread;

/// The configuration file in the working directory.
const LOCAL_FILE: &str = "gauged.toml";

/// The configuration file of the host.
const HOST_FILE: &str = "/etc/gauged/gauged.toml";

/// The directory of further configuration files, beside the configuration file.
const PIECES: &str = "gauged.d";

/// That of the host.
const HOST_PIECES: &str = "/etc/gauged/gauged.d";

/// The plugins directory, beside the configuration file.
const PLUGINS: &str = "plugins";

/// Group and world may write.
const GROUP_WRITABLE: u32 = 0o020;
const WORLD_WRITABLE: u32 = 0o002;

/// How many links the kernel follows, by the manual page of path resolution.
pub(super) const MAX_LINKS: usize = 40;

/// How long the file system may take to show who owns a file: longer than a disk that spins up.
const PATIENCE: Duration = Duration::from_secs(5);

/// A file of the working directory that is not used, because somebody else can change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The file or directory.
    pub path: PathBuf,
    /// The reason: the other users who can change it.
    pub reason: String,
    /// How to have it used all the same.
    pub remedy: &'static str,
    /// Whether it exists. A directory that does not exist is no error, but nobody can create it for a running agent.
    pub is_present: bool,
}

impl Refusal {
    /// Whether it is of a file of the configuration, and not of the plugins directory.
    pub(crate) fn is_of_configuration(&self) -> bool {
        self.path.file_name().is_none_or(|name| name != PLUGINS)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is refused: {}; {}", self.path.display(), self.reason, self.remedy)
    }
}

/// The configuration file where the command line names none: the first of the default files that exists. A file that
/// exists and cannot be read is an error later, not a reason to look further.
pub(super) fn find_file(refusals: &mut Vec<Refusal>) -> Option<PathBuf> {
    let local = Path::new(LOCAL_FILE);
    if exists(local) {
        let remedy =
            "name it with --config, or take the write permission of others away and give it to the agent's user";
        match check_private(local, remedy) {
            Ok(Examination::Private) => return Some(local.to_owned()),
            Ok(Examination::Unresponsive) => {
                let reason = "it cannot be examined: its file system does not respond".to_owned();
                refusals.push(Refusal { path: local.to_owned(), reason, remedy, is_present: true });
            }
            Err(refusal) => refusals.push(refusal),
        }
    }
    Some(PathBuf::from(HOST_FILE)).filter(|path| exists(path))
}

/// The directory of further configuration files: beside the configuration file, otherwise the first of the default ones that
/// exists. Returns whether it is in the working directory, too: then its files are examined before they are read.
pub(super) fn find_pieces(file: Option<&Path>, refusals: &mut Vec<Refusal>) -> Option<(PathBuf, bool)> {
    let parent = file.map_or(Path::new(""), |file| file.parent().unwrap_or(Path::new("/")));
    let beside = parent.join(PIECES);
    if exists(&beside) {
        if !is_working_directory(parent) {
            return Some((beside, false));
        }
        if is_used(&beside, refusals) {
            return Some((beside, true));
        }
    }
    Some((PathBuf::from(HOST_PIECES), false)).filter(|(path, _)| file.is_none() && exists(path))
}

/// Whether a file in a directory of the working directory is used; otherwise it is refused.
pub(super) fn is_used(path: &Path, refusals: &mut Vec<Refusal>) -> bool {
    let remedy = "take the write permission of others away and give it to the agent's user";
    match check_private(path, remedy) {
        Ok(Examination::Private) => return true,
        Ok(Examination::Unresponsive) => {
            let reason = "it cannot be examined: its file system does not respond".to_owned();
            refusals.push(Refusal { path: path.to_owned(), reason, remedy, is_present: true });
        }
        Err(refusal) => refusals.push(refusal),
    }
    false
}

fn exists(path: &Path) -> bool {
    !path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// The plugins directory where nothing names one: beside the configuration file, otherwise in the working directory. None
/// where that is refused. Returns whether it has yet to be examined, too: a dead mount may come back.
pub(super) fn find_plugins(file: Option<&Path>, refusals: &mut Vec<Refusal>) -> (Option<PathBuf>, bool) {
    let parent = file.and_then(Path::parent).unwrap_or(Path::new(""));
    let plugins = parent.join(PLUGINS);
    if !is_working_directory(parent) {
        return (Some(plugins), false);
    }
    let remedy = "name it with --plugins, or take the write permission of others away and give it to the agent's user; \
                  then restart the agent";
    match check_private(&plugins, remedy) {
        Ok(examination) => (Some(plugins), examination == Examination::Unresponsive),
        Err(refusal) => {
            refusals.push(refusal);
            (None, false)
        }
    }
}

/// Whether a configuration file's directory is the working directory, however it is written.
fn is_working_directory(parent: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
    parent.as_os_str().is_empty() || identity(parent).is_some_and(|parent| Some(parent) == identity(Path::new(".")))
}

/// The result of examining a file that is not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Examination {
    /// Only root and the agent's user can change it.
    Private,
    /// Its file system does not respond.
    Unresponsive,
}

/// Whether only root and the agent's user can change a file of the working directory. A dead mount holds up a thread, and
/// not the agent.
fn check_private(path: &Path, remedy: &'static str) -> Result<Examination, Refusal> {
    let refusal = |reason, is_present| Refusal { path: path.to_owned(), reason, remedy, is_present };
    let (sender, examined) = mpsc::sync_channel(1);
    let examine = {
        let path = path.to_owned();
        move || {
            // The agent may not wait any more.
            let _ = sender.send(examine(&path).map_err(|reason| (reason, exists(&path))));
        }
    };
    if thread::start("examine", examine.clone()).is_err() {
        // On a host without threads a dead mount holds up the start: better than a configuration that is not used.
        examine();
    }
    match examined.recv_timeout(PATIENCE) {
        Ok(Ok(())) => Ok(Examination::Private),
        Ok(Err((reason, true))) => Err(refusal(reason, true)),
        Ok(Err((reason, false))) => Err(refusal(format!("it does not exist, and {reason}"), false)),
        Err(_) => Ok(Examination::Unresponsive),
    }
}

/// Whether only root and the agent's user can change the file, what it links to, and the directories of both. A file that
/// does not exist is private when the directory is. Nobody can change the null device: it is always empty.
///
/// # Errors
///
/// The other users who can change it: the end of a sentence that begins with the file.
pub(crate) fn examine(path: &Path) -> Result<(), String> {
    let user = AgentUser::own();
    let check = |subject: &str, metadata: io::Result<Metadata>| match metadata {
        Ok(metadata) if is_null_device(&metadata) => Ok(()),
        Ok(metadata) => user.check(&metadata).map_err(|why| format!("{subject} {why}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("{subject} cannot be examined: {error}")),
    };
    check("its directory", fs::metadata("."))?;
    check("it", fs::symlink_metadata(path))?;
    for link in links(path) {
        check("a link that it leads through", fs::symlink_metadata(&link))?;
        check("the directory of a link that it leads through", fs::metadata(directory_of(&link)))?;
    }
    check("the file that it links to", fs::metadata(path))?;
    // Of a file that is not a link this is the working directory again.
    let target = || fs::metadata(directory_of(&fs::canonicalize(path)?));
    check("the directory of the file that it links to", target())
}

/// Whether this is `/dev/null`: by the list of devices of the kernel's documentation, the character device 1:3.
pub(super) fn is_null_device(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == makedev(1, 3)
}

/// The links that a link leads to, one after the other.
fn links(path: &Path) -> impl Iterator<Item = PathBuf> {
    let follow = |link: &PathBuf| Some(directory_of(link).join(fs::read_link(link).ok()?));
    std::iter::successors(follow(&path.to_owned()), follow).take(MAX_LINKS).filter(|path| path.is_symlink())
}

/// The directory that a path leads to a file in.
fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The user that the agent runs as.
#[derive(Debug, Clone, Copy)]
pub(super) struct AgentUser {
    uid: u32,
    /// The user's primary group.
    gid: u32,
}

impl AgentUser {
    pub(super) fn own() -> Self {
        let uid = geteuid().as_raw();
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        Self { uid, gid: primary_group(&users, uid).unwrap_or_else(|| getegid().as_raw()) }
    }

    /// Whether nobody but this user and root can write.
    fn check(self, metadata: &Metadata) -> Result<(), String> {
        self.check_mode(metadata.uid(), metadata.gid(), metadata.mode(), metadata.is_symlink())
    }

    pub(super) fn check_mode(self, owner: u32, group: u32, mode: u32, is_link: bool) -> Result<(), String> {
        let primary = match owner {
            owner if owner == self.uid => self.gid,
            0 => 0,
            other => return Err(format!("belongs to user {other}, not to root or user {}", self.uid)),
        };
        // The mode of a link means nothing.
        if is_link {
            return Ok(());
        }
        if mode & WORLD_WRITABLE != 0 {
            return Err(format!("can be written by everybody (mode {:o})", mode & 0o7777));
        }
        if mode & GROUP_WRITABLE != 0 && group != primary {
            return Err(format!("can be written by group {group} (mode {:o})", mode & 0o7777));
        }
        Ok(())
    }
}

/// The primary group of a user, from the lines of `/etc/passwd` (passwd(5)).
fn primary_group(users: &str, uid: u32) -> Option<u32> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':').skip(2);
        let (user, group) = (fields.next()?.parse::<u32>().ok()?, fields.next()?.parse().ok()?);
        (user == uid).then_some(group)
    })
}

/// The directory for compiled plugins where the configuration names none: the one that systemd has set aside, otherwise a
/// directory among this user's caches. None where there is no such place.
pub(super) fn cache_directory(environment: impl Fn(&str) -> Option<OsString>, is_root: bool) -> Option<PathBuf> {
    // A relative path counts as unset, by the XDG specification.
    let absolute = |name: &str| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // systemd separates several directories by colons.
    let first = |path: PathBuf| {
        let first = path.as_os_str().as_bytes().split(|&byte| byte == b':').next()?;
        Some(PathBuf::from(OsStr::from_bytes(first)))
    };
    let service = absolute("CACHE_DIRECTORY").and_then(first);
    let xdg = || absolute("XDG_CACHE_HOME").map(|caches| caches.join("gauged"));
    // $HOME may be another user's under sudo, who could not write there later.
    let root = || is_root.then(|| PathBuf::from("/var/cache/gauged"));
    let home = || absolute("HOME").map(|home| home.join(".cache/gauged"));
    service.or_else(xdg).or_else(root).or_else(home)
}

/// Where the directory for compiled plugins comes from that [`cache_directory`] returns.
pub(super) fn cache_source(environment: impl Fn(&str) -> Option<OsString>) -> &'static str {
    let is_set = |name: &str| environment(name).is_some_and(|path| Path::new(&path).is_absolute());
    if is_set("CACHE_DIRECTORY") {
        "$CACHE_DIRECTORY"
    } else if is_set("XDG_CACHE_HOME") {
        "$XDG_CACHE_HOME"
    } else {
        "default"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_directory_follows_service_manager_then_user() {
        let environment = [("CACHE_DIRECTORY", "/a:/b"), ("XDG_CACHE_HOME", "/caches"), ("HOME", "/home/me")];
        let directory = |set: &[(&str, &str)], is_root: bool| {
            let value = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
            cache_directory(value, is_root).map(|path| path.display().to_string()).unwrap_or_default()
        };
        assert_eq!(directory(&environment, false), "/a");
        assert_eq!(directory(&environment[1..], true), "/caches/gauged");
        assert_eq!(directory(&environment[2..], true), "/var/cache/gauged");
        assert_eq!(directory(&environment[2..], false), "/home/me/.cache/gauged");
        assert_eq!(directory(&[("XDG_CACHE_HOME", "here"), ("CACHE_DIRECTORY", "")], false), "");
    }

    #[test]
    fn cache_directory_may_have_any_name() {
        for name in [b"/a\xff".as_slice(), b"/a\xfe"] {
            let named = |variable: &str| {
                let value = [name, b":/b"].concat();
                (variable == "CACHE_DIRECTORY").then(|| OsStr::from_bytes(&value).to_owned())
            };
            assert_eq!(cache_directory(named, false), Some(PathBuf::from(OsStr::from_bytes(name))));
        }
    }

    #[test]
    fn files_that_others_can_write_are_refused() {
        let user = AgentUser { uid: 1000, gid: 1000 };
        let is_accepted = |owner, group, mode| user.check_mode(owner, group, mode, false).is_ok();
        assert!(is_accepted(1000, 1000, 0o644) && is_accepted(0, 0, 0o755) && is_accepted(1000, 5, 0o755));
        assert!(is_accepted(1000, 1000, 0o664) && is_accepted(0, 0, 0o775), "the owner's own group may write");
        assert!(!is_accepted(1000, 5, 0o664) && !is_accepted(0, 1000, 0o775), "no other group may");
        assert!(!is_accepted(1000, 1000, 0o646) && !is_accepted(0, 0, 0o1777), "nor everybody, sticky or not");
        assert!(!is_accepted(1001, 1001, 0o600), "another user's file");
        assert!(user.check_mode(0, 0, 0o777, true).is_ok(), "a link has no mode");
        assert!(user.check_mode(1001, 0, 0o777, true).is_err(), "but an owner");
    }

    #[test]
    fn primary_group_comes_from_passwd() {
        let users = "root:x:0:0:root:/root:/bin/sh\nbroken\nme:x:1000:100::/home/me:/bin/sh\n";
        assert_eq!((primary_group(users, 0), primary_group(users, 1000)), (Some(0), Some(100)));
        assert_eq!(primary_group(users, 7), None);
    }
}
