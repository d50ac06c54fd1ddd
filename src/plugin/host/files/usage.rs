//! Sizes of file systems. Roots of mounts need no grant: neither the mounts nor their usage are secret.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

#[cfg(target_os = "linux")]
use rustix::fs::OFlags;
use rustix::fs::{StatVfs, StatVfsMountFlags};
use rustix::io::Errno;

use super::access::FilesError;
#[cfg(not(target_os = "linux"))]
use crate::hostpath::below;
use crate::plugin::context::PluginContext;
use crate::plugin::grants::kind::GrantKind;
use crate::plugin::grants::{Basis, Grants, PathRefusal};
use crate::plugin::guest::bindings::gauged::plugin::files::FilesystemUsage;
use crate::plugin::host::resolved_path::PathError;
#[cfg(target_os = "linux")]
use crate::plugin::host::resolved_path::{OpenError, open_without_effect};
use crate::plugin::offload::permits::OffloadTarget;

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

pub(super) fn usage(grants: &Grants, path: &str) -> Result<FilesystemUsage, FilesError> {
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
    let opened = match open_without_effect(root, path, OFlags::DIRECTORY) {
        Err(OpenError::Errno(Errno::NOTDIR)) => open_without_effect(root, path, OFlags::empty()),
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
        Err(PathRefusal::Missing) => match is_mount_root(grants.root(), path) {
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

/// Whether a file system is mounted at a path. Triggers no automount, and asks the kernel only: the file system of a server
/// that returns errors is mounted, too.
#[cfg(target_os = "linux")]
fn is_mount_root(root: &Path, path: &str) -> rustix::io::Result<bool> {
    use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, statx};
    let handle = match open_without_effect(root, path, OFlags::empty()) {
        Ok(handle) => handle,
        Err(OpenError::MagicLink) => return Ok(false),
        Err(OpenError::Errno(error)) => return Err(error),
    };
    let flags = AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    Ok(statx(handle, "", flags, StatxFlags::BASIC_STATS)?.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Other systems do not show whether a file system is mounted at a path.
#[cfg(not(target_os = "linux"))]
fn is_mount_root(_root: &Path, _path: &str) -> rustix::io::Result<bool> {
    Ok(false)
}
