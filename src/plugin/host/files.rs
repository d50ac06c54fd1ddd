//! The capability `files`: reads files, lists directories and returns the usage of file systems of the measured host, as far
//! as they are granted. Operations that may wait for a device or another machine run on another thread, and so do those on
//! files of the kernel that have been slow.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rustix::fs::{FileType, Mode, OFlags, StatVfs, StatVfsMountFlags};
use rustix::io::{Errno, pread, retry_on_intr};

use crate::hostpath::below;
use crate::plugin::context::PluginContext;
use crate::plugin::grants::kind::{Denial, GrantKind};
use crate::plugin::grants::{Basis, Grants, PathRefusal};
use crate::plugin::guest::bindings::gauged::plugin::files::{Error, FilesystemUsage, Host};
use crate::plugin::guest::call_time::CallTime;
use crate::plugin::host::kernel_files::KernelFile;
use crate::plugin::host::own_view;
use crate::plugin::host::resolved_path::{OWN_PROCESS, PathError, ResolvedPath, resolve};
#[cfg(target_os = "linux")]
use crate::plugin::host::resolved_path::{OpenError, open_without_effect};
use crate::plugin::host::state::HostState;
use crate::plugin::offload::permits::{OffloadTarget, PermitError};

/// The most bytes that are read at a time: `/proc/1/mountinfo` of a thousand containers, whose layers are in its lines.
const FILE_BYTES: usize = 4 << 20;

/// The size of most of the kernel's files.
const USUAL_BYTES: usize = 8 << 10;

/// The flags to open a file for reading.
const READING: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// The most names that a directory may have: the processes of a large host, and some room.
const NAMES: usize = 100_000;

/// Why an operation failed.
#[derive(Debug)]
enum FilesError {
    Path(PathError),
    TooLarge(u64),
    Permit(PermitError),
}

impl<T: Into<PathError>> From<T> for FilesError {
    fn from(error: T) -> Self {
        Self::Path(error.into())
    }
}

impl Host for HostState {
    async fn read(&mut self, path: String) -> Result<Vec<u8>, Error> {
        run(&self.plugin, &self.time, path, read).await
    }

    async fn read_at(&mut self, path: String, offset: u64, max_bytes: u32) -> Result<Vec<u8>, Error> {
        let piece = move |grants: &Grants, path: &str| read_at(grants, path, offset, max_bytes);
        run(&self.plugin, &self.time, path, piece).await
    }

    async fn list(&mut self, path: String) -> Result<Vec<String>, Error> {
        run(&self.plugin, &self.time, path, list).await
    }

    async fn usage(&mut self, path: String) -> Result<FilesystemUsage, Error> {
        offload_path(&self.plugin, self.time.patience(), path, usage).await
    }
}

/// Runs an operation on this thread where it does not wait, and on another one otherwise.
async fn run<T: Send + 'static>(
    plugin: &PluginContext,
    time: &CallTime,
    path: String,
    work: impl FnOnce(&Grants, &str) -> Result<T, FilesError> + Send + 'static,
) -> Result<T, Error> {
    let Some(kind) = KernelFile::classify(&path) else {
        return offload_path(plugin, time.patience(), path, work).await;
    };
    if kind.is_slow() {
        let timed = move |grants: &Grants, path: &str| kind.timed(|| work(grants, path));
        return offload_path(plugin, time.patience(), path, timed).await;
    }
    kind.run(|| work(&plugin.grants, &path)).map_err(|error| wit_error(plugin, &path, error))
}

async fn offload_path<T: Send + 'static>(
    plugin: &PluginContext,
    until: Instant,
    path: String,
    work: impl FnOnce(&Grants, &str) -> Result<T, FilesError> + Send + 'static,
) -> Result<T, Error> {
    let (grants, target) = (Arc::clone(&plugin.grants), OffloadTarget::Path(path.clone()));
    let work = {
        let path = path.clone();
        move || work(&grants, &path)
    };
    let done = plugin.accounts.permits.run(target, until, work).await;
    done.unwrap_or_else(|error| Err(FilesError::Permit(error))).map_err(|error| wit_error(plugin, &path, error))
}

/// The error for the guest. Reports a denial to the operator.
fn wit_error(plugin: &PluginContext, path: &str, error: FilesError) -> Error {
    match error {
        FilesError::Path(PathError::Denied(denial)) => Error::Denied(plugin.deny(denial)),
        FilesError::Path(PathError::Malformed(why)) => Error::InvalidPath(why),
        FilesError::Path(PathError::NotFound) => Error::NotFound,
        FilesError::Path(PathError::NotPermitted(error)) => Error::NotPermitted(own_view::refusal(error, path)),
        FilesError::Path(PathError::WrongType) => Error::WrongType,
        FilesError::Path(PathError::Io(why)) | FilesError::Permit(PermitError::Panicked(why)) => Error::Io(why),
        FilesError::TooLarge(limit) => Error::TooLarge(limit),
        FilesError::Permit(PermitError::Late) => Error::Timeout,
    }
}

/// Whether the usage of the file system at a path is granted. As by default when that is not known in time, or not
/// permitted: the operation itself then reports the error.
pub(crate) async fn usage_basis(plugin: &PluginContext, path: &str, until: Instant) -> Option<Basis> {
    let (grants, path) = (Arc::clone(&plugin.grants), path.to_owned());
    let target = OffloadTarget::Path(path.clone());
    let checked = plugin.accounts.permits.run(target, until, move || match check_usage(&grants, &path) {
        Ok(basis) => Some(basis),
        Err(UsageRefusal::Path(_)) => None,
        Err(UsageRefusal::NotPermitted(_)) => Some(Basis::Default),
    });
    checked.await.unwrap_or(Some(Basis::Default))
}

fn read(grants: &Grants, path: &str) -> Result<Vec<u8>, FilesError> {
    // The kernel generates most of its files anew for each piece that is read.
    let mut content = Vec::with_capacity(USUAL_BYTES);
    open(grants, path)?.take(FILE_BYTES as u64 + 1).read_to_end(&mut content)?;
    if content.len() > FILE_BYTES {
        return Err(FilesError::TooLarge(FILE_BYTES as u64));
    }
    Ok(content)
}

fn read_at(grants: &Grants, path: &str, offset: u64, max_bytes: u32) -> Result<Vec<u8>, FilesError> {
    let (file, wanted) = (open(grants, path)?, FILE_BYTES.min(max_bytes as usize));
    let mut piece = Vec::with_capacity(USUAL_BYTES.min(wanted));
    // No file is that long, and no system call takes the offset.
    let Ok(_) = i64::try_from(offset.saturating_add(FILE_BYTES as u64)) else { return Ok(piece) };
    while piece.len() < wanted {
        let begin = piece.len();
        piece.resize(wanted.min((2 * begin).max(USUAL_BYTES)), 0);
        let read = retry_on_intr(|| pread(&file, &mut piece[begin..], offset + begin as u64))?;
        piece.truncate(begin + read);
        if read == 0 {
            break;
        }
    }
    Ok(piece)
}

fn open(grants: &Grants, path: &str) -> Result<File, FilesError> {
    if let Some(file) = open_kernel_file(grants, path) {
        return Ok(file);
    }
    match open_resolved(grants, path) {
        Err(PathError::NotPermitted(error)) => {
            Ok(own_view::open(grants.root(), path).unwrap_or(Err(PathError::NotPermitted(error)))?)
        }
        opened => Ok(opened?),
    }
}

fn open_resolved(grants: &Grants, path: &str) -> Result<File, PathError> {
    let opened = resolve_granted(grants, path, FileType::RegularFile, Grants::read)
        .and_then(|resolved| Ok(File::from(rustix::fs::open(&resolved.path, READING, Mode::empty())?)));
    opened.map_err(|error| own_view::explain(error, grants.root(), path))
}

/// Opens a file of the kernel directly, with half of the system calls: without a link on the way the path leads to the granted
/// file, and opening a kernel file has no effect. None for everything else, which [`resolve_granted`] handles.
#[cfg(target_os = "linux")]
fn open_kernel_file(grants: &Grants, path: &str) -> Option<File> {
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
fn open_kernel_file(_grants: &Grants, _path: &str) -> Option<File> {
    None
}

fn list(grants: &Grants, path: &str) -> Result<Vec<String>, FilesError> {
    let resolved = resolve_granted(grants, path, FileType::Directory, Grants::list)
        .map_err(|error| own_view::explain(error, grants.root(), path))?;
    let mut names = Vec::new();
    for entry in fs::read_dir(&resolved.path)? {
        // A guest cannot name a file whose name is not text.
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if names.len() == NAMES {
            return Err(FilesError::TooLarge(NAMES as u64));
        }
        names.push(name);
    }
    names.sort_unstable();
    Ok(names)
}

fn usage(grants: &Grants, path: &str) -> Result<FilesystemUsage, FilesError> {
    check_usage(grants, path).map_err(|refusal| match refusal {
        UsageRefusal::Path(refusal) => PathError::refused(&refusal, GrantKind::Usage, path),
        UsageRefusal::NotPermitted(error) => error.into(),
    })?;
    let stat = statvfs(grants.root(), path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(FilesystemUsage {
        total_bytes: bytes(stat.f_blocks),
        free_bytes: bytes(stat.f_bfree),
        available_bytes: bytes(stat.f_bavail),
        inodes: stat.f_files,
        free_inodes: stat.f_ffree,
        read_only: stat.f_flag.contains(StatVfsMountFlags::RDONLY),
    })
}

/// The usage of the file system at a path. Mounts it where that is done on demand.
#[cfg(target_os = "linux")]
fn statvfs(root: &Path, path: &str) -> Result<StatVfs, PathError> {
    let at = below(root, path);
    let opened = match open_without_effect(&at, OFlags::DIRECTORY) {
        Err(OpenError::Errno(Errno::NOTDIR)) => open_without_effect(&at, OFlags::empty()),
        opened => opened,
    };
    Ok(rustix::fs::fstatvfs(opened.map_err(|error| error.at(path))?)?)
}

#[cfg(not(target_os = "linux"))]
fn statvfs(root: &Path, path: &str) -> Result<StatVfs, PathError> {
    Ok(rustix::fs::statvfs(below(root, path))?)
}

/// Roots of mounts need no grant: neither the mounts nor their usage are secret. For any other path the result does not show
/// whether it exists.
fn check_usage(grants: &Grants, path: &str) -> Result<Basis, UsageRefusal> {
    match grants.usage(path) {
        Err(PathRefusal::Missing) => match is_mount_root(&below(grants.root(), path)) {
            Ok(true) => Ok(Basis::Default),
            // A grant would not help: a directory on the way is closed to the agent's user.
            Err(error @ (Errno::ACCESS | Errno::PERM)) => Err(UsageRefusal::NotPermitted(error)),
            Ok(false) | Err(_) => Err(UsageRefusal::Path(PathRefusal::Missing)),
        },
        decided => decided.map_err(UsageRefusal::Path),
    }
}

/// Why the usage of a file system is refused.
enum UsageRefusal {
    Path(PathRefusal),
    NotPermitted(Errno),
}

/// Resolves a granted path to a file of this type.
fn resolve_granted(
    grants: &Grants,
    path: &str,
    wanted: FileType,
    check: fn(&Grants, &str) -> Result<Basis, PathRefusal>,
) -> Result<ResolvedPath, PathError> {
    let check = |path: &str| {
        check(grants, path).map_err(|refusal| match refusal {
            PathRefusal::Own if grants.is_any_process(path) => {
                PathError::Denied(Denial::Expected(OWN_PROCESS.to_owned()))
            }
            refusal => PathError::refused(&refusal, GrantKind::Read, path),
        })
    };
    resolve(grants.root(), path, wanted, check)
}

/// Whether a file system is mounted at a path. Triggers no automount, and asks the kernel only: the file system of a server
/// that returns errors is mounted, too.
#[cfg(target_os = "linux")]
fn is_mount_root(path: &Path) -> rustix::io::Result<bool> {
    use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, statx};
    let handle = match open_without_effect(path, OFlags::empty()) {
        Ok(handle) => handle,
        Err(OpenError::MagicLink) => return Ok(false),
        Err(OpenError::Errno(error)) => return Err(error),
    };
    let flags = AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    Ok(statx(handle, "", flags, StatxFlags::BASIC_STATS)?.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Other systems do not show whether a file system is mounted at a path.
#[cfg(not(target_os = "linux"))]
fn is_mount_root(_path: &Path) -> rustix::io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::symlink;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::hostpath::Pattern;
    use crate::plugin::grants::kind::Grant;
    use crate::plugin::grants::network::Network;

    fn denied<T>(done: Result<T, FilesError>) -> Option<Denial> {
        match done {
            Err(FilesError::Path(PathError::Denied(denial))) => Some(denial),
            _ => None,
        }
    }

    fn missing(kind: GrantKind, path: &str) -> Denial {
        Denial::Missing(Grant::new(kind, path))
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
    fn granted_files_are_read_and_listed() {
        let (root, grants) = host();
        assert_eq!(read(&grants, "/data/open/a").expect("granted"), b"a");
        assert_eq!(list(&grants, "/data/open").expect("granted"), ["a"]);
        assert!(matches!(read(&grants, "/data/open/b"), Err(FilesError::Path(PathError::NotFound))));
        assert_eq!(denied(read(&grants, "/data/open")), Some(missing(GrantKind::Read, "/data/open")));
        fs::create_dir(root.path().join("data/open/dir")).expect("created");
        assert!(matches!(read(&grants, "/data/open/dir"), Err(FilesError::Path(PathError::WrongType))));
        assert!(matches!(list(&grants, "/data/open/a"), Err(FilesError::Path(PathError::WrongType))));
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
    #[cfg(target_os = "linux")]
    fn magic_links_are_refused_despite_grants() {
        let (root, _) = host();
        // What they lead to is granted, too.
        let patterns = ["/*", "/*/*", "/*/*/*", "/*/*/*/*", "/proc/*/fd/*", "/proc/*/root/*"];
        let granted = patterns.map(|pattern| Pattern::new(pattern).expect("a pattern"));
        let grants = Grants::new(Path::new("/"), &granted, &granted, Network::default());
        let file = File::open(root.path().join("data/open/a")).expect("open");
        let link = |name: &str, target: String| {
            let at = root.path().join(name);
            symlink(target, &at).expect("linked");
            at.to_str().expect("text").to_owned()
        };
        let to_file = link("file", format!("/proc/self/fd/{}", file.as_raw_fd()));
        let to_directory = link("directory", "/proc/self/cwd".to_owned());
        let within = format!("{to_directory}/Cargo.toml");
        let refusal = |path: &str| {
            Some(Denial::Final(format!(
                "\"{path}\" leads through a magic link to what a process has open (fd, cwd, root, exe …)"
            )))
        };
        for path in [&*to_file, &within, "/dev/stdin", "/dev/fd/0"] {
            assert_eq!(denied(read(&grants, path)), refusal(path));
        }
        assert_eq!(denied(list(&grants, &to_directory)), refusal(&to_directory));
        for path in [&*to_file, &to_directory, "/proc/self/root"] {
            assert_eq!(denied(usage(&grants, path)), refusal(path));
        }
        let grants = Grants::new(Path::new("/"), &[], &[], Network::default());
        assert_eq!(denied(usage(&grants, "/proc/self/root")), Some(missing(GrantKind::Usage, "/proc/self/root")));
    }

    #[test]
    fn a_pipe_is_refused_without_waiting() {
        let (root, grants) = host();
        let pipe = root.path().join("data/open/pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::from_raw_mode(0o600)).expect("made");
        assert!(matches!(read(&grants, "/data/open/pipe"), Err(FilesError::Path(PathError::WrongType))));
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
    fn default_grants_need_world_readable_files() {
        let (root, grants) = host();
        fs::create_dir(root.path().join("proc")).expect("created");
        let file = root.path().join("proc/uptime");
        fs::write(&file, "1 2").expect("written");
        assert!(read(&grants, "/proc/uptime").is_ok());
        rustix::fs::chmod(&file, Mode::from_raw_mode(0o600)).expect("changed");
        assert_eq!(denied(read(&grants, "/proc/uptime")), Some(missing(GrantKind::Read, "/proc/uptime")));
    }

    #[test]
    fn new_threads_belong_to_the_agent() {
        let pattern = Pattern::new("/proc/*/status").expect("a pattern");
        let grants = Grants::new(Path::new("/"), &[pattern], &[], Network::default());
        let until = Instant::now() + Duration::from_secs(2);
        let starting = thread::spawn(move || {
            while Instant::now() < until {
                let started: [_; 4] =
                    std::array::from_fn(|_| thread::spawn(|| thread::sleep(Duration::from_micros(300))));
                for thread in started {
                    thread.join().expect("it does not panic");
                }
            }
        });
        let own = format!("\nTgid:\t{}\n", std::process::id());
        while Instant::now() < until {
            let load = fs::read_to_string("/proc/loadavg").expect("readable");
            let last = load.rsplit(' ').next().and_then(|last| last.trim().parse::<u32>().ok());
            let last = last.expect("the last process number");
            for next in last + 1..last + 16 {
                let status = read(&grants, &format!("/proc/{next}/status")).unwrap_or_default();
                assert!(!String::from_utf8_lossy(&status).contains(&own), "{next} was read");
            }
        }
        starting.join().expect("it does not panic");
    }

    #[test]
    fn large_files_are_refused() {
        let (root, grants) = host();
        let file = File::create(root.path().join("data/open/big")).expect("created");
        file.set_len(FILE_BYTES as u64).expect("sized");
        assert_eq!(read(&grants, "/data/open/big").expect("just fits").len(), FILE_BYTES);
        file.set_len(FILE_BYTES as u64 + 1).expect("sized");
        assert!(matches!(read(&grants, "/data/open/big"), Err(FilesError::TooLarge(_))));
    }

    #[test]
    fn usage_of_mounts_needs_no_grant() {
        let grants = Grants::new(Path::new("/"), &[], &[], Network::default());
        let mount = usage(&grants, "/").expect("the root of all mounts");
        assert!(mount.total_bytes >= mount.free_bytes && mount.free_bytes >= mount.available_bytes);
        for path in ["/etc", "/no/such/place"] {
            assert_eq!(denied(usage(&grants, path)), Some(missing(GrantKind::Usage, path)));
        }
        let granted = [Pattern::new("/etc").expect("a pattern"), Pattern::new("/no/such/place").expect("a pattern")];
        let grants = Grants::new(Path::new("/"), &[], &granted, Network::default());
        assert!(usage(&grants, "/etc").is_ok());
        assert!(matches!(usage(&grants, "/no/such/place"), Err(FilesError::Path(PathError::NotFound))));
    }
}
