//! The accounts of one plugin, which its instances share one after the other: neither a restart nor a new version or
//! configuration renews them.

pub(crate) mod denials;
pub(crate) mod log;
pub(crate) mod statistics;

use std::sync::Arc;

use self::log::PluginLog;
use self::statistics::Counters;
use crate::config::limits::{Limit, Limits};
use crate::plugin::offload::permits::Permits;
use crate::plugin::offload::pool::OffloadPool;
use crate::sample::{SeriesAccount, SeriesTable};

/// How many series a plugin may have at a time, for each metric that a result may have: those of the last samples, which sinks
/// may not have written yet, may all be different.
const SERIES_PER_METRIC: usize = 10;

/// The accounts of one plugin.
pub(crate) struct Accounts {
    /// The allowance of log lines.
    pub(crate) log: PluginLog,
    /// The permits for operations that may hang.
    pub(crate) permits: Arc<Permits>,
    /// The series that its results may have.
    pub(crate) series: Arc<SeriesAccount>,
    pub(crate) counters: Counters,
}

impl Accounts {
    /// The accounts of a plugin whose series are in this table, and whose operations run on this pool.
    pub(crate) fn new(plugin: &Arc<str>, limits: &Limits, series: &Arc<SeriesTable>, pool: &OffloadPool) -> Self {
        Self {
            log: PluginLog::new(Arc::clone(plugin), limits[Limit::LogLines]),
            permits: Arc::new(Permits::new(pool.clone())),
            series: SeriesAccount::new(Arc::clone(series), series_limit(limits)),
            counters: Counters::default(),
        }
    }

    /// Follows the limits of a new configuration.
    pub(crate) fn set_limits(&self, limits: &Limits) {
        self.log.set_limit(limits[Limit::LogLines]);
        self.series.set_limit(series_limit(limits));
    }
}

fn series_limit(limits: &Limits) -> usize {
    usize::try_from(limits[Limit::Metrics]).unwrap_or(usize::MAX).saturating_mul(SERIES_PER_METRIC)
}
