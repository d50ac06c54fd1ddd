//! Reports of what cannot be read of a group. The source of a report is the file of any group: a host with many containers would
//! otherwise have a new kind of report for each. The message names the group's own file.

use gauged_plugin::Error;
use gauged_plugin::skipped::{Cause, Skip};

/// The directory of all groups.
pub(crate) const ROOT: &str = "/sys/fs/cgroup";

/// An error in a file of a group.
pub(crate) struct InFile<E>(pub(crate) E);

/// An error in the directory of a group.
pub(crate) struct InDirectory<E>(pub(crate) E);

impl<E: Cause> Cause for InFile<E> {
    fn skip(&self) -> Skip {
        let skip = self.0.skip();
        let file = skip.path.rsplit('/').next().unwrap_or_default();
        anonymous([ROOT, "/*/", file].concat(), skip)
    }
}

impl<E: Cause> Cause for InDirectory<E> {
    fn skip(&self) -> Skip {
        anonymous([ROOT, "/*"].concat(), self.0.skip())
    }
}

fn anonymous(path: String, skip: Skip) -> Skip {
    Skip { why: [&skip.path, ": ", &skip.why].concat(), path, ..skip }
}

impl<E: Cause> From<InFile<E>> for Error {
    fn from(error: InFile<E>) -> Self {
        error.0.into()
    }
}

impl<E: Cause> From<InDirectory<E>> for Error {
    fn from(error: InDirectory<E>) -> Self {
        error.0.into()
    }
}
