//! The capability `files`: reads files, lists directories and returns the usage of file systems of the measured host, as far
//! as they are granted. Operations that may wait for a device or another machine run on another thread, and so do those on
//! files of the kernel that have been slow. `/proc/net` and `/proc/mounts` are those of process 1.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rustix::fs::{FileType, Mode, OFlags, StatVfs, StatVfsMountFlags};
use rustix::io::{Errno, pread, retry_on_intr};

use crate::config::script::{FileError, ScriptedUsage};
use crate::hostpath::{below, first_process_path};
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

/// The most bytes of all names together, which the agent holds for the guest: 40 for each of so many.
const NAME_BYTES: usize = 4 << 20;

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
        if let Some(scripted) = self.plugin.script.as_ref().and_then(|script| script.usage(&path)) {
            let ScriptedUsage { total_bytes, free_bytes, available_bytes, inodes, free_inodes, read_only } = scripted;
            return Ok(FilesystemUsage { total_bytes, free_bytes, available_bytes, inodes, free_inodes, read_only });
        }
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
    let path = match first_process_path(&path) {
        Cow::Owned(first) => first,
        Cow::Borrowed(_) => path,
    };
    plugin.record_default_grant(&path);
    if let Some(failure) = scripted_failure(plugin, &path) {
        return Err(wit_error(plugin, &path, failure));
    }
    let Some(kind) = KernelFile::classify(&path) else {
        return offload_path(plugin, time.patience(), path, work).await;
    };
    if kind.is_slow() {
        let timed = move |grants: &Grants, path: &str| kind.timed(|| work(grants, path));
        return offload_path(plugin, time.patience(), path, timed).await;
    }
    kind.run(|| work(&plugin.grants, &path)).map_err(|error| wit_error(plugin, &path, error))
}

/// How a script fails a granted file.
fn scripted_failure(plugin: &PluginContext, path: &str) -> Option<FilesError> {
    let error = plugin.script.as_ref()?.failure(path).filter(|_| plugin.grants.covers(path).is_some())?;
    Some(match error {
        FileError::NotFound => PathError::NotFound.into(),
        FileError::NotPermitted => PathError::NotPermitted(Errno::ACCESS).into(),
        FileError::Timeout => FilesError::Permit(PermitError::Late),
        FileError::Io => PathError::from(Errno::IO).into(),
    })
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
            let own = grants.read(path).ok().and_then(|basis| own_view::open(grants.root(), path, basis));
            Ok(own.unwrap_or(Err(PathError::NotPermitted(error)))?)
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
    let (mut names, mut bytes) = (Vec::new(), 0);
    for entry in fs::read_dir(&resolved.path)? {
        // A guest cannot name a file whose name is not text.
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if names.len() == NAMES {
            return Err(FilesError::TooLarge(NAMES as u64));
        }
        bytes += name.len();
        if bytes > NAME_BYTES {
            return Err(FilesError::TooLarge(NAME_BYTES as u64));
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
