//! Values from JSON documents, which services return over HTTP or write into files: the settings say which paths become which metrics.
//! A source without a document is measured as down, which is not an error.

mod metric;
mod settings;
mod source;

use gauged_plugin::descriptor::FoundMetric;
use gauged_plugin::json::Document;
use gauged_plugin::service::{Failure, Poller};
use gauged_plugin::{About, Error, Need, Plugin, Sample, Tick, about};
use metric::{Left, Metric};
use settings::{SETTINGS, Settings};
use source::Source;

gauged_plugin::metrics! {
    module "json" by {"source": "URL or path of the document"};
    /// Whether the source has the document: it responds in time, with an expected status and with JSON.
    UP: gauge "up" in "1";
    /// Reason of the failure: `request` (the agent rejects it), `resolve`, `connect`, `permission`, `closed`, `tls`, `timeout`,
    /// `protocol`, `too_large`, `status`, `body`, of a file also `address` (the agent rejects it), `missing` and `read`; left out while
    /// the source is up.
    FAILURE: gauge "failure" in "1";
    /// Failed reads by reason, since the plugin started.
    FAILURES: counter "failures_total" in "1" by {"reason": "A word of `failure`"} since plugin;
    /// Number of values that the document gave to metrics.
    VALUES: gauge "values" in "{value}";
}

struct Json {
    /// The metrics of each document of the settings.
    metrics: Vec<Vec<Metric>>,
    sources: Vec<Source>,
    poller: Poller,
}

impl Plugin for Json {
    const ABOUT: About = about!("Values from JSON documents of services and files.");
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        let (metrics, sources) = settings.validate()?;
        Ok(Self { metrics, sources, poller: Poller::default() })
    }

    fn needs(&self) -> Vec<Need> {
        self.sources.iter().map(Source::need).collect()
    }

    fn metrics(&self) -> Vec<FoundMetric> {
        let mut all: Vec<FoundMetric> = Vec::new();
        for metric in self.metrics.iter().flatten().filter_map(Metric::described) {
            if !all.contains(metric) {
                all.push(metric.clone());
            }
        }
        all
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let Self { metrics, sources, poller } = self;
        let mut left = Left::default();
        poller.poll(tick, sources, |source, timeout_ms| {
            let body = source.read(timeout_ms);
            let service = &mut source.service;
            let name = service.name().to_owned();
            let document = match &body {
                Ok(body) => Document::parse(&name, body).map_err(Failure::from),
                Err(failure) => Err(failure.clone()),
            };
            let document = service.measure(document, sample, "source", [UP, FAILURE, FAILURES])?;
            let Some(document) = document else { return Ok(()) };
            let before = left.values;
            for metric in &metrics[source.document] {
                metric.measure(&document, sample, &mut left);
            }
            sample.labelled(&[("source", &name)]).set(VALUES, before - left.values);
            Ok(())
        })
    }
}

gauged_plugin::export!(Json);

#[cfg(test)]
mod tests;
