//! The files of process 1 where the kernel does not permit the agent to read them, as with `/proc` mounted with `hidepid`. What
//! they contain about networks and mounts is the same in the agent's own process, which the agent itself may read. The guest's
//! paths and grants stay those of process 1.

use std::fs::File;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::plugin::host::resolved_path::PathError;

/// Why processes of others are hidden, and the remedy.
const HIDDEN: &str = "/proc is mounted with hidepid, or a security module denies it; run the agent as root, or in the group \
                      of the mount option gid";

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
pub(super) fn refusal(error: Errno, path: &str) -> String {
    match error {
        Errno::PERM if is_of_process(path) => HIDDEN.to_owned(),
        error if is_of_process(path) => format!("{error}; run the agent as root, or with CAP_SYS_PTRACE"),
        error => format!("{error}; run the agent as a user that may"),
    }
}

/// Opens the agent's own file instead of one of process 1 that is hidden. None where the agent's is another, or is of another
/// host.
pub(super) fn open(root: &Path, path: &str) -> Option<Result<File, PathError>> {
    let file = file_of_first_process(path).filter(|file| is_the_same(file) && root == Path::new("/"))?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(format!("/proc/self/{file}"), flags, Mode::empty());
    Some(opened.map(File::from).map_err(|error| explain(error.into(), root, path)))
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
        assert!(open(root.path(), "/proc/1/net/dev").is_none(), "the agent's own is another host's");
    }

    #[test]
    fn only_shared_files_are_the_agents_own() {
        let root = Path::new("/");
        for path in ["/proc/1/stat", "/proc/1/environ", "/proc/1/fd/0", "/proc/2/net/dev", "/proc/1", "/proc/10/mounts"]
        {
            assert!(open(root, path).is_none(), "{path}");
        }
        let own = open(root, "/proc/1/mountinfo").expect("the same").expect("readable");
        assert_eq!(std::io::read_to_string(own).ok(), std::fs::read_to_string("/proc/self/mountinfo").ok());
        assert!(matches!(open(root, "/proc/1/net/none"), Some(Err(PathError::NotFound))));
    }

    #[test]
    fn refused_process_names_hidepid() {
        assert!(refusal(Errno::PERM, "/proc/1/stat").contains("hidepid"));
        assert!(refusal(Errno::ACCESS, "/proc/77/fd").contains("CAP_SYS_PTRACE"));
        for path in ["/proc/kmsg", "/etc/shadow", "/proc", "/proc/"] {
            assert!(refusal(Errno::PERM, path).ends_with("run the agent as a user that may"), "{path}");
        }
    }
}
