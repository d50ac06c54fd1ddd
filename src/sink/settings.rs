//! The settings of a sink, which its samples carry: a reload changes them between two samples.

use std::sync::Arc;

use super::admission::SeriesSettings;
use crate::config::{Config, SinkConfig, SinkKind};
use crate::sample::Text;

/// The settings of a sink.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SinkSettings {
    pub(super) name: Text,
    pub(super) series: Arc<SeriesSettings>,
    pub(super) kind: SinkKind,
}

impl SinkSettings {
    pub(super) fn new(config: &Config, name: &str, sink: &SinkConfig) -> Self {
        let (own, max_series) = (sink.selection.clone(), sink.max_series);
        let series = SeriesSettings { own, max_series, ..SeriesSettings::agent_wide(config) };
        Self { name: name.to_owned().into(), series: Arc::new(series), kind: sink.kind.clone() }
    }
}
