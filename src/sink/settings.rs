//! The settings of a sink, which its samples carry: a reload changes them between two samples.

use std::sync::Arc;

use super::admission::SeriesSettings;
use crate::config::{Config, OnClosed, SinkConfig, SinkKind};

/// The settings of a sink.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SinkSettings {
    pub(super) series: Arc<SeriesSettings>,
    pub(super) kind: SinkKind,
}

impl SinkSettings {
    pub(super) fn new(config: &Config, sink: &SinkConfig) -> Self {
        let (own, max_series) = (sink.selection.clone(), sink.max_series);
        let series = SeriesSettings { own, max_series, ..SeriesSettings::agent_wide(config) };
        Self { series: Arc::new(series), kind: sink.kind.clone() }
    }

    /// What follows when the reader of standard output has closed it.
    pub(super) fn on_closed(&self) -> OnClosed {
        match self.kind {
            SinkKind::Stdout(on_closed) => on_closed,
            SinkKind::File(_) => OnClosed::Continue,
        }
    }
}
