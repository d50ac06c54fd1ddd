//! The files of process 1 where the kernel does not permit the agent to read them, as with `/proc` mounted with `hidepid`. What
//! they contain about networks and mounts is the same in the agent's own process, which the agent itself may read. The guest's
//! paths and grants stay those of process 1. Whether the agent is in the namespaces of process 1 is not known then, so that the
//! log says once that its own are measured.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::plugin::grants::Basis;
use crate::plugin::guest::bindings::gauged::plugin::types::PermissionError;
use crate::plugin::host::os_error::permission_error;
use crate::plugin::host::resolved_path::PathError;

/// Why processes of others are hidden.
const HIDDEN: &str = "/proc is mounted with hidepid, or a security module denies it";

/// The remedy.
const UNHIDE: &str = "run the agent as root, or in the group of the mount option gid";

/// The directory of the first process, below the root of the measured host.
const FIRST_PROCESS: &str = "proc/1";

/// The number by which the kernel identifies process file systems.
#[cfg(target_os = "linux")]
const PROC_SUPER_MAGIC: rustix::fs::FsWord = 0x9fa0;

/// Tells hidden processes from absent ones: a kernel that hides them reports that their files do not exist.
pub(super) fn explain(error: PathError, root: &Path, path: &str) -> PathError {
    let is_first = file_of_first_process(path).is_some();
    match error {
        PathError::NotFound if is_first && is_first_process_hidden(root) => PathError::NotPermitted(Errno::PERM),
        error => error,
    }
}

/// Why the operating system refuses a path to the agent's user, and the remedy. With `hidepid` the kernel has an error of its
/// own.
pub(super) fn refusal(error: Errno, path: &str) -> PermissionError {
    match error {
        Errno::PERM if is_of_process(path) => {
            PermissionError { text: HIDDEN.to_owned(), ..permission_error(error, UNHIDE) }
        }
        // The kernel asks for no more than the directory's permission, and for the right to trace the process elsewhere.
        error if is_of_process(path) && path.ends_with("/fd") => {
            permission_error(error, "run the agent as root, or with CAP_DAC_READ_SEARCH")
        }
        error if is_of_process(path) => {
            permission_error(error, "run the agent as root, or with CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE")
        }
        error => permission_error(error, "run the agent as a user that may"),
    }
}

/// Opens the agent's own file instead of one of process 1 that is hidden. None where the agent's is another, or is of another
/// host. What the agent's own directory lacks, the kernel does not have: `NotFound` is no sign of a hidden process here.
pub(super) fn open(root: &Path, path: &str, basis: Basis) -> Option<Result<File, PathError>> {
    let file = file_of_first_process(path).filter(|file| is_the_same(file) && root == Path::new("/"))?;
    let opened = open_own(&format!("/proc/self/{file}"), basis);
    if opened.is_ok() {
        report_use(path);
    }
    Some(opened)
}

/// Opens a regular file, which every local user may read unless the configuration grants it.
fn open_own(file: &str, basis: Basis) -> Result<File, PathError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(file, flags, Mode::empty())?);
    let mode = rustix::fs::fstat(&file)?.st_mode;
    if FileType::from_raw_mode(mode) != FileType::RegularFile {
        return Err(PathError::WrongType);
    }
    if basis == Basis::Default && !Mode::from_raw_mode(mode).contains(Mode::ROTH) {
        return Err(PathError::NotPermitted(Errno::ACCESS));
    }
    Ok(file)
}

/// Reports, once in the life of this process, that the agent's own view is measured.
fn report_use(path: &str) {
    static IS_REPORTED: AtomicBool = AtomicBool::new(false);
    if !IS_REPORTED.swap(true, Ordering::Relaxed) {
        let reason = "the agent's user may not read the files of process 1";
        let consequence = "networks and mounts are those of the agent's own namespaces";
        let remedy = "none, if the agent shares the host's namespaces; otherwise run it as root";
        tracing::info!(file = path, reason, consequence, remedy, "own networks and mounts measured");
    }
}

/// Whether a file has the same content for all processes of the same namespaces.
fn is_the_same(file: &str) -> bool {
    file.starts_with("net/") || matches!(file, "mounts" | "mountinfo")
}

fn file_of_first_process(path: &str) -> Option<&str> {
    path.strip_prefix('/')?.strip_prefix(FIRST_PROCESS)?.strip_prefix('/')
}

fn is_of_process(path: &str) -> bool {
    let process = path.strip_prefix("/proc/").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    !process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether the kernel hides the process that every host has.
#[cfg(target_os = "linux")]
fn is_first_process_hidden(root: &Path) -> bool {
    let is_process_file_system =
        rustix::fs::statfs(root.join("proc")).is_ok_and(|system| system.f_type == PROC_SUPER_MAGIC);
    is_process_file_system && rustix::fs::stat(root.join(FIRST_PROCESS)).err() == Some(Errno::NOENT)
}

#[cfg(not(target_os = "linux"))]
fn is_first_process_hidden(_root: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_file_of_another_root_stays_absent() {
        let root = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(root.path().join("proc")).expect("created");
        let explained = explain(PathError::NotFound, root.path(), "/proc/1/net/dev");
        assert!(matches!(explained, PathError::NotFound));
        assert!(open(root.path(), "/proc/1/net/dev", Basis::Default).is_none(), "the agent's own is another host's");
    }

    #[test]
    fn only_shared_files_are_the_agents_own() {
        let root = Path::new("/");
        for path in ["/proc/1/stat", "/proc/1/environ", "/proc/1/fd/0", "/proc/2/net/dev", "/proc/1", "/proc/10/mounts"]
        {
            assert!(open(root, path, Basis::Default).is_none(), "{path}");
        }
        let own = open(root, "/proc/1/mountinfo", Basis::Default).expect("the same").expect("readable");
        assert_eq!(std::io::read_to_string(own).ok(), std::fs::read_to_string("/proc/self/mountinfo").ok());
        assert!(matches!(open(root, "/proc/1/net/none", Basis::Default), Some(Err(PathError::NotFound))));
    }

    #[test]
    fn own_view_is_of_regular_readable_files() {
        use std::os::unix::fs::PermissionsExt as _;
        let opened = open(Path::new("/"), "/proc/1/net/stat", Basis::Configuration);
        assert!(opened.is_some_and(|opened| matches!(opened, Err(PathError::WrongType | PathError::NotFound))));
        let directory = tempfile::tempdir().expect("a temporary directory");
        assert!(matches!(open_own(&directory.path().display().to_string(), Basis::Default), Err(PathError::WrongType)));
        let secret = directory.path().join("secret");
        std::fs::write(&secret, "").expect("written");
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o400)).expect("set");
        let secret = secret.display().to_string();
        assert!(matches!(open_own(&secret, Basis::Default), Err(PathError::NotPermitted(_))));
        assert!(open_own(&secret, Basis::Configuration).is_ok());
    }

    #[test]
    fn refused_process_names_hidepid() {
        assert!(refusal(Errno::PERM, "/proc/1/stat").text.contains("hidepid"));
        let remedy = |path| refusal(Errno::ACCESS, path).remedy;
        assert!(remedy("/proc/77/fd").ends_with("with CAP_DAC_READ_SEARCH"));
        assert!(remedy("/proc/77/io").ends_with("with CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE"));
        for path in ["/proc/kmsg", "/etc/shadow", "/proc", "/proc/"] {
            assert_eq!(refusal(Errno::PERM, path).remedy, "run the agent as a user that may", "{path}");
        }
    }
}
