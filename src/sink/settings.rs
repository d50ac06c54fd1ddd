//! The settings of a sink, which its samples carry: a reload changes them between two samples.

use std::sync::Arc;
use std::time::Duration;

use super::admission::SeriesSettings;
use super::numeric::NumericSettings;
use crate::config::{Config, NetworkSettings, SinkConfig, SinkKind, SinkTarget};
use crate::sample::{Label, Text};

/// The settings of a sink.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SinkSettings {
    pub(super) name: Text,
    pub(super) series: Arc<SeriesSettings>,
    pub(super) kind: SinkKind,
    /// How many samples wait for it at most …
    pub(super) queue_samples: usize,
    /// … and how much memory they have at most.
    pub(super) queue_bytes: u64,
    /// The agent's interval, which is that of its samples.
    pub(super) interval: Duration,
    /// The beginning of the names that are ours, where it sends numbers.
    prefix: Text,
    /// Labels of every series of numbers.
    tags: Arc<[Label]>,
}

impl SinkSettings {
    pub(super) fn new(config: &Config, name: &str, sink: &SinkConfig) -> Self {
        let (own, max_series) = (sink.selection.clone(), sink.max_series);
        let mut series = SeriesSettings { own, max_series, ..SeriesSettings::agent_wide(config) };
        if let SinkKind::Network(network) = &sink.kind {
            series.keeps_time = false;
            series.naming = network.naming;
        }
        let label =
            |(name, value): (&String, &String)| Label { name: name.clone().into(), value: value.clone().into() };
        Self {
            name: name.to_owned().into(),
            series: Arc::new(series),
            kind: sink.kind.clone(),
            queue_samples: sink.queue_samples,
            queue_bytes: sink.queue_bytes,
            interval: config.interval,
            prefix: config.metrics.prefix.clone().into(),
            tags: config.tags.iter().map(label).collect(),
        }
    }

    /// Those of a test's sink of lines.
    #[cfg(test)]
    pub(super) fn test_settings(name: &'static str, sink: &SinkConfig) -> Self {
        Self {
            name: name.into(),
            series: Arc::default(),
            kind: sink.kind.clone(),
            queue_samples: sink.queue_samples,
            queue_bytes: sink.queue_bytes,
            interval: Duration::from_secs(1),
            prefix: "gauged".into(),
            tags: Arc::default(),
        }
    }

    /// The identity by which it is the same sink after a reload.
    pub(super) fn target(&self) -> SinkTarget<'_> {
        self.kind.target(&self.name)
    }

    /// Those of a sink that sends numbers.
    pub(super) fn network(&self) -> Option<&Arc<NetworkSettings>> {
        match &self.kind {
            SinkKind::Network(network) => Some(network),
            SinkKind::Stdout(_) | SinkKind::File(_) => None,
        }
    }

    /// The settings of its series' names, with the name of the host.
    pub(super) fn numeric(&self, network: &NetworkSettings, host: Text) -> NumericSettings {
        NumericSettings {
            series: Arc::clone(&self.series),
            naming: network.naming,
            prefix: self.prefix.clone(),
            tags: Arc::clone(&self.tags),
            host,
        }
    }
}
