//! The capability `files`: reads files, lists directories and sizes file systems of the measured host, as far as the
//! grants go. A path is first opened without any effect (`O_PATH`), and only read when what was found there is of the
//! right type and still within the grants after all symbolic links.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rustix::fs::{FileType, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::super::bindings::gauged::plugin::files::{Error, FilesystemUsage, Host};
use super::super::grants::{Grants, Refusal};
use super::{State, grant_line};
use crate::hostpath::below;

/// The largest file that is read: `/proc/stat` of 4096 CPUs.
const FILE_BYTES: u64 = 1 << 20;

/// The most names that a directory may have: a host with as many processes, mounts or interfaces needs another tool.
const NAMES: usize = 10_000;

/// How many operations on file systems that may not answer are awaited at a time, by all guests together. One that is
/// stuck keeps its place and its thread until the kernel gives it back.
static PLACES: Semaphore = Semaphore::const_new(16);

impl Host for State {
    async fn read(&mut self, path: String) -> Result<Vec<u8>, Error> {
        bounded(Arc::clone(&self.grants), self.patience, path, read).await
    }

    async fn list(&mut self, path: String) -> Result<Vec<String>, Error> {
        bounded(Arc::clone(&self.grants), self.patience, path, list).await
    }

    async fn usage(&mut self, path: String) -> Result<FilesystemUsage, Error> {
        let granted = match self.grants.usage(&path) {
            Ok(()) => true,
            Err(Refusal::Missing) => false,
            Err(refusal) => return Err(refused(&refusal, "usage", &path)),
        };
        bounded(Arc::clone(&self.grants), self.patience, path, move |grants, path| usage(grants, path, granted)).await
    }
}

/// Does what may block, so that only the guest waits, and not longer than it has time. The kernel's own file systems
/// answer from memory, and are spared the way through another thread; only some sensors are slow.
async fn bounded<T: Send + 'static>(
    grants: Arc<Grants>,
    patience: Instant,
    path: String,
    work: impl FnOnce(&Grants, &str) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    if path.starts_with("/proc/") || (path.starts_with("/sys/") && !path.starts_with("/sys/class/hwmon/")) {
        return work(&grants, &path);
    }
    let Ok(place) = PLACES.try_acquire() else { return Err(Error::Timeout) };
    let working = spawn_blocking(move || {
        let _place = place;
        work(&grants, &path)
    });
    match tokio::time::timeout_at(patience.into(), working).await {
        Ok(Ok(done)) => done,
        Ok(Err(panicked)) => Err(Error::Io(panicked.to_string())),
        Err(_elapsed) => Err(Error::Timeout),
    }
}

fn refused(refusal: &Refusal, grant: &str, path: &str) -> Error {
    match refusal {
        Refusal::Malformed(why) => Error::InvalidPath(format!("{path:?} {why}")),
        Refusal::Own => Error::Denied("no grant opens the agent's own process".to_owned()),
        Refusal::Missing => Error::Denied(grant_line(grant, path)),
    }
}

fn read(grants: &Grants, path: &str) -> Result<Vec<u8>, Error> {
    let found = find(grants, path, FileType::RegularFile, Grants::read)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(&found.path, flags, Mode::empty()).map_err(failed)?);
    let mut content = Vec::new();
    file.take(FILE_BYTES + 1).read_to_end(&mut content).map_err(|error| io_failed(&error))?;
    if content.len() as u64 > FILE_BYTES {
        return Err(Error::TooLarge(FILE_BYTES));
    }
    Ok(content)
}

fn list(grants: &Grants, path: &str) -> Result<Vec<String>, Error> {
    let found = find(grants, path, FileType::Directory, Grants::list)?;
    let mut names = Vec::new();
    for entry in fs::read_dir(&found.path).map_err(|error| io_failed(&error))? {
        // A name that is not text cannot be asked for either.
        let Ok(name) = entry.map_err(|error| io_failed(&error))?.file_name().into_string() else { continue };
        if names.len() == NAMES {
            return Err(Error::TooLarge(NAMES as u64));
        }
        names.push(name);
    }
    names.sort_unstable();
    Ok(names)
}

fn usage(grants: &Grants, path: &str, granted: bool) -> Result<FilesystemUsage, Error> {
    let full = below(grants.root(), path);
    // What is mounted where is no secret, and how full it is neither: the roots of mounts need no grant. For any other
    // path the answer does not tell whether it exists.
    if !granted && !is_mount_root(&full) {
        return Err(refused(&Refusal::Missing, "usage", path));
    }
    let found = rustix::fs::statvfs(&full).map_err(failed)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(FilesystemUsage {
        total_bytes: bytes(found.f_blocks),
        free_bytes: bytes(found.f_bfree),
        available_bytes: bytes(found.f_bavail),
        inodes: found.f_files,
        free_inodes: found.f_ffree,
        read_only: found.f_flag.contains(StatVfsMountFlags::RDONLY),
    })
}

/// A file that was found and may be opened. Its path leads to this very file, whatever happens to the one it was found
/// by.
struct Found {
    path: PathBuf,
    /// Keeps the path alive.
    _handle: OwnedFd,
}

/// Finds what is at a path, following symbolic links, and makes sure that it is of this type, and that neither the path
/// nor the links lead out of the grants.
fn find(
    grants: &Grants,
    path: &str,
    wanted: FileType,
    check: fn(&Grants, &str) -> Result<(), Refusal>,
) -> Result<Found, Error> {
    check(grants, path).map_err(|refusal| refused(&refusal, "read", path))?;
    let handle = open_without_effect(&below(grants.root(), path)).map_err(failed)?;
    let found = FileType::from_raw_mode(rustix::fs::fstat(&handle).map_err(failed)?.st_mode);
    let link = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
    let real = fs::read_link(&link).map_err(|error| io_failed(&error))?;
    let real = real.strip_prefix(grants.root()).map(|rest| Path::new("/").join(rest)).unwrap_or(real);
    let real = real.to_str().ok_or_else(|| Error::Denied("it leads to a path that is not text".to_owned()))?;
    // The kernel's links within /sys lead to the same attributes under /sys/devices.
    let within_sys = path.starts_with("/sys/") && real.starts_with("/sys/");
    if real != path && !within_sys {
        check(grants, real).map_err(|refusal| refused(&refusal, "read", real))?;
    }
    if found != wanted {
        return Err(Error::WrongType);
    }
    Ok(Found { path: link, _handle: handle })
}

#[cfg(target_os = "linux")]
fn open_without_effect(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(not(target_os = "linux"))]
fn open_without_effect(_path: &Path) -> Result<OwnedFd, Errno> {
    Err(Errno::NOTSUP)
}

#[cfg(target_os = "linux")]
fn is_mount_root(path: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
    rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS)
        .is_ok_and(|status| status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

#[cfg(not(target_os = "linux"))]
fn is_mount_root(_path: &Path) -> bool {
    false
}

fn failed(error: Errno) -> Error {
    match error {
        Errno::NOENT | Errno::NOTDIR => Error::NotFound,
        other => Error::Io(io::Error::from(other).to_string()),
    }
}

fn io_failed(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound,
        _ => Error::Io(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::hostpath::Pattern;

    /// A root with `/data/open`, which is granted, and `/data/secret`, which is not.
    fn host() -> (tempfile::TempDir, Grants) {
        let root = tempfile::tempdir().expect("a temporary directory");
        let data = root.path().join("data");
        fs::create_dir_all(data.join("open")).expect("created");
        fs::write(data.join("open/a"), "a").expect("written");
        fs::write(data.join("secret"), "secret").expect("written");
        let granted = Pattern::new("/data/open/*").expect("a pattern");
        let grants = Grants::new(&root.path().canonicalize().expect("it is there"), &[granted], &[]);
        (root, grants)
    }

    #[test]
    fn reads_and_lists_what_is_granted() {
        let (root, grants) = host();
        assert_eq!(read(&grants, "/data/open/a").expect("granted"), b"a");
        assert_eq!(list(&grants, "/data/open").expect("granted"), ["a"]);
        assert!(matches!(read(&grants, "/data/open/b"), Err(Error::NotFound)));
        assert!(matches!(read(&grants, "/data/open"), Err(Error::Denied(_))));
        fs::create_dir(root.path().join("data/open/dir")).expect("created");
        assert!(matches!(read(&grants, "/data/open/dir"), Err(Error::WrongType)));
        assert!(matches!(list(&grants, "/data/open/a"), Err(Error::WrongType)));
    }

    #[test]
    fn links_do_not_lead_out_of_the_grants() {
        let (root, grants) = host();
        let open = root.path().join("data/open");
        symlink("../secret", open.join("out")).expect("linked");
        symlink("a", open.join("in")).expect("linked");
        symlink("..", open.join("up")).expect("linked");
        let grant = "read = [\"/data/secret\"]";
        assert!(matches!(read(&grants, "/data/open/out"), Err(Error::Denied(missing)) if missing == grant));
        assert_eq!(read(&grants, "/data/open/in").expect("stays within"), b"a");
        assert!(matches!(list(&grants, "/data/open/up"), Err(Error::Denied(_))));
    }

    #[test]
    fn a_pipe_is_refused_without_waiting_for_its_writer() {
        let (root, grants) = host();
        let pipe = root.path().join("data/open/pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::from_raw_mode(0o600)).expect("made");
        assert!(matches!(read(&grants, "/data/open/pipe"), Err(Error::WrongType)));
    }

    #[test]
    fn large_files_are_refused() {
        let (root, grants) = host();
        let file = File::create(root.path().join("data/open/big")).expect("created");
        file.set_len(FILE_BYTES).expect("sized");
        assert_eq!(read(&grants, "/data/open/big").expect("just fits").len() as u64, FILE_BYTES);
        file.set_len(FILE_BYTES + 1).expect("sized");
        assert!(matches!(read(&grants, "/data/open/big"), Err(Error::TooLarge(FILE_BYTES))));
    }

    #[test]
    fn a_mount_may_be_sized_and_no_other_path_tells_whether_it_exists() {
        let grants = Grants::new(Path::new("/"), &[], &[]);
        let mount = usage(&grants, "/", false).expect("the root of all mounts");
        assert!(mount.total_bytes >= mount.free_bytes && mount.free_bytes >= mount.available_bytes);
        let missing =
            |path: &str| matches!(usage(&grants, path, false), Err(Error::Denied(grant)) if grant.contains(path));
        assert!(missing("/etc") && missing("/no/such/place"));
        assert!(usage(&grants, "/etc", true).is_ok());
        assert!(matches!(usage(&grants, "/no/such/place", true), Err(Error::NotFound)));
    }
}
