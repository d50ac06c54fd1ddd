//! The agent's sample under `node_exporter`'s names.

use std::collections::BTreeMap;
use std::time::Duration;

use gauged::naming::Naming;
use gauged::sample::{
    CollectorVersion, Label, Labels as SampleLabels, ModuleSource, ModuleWriter, SeriesAccount, Value,
};

use super::exporter::{Scrape, Series, series};
use crate::harness::Sample;

/// A sample in `node_exporter`'s naming.
#[derive(Default)]
pub struct Named {
    pub scrape: Scrape,
    /// Our name of each series, as `module.metric`.
    pub metrics: BTreeMap<Series, String>,
}

impl Named {
    pub fn new(sample: &Sample) -> Self {
        let mut named = Self::default();
        for (module, metrics) in sample {
            for (key, value) in metrics {
                let value = value.as_f64().or_else(|| value.as_bool().map(|yes| f64::from(u8::from(yes))));
                if let Some(value) = value {
                    named.add(module, key, value);
                }
            }
        }
        named
    }

    fn add(&mut self, module: &str, key: &str, value: f64) {
        let (metric, labels) = series(key);
        let label = |(name, value): (String, String)| Label { name: name.into(), value: value.into() };
        let labels: SampleLabels = labels.into_iter().map(label).collect();
        let source = ModuleSource {
            module: module.to_owned().into(),
            collector: CollectorVersion::native("test"),
            step: Duration::ZERO,
            is_verbatim: false,
        };
        let mut writer = ModuleWriter::new(source, [], &SeriesAccount::standalone());
        let push =
            |values: &mut gauged::sample::Values<'_>| values.push_labelled(&metric, &labels, Value::Float(value));
        let (written, ()) = writer.write(Duration::ZERO, push);
        let schema = written.schema();
        let Some(named) = Naming::NodeExporter.name("gauged", schema.source(), &schema.series()[0]) else { return };
        let kind = named.kind.map_or("untyped", |kind| kind.name());
        let mut labels: BTreeMap<String, String> =
            named.labels.into_iter().map(|label| (label.name.to_string(), label.value.into())).collect();
        if named.name.starts_with("node_hwmon_") {
            // `hwmon` stands for the chip on both sides; see plugins/README.md.
            labels.retain(|name, _| matches!(&**name, "hwmon" | "sensor"));
        }
        let series = (named.name.to_string(), labels);
        if let Some(other) = self.metrics.get(&series) {
            assert!(named.is_alternative, "{other} and {module}.{metric} have one name: {series:?}");
            return;
        }
        self.scrape.types.insert(series.0.clone(), kind.to_owned());
        self.scrape.series.insert(series.clone(), value * named.factor.unwrap_or(1.0));
        self.metrics.insert(series, format!("{module}.{metric}"));
    }
}
