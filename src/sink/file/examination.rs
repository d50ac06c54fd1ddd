//! Looks at the path of a file of samples as opening it would, and neither opens nor creates anything.

use std::io;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::error::{failed, not_rotated};
use super::open::check_kind;
use super::rotated;
use crate::config::FileSettings;
use crate::sink::error::SinkError;

/// Looks at the path.
///
/// # Errors
///
/// When there is something else than a file, which no user can change by a permission; or when this user could not write it.
pub(crate) fn examine_file(settings: &FileSettings) -> Result<(), SinkError> {
    const DIRECTORY: &str = "this user cannot write the directory of";
    let path = &settings.path;
    let in_directory = || access(rotated::directory(path), Access::WRITE_OK | Access::EXEC_OK);
    match path.symlink_metadata() {
        Ok(metadata) => {
            check_kind(path, metadata.file_type())?;
            access(path, Access::READ_OK | Access::WRITE_OK)
                .map_err(|error| failed("this user cannot read and write", path, &error))?;
            if settings.rotate_size.is_none() && settings.rotate_age.is_none() {
                return Ok(());
            }
            in_directory().map_err(|error| not_rotated(DIRECTORY, path, &error))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            in_directory().map_err(|error| failed(DIRECTORY, path, &error))
        }
        Err(error) => Err(failed("this user cannot examine", path, &error)),
    }
}

/// Whether the user that this process acts for may do this.
fn access(path: &Path, access: Access) -> io::Result<()> {
    Ok(accessat(CWD, path, access, AtFlags::EACCESS)?)
}
