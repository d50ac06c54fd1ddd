//! Files of the measured host outside of `/proc` and `/sys`. They may be links, which lead to other files of that host, and its
//! operators may have put anything there: a pipe, a device, a file without an end.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

#[cfg(target_os = "linux")]
use rustix::fd::OwnedFd;
#[cfg(target_os = "linux")]
use rustix::fs::ResolveFlags;
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::hostpath::below;

/// The opening of a named pipe would wait for its writer.
const READING: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// How often a path is tried that leads up (`..`) while something is renamed or mounted anywhere on the host: the kernel cannot say then
/// whether it stays below the root, and has to be asked again. An attempt takes microseconds.
#[cfg(target_os = "linux")]
const ATTEMPTS: usize = 32;

/// Reads a regular file of the host with this root, at most so many bytes of it.
///
/// # Errors
///
/// When it cannot be read; `InvalidInput` without a code if it is no regular file.
pub(crate) fn read_file(root: &Path, path: &str, max_bytes: u64) -> io::Result<Vec<u8>> {
    let file = open_below(root, path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut content = Vec::new();
    file.take(max_bytes).read_to_end(&mut content)?;
    Ok(content)
}

/// Opens a file of the measured host. An absolute link begins at its root, not at the agent's.
#[cfg(target_os = "linux")]
fn open_below(root: &Path, path: &str) -> io::Result<File> {
    use rustix::io::Errno;
    match open_in_root(root, path, READING, ResolveFlags::empty()) {
        // Linux before 5.6, or a container's filter of system calls.
        Err(Errno::NOSYS | Errno::PERM) => Ok(openat(CWD, below(root, path), READING, Mode::empty())?.into()),
        opened => Ok(opened?.into()),
    }
}

/// Opens a path of the host with this root, and keeps links that are absolute or lead up below the root.
///
/// # Errors
///
/// Those of the kernel; `NOSYS` before Linux 5.6, and `PERM` where a container's filter does not know the system call.
#[cfg(target_os = "linux")]
pub(crate) fn open_in_root(
    root: &Path,
    path: &str,
    flags: OFlags,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::openat2;
    use rustix::io::Errno;
    let directory = openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let open = || openat2(&directory, path, flags, Mode::empty(), resolve | ResolveFlags::IN_ROOT);
    (1..ATTEMPTS).map(|_| open()).find(|opened| opened.as_ref().err() != Some(&Errno::AGAIN)).unwrap_or_else(open)
}

#[cfg(not(target_os = "linux"))]
fn open_below(root: &Path, path: &str) -> io::Result<File> {
    Ok(openat(CWD, below(root, path), READING, Mode::empty())?.into())
}
