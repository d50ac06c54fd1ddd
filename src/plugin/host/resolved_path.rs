//! Resolves a path of the measured host: opens it without any effect (`O_PATH`), and checks that the file is of the right type
//! and still granted after all symbolic links.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode};
use rustix::io::Errno;

use crate::escape::printable;
use crate::hostpath::below;
use crate::plugin::grants::kind::{Denial, Grant, GrantKind};
use crate::plugin::grants::{Basis, PathRefusal};

/// The reason to refuse the agent's own process.
pub(crate) const OWN_PROCESS: &str = "no grant opens the agent's own process";

/// A file that may be opened. Its path leads to this very file, whatever happens to the original path.
pub(crate) struct ResolvedPath {
    pub(crate) path: PathBuf,
    /// Keeps the path alive.
    _handle: OwnedFd,
}

/// Why a path cannot be used.
#[derive(Debug)]
pub(crate) enum PathError {
    Denied(Denial),
    /// It is not a normalized absolute path: the problem and the remedy.
    Malformed(String),
    NotFound,
    WrongType,
    Io(String),
}

impl PathError {
    /// The error for a refused path; `value` is the value of its grant.
    pub(crate) fn refused(refusal: &PathRefusal, kind: GrantKind, value: &str) -> Self {
        match refusal {
            PathRefusal::Malformed(why) => Self::Malformed(format!("\"{}\" {why}", printable(value))),
            PathRefusal::Own => Self::Denied(Denial::Final(OWN_PROCESS.to_owned())),
            PathRefusal::Missing => Self::Denied(Denial::Missing(Grant::new(kind, value))),
        }
    }
}

impl From<Errno> for PathError {
    fn from(error: Errno) -> Self {
        match error {
            // The last two: the process or device of the file went away while it was open.
            Errno::NOENT | Errno::NOTDIR | Errno::SRCH | Errno::NODEV => Self::NotFound,
            other => Self::Io(io::Error::from(other).to_string()),
        }
    }
}

impl From<io::Error> for PathError {
    fn from(error: io::Error) -> Self {
        Errno::from_io_error(&error).map_or_else(|| Self::Io(error.to_string()), Self::from)
    }
}

/// Resolves a path below this root, following symbolic links, and checks the type of the file. `check` must allow both the path
/// and its target. May wait for a file system.
pub(crate) fn resolve(
    root: &Path,
    path: &str,
    wanted: FileType,
    check: impl Fn(&str) -> Result<Basis, PathError>,
) -> Result<ResolvedPath, PathError> {
    let denied = |why: &str| Err(PathError::Denied(Denial::Final(format!("\"{}\" {why}", printable(path)))));
    let mut basis = check(path)?;
    let handle = open_without_effect(&below(root, path))?;
    let status = rustix::fs::fstat(&handle)?;

    let link = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
    let real = fs::read_link(&link)?;
    let Ok(real) = real.strip_prefix(root) else { return denied("leads out of the measured host") };
    let real = Path::new("/").join(real);
    let Some(real) = real.to_str() else { return denied("leads to a path that is not text") };
    // The kernel's links within /sys lead to the same attributes under /sys/devices. Anything else is checked again, even the
    // same path: a thread of the agent may have started meanwhile.
    let is_within_sys = path.starts_with("/sys/") && real.starts_with("/sys/");
    if !is_within_sys {
        basis = check(real)?;
    }
    if basis == Basis::Default && !Mode::from_raw_mode(status.st_mode).contains(Mode::ROTH) {
        return Err(PathError::Denied(Denial::Missing(Grant::new(GrantKind::Read, path))));
    }
    if FileType::from_raw_mode(status.st_mode) != wanted {
        return Err(PathError::WrongType);
    }
    Ok(ResolvedPath { path: link, _handle: handle })
}

#[cfg(target_os = "linux")]
fn open_without_effect(path: &Path) -> Result<OwnedFd, Errno> {
    use rustix::fs::OFlags;
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(not(target_os = "linux"))]
fn open_without_effect(_path: &Path) -> Result<OwnedFd, Errno> {
    Err(Errno::NOTSUP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vanished_files_are_not_found() {
        for errno in [Errno::NOENT, Errno::NOTDIR, Errno::SRCH, Errno::NODEV] {
            assert!(matches!(PathError::from(errno), PathError::NotFound));
            assert!(matches!(PathError::from(io::Error::from(errno)), PathError::NotFound));
        }
        assert!(matches!(PathError::from(io::Error::from(Errno::ACCESS)), PathError::Io(_)));
        assert!(matches!(PathError::from(io::Error::other("broken")), PathError::Io(why) if why == "broken"));
    }
}
