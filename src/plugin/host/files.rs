//! The capability `files`: reads files, lists directories and sizes file systems of the measured host, as far as the
//! grants go. What may wait for a device or another machine is done on another thread.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rustix::fs::{FileType, Mode, OFlags, StatVfsMountFlags};

use super::super::bindings::gauged::plugin::files::{Error, FilesystemUsage, Host};
use super::super::context::PluginContext;
use super::super::grants::{Basis, Grants, Refusal};
use super::State;
use super::denial::{Denial, GrantKind};
use super::offload::{OffloadError, OffloadTarget, offload};
use super::resolved_path::{OWN_PROCESS, PathError, ResolvedPath, resolve};
use crate::hostpath::below;

/// The largest file that is read: `/proc/stat` of 4096 CPUs.
const FILE_BYTES: u64 = 1 << 20;

/// What most of the kernel's files fit into.
const USUAL_BYTES: usize = 8 << 10;

/// How a file is opened that is read.
const READING: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// The most names that a directory may have: a host with as many processes, mounts or interfaces needs another tool.
const NAMES: usize = 10_000;

/// Why there is nothing to answer.
#[derive(Debug)]
enum Failed {
    PathError(PathError),
    TooLarge(u64),
    OffloadError(OffloadError),
}

impl<T: Into<PathError>> From<T> for Failed {
    fn from(error: T) -> Self {
        Self::PathError(error.into())
    }
}

impl Host for State {
    async fn read(&mut self, path: String) -> Result<Vec<u8>, Error> {
        if answers_from_memory(&path) {
            return read(&self.plugin.grants, &path).map_err(|failed| answer(&self.plugin, failed));
        }
        offload_path(&self.plugin, self.patience, path, read).await
    }

    async fn list(&mut self, path: String) -> Result<Vec<String>, Error> {
        if answers_from_memory(&path) {
            return list(&self.plugin.grants, &path).map_err(|failed| answer(&self.plugin, failed));
        }
        offload_path(&self.plugin, self.patience, path, list).await
    }

    async fn usage(&mut self, path: String) -> Result<FilesystemUsage, Error> {
        offload_path(&self.plugin, self.patience, path, usage).await
    }
}

async fn offload_path<T: Send + 'static>(
    plugin: &PluginContext,
    until: Instant,
    path: String,
    work: fn(&Grants, &str) -> Result<T, Failed>,
) -> Result<T, Error> {
    let grants = Arc::clone(&plugin.grants);
    let done = offload(plugin, OffloadTarget::Path(path.clone()), until, move || work(&grants, &path)).await;
    done.unwrap_or_else(|lost| Err(Failed::OffloadError(lost))).map_err(|failed| answer(plugin, failed))
}

/// What a guest is told, and the operator with it when a grant is missing.
fn answer(plugin: &PluginContext, failed: Failed) -> Error {
    match failed {
        Failed::PathError(PathError::Denied(denial)) => Error::Denied(plugin.deny(denial)),
        Failed::PathError(PathError::Malformed(why)) => Error::InvalidPath(why),
        Failed::PathError(PathError::NotFound) => Error::NotFound,
        Failed::PathError(PathError::WrongType) => Error::WrongType,
        Failed::PathError(PathError::Io(why)) | Failed::OffloadError(OffloadError::Panicked(why)) => Error::Io(why),
        Failed::TooLarge(limit) => Error::TooLarge(limit),
        Failed::OffloadError(OffloadError::Late) => Error::Timeout,
    }
}

/// Whether a path is one of those that the kernel answers from its own counters, without waiting for a device, a lock
/// of some process or another machine: they are spared the way through another thread.
fn answers_from_memory(path: &str) -> bool {
    if path == "/proc" {
        return true;
    }
    if let Some(rest) = path.strip_prefix("/proc/") {
        let is_number = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
        return match rest.split_once('/') {
            None => !is_number(rest),
            Some(("sys" | "pressure", _)) => true,
            Some(("1", rest)) if rest.starts_with("net/") => true,
            // These take no lock that a process holds while it waits, as `cmdline` and others do.
            Some((process, file)) => is_number(process) && matches!(file, "stat" | "status"),
        };
    }
    path.strip_prefix("/sys/").is_some_and(|rest| {
        rest.starts_with("block/")
            || rest.starts_with("devices/system/")
            || rest.starts_with("fs/cgroup")
            || rest.strip_prefix("class/net/").is_some_and(|rest| {
                // Others of an interface's files, such as its speed, ask its driver.
                let attribute = rest.split_once('/').map_or("", |(_interface, attribute)| attribute);
                attribute.starts_with("statistics/") || matches!(attribute, "flags" | "operstate")
            })
    })
}

/// Whether a plugin may see the usage of the file system at a path. Yes when that is not known in time: if it lacks a
/// grant, it is told so when it asks.
pub(in super::super) async fn may_size(plugin: &PluginContext, path: &str, until: Instant) -> bool {
    let (grants, path) = (Arc::clone(&plugin.grants), path.to_owned());
    let subject = OffloadTarget::Path(path.clone());
    offload(plugin, subject, until, move || check_usage(&grants, &path).is_ok()).await.unwrap_or(true)
}

fn read(grants: &Grants, path: &str) -> Result<Vec<u8>, Failed> {
    let file = if let Some(file) = open_at_once(grants, path) {
        file
    } else {
        let found = readable(grants, path, FileType::RegularFile, Grants::read)?;
        File::from(rustix::fs::open(&found.path, READING, Mode::empty())?)
    };
    // The kernel makes most of its files anew for each piece that is read.
    let mut content = Vec::with_capacity(USUAL_BYTES);
    file.take(FILE_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > FILE_BYTES {
        return Err(Failed::TooLarge(FILE_BYTES));
    }
    Ok(content)
}

/// Opens a file of the kernel's own by its path, which spares half of the system calls: where there is no link on the way,
/// it is what the path says, and opening what the kernel has in its own file systems has no effect. What is not as simple
/// as that, or is to be refused, is left to [`readable`].
#[cfg(target_os = "linux")]
fn open_at_once(grants: &Grants, path: &str) -> Option<File> {
    use rustix::fs::{CWD, ResolveFlags, fstat, openat2};
    if grants.root() != Path::new("/") || !["/proc/", "/sys/"].iter().any(|kernels| path.starts_with(kernels)) {
        return None;
    }
    let basis = grants.read(path).ok()?;
    let file = openat2(CWD, path, READING, Mode::empty(), ResolveFlags::NO_SYMLINKS).ok()?;
    if grants.has_become_own(path) {
        return None;
    }
    let mode = fstat(&file).ok()?.st_mode;
    let is_open_to_all = Mode::from_raw_mode(mode).contains(Mode::ROTH);
    let is_file = FileType::from_raw_mode(mode) == FileType::RegularFile;
    (is_file && (is_open_to_all || basis == Basis::Configuration)).then(|| File::from(file))
}

#[cfg(not(target_os = "linux"))]
fn open_at_once(_grants: &Grants, _path: &str) -> Option<File> {
    None
}

fn list(grants: &Grants, path: &str) -> Result<Vec<String>, Failed> {
    let found = readable(grants, path, FileType::Directory, Grants::list)?;
    let mut names = Vec::new();
    for entry in fs::read_dir(&found.path)? {
        // A name that is not text cannot be asked for either.
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if names.len() == NAMES {
            return Err(Failed::TooLarge(NAMES as u64));
        }
        names.push(name);
    }
    names.sort_unstable();
    Ok(names)
}

fn usage(grants: &Grants, path: &str) -> Result<FilesystemUsage, Failed> {
    check_usage(grants, path).map_err(|refusal| PathError::refused(&refusal, GrantKind::Usage, path))?;
    let found = rustix::fs::statvfs(below(grants.root(), path))?;
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

/// Finds what is at a path and of this type, as far as it may be read.
fn readable(
    grants: &Grants,
    path: &str,
    wanted: FileType,
    check: fn(&Grants, &str) -> Result<Basis, Refusal>,
) -> Result<ResolvedPath, PathError> {
    let check = |path: &str| {
        check(grants, path).map_err(|refusal| match refusal {
            Refusal::Own if grants.is_one_of_many(path) => PathError::Denied(Denial::Expected(OWN_PROCESS.to_owned())),
            refusal => PathError::refused(&refusal, GrantKind::Read, path),
        })
    };
    resolve(grants.root(), path, wanted, check)
}

/// Whether a file system is mounted at a path. Mounts nothing to find out, and takes the kernel's word: one whose server
/// answers with errors is mounted all the same.
#[cfg(target_os = "linux")]
fn is_mount_root(path: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
    let flags = AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    rustix::fs::statx(CWD, path, flags, StatxFlags::BASIC_STATS)
        .is_ok_and(|status| status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Whether a file system is mounted at a path, which no other system tells.
#[cfg(not(target_os = "linux"))]
fn is_mount_root(_path: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::hostpath::Pattern;
    use crate::plugin::grants::network::Network;

    fn denied<T>(done: Result<T, Failed>) -> Option<Denial> {
        match done {
            Err(Failed::PathError(PathError::Denied(denial))) => Some(denial),
            _ => None,
        }
    }

    fn missing(key: GrantKind, path: &str) -> Denial {
        Denial::Missing(key, path.to_owned())
    }

    /// A root with `/data/open`, which is granted, and `/data/secret`, which is not.
    fn host() -> (tempfile::TempDir, Grants) {
        let root = tempfile::tempdir().expect("a temporary directory");
        let data = root.path().join("data");
        fs::create_dir_all(data.join("open")).expect("created");
        fs::write(data.join("open/a"), "a").expect("written");
        fs::write(data.join("secret"), "secret").expect("written");
        let granted = Pattern::new("/data/open/*").expect("a pattern");
        let grants =
            Grants::new(&root.path().canonicalize().expect("it is there"), &[granted], &[], Network::default());
        (root, grants)
    }

    #[test]
    fn reads_and_lists_what_is_granted() {
        let (root, grants) = host();
        assert_eq!(read(&grants, "/data/open/a").expect("granted"), b"a");
        assert_eq!(list(&grants, "/data/open").expect("granted"), ["a"]);
        assert!(matches!(read(&grants, "/data/open/b"), Err(Failed::PathError(PathError::NotFound))));
        assert_eq!(denied(read(&grants, "/data/open")), Some(missing(GrantKind::Read, "/data/open")));
        fs::create_dir(root.path().join("data/open/dir")).expect("created");
        assert!(matches!(read(&grants, "/data/open/dir"), Err(Failed::PathError(PathError::WrongType))));
        assert!(matches!(list(&grants, "/data/open/a"), Err(Failed::PathError(PathError::WrongType))));
    }

    #[test]
    fn links_do_not_lead_out_of_the_grants() {
        let (root, grants) = host();
        let open = root.path().join("data/open");
        symlink("../secret", open.join("out")).expect("linked");
        symlink("a", open.join("in")).expect("linked");
        symlink("..", open.join("up")).expect("linked");
        assert_eq!(denied(read(&grants, "/data/open/out")), Some(missing(GrantKind::Read, "/data/secret")));
        assert_eq!(read(&grants, "/data/open/in").expect("stays within"), b"a");
        assert_eq!(denied(list(&grants, "/data/open/up")), Some(missing(GrantKind::Read, "/data")));
    }

    #[test]
    fn a_pipe_is_refused_without_waiting_for_its_writer() {
        let (root, grants) = host();
        let pipe = root.path().join("data/open/pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::from_raw_mode(0o600)).expect("made");
        assert!(matches!(read(&grants, "/data/open/pipe"), Err(Failed::PathError(PathError::WrongType))));
    }

    #[test]
    fn links_do_not_lead_out_of_the_host() {
        let outside = tempfile::tempdir().expect("a temporary directory");
        let (root, grants) = host();
        fs::write(outside.path().join("a"), "outside").expect("written");
        symlink(outside.path().join("a"), root.path().join("data/open/away")).expect("linked");
        let why = "\"/data/open/away\" leads out of the measured host".to_owned();
        assert_eq!(denied(read(&grants, "/data/open/away")), Some(Denial::Final(why)));
    }

    #[test]
    fn a_default_grant_is_worth_what_any_user_may() {
        let (root, grants) = host();
        fs::create_dir(root.path().join("proc")).expect("created");
        let file = root.path().join("proc/uptime");
        fs::write(&file, "1 2").expect("written");
        assert!(read(&grants, "/proc/uptime").is_ok());
        rustix::fs::chmod(&file, Mode::from_raw_mode(0o600)).expect("changed");
        assert_eq!(denied(read(&grants, "/proc/uptime")), Some(missing(GrantKind::Read, "/proc/uptime")));
    }

    #[test]
    fn a_thread_that_has_just_begun_is_the_agents_own() {
        let pattern = Pattern::new("/proc/*/status").expect("a pattern");
        let grants = Grants::new(Path::new("/"), &[pattern], &[], Network::default());
        let until = Instant::now() + Duration::from_secs(2);
        let beginning = thread::spawn(move || {
            while Instant::now() < until {
                let begun: [_; 4] =
                    std::array::from_fn(|_| thread::spawn(|| thread::sleep(Duration::from_micros(300))));
                for thread in begun {
                    thread.join().expect("it does not panic");
                }
            }
        });
        let own = format!("\nTgid:\t{}\n", std::process::id());
        while Instant::now() < until {
            let load = fs::read_to_string("/proc/loadavg").expect("there is one");
            let last = load.rsplit(' ').next().and_then(|last| last.trim().parse::<u32>().ok());
            let last = last.expect("the number that was given last");
            for next in last + 1..last + 16 {
                let status = read(&grants, &format!("/proc/{next}/status")).unwrap_or_default();
                assert!(!String::from_utf8_lossy(&status).contains(&own), "{next} was read");
            }
        }
        beginning.join().expect("it does not panic");
    }

    #[test]
    fn only_what_cannot_wait_is_answered_at_once() {
        for quick in [
            "/proc",
            "/proc/stat",
            "/proc/sys/fs/file-nr",
            "/proc/1/net/dev",
            "/proc/12/stat",
            "/proc/12/status",
            "/sys/class/net/lo/statistics/rx_bytes",
            "/sys/class/net/lo/operstate",
            "/sys/block/sda/stat",
            "/sys/fs/cgroup/a/io.stat",
        ] {
            assert!(answers_from_memory(quick), "{quick}");
        }
        for slow in [
            "/proc/1",
            "/proc/1/root/mnt/x",
            "/proc/12/cmdline",
            "/proc/12/net/dev",
            "/proc/12/root/stat",
            "/proc/a/stat",
            "/sys/class/hwmon/hwmon0/temp1_input",
            "/sys/class/net/lo/speed",
            "/sys/class/net/lo",
            "/mnt/x",
            "/sys",
        ] {
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
        assert!(matches!(read(&grants, "/data/open/big"), Err(Failed::TooLarge(FILE_BYTES))));
    }

    #[test]
    fn a_mount_may_be_sized_and_no_other_path_tells_whether_it_exists() {
        let grants = Grants::new(Path::new("/"), &[], &[], Network::default());
        let mount = usage(&grants, "/").expect("the root of all mounts");
        assert!(mount.total_bytes >= mount.free_bytes && mount.free_bytes >= mount.available_bytes);
        for path in ["/etc", "/no/such/place"] {
            assert_eq!(denied(usage(&grants, path)), Some(missing(GrantKind::Usage, path)));
        }
        let granted = [Pattern::new("/etc").expect("a pattern"), Pattern::new("/no/such/place").expect("a pattern")];
        let grants = Grants::new(Path::new("/"), &[], &granted, Network::default());
        assert!(usage(&grants, "/etc").is_ok());
        assert!(matches!(usage(&grants, "/no/such/place"), Err(Failed::PathError(PathError::NotFound))));
    }
}
