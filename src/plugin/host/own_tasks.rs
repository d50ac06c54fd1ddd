//! Whether a file that is open belongs to the agent's own process, by the number in its path, at the price of one system call: plugins
//! read files of hundreds of processes at each tick. The answer is of a moment after the file was opened, so that a number that
//! one of the agent's threads has just got is noticed.

#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
#[cfg(target_os = "linux")]
use std::sync::OnceLock;

use rustix::fs::Stat;

/// The directory of the agent's threads. It is the same as long as the process runs.
#[cfg(target_os = "linux")]
struct OwnTasks {
    directory: OwnedFd,
    /// Its state, with the process file system that it is in. Numbers in another one may be of other processes.
    status: Stat,
}

/// Whether an open file of `/proc` belongs to the agent. None when that is not known in this way: the path has no number, more
/// than one, or leads into another process file system.
#[cfg(target_os = "linux")]
pub(super) fn is_own(path: &str, status: &Stat) -> Option<bool> {
    use rustix::fs::{AtFlags, CWD, Mode, OFlags, fstat, openat, statat};
    use rustix::io::Errno;

    static TASKS: OnceLock<Option<OwnTasks>> = OnceLock::new();
    let number = process_number(path)?;
    let open = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, "/proc/self/task", flags, Mode::empty()).ok()?;
        let status = fstat(&directory).ok()?;
        Some(OwnTasks { directory, status })
    };
    let tasks = TASKS.get_or_init(open).as_ref().filter(|tasks| tasks.status.st_dev == status.st_dev)?;
    match statat(&tasks.directory, number, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Some(true),
        Err(Errno::NOENT) => Some(false),
        Err(_) => None,
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_own(_path: &str, _status: &Stat) -> Option<bool> {
    None
}

/// The number of the process in a path below `/proc`, if that is the path's only number.
#[cfg(target_os = "linux")]
fn process_number(path: &str) -> Option<&str> {
    let (number, rest) = path.strip_prefix("/proc/")?.split_once('/')?;
    (is_number(number) && !rest.split('/').any(is_number)).then_some(number)
}

/// Whether a segment of a path may be the number of a process.
pub(super) fn is_number(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn own_threads_are_found_by_number() {
        let status = |path: &str| rustix::fs::stat(path).expect("it is there");
        let (process, thread) = (std::process::id(), rustix::thread::gettid().as_raw_nonzero());
        for own in [process.to_string(), thread.to_string()] {
            let path = format!("/proc/{own}/stat");
            assert_eq!(is_own(&path, &status(&path)), Some(true), "{path}");
        }
        let parent = rustix::process::getppid().expect("it has one").as_raw_nonzero();
        let path = format!("/proc/{parent}/stat");
        assert_eq!(is_own(&path, &status(&path)), Some(false));
        // Elsewhere the number may be of another process.
        assert_eq!(is_own(&path, &status("/")), None);
        for unknown in
            ["/proc/stat", "/proc/1/task/1/stat", "/proc/1/fd/0", "/proc/self/stat", "/proc/1", "/sys/1/stat"]
        {
            assert_eq!(is_own(unknown, &status("/proc/stat")), None, "{unknown}");
        }
    }
}
