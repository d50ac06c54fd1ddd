//! Errors of a spool, each with the operation, the path and the remedy.

use std::io;
use std::path::Path;

use crate::sink::error::{ErrorReason, SinkError};
use crate::state_directory::{StateError, StateErrorKind};

/// An error of the system. The operation is the beginning of a sentence that ends with the path: `failed to write`.
pub(super) fn failed(operation: &str, path: &Path, error: &io::Error) -> SinkError {
    let reason = ErrorReason::from_error(error);
    SinkError { reason, text: format!("{operation} {}: {error}", path.display()), remedy: remedy(reason) }
}

/// A sync failed: the requests are in the files, and a loss of power may lose them.
pub(super) fn not_synced(path: &Path, error: &io::Error) -> SinkError {
    SinkError { reason: ErrorReason::Sync, ..failed("failed to sync", path, error) }
}

/// A request that no spool of this size has room for.
pub(super) fn too_large(bytes: u64, bound: u64) -> SinkError {
    let text = format!("a request of {bytes} bytes is larger than a spool of {bound} bytes");
    SinkError { reason: ErrorReason::TooLarge, text, remedy: "raise spool_size of the sink" }
}

/// The state directory cannot be used.
pub(super) fn without_state(StateError { kind, text, remedy }: StateError) -> SinkError {
    let reason = match kind {
        StateErrorKind::None => ErrorReason::NotFound,
        StateErrorKind::Refused => ErrorReason::Permission,
        StateErrorKind::InUse => ErrorReason::InUse,
        StateErrorKind::System(error) => error.map_or(ErrorReason::Io, |error| ErrorReason::from_error(&error.into())),
    };
    SinkError { reason, text, remedy }
}

fn remedy(reason: ErrorReason) -> &'static str {
    match reason {
        ErrorReason::NoSpace => "make space in the state directory, or lower spool_size",
        ErrorReason::Permission => "let the agent's user read and write the state directory and all that is in it",
        ErrorReason::NotFound => "create the directory above the state directory; for systemd see StateDirectory=",
        ErrorReason::ReadOnly => {
            "make the state directory writable; for systemd see StateDirectory= and ReadWritePaths="
        }
        ErrorReason::TooLarge => "raise LimitFSIZE or ulimit -f above the mebibyte of a segment",
        ErrorReason::NotAFile => "remove what is in the place of a file or directory of the spool",
        ErrorReason::Descriptors => {
            "let the agent have more open files: raise LimitNOFILE or ulimit -n; for all processes fs.file-max"
        }
        // The others are not those of a spool.
        _ => "look into the kernel's log for errors of the disk",
    }
}
