//! What is at a path of the measured host: opened without any effect (`O_PATH`), and only of use when what was found
//! there is of the right type and still within the grants after all symbolic links.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode};
use rustix::io::Errno;

use super::super::grants::{Basis, Refusal};
use super::denial::{Denial, GrantKind};
use crate::escape::printable;
use crate::hostpath::below;

/// Why the agent's own process is closed.
pub(super) const OWN_PROCESS: &str = "no grant opens the agent's own process";

/// A file that was found and may be opened. Its path leads to this very file, whatever happens to the one it was found
/// by.
pub(super) struct ResolvedPath {
    pub(super) path: PathBuf,
    /// Keeps the path alive.
    _handle: OwnedFd,
}

/// Why there is nothing to be used at a path.
#[derive(Debug)]
pub(super) enum PathError {
    Denied(Denial),
    /// It is not a path in the only spelling there is; what is wrong with it.
    Malformed(String),
    NotFound,
    WrongType,
    Io(String),
}

impl PathError {
    /// What the grants have to say about a path; `value` is how it is granted.
    pub(super) fn refused(refusal: &Refusal, key: GrantKind, value: &str) -> Self {
        match refusal {
            Refusal::Malformed(why) => Self::Malformed(format!("\"{}\" {why}", printable(value))),
            Refusal::Own => Self::Denied(Denial::Final(OWN_PROCESS.to_owned())),
            Refusal::Missing => Self::Denied(Denial::Missing(key, value.to_owned())),
        }
    }
}

impl From<Errno> for PathError {
    fn from(error: Errno) -> Self {
        match error {
            // The last two: what the file tells of, a process or a device, went while it was open.
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

/// Finds what is at a path below this root, following symbolic links, and makes sure that it is of this type, and that
/// neither the path nor the links lead to where `check` refuses. May wait for a file system.
pub(super) fn resolve(
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
    // The kernel's links within /sys lead to the same attributes under /sys/devices. Anything else is asked about again, even
    // by the same path: a process may be a thread of the agent's that was not there before.
    let is_within_sys = path.starts_with("/sys/") && real.starts_with("/sys/");
    if !is_within_sys {
        basis = check(real)?;
    }
    if basis == Basis::Default && !Mode::from_raw_mode(status.st_mode).contains(Mode::ROTH) {
        return Err(PathError::Denied(Denial::Missing(GrantKind::Read, path.to_owned())));
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
    fn what_goes_while_it_is_read_is_not_there() {
        for gone in [Errno::NOENT, Errno::NOTDIR, Errno::SRCH, Errno::NODEV] {
            assert!(matches!(PathError::from(gone), PathError::NotFound));
            assert!(matches!(PathError::from(io::Error::from(gone)), PathError::NotFound));
        }
        assert!(matches!(PathError::from(io::Error::from(Errno::ACCESS)), PathError::Io(_)));
        assert!(matches!(PathError::from(io::Error::other("broken")), PathError::Io(why) if why == "broken"));
    }
}
