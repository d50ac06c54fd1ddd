//! Resolves a path of the measured host: opens it without any effect (`O_PATH`), and checks that the file is of the right type
//! and still granted after all symbolic links, which begin at the root of that host. Magic links are refused: those of a process
//! file system that lead to what a process has open (`fd`, `cwd`, `root`, `exe` …), whatever path names it or none.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::escape::printable;
#[cfg(target_os = "linux")]
use crate::hostfile::open_in_root;
#[cfg(target_os = "linux")]
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
    let basis = check(path)?;
    let flags = if last_link == LastLink::Kept { OFlags::NOFOLLOW } else { OFlags::empty() };
    let handle = open_without_effect(root, path, flags).map_err(|error| error.at(path))?;
    check_opened(root, path, handle, basis, check)
}

/// Checks where an opened path has led to: the kernel may have followed a link to elsewhere.
fn check_opened(
    root: &Path,
    path: &str,
    handle: OwnedFd,
    mut basis: Basis,
    check: impl Fn(&str) -> Result<Basis, PathError>,
) -> Result<ResolvedPath, PathError> {
    let denied = |why: &str| Err(PathError::Denied(Denial::Final(format!("\"{}\" {why}", printable(path)))));
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

/// Opens a path of the host with this root without any effect on its file, which can be examined then, and follows no magic link
/// on the way. Links that are absolute or lead up stay below the root.
#[cfg(target_os = "linux")]
pub(crate) fn open_without_effect(root: &Path, path: &str, flags: OFlags) -> Result<OwnedFd, OpenError> {
    use rustix::fs::{ResolveFlags, open, openat2};
    let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
    let is_own_root = root == Path::new("/");
    let open_with = |resolve| {
        if is_own_root {
            openat2(CWD, path, flags, Mode::empty(), resolve)
        } else {
            open_in_root(root, path, flags, resolve)
        }
    };
    open_by(
        || open_with(ResolveFlags::NO_MAGICLINKS),
        || open_with(ResolveFlags::empty()),
        || open(below(root, path), flags, Mode::empty()),
    )
}

/// `without_magic` refuses magic links where the kernel can do that, and `with_magic` only links in a circle with the same error.
/// `plain` is for kernels that can do neither.
#[cfg(target_os = "linux")]
fn open_by(
    without_magic: impl FnOnce() -> rustix::io::Result<OwnedFd>,
    with_magic: impl FnOnce() -> rustix::io::Result<OwnedFd>,
    plain: impl FnOnce() -> rustix::io::Result<OwnedFd>,
) -> Result<OwnedFd, OpenError> {
    match without_magic() {
        Err(Errno::LOOP) if with_magic().err() != Some(Errno::LOOP) => Err(OpenError::MagicLink),
        // Linux before 5.6, and sandboxes that do not know the system call: what a link leads to is checked all the same.
        Err(Errno::NOSYS | Errno::PERM) => plain().map_err(OpenError::Errno),
        opened => opened.map_err(OpenError::Errno),
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn open_without_effect(_root: &Path, _path: &str, _flags: OFlags) -> Result<OwnedFd, OpenError> {
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

        let error =
            |path: PathBuf| open_without_effect(Path::new("/"), path.to_str().expect("text"), OFlags::empty()).err();
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
            assert!(open_by(|| Err(missing), || Err(missing), plain).is_ok());
            let refused = open_by(|| Err(missing), || Err(missing), || Err(Errno::PERM));
            assert_eq!(refused.err(), Some(OpenError::Errno(Errno::PERM)));
        }
        assert_eq!(open_by(|| Err(Errno::ACCESS), plain, plain).err(), Some(OpenError::Errno(Errno::ACCESS)));
        // Following a magic link may be forbidden, too.
        assert_eq!(open_by(|| Err(Errno::LOOP), || Err(Errno::ACCESS), plain).err(), Some(OpenError::MagicLink));
    }

    /// A measured host with `/var/run`, a link to `/run` as on Debian, with `/run/socket` and `/run/file`.
    #[cfg(target_os = "linux")]
    fn host() -> (tempfile::TempDir, PathBuf) {
        use std::os::unix::fs::symlink;
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path().canonicalize().expect("it is there");
        fs::create_dir_all(root.join("var")).expect("created");
        fs::create_dir_all(root.join("run")).expect("created");
        fs::write(root.join("run/file"), "content").expect("written");
        symlink("/run", root.join("var/run")).expect("linked");
        (directory, root)
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn absolute_links_begin_at_the_measured_root() {
        use std::os::unix::fs::symlink;
        use std::os::unix::net::UnixListener;
        let (_directory, root) = host();
        let _listener = UnixListener::bind(root.join("run/socket")).expect("bound");
        symlink("../../../../../../run/file", root.join("up")).expect("linked");
        symlink(format!("/proc/{}/exe", std::process::id()), root.join("away")).expect("linked");
        let granted = |_: &str| Ok(Basis::Configuration);
        let status = |path: &str| rustix::fs::stat(root.join(path)).expect("it is there");
        for (path, kind, expected) in [
            ("/var/run/socket", FileType::Socket, status("run/socket")),
            ("/var/run/file", FileType::RegularFile, status("run/file")),
            ("/var/run", FileType::Directory, status("run")),
            ("/up", FileType::RegularFile, status("run/file")),
        ] {
            let resolved = resolve(&root, path, kind, granted).expect(path);
            assert_eq!((resolved.status.st_dev, resolved.status.st_ino), (expected.st_dev, expected.st_ino), "{path}");
        }
        let away = resolve(&root, "/away", FileType::RegularFile, granted).err();
        assert!(matches!(away, Some(PathError::NotFound)), "there is no such process: {away:?}");
        // The target needs the grant by its name on that host.
        let seen = std::cell::RefCell::new(Vec::new());
        let record = |path: &str| {
            seen.borrow_mut().push(path.to_owned());
            Ok(Basis::Configuration)
        };
        resolve(&root, "/var/run/file", FileType::RegularFile, record).expect("granted");
        assert_eq!(*seen.borrow(), ["/var/run/file", "/run/file"]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn circles_and_magic_links_differ_below_a_root() {
        use std::os::unix::fs::symlink;
        let (_directory, root) = host();
        symlink("/circle", root.join("circle")).expect("linked");
        fs::create_dir(root.join("proc")).expect("created");
        let error = |root: &Path, path: &str| open_without_effect(root, path, OFlags::empty()).err();
        assert_eq!(error(&root, "/circle"), Some(OpenError::Errno(Errno::LOOP)));
        assert_eq!(error(Path::new("/proc"), "/self/exe"), Some(OpenError::MagicLink));
        assert_eq!(error(Path::new("/proc"), "/self/stat"), None);
    }

    /// As a kernel without `openat2` opens it.
    #[test]
    #[cfg(target_os = "linux")]
    fn path_leading_out_of_the_host_is_denied() {
        let (_directory, root) = host();
        let outside = tempfile::NamedTempFile::new().expect("a temporary file");
        let handle = OwnedFd::from(fs::File::open(outside.path()).expect("open"));
        let checked = check_opened(&root, "/away", handle, Basis::Configuration, |_| Ok(Basis::Configuration));
        let why = "\"/away\" leads out of the measured host";
        assert!(matches!(checked, Err(PathError::Denied(Denial::Final(text))) if text == why));
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
