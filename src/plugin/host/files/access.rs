//! What all operations on files share: their errors, and the way from a granted path to its file.

use std::borrow::Cow;

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use crate::config::script::FileError;
use crate::hostpath::first_process_path;
use crate::plugin::context::PluginContext;
use crate::plugin::grants::kind::{Denial, GrantKind};
use crate::plugin::grants::{Basis, Grants, PathRefusal};
use crate::plugin::guest::bindings::gauged::plugin::files::Error;
use crate::plugin::host::denial::Refusal;
use crate::plugin::host::os_error::{self, without_code};
use crate::plugin::host::own_view;
use crate::plugin::host::resolved_path::{LastLink, OWN_PROCESS, PathError, ResolvedPath, resolve_any};
use crate::plugin::offload::permits::PermitError;

/// The flags to open a file for reading.
pub(super) const READING: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Why an operation failed.
#[derive(Debug)]
pub(super) enum FilesError {
    Path(PathError),
    TooLarge(u64),
    Permit(PermitError),
}

impl<T: Into<PathError>> From<T> for FilesError {
    fn from(error: T) -> Self {
        Self::Path(error.into())
    }
}

/// The error for the guest. Reports a denial to the operator.
pub(super) fn wit_error(plugin: &PluginContext, path: &str, error: FilesError) -> Error {
    match error {
        FilesError::Path(PathError::Denied(denial)) => match plugin.deny(denial) {
            Refusal::Missing(capability) => Error::Denied(capability),
            Refusal::Forbidden(why) => Error::Forbidden(why),
        },
        FilesError::Path(PathError::Malformed(why)) => Error::InvalidPath(why),
        FilesError::Path(PathError::NotFound) => Error::NotFound,
        FilesError::Path(PathError::NotPermitted(error)) => Error::NotPermitted(own_view::refusal(error, path)),
        FilesError::Path(PathError::NotSupported(error)) => Error::NotSupported(os_error::text(error)),
        FilesError::Path(PathError::WrongType) => Error::WrongType,
        FilesError::Path(PathError::Io(error)) => Error::Io(error),
        FilesError::Permit(PermitError::Panicked(why)) => Error::Io(without_code(why)),
        FilesError::TooLarge(limit) => Error::TooLarge(limit),
        FilesError::Permit(PermitError::Late) => Error::Timeout,
    }
}

/// Begins an operation on a file or directory: returns the path that this one stands for, records a default grant, and fails as a
/// script says.
pub(super) fn begin(plugin: &PluginContext, path: String) -> Result<String, Error> {
    let path = match first_process_path(&path) {
        Cow::Owned(first) => first,
        Cow::Borrowed(_) => path,
    };
    plugin.record_default_grant(&path);
    match scripted_failure(plugin, &path) {
        Some(failure) => Err(wit_error(plugin, &path, failure)),
        None => Ok(path),
    }
}

/// How a script fails a granted file.
fn scripted_failure(plugin: &PluginContext, path: &str) -> Option<FilesError> {
    let error = plugin.script.as_ref()?.failure(path).filter(|_| plugin.grants.covers(path).is_ok())?;
    Some(match error {
        FileError::NotFound => PathError::NotFound.into(),
        FileError::NotPermitted => PathError::NotPermitted(Errno::ACCESS).into(),
        FileError::Timeout => FilesError::Permit(PermitError::Late),
        FileError::Io => PathError::from(Errno::IO).into(),
    })
}

/// Resolves a granted path to a file of this type.
pub(super) fn resolve_granted(
    grants: &Grants,
    path: &str,
    wanted: FileType,
    check: fn(&Grants, &str) -> Result<Basis, PathRefusal>,
) -> Result<ResolvedPath, PathError> {
    let resolved = resolve_granted_any(grants, path, LastLink::Followed, check)?;
    if FileType::from_raw_mode(resolved.status.st_mode) == wanted { Ok(resolved) } else { Err(PathError::WrongType) }
}

/// Resolves a granted path to a file of any type.
pub(super) fn resolve_granted_any(
    grants: &Grants,
    path: &str,
    last_link: LastLink,
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
    resolve_any(grants.root(), path, last_link, check)
}
