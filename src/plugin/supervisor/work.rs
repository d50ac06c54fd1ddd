//! The load or trial that is under way for a plugin: one at a time, beside the calls. What happens meanwhile decides what
//! follows it.
//!
//! ```text
//!           file changed, or to be retried             reconfigured, or to be retried; a version serves
//!  Loading ◀────────────────────────────── None ──────────────────────────────▶ Trying
//!                                           ▲             committed               │ ended, and is to be committed with others
//!                                           └──────────────────────── Holding ◀───┘
//!
//!  ended, and meanwhile     Loading                                  Trying, or Holding until the commit
//!  nothing                  None                                     None
//!  the file has changed     Loading                                  Loading
//!  it was reconfigured      Trying, then Loading; only Loading       Trying: the outcome does not count
//!                           without a version: the outcome does
//!                           not count
//! ```

use std::sync::Arc;
use std::time::Instant;

use crate::plugin::context::PluginContext;
use crate::plugin::load::Outcome;
use crate::plugin::rejection::Rejection;
use crate::plugin::trial::Trial;
use crate::plugin::version::Version;

/// The load or trial that is under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Work {
    #[default]
    None,
    /// The file is being loaded with the newest configuration that there was at its start.
    Loading(Since),
    /// The version that serves is being tried with a new configuration.
    Trying {
        /// Whether there is a newer configuration by now.
        is_outdated: bool,
        /// Whether the file is to be loaded afterwards.
        then_load: bool,
    },
    /// The trial has ended. Until the commit nothing is loaded: neither of the two configurations would be the right one.
    Holding {
        /// Whether the file is to be loaded afterwards.
        then_load: bool,
    },
}

/// What has happened since a load began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    Nothing,
    /// The file has changed.
    Changed,
    /// The plugin was reconfigured, and its file may have changed as well.
    Reconfigured,
}

/// A task that a supervisor asks its owner to run.
pub(crate) enum Job {
    /// Load the plugin's file, with its newest configuration.
    Load,
    Trial(Box<ConfigurationTrial>),
}

/// The trial of the version that serves with a new configuration. Nothing is read or compiled.
pub(crate) struct ConfigurationTrial {
    pub(crate) version: Arc<Version>,
    pub(crate) plugin: PluginContext,
}

impl ConfigurationTrial {
    /// Runs the trial. `clock` is the zero of the guest's clock.
    pub(crate) async fn run(self, clock: Instant) -> JobOutcome {
        JobOutcome::Tried(self.plugin.try_version(&self.version, clock).await)
    }
}

/// The outcome of a job.
pub(crate) enum JobOutcome {
    Loaded(Outcome),
    Tried(Result<Trial, Rejection>),
    /// The agent's own code panicked; the reason.
    Panicked(String),
}

impl Work {
    /// Notes that the file has changed. Returns its load; none when that comes later.
    pub(crate) fn file_changed(&mut self) -> Option<Job> {
        match self {
            Self::None => return Some(self.load()),
            Self::Loading(Since::Reconfigured) => {}
            Self::Loading(since) => *since = Since::Changed,
            Self::Trying { then_load, .. } | Self::Holding { then_load } => *then_load = true,
        }
        None
    }

    /// Begins a load.
    pub(crate) fn load(&mut self) -> Job {
        *self = Self::Loading(Since::Nothing);
        Job::Load
    }
}
