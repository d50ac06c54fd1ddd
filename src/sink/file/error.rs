//! Errors of a file, each with the operation, the file and the remedy.

use std::io;
use std::path::Path;

use crate::sink::error::{ErrorReason, SinkError};

/// An error of the system. The operation is the beginning of a sentence that ends with the file: `failed to write`.
pub(super) fn failed(operation: &str, path: &Path, error: &io::Error) -> SinkError {
    let reason = ErrorReason::from_error(error);
    SinkError { reason, text: format!("{operation} {}: {error}", path.display()), remedy: remedy(reason) }
}

/// There is something else at the path; `kind` is what, with its article.
pub(super) fn not_a_file(path: &Path, kind: &str, remedy: &'static str) -> SinkError {
    let text = format!("{} is {kind}, and no regular file", path.display());
    SinkError { reason: ErrorReason::NotAFile, text, remedy }
}

/// A rotation failed to rename or to remove a file. That is up to the directory.
pub(super) fn not_rotated(operation: &str, path: &Path, error: &io::Error) -> SinkError {
    const REMEDY: &str = "let the agent's user write the directory, and mount a directory rather than the file; or set rotate_size and \
                          rotate_age to \"never\"";
    SinkError { remedy: REMEDY, ..failed(operation, path, error) }
}

/// A sync failed: the lines are in the file, and a crash of the host may lose them.
pub(super) fn not_synced(operation: &str, path: &Path, error: &io::Error) -> SinkError {
    SinkError { reason: ErrorReason::Sync, ..failed(operation, path, error) }
}

fn remedy(reason: ErrorReason) -> &'static str {
    match reason {
        ErrorReason::NoSpace => "make space, or lower rotate_size and keep",
        ErrorReason::Permission => "let the agent's user read and write the file, and write its directory",
        ErrorReason::NotFound => "create the file's directory for the agent's user; for systemd see LogsDirectory=",
        ErrorReason::ReadOnly => "make the directory writable; for systemd see LogsDirectory= and ReadWritePaths=",
        ErrorReason::TooLarge => "lower rotate_size below the limit, or raise LimitFSIZE or ulimit -f",
        ErrorReason::NotAFile => "name a regular file",
        ErrorReason::Descriptors => {
            "let the agent have more open files: raise LimitNOFILE or ulimit -n; for all processes fs.file-max"
        }
        // The others are not those of a file.
        _ => "look into the kernel's log for errors of the disk",
    }
}
