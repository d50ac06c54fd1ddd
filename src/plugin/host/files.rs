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
use super::super::configured::Plugin;
use super::super::grants::{Basis, Grants, Refusal};
use super::{State, grant_line};
use crate::hostpath::below;

/// The largest file that is read: `/proc/stat` of 4096 CPUs.
const FILE_BYTES: u64 = 1 << 20;

/// The most names that a directory may have: a host with as many processes, mounts or interfaces needs another tool.
const NAMES: usize = 10_000;

/// How many operations may wait for file systems at a time, those of all plugins together. One that is stuck keeps its
/// place and its thread until the kernel gives it back.
static PLACES: Semaphore = Semaphore::const_new(64);

impl Host for State {
    async fn read(&mut self, path: String) -> Result<Vec<u8>, Error> {
        if answers_from_memory(&path) {
            return read(&self.plugin.grants, &path);
        }
        elsewhere(self.plugin.clone(), self.patience, path, read).await
    }

    async fn list(&mut self, path: String) -> Result<Vec<String>, Error> {
        if answers_from_memory(&path) {
            return list(&self.plugin.grants, &path);
        }
        elsewhere(self.plugin.clone(), self.patience, path, list).await
    }

    async fn usage(&mut self, path: String) -> Result<FilesystemUsage, Error> {
        elsewhere(self.plugin.clone(), self.patience, path, usage).await
    }
}

/// Whether a path is one of those that the kernel answers from its own counters, without waiting for a device, a lock
/// of some process or another machine: they are spared the way through another thread.
fn answers_from_memory(path: &str) -> bool {
    if let Some(rest) = path.strip_prefix("/proc/") {
        let is_kernel_wide = !rest.contains('/') && !rest.as_bytes().first().is_some_and(u8::is_ascii_digit);
        return is_kernel_wide || ["sys/", "pressure/", "1/net/"].iter().any(|directory| rest.starts_with(directory));
    }
    path.strip_prefix("/sys/").is_some_and(|rest| {
        rest.starts_with("block/")
            || rest.starts_with("devices/system/")
            || (rest.starts_with("class/net/") && rest.contains("/statistics/"))
    })
}

/// Does on another thread what may wait, so that only the guest waits, and not longer than it has time.
async fn elsewhere<T: Send + 'static>(
    plugin: Plugin,
    patience: Instant,
    path: String,
    work: fn(&Grants, &str) -> Result<T, Error>,
) -> Result<T, Error> {
    let places = (Arc::clone(&plugin.places).try_acquire_owned(), PLACES.try_acquire());
    let (Ok(own_place), Ok(place)) = places else { return Err(Error::Timeout) };
    let working = spawn_blocking(move || {
        let done = work(&plugin.grants, &path);
        drop((own_place, place));
        done
    });
    match tokio::time::timeout_at(patience.into(), working).await {
        Ok(Ok(done)) => done,
        Ok(Err(panicked)) => Err(Error::Io(panicked.to_string())),
        Err(_elapsed) => Err(Error::Timeout),
    }
}

/// Whether a plugin may see the usage of the file system at a path; no when that is not known in time.
pub(in super::super) async fn may_size(plugin: &Plugin, path: &str, patience: Instant) -> bool {
    let asked =
        elsewhere(plugin.clone(), patience, path.to_owned(), |grants, path| Ok(check_usage(grants, path).is_ok()));
    asked.await.unwrap_or(false)
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

fn usage(grants: &Grants, path: &str) -> Result<FilesystemUsage, Error> {
    check_usage(grants, path).map_err(|refusal| refused(&refusal, "usage", path))?;
    let found = rustix::fs::statvfs(below(grants.root(), path)).map_err(failed)?;
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

/// What is mounted where is no secret, and how full it is neither: the roots of mounts need no grant. For any other path
/// the answer does not tell whether it exists.
fn check_usage(grants: &Grants, path: &str) -> Result<(), Refusal> {
    match grants.usage(path) {
        Err(Refusal::Missing) if is_mount_root(&below(grants.root(), path)) => Ok(()),
        decided => decided,
    }
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
    check: fn(&Grants, &str) -> Result<Basis, Refusal>,
) -> Result<Found, Error> {
    let check = |path: &str| check(grants, path).map_err(|refusal| refused(&refusal, "read", path));
    let denied = |why: &str| Err(Error::Denied(why.to_owned()));
    let mut basis = check(path)?;
    let handle = open_without_effect(&below(grants.root(), path)).map_err(failed)?;
    let status = rustix::fs::fstat(&handle).map_err(failed)?;

    let link = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
    let real = fs::read_link(&link).map_err(|error| io_failed(&error))?;
    let Ok(real) = real.strip_prefix(grants.root()) else { return denied("it leads out of the measured host") };
    let real = Path::new("/").join(real);
    let Some(real) = real.to_str() else { return denied("it leads to a path that is not text") };
    // The kernel's links within /sys lead to the same attributes under /sys/devices.
    let is_within_sys = path.starts_with("/sys/") && real.starts_with("/sys/");
    if real != path && !is_within_sys {
        basis = check(real)?;
    }
    if basis == Basis::Default && !Mode::from_raw_mode(status.st_mode).contains(Mode::ROTH) {
        return Err(refused(&Refusal::Missing, "read", path));
    }
    if FileType::from_raw_mode(status.st_mode) != wanted {
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

/// Whether a file system is mounted at a path. Mounts nothing to find out.
#[cfg(target_os = "linux")]
fn is_mount_root(path: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
    rustix::fs::statx(CWD, path, AtFlags::NO_AUTOMOUNT, StatxFlags::BASIC_STATS)
        .is_ok_and(|status| status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Whether a file system is mounted at a path, which no other system tells.
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
    fn links_do_not_lead_out_of_the_host() {
        let outside = tempfile::tempdir().expect("a temporary directory");
        let (root, grants) = host();
        fs::write(outside.path().join("a"), "outside").expect("written");
        symlink(outside.path().join("a"), root.path().join("data/open/away")).expect("linked");
        assert!(matches!(read(&grants, "/data/open/away"), Err(Error::Denied(why)) if why.contains("measured host")));
    }

    #[test]
    fn a_default_grant_is_worth_what_any_user_may() {
        let (root, grants) = host();
        fs::create_dir(root.path().join("proc")).expect("created");
        let file = root.path().join("proc/uptime");
        fs::write(&file, "1 2").expect("written");
        assert!(read(&grants, "/proc/uptime").is_ok());
        rustix::fs::chmod(&file, Mode::from_raw_mode(0o600)).expect("changed");
        assert!(matches!(read(&grants, "/proc/uptime"), Err(Error::Denied(_))));
    }

    #[test]
    fn only_what_cannot_wait_is_answered_at_once() {
        for quick in ["/proc/stat", "/proc/1/net/dev", "/sys/class/net/lo/statistics/rx_bytes", "/sys/block/sda/stat"] {
            assert!(answers_from_memory(quick), "{quick}");
        }
        for slow in ["/proc/1/root/mnt/x", "/proc/12/cmdline", "/sys/class/hwmon/hwmon0/temp1_input", "/mnt/x", "/sys"]
        {
            assert!(!answers_from_memory(slow), "{slow}");
        }
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
        let mount = usage(&grants, "/").expect("the root of all mounts");
        assert!(mount.total_bytes >= mount.free_bytes && mount.free_bytes >= mount.available_bytes);
        let missing = |path: &str| matches!(usage(&grants, path), Err(Error::Denied(grant)) if grant.contains(path));
        assert!(missing("/etc") && missing("/no/such/place"));
        let granted = [Pattern::new("/etc").expect("a pattern"), Pattern::new("/no/such/place").expect("a pattern")];
        let grants = Grants::new(Path::new("/"), &[], &granted);
        assert!(usage(&grants, "/etc").is_ok());
        assert!(matches!(usage(&grants, "/no/such/place"), Err(Error::NotFound)));
    }
}
