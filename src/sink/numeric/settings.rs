//! The settings on which the names of a sink's series depend.

use std::sync::Arc;

use crate::naming::Naming;
use crate::sample::{AGENT, Label, Sample, Text, Value};
use crate::sink::admission::SeriesSettings;

/// The settings on which the names of a sink's series depend.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::sink) struct NumericSettings {
    pub(in crate::sink) series: Arc<SeriesSettings>,
    pub(in crate::sink) naming: Naming,
    /// The beginning of the names that are ours.
    pub(in crate::sink) prefix: Text,
    /// Labels of every series; a metric's own label of that name wins.
    pub(in crate::sink) tags: Arc<[Label]>,
    /// The name of the host.
    pub(in crate::sink) host: Text,
}

impl NumericSettings {
    /// These settings with the host name that a sample has. Where it has none, the one before stays.
    pub(in crate::sink) fn with_host(self: &Arc<Self>, sample: &Sample) -> Arc<Self> {
        match host(sample) {
            Some(host) if *host != self.host => Arc::new(Self { host: host.clone(), ..Self::clone(self) }),
            _ => Arc::clone(self),
        }
    }
}

/// The host name in a sample.
fn host(sample: &Sample) -> Option<&Text> {
    let agent = sample.modules.iter().find(|module| **module.name() == *AGENT)?;
    let metric = agent.metrics().find(|metric| metric.name() == "hostname")?;
    match metric.value {
        Value::Text(host) => Some(host),
        _ => None,
    }
}
