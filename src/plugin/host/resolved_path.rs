//! Resolves a path of the measured host: opens it without any effect (`O_PATH`), and checks that the file is of the right type
//! and still granted after all symbolic links. Magic links are refused: those of a process file system that lead to what a
//! process has open (`fd`, `cwd`, `root`, `exe` …), whatever path names it or none.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::escape::printable;
use crate::hostpath::below;
use crate::plugin::grants::kind::{Denial, Grant, GrantKind};
use crate::plugin::grants::{Basis, PathRefusal};
use crate::plugin::guest::bindings::gauged::plugin::types::OsError;
use crate::plugin::host::os_error;

/// The reason to refuse the agent's own process.
pub(crate) const OWN_PROCESS: &str = "no grant opens the agent's own process";

/// A file that may be opened. Its path leads to this very file, whatever happens to the original path.
pub(crate) struct ResolvedPath {
    pub(crate) path: PathBuf,
    pub(crate) status: Stat,
    /// Keeps the path alive, and was opened without effect.
    pub(crate) handle: OwnedFd,
}

/// What a path is resolved to where its last part is a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastLink {
    /// The file that it leads to.
    Followed,
    /// The link itself, also where it is a magic one.
    Kept,
}

/// Why a path cannot be used.
#[derive(Debug)]
pub(crate) enum PathError {
    Denied(Denial),
    /// It is not a normalized absolute path: the problem and the remedy.
    Malformed(String),
    NotFound,
    /// The operating system refuses it to the agent's user.
    NotPermitted(Errno),
    /// The kernel or file system does not have the operation.
    NotSupported(Errno),
    WrongType,
    Io(OsError),
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
            Errno::ACCESS | Errno::PERM => Self::NotPermitted(error),
            Errno::OPNOTSUPP | Errno::NOSYS => Self::NotSupported(error),
            other => Self::Io(os_error::os_error(other)),
        }
    }
}

impl From<io::Error> for PathError {
    fn from(error: io::Error) -> Self {
        Errno::from_io_error(&error).map_or_else(|| Self::Io(os_error::from_io(&error)), Self::from)
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
    let resolved = resolve_any(root, path, LastLink::Followed, check)?;
    if FileType::from_raw_mode(resolved.status.st_mode) == wanted { Ok(resolved) } else { Err(PathError::WrongType) }
}

/// The same for a file of any type.
pub(crate) fn resolve_any(
    root: &Path,
    path: &str,
    last_link: LastLink,
    check: impl Fn(&str) -> Result<Basis, PathError>,
) -> Result<ResolvedPath, PathError> {
    let denied = |why: &str| Err(PathError::Denied(Denial::Final(format!("\"{}\" {why}", printable(path)))));
    let mut basis = check(path)?;
    let flags = if last_link == LastLink::Kept { OFlags::NOFOLLOW } else { OFlags::empty() };
    let handle = open_without_effect(&below(root, path), flags).map_err(|error| error.at(path))?;
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
        // A grant helps only where the agent itself may read it.
        rustix::fs::accessat(CWD, &link, Access::READ_OK, AtFlags::EACCESS)?;
        return Err(PathError::Denied(Denial::Missing(Grant::new(GrantKind::Read, path))));
    }
    Ok(ResolvedPath { path: link, status, handle })
}

/// Why a path cannot be opened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// It leads through a magic link.
    MagicLink,
    Errno(Errno),
}

impl OpenError {
    /// The error of the operation on this path.
    pub(crate) fn at(self, path: &str) -> PathError {
        match self {
            Self::MagicLink => {
                let why = format!(
                    "\"{}\" leads through a magic link to what a process has open (fd, cwd, root, exe …)",
                    printable(path)
                );
                PathError::Denied(Denial::Final(why))
            }
            Self::Errno(error) => error.into(),
        }
    }
}

/// Opens a path without any effect on its file, which can be examined then, and follows no magic link on the way.
#[cfg(target_os = "linux")]
pub(crate) fn open_without_effect(path: &Path, flags: OFlags) -> Result<OwnedFd, OpenError> {
    use rustix::fs::{ResolveFlags, open, openat2};
    let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
    let without_magic = || openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS);
    open_by(without_magic, || open(path, flags, Mode::empty()))
}

/// `without_magic` refuses magic links where the kernel can do that, and `plain` follows all links.
#[cfg(target_os = "linux")]
fn open_by(
    without_magic: impl FnOnce() -> rustix::io::Result<OwnedFd>,
    plain: impl Fn() -> rustix::io::Result<OwnedFd>,
) -> Result<OwnedFd, OpenError> {
    match without_magic() {
        // The kernel has one error for magic links and for links in a circle.
        Err(Errno::LOOP) if plain().err() != Some(Errno::LOOP) => Err(OpenError::MagicLink),
        // Linux before 5.6, and sandboxes that do not know the system call: what a magic link leads to is checked all the same.
        Err(Errno::NOSYS | Errno::PERM) => plain().map_err(OpenError::Errno),
        opened => opened.map_err(OpenError::Errno),
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn open_without_effect(_path: &Path, _flags: OFlags) -> Result<OwnedFd, OpenError> {
    Err(OpenError::Errno(Errno::NOTSUP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn magic_links_differ_from_circles() {
        use std::os::unix::fs::symlink;
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), "content").expect("written");
        let file = fs::File::open(at("file")).expect("open");
        let magic = format!("/proc/self/fd/{}", file.as_raw_fd());
        symlink("file", at("ordinary")).expect("linked");
        symlink("circle", at("circle")).expect("linked");
        symlink(&magic, at("magic")).expect("linked");
        symlink("magic", at("indirect")).expect("linked");
        symlink("/proc/self/cwd", at("directory")).expect("linked");
        symlink("/proc/self", at("process")).expect("linked");

        let error = |path: PathBuf| open_without_effect(&path, OFlags::empty()).err();
        for followed in ["ordinary", "process", "process/stat", "file"] {
            assert_eq!(error(at(followed)), None, "{followed}");
        }
        for refused in ["magic", "indirect", "directory", "directory/Cargo.toml", "process/exe"] {
            assert_eq!(error(at(refused)), Some(OpenError::MagicLink), "{refused}");
        }
        let own = |name: &str| PathBuf::from(format!("/proc/{}/{name}", std::process::id()));
        for refused in ["exe", "root", "root/etc", "cwd", "fd/0", "ns/mnt"].map(own).into_iter().chain([magic.into()]) {
            assert_eq!(error(refused.clone()), Some(OpenError::MagicLink), "{}", refused.display());
        }
        assert_eq!(error(at("circle")), Some(OpenError::Errno(Errno::LOOP)));
        assert_eq!(error(at("none")), Some(OpenError::Errno(Errno::NOENT)));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn missing_system_call_opens_plainly() {
        let plain = || rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        for missing in [Errno::NOSYS, Errno::PERM] {
            assert!(open_by(|| Err(missing), plain).is_ok());
            assert_eq!(open_by(|| Err(missing), || Err(Errno::PERM)).err(), Some(OpenError::Errno(Errno::PERM)));
        }
        assert_eq!(open_by(|| Err(Errno::ACCESS), plain).err(), Some(OpenError::Errno(Errno::ACCESS)));
        // Following a magic link may be forbidden, too.
        assert_eq!(open_by(|| Err(Errno::LOOP), || Err(Errno::ACCESS)).err(), Some(OpenError::MagicLink));
    }

    #[test]
    fn refused_files_are_not_permitted() {
        for errno in [Errno::ACCESS, Errno::PERM] {
            assert!(matches!(PathError::from(errno), PathError::NotPermitted(error) if error == errno));
        }
    }

    #[test]
    fn vanished_files_are_not_found() {
        for errno in [Errno::NOENT, Errno::NOTDIR, Errno::SRCH, Errno::NODEV] {
            assert!(matches!(PathError::from(errno), PathError::NotFound));
            assert!(matches!(PathError::from(io::Error::from(errno)), PathError::NotFound));
        }
        assert!(matches!(PathError::from(io::Error::from(Errno::IO)), PathError::Io(error) if error.code == "EIO"));
        assert!(matches!(PathError::from(Errno::OPNOTSUPP), PathError::NotSupported(_)));
        assert!(matches!(PathError::from(io::Error::other("broken")), PathError::Io(error) if error.text == "broken"));
    }
}
