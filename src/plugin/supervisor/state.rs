//! The states of a plugin, as the metric `plugin_state` has them.

use crate::plugin::context::PluginContext;
use crate::plugin::guest::fault::{CallErrorKind, DisabledCause};

/// The state of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PluginState {
    /// The file is being loaded for the first time.
    Loading,
    /// The last call, or the trial, succeeded.
    Up,
    /// The service or device that it measures is not there.
    Unavailable,
    /// The last call ended in a fault, after which it is called again after a pause, or returned the error `failed`.
    Failed,
    /// It cannot work on this host, or is not called until its file changes.
    Disabled,
    /// The file was rejected or cannot be read, and no version serves.
    Rejected,
    /// It needs a table in the configuration and has none.
    Idle,
}

/// The state after an error that the plugin returned.
impl From<CallErrorKind> for PluginState {
    fn from(kind: CallErrorKind) -> Self {
        match kind {
            CallErrorKind::Unavailable => Self::Unavailable,
            CallErrorKind::Failed => Self::Failed,
        }
    }
}

impl PluginState {
    /// The state of a plugin that returned that it cannot work, when no version serves.
    pub(crate) fn disabled(cause: DisabledCause, plugin: &PluginContext) -> Self {
        match cause {
            DisabledCause::Unsupported => Self::Disabled,
            DisabledCause::InvalidConfig | DisabledCause::Denied if plugin.is_configured => Self::Rejected,
            DisabledCause::InvalidConfig | DisabledCause::Denied => Self::Idle,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Up => "up",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
            Self::Disabled => "disabled",
            Self::Rejected => "rejected",
            Self::Idle => "idle",
        }
    }
}
