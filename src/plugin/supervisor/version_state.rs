//! Whether a version of a plugin serves.

use crate::plugin::guest_thread::abandonment::Suspension;
use crate::plugin::supervisor::serving::Serving;

/// Whether a version serves.
pub(super) enum VersionState {
    /// No file has passed its trial. Why is in the status of the file.
    Absent,
    /// An earlier guest thread hung in it: its file is not loaded yet.
    Suspended(Suspension),
    Serving(Serving),
}

impl VersionState {
    /// The version that serves, if one does.
    pub(super) fn serving(&self) -> Option<&Serving> {
        match self {
            Self::Absent | Self::Suspended(_) => None,
            Self::Serving(serving) => Some(serving),
        }
    }

    /// How the plugin is kept from being loaded, if it is.
    pub(super) fn suspension(&self) -> Option<Suspension> {
        match self {
            Self::Suspended(suspension) => Some(*suspension),
            Self::Absent | Self::Serving(_) => None,
        }
    }
}
