//! Errors of the state directory, each with its remedy.

use std::io;
use std::path::Path;

use rustix::io::Errno;

/// Why the state directory cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateError {
    pub(crate) kind: StateErrorKind,
    /// The directory and what is wrong with it.
    pub(crate) text: String,
    /// The action for the operator.
    pub(crate) remedy: &'static str,
}

/// The kinds of these errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateErrorKind {
    /// Nothing names a directory.
    None,
    /// Others can change it.
    Refused,
    /// Somebody else uses it, or this agent in another place.
    InUse,
    /// An error of the system, if it has a number.
    System(Option<Errno>),
}

impl StateError {
    pub(super) fn none() -> Self {
        let text = "there is no state directory: neither the configuration nor the environment names one".to_owned();
        Self { kind: StateErrorKind::None, text, remedy: "set state_directory" }
    }

    pub(super) fn refused(path: &Path, why: &str) -> Self {
        let remedy = "give it to the agent's user and chmod it to 700; or set state_directory to such a directory";
        Self { kind: StateErrorKind::Refused, text: format!("{} {why}", path.display()), remedy }
    }

    pub(super) fn in_use(path: &Path, pid: Option<u32>) -> Self {
        let pid = pid.map_or_else(|| "an unknown process id".to_owned(), |pid| format!("process id {pid}"));
        let text = format!("{} is in use by another agent with {pid}", path.display());
        Self { kind: StateErrorKind::InUse, text, remedy: "end that agent, or give this one its own state_directory" }
    }

    pub(super) fn open_spool(name: &str) -> Self {
        let text = format!("the spool {name} is still in use by the sink that had this name before");
        Self { kind: StateErrorKind::InUse, text, remedy: "wait until that sink has ended" }
    }

    /// An error of the system. The operation is the beginning of a sentence that ends with the directory.
    pub(super) fn system(operation: &str, path: &Path, error: &io::Error) -> Self {
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "make it for the agent's user with mode 700; for systemd see StateDirectory="
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                "make it writable; for systemd see StateDirectory= and ReadWritePaths="
            }
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => "remove the file that is in its place",
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make space on its disk",
            _ => "make it usable for the agent's user, or set state_directory to another one",
        };
        let text = format!("{operation} {}: {error}", path.display());
        Self { kind: StateErrorKind::System(Errno::from_io_error(error)), text, remedy }
    }
}
