//! States of files, and the paths in symbolic links. Neither opens a file.

#[cfg(target_os = "linux")]
use std::path::Path;

use rustix::fs::{FileType, Stat, readlinkat};
use rustix::io::Errno;

use super::access::{FilesError, resolve_granted_any};
use super::directory::kind;
#[cfg(target_os = "linux")]
use crate::plugin::grants::Basis;
use crate::plugin::grants::Grants;
use crate::plugin::guest::bindings::gauged::plugin::files::FileStatus;
#[cfg(target_os = "linux")]
use crate::plugin::host::own_tasks;
use crate::plugin::host::own_view;
use crate::plugin::host::resolved_path::{LastLink, PathError};

/// The bits of a mode that are permissions.
const PERMISSIONS: u32 = 0o7777;

/// The unit in which the kernel counts the space of a file, whatever the file system.
const BLOCK_BYTES: u64 = 512;

pub(super) fn stat(grants: &Grants, path: &str) -> Result<FileStatus, FilesError> {
    if let Some(status) = stat_descriptors(grants, path) {
        return Ok(file_status(&status));
    }
    let resolved = resolve_granted_any(grants, path, LastLink::Followed, Grants::list)
        .map_err(|error| own_view::explain(error, grants.root(), path))?;
    Ok(file_status(&resolved.status))
}

pub(super) fn read_link(grants: &Grants, path: &str) -> Result<String, FilesError> {
    let resolved = resolve_granted_any(grants, path, LastLink::Kept, Grants::read)
        .map_err(|error| own_view::explain(error, grants.root(), path))?;
    if FileType::from_raw_mode(resolved.status.st_mode) != FileType::Symlink {
        return Err(PathError::WrongType.into());
    }
    let link = readlinkat(&resolved.handle, "", Vec::new())?;
    // A guest could not name it.
    link.into_string().map_err(|_not_text| FilesError::from(Errno::ILSEQ))
}

/// The state of the directory with a process's open files, of which a plugin asks for hundreds at each tick: with two system calls,
/// since no link is on the way, and the device shows that it is in the agent's own `/proc`. None for everything else, and for all
/// that is refused.
#[cfg(target_os = "linux")]
fn stat_descriptors(grants: &Grants, path: &str) -> Option<Stat> {
    use rustix::fs::lstat;
    if grants.root() != Path::new("/")
        || !is_descriptors(path)
        || grants.lists_by_text(path) != Some(Basis::Configuration)
    {
        return None;
    }
    let status = lstat(path).ok()?;
    (own_tasks::is_own(path, &status) == Some(false)).then_some(status)
}

#[cfg(not(target_os = "linux"))]
fn stat_descriptors(_grants: &Grants, _path: &str) -> Option<Stat> {
    None
}

/// Whether a path is that of the directory with a process's open files.
#[cfg(target_os = "linux")]
fn is_descriptors(path: &str) -> bool {
    let process = path.strip_prefix("/proc/").and_then(|rest| rest.strip_suffix("/fd"));
    process.is_some_and(own_tasks::is_number)
}

#[allow(
    clippy::unnecessary_cast,
    clippy::cast_lossless,
    clippy::cast_possible_wrap,
    reason = "the types of the fields differ by architecture, and there are fewer than 2^63 nanoseconds in a second"
)]
fn file_status(status: &Stat) -> FileStatus {
    let unsigned = |number: i64| u64::try_from(number).unwrap_or_default();
    let seconds = (status.st_mtime as i64).saturating_mul(1_000_000_000);
    FileStatus {
        kind: kind(FileType::from_raw_mode(status.st_mode)),
        permissions: u16::try_from(status.st_mode as u32 & PERMISSIONS).unwrap_or_default(),
        user: status.st_uid,
        group: status.st_gid,
        size: unsigned(status.st_size as i64),
        allocated_bytes: unsigned(status.st_blocks as i64).saturating_mul(BLOCK_BYTES),
        modified_ns: seconds.saturating_add(status.st_mtime_nsec as i64),
        device: status.st_dev as u64,
        inode: status.st_ino as u64,
        links: status.st_nlink as u64,
    }
}
