//! Reports of what cannot be read of a group. The source of a report is the file of any group: a host with many containers would
//! otherwise have a new kind of report for each. The message names the group's own file.

use gauged_plugin::Error;
use gauged_plugin::skipped::{Cause, Skip};

/// The directory of all groups.
pub(crate) const ROOT: &str = "/sys/fs/cgroup";

/// An error in a group.
pub(crate) enum InGroup<E> {
    /// In one of its files.
    InFile(E),
    /// In its directory.
    InDirectory(E),
}

pub(crate) use InGroup::{InDirectory, InFile};

impl<E: Cause> Cause for InGroup<E> {
    fn skip(&self) -> Skip {
        let (InFile(error) | InDirectory(error)) = self;
        let skip = error.skip();
        let file = skip.path.rsplit('/').next().filter(|_| matches!(self, InFile(_)));
        let path = [ROOT, "/*", if file.is_some() { "/" } else { "" }, file.unwrap_or_default()].concat();
        Skip { why: [&skip.path, ": ", &skip.why].concat(), path, ..skip }
    }
}

impl<E: Cause> From<InGroup<E>> for Error {
    fn from(error: InGroup<E>) -> Self {
        let (InFile(error) | InDirectory(error)) = error;
        error.into()
    }
}
