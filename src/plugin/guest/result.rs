//! Converts the result of a guest into modules. Invalid names, floats that are not finite and everything beyond a limit are
//! dropped and counted. A guest cannot make a sample that is not a map of maps.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::config::limits::{Limit, Limits};
use crate::escape::printable;
use crate::plugin::accounts::times::ModuleTimes;
use crate::plugin::guest::bindings::gauged::plugin::metrics;
use crate::plugin::guest::description::{DescribedMetric, Description, MAX_DESCRIBED, check_metric, is_verbatim_name};
use crate::plugin::guest::returned::{self, MetricLabels};
use crate::sample::{
    BucketBounds, Descriptor, LabelSet as _, MetricKind, Module, ModuleBuilder, ModuleSource, NotPushed, Quantiles,
    Schema, SeriesAccount, SeriesError, Text, Value, is_label_name, is_name,
};

/// How many dropped metrics are reported with their reason: enough to begin to fix the plugin.
const MAX_REPORTED: usize = 20;

/// The columns of a histogram besides its bounds: the infinite bound, the sum and the count.
const HISTOGRAM_COLUMNS: u64 = 3;

/// The columns of a summary besides its quantiles: the sum and the count.
const SUMMARY_COLUMNS: u64 = 2;

/// The usable part of a guest's result.
#[derive(Debug, Default, PartialEq)]
pub struct Collected {
    /// The modules for a sample.
    pub modules: Vec<Arc<Module>>,
    /// How many metrics were dropped.
    pub dropped: u64,
    /// How many times of modules were refused.
    pub refused_times: u64,
    /// The first losses, each with the reason.
    pub losses: Vec<String>,
}

impl Collected {
    fn drop_metrics(&mut self, metrics: usize, loss: impl FnOnce() -> String) {
        self.dropped += metrics as u64;
        self.report(loss);
    }

    fn report(&mut self, loss: impl FnOnce() -> String) {
        if self.losses.len() < MAX_REPORTED {
            self.losses.push(printable(&loss()));
        }
    }
}

/// The bounds of the last histogram: most histograms of a plugin have the same, and each is a text.
#[derive(Debug, Default)]
struct LastBounds(Option<(Vec<f64>, BucketBounds)>);

impl LastBounds {
    /// None for bounds that are not finite or do not rise.
    fn get(&mut self, bounds: &[f64]) -> Option<&BucketBounds> {
        let is_same = |(last, _): &(Vec<f64>, BucketBounds)| {
            last.len() == bounds.len() && last.iter().zip(bounds).all(|(last, bound)| last.to_bits() == bound.to_bits())
        };
        if !self.0.as_ref().is_some_and(is_same) {
            self.0 = Some((bounds.to_vec(), BucketBounds::new(bounds)?));
        }
        self.0.as_ref().map(|(_, bounds)| bounds)
    }
}

/// Converts the results of one instance, tick after tick. Most guests return the same names and labels each time: those are
/// checked and allocated once.
#[derive(Debug)]
pub(crate) struct Converter {
    description: Arc<Description>,
    account: Arc<SeriesAccount>,
    times: Arc<ModuleTimes>,
    /// When the instance started, since the Unix epoch.
    started: Duration,
    /// The plugin's interval.
    step: Duration,
    /// The schemas of the modules of the previous result.
    previous: Vec<Arc<Schema>>,
    bounds: LastBounds,
}

impl Converter {
    /// A converter for an instance that starts at this moment.
    pub(crate) fn new(
        description: &Arc<Description>,
        account: Arc<SeriesAccount>,
        times: Arc<ModuleTimes>,
        started: Duration,
        step: Duration,
    ) -> Self {
        let description = description.started_at(started);
        Self { description, account, times, started, step, previous: Vec::new(), bounds: LastBounds::default() }
    }

    /// The description of the instance so far.
    pub(crate) fn description(&self) -> &Arc<Description> {
        &self.description
    }

    /// Adds the descriptors that depend on the plugin's settings, which were checked. They win over those for any configuration.
    pub(crate) fn describe(&mut self, metrics: Vec<metrics::Descriptor>) {
        let metrics = metrics.into_iter().map(|metric| DescribedMetric::new(metric, Some(self.started)));
        self.description = self.description.with(metrics.collect());
    }

    /// Follows another interval of the plugin.
    pub(crate) fn set_step(&mut self, step: Duration) {
        if self.step != step {
            self.step = step;
            self.previous.clear();
        }
    }

    /// The plugin's interval.
    pub(crate) fn step(&self) -> Duration {
        self.step
    }

    /// Converts the result of a call for the tick `time`, within the limits, which are the same each time. Of two modules or
    /// metrics with one name the first is kept.
    pub(crate) fn convert(&mut self, returned: Vec<returned::Module>, limits: &Limits, time: Duration) -> Collected {
        let mut collected = Collected { modules: Vec::with_capacity(self.previous.len()), ..Collected::default() };
        let mut allowance = limits[Limit::Metrics];
        let account = Arc::clone(&self.account);
        // The module names, as soon as one differs from the previous result.
        let mut names: Option<HashSet<String>> = None;
        for returned::Module { name, unix_ms, verbatim, metrics, descriptors } in returned {
            let at = collected.modules.len();
            let previous = self.previous.get(at).filter(|schema| names.is_none() && *schema.source().module == *name);
            let unusable = match () {
                () if at as u64 == limits[Limit::Modules] => Some("there are more than limits.modules"),
                () if previous.is_some() => None,
                () if !is_name(&name) => Some("its name breaks the rules"),
                () => {
                    let earlier = || collected.modules.iter().map(|earlier| earlier.name().to_string()).collect();
                    let is_new = names.get_or_insert_with(earlier).insert(name.clone());
                    (!is_new).then_some("it is there twice")
                }
            };
            if let Some(why) = unusable {
                collected.drop_metrics(metrics.len().max(1), || format!("the module {name}: {why}"));
                continue;
            }
            // The modules before it may have come or gone.
            let known = || self.previous.iter().find(|schema| *schema.source().module == *name);
            let is_same = |schema: &&Arc<Schema>| schema.source().is_verbatim == verbatim;
            let schema = previous.or_else(known).filter(is_same).cloned();
            // Series that are described anew are other series.
            let is_redescribed = self.describe_found(&name, verbatim, descriptors, &mut collected);
            let schema = schema.filter(|_| !is_redescribed).unwrap_or_else(|| self.schema(name, verbatim));
            let name = &*schema.source().module;
            let (time, refusal) = self.times.time(name, unix_ms.map(Duration::from_millis), time);
            if let Some(refusal) = refusal {
                collected.refused_times += 1;
                collected.report(|| format!("the time of the module {name}: it {}", refusal.reason()));
            }
            let mut module = ModuleBuilder::new(&account, &schema, Vec::with_capacity(metrics.len()));
            for metric in metrics.iter() {
                let converted = self.convert_metric(metric, &schema, &mut module, &mut allowance, limits);
                if let Err(why) = converted {
                    collected.drop_metrics(1, || format!("the metric {name}.{}: {why}", metric.name));
                }
            }
            collected.modules.push(Arc::new(module.finish(time)));
        }
        self.remember(&collected.modules);
        collected
    }

    /// The schema of a module that the previous result did not have.
    fn schema(&self, module: String, is_verbatim: bool) -> Arc<Schema> {
        let (module, collector) = (module.into(), Arc::clone(&self.description.collector));
        Schema::empty(ModuleSource { module, collector, step: self.step, is_verbatim })
    }

    /// Adds the descriptors that came with a module. Returns whether one is new.
    fn describe_found(
        &mut self,
        module: &str,
        is_verbatim: bool,
        found: Vec<metrics::Descriptor>,
        collected: &mut Collected,
    ) -> bool {
        let mut names = HashSet::new();
        let mut new = Vec::new();
        for metric in found {
            let known = self.description.metrics.len() + new.len();
            let why = match check_metric(&metric, is_verbatim) {
                Err(why) => Some(why),
                Ok(()) if metric.module != module => {
                    Some(format!("describes the metric {}.{} in another module", metric.module, metric.name))
                }
                Ok(()) if known >= MAX_DESCRIBED && self.description.metric(module, &metric.name).is_none() => {
                    Some(format!("describes more than {MAX_DESCRIBED} metrics"))
                }
                Ok(()) => None,
            };
            if let Some(why) = why {
                collected.report(|| format!("the module {module} {why}"));
                continue;
            }
            let metric = DescribedMetric::new(metric, Some(self.started));
            // Of two descriptors of a metric the first holds.
            let is_first = names.insert(metric.descriptor.name.clone());
            if is_first && self.description.metric(module, &metric.descriptor.name) != Some(&metric) {
                new.push(metric);
            }
        }
        let is_new = !new.is_empty();
        self.description = self.description.with(new);
        is_new
    }

    fn remember(&mut self, modules: &[Arc<Module>]) {
        let is_same = |(schema, module): (&Arc<Schema>, &Arc<Module>)| Arc::ptr_eq(schema, module.schema());
        if self.previous.len() != modules.len() || !self.previous.iter().zip(modules).all(is_same) {
            self.previous = modules.iter().map(|module| Arc::clone(module.schema())).collect();
        }
    }

    /// Appends a metric to its module.
    ///
    /// # Errors
    ///
    /// Why it is not usable.
    fn convert_metric(
        &mut self,
        metric: returned::Metric<'_>,
        schema: &Schema,
        to: &mut ModuleBuilder<'_>,
        allowance: &mut u64,
        limits: &Limits,
    ) -> Result<(), &'static str> {
        let ModuleSource { module, is_verbatim, .. } = schema.source();
        let returned::Metric { name, labels, value } = metric;
        let value = match value {
            metrics::Value::Natural(value) => Value::Unsigned(*value),
            metrics::Value::Integer(value) => Value::Signed(*value),
            metrics::Value::Number(value) => Value::Float(finite(*value)?),
            metrics::Value::Boolean(value) => Value::Boolean(*value),
            metrics::Value::Text(value) if value.len() as u64 <= limits[Limit::Text] => {
                Value::Text(Text::Shared((**value).into()))
            }
            metrics::Value::Text(_) => return Err("its text is longer than limits.text"),
            metrics::Value::Histogram(histogram) => {
                check_names(name, *is_verbatim, labels, limits)?;
                let columns = columns(histogram.bounds.len(), HISTOGRAM_COLUMNS, *allowance)?;
                self.push_histogram(metric, histogram, module, to)?;
                *allowance -= columns;
                return Ok(());
            }
            metrics::Value::Summary(summary) => {
                check_names(name, *is_verbatim, labels, limits)?;
                let columns = columns(summary.quantiles.len(), SUMMARY_COLUMNS, *allowance)?;
                self.push_summary(metric, summary, module, to)?;
                *allowance -= columns;
                return Ok(());
            }
        };
        if *allowance == 0 {
            return Err(TOO_MANY);
        }
        match to.push_known(name, &labels, value) {
            Ok(()) => {}
            Err(NotPushed::Refused(error)) => return Err(error.reason()),
            Err(NotPushed::Unknown(value)) => {
                check_names(name, *is_verbatim, labels, limits)?;
                let descriptor = self.description.descriptor(module, name);
                if descriptor.is_some_and(|descriptor| !is_scalar(descriptor.kind)) {
                    return Err("it is described as a histogram or summary, and has another value");
                }
                to.push_new(name, &labels, descriptor, value).map_err(SeriesError::reason)?;
            }
        }
        *allowance -= 1;
        Ok(())
    }

    fn push_histogram(
        &mut self,
        returned::Metric { name, labels, .. }: returned::Metric<'_>,
        metrics::Histogram { bounds, counts, sum }: &metrics::Histogram,
        module: &str,
        to: &mut ModuleBuilder<'_>,
    ) -> Result<(), &'static str> {
        let descriptor = self.distribution(module, name, MetricKind::Histogram);
        let descriptor = descriptor.ok_or("its value is a histogram, and it is not described as one")?;
        let bounds = self.bounds.get(bounds).ok_or("its bounds are not finite, or do not rise")?;
        let sum = sum.map(finite).transpose()?.map(Value::Float);
        to.push_histogram(name, &labels, &descriptor, bounds, counts, sum)
    }

    fn push_summary(
        &self,
        returned::Metric { name, labels, .. }: returned::Metric<'_>,
        metrics::Summary { quantiles, sum, count }: &metrics::Summary,
        module: &str,
        to: &mut ModuleBuilder<'_>,
    ) -> Result<(), &'static str> {
        let descriptor = self.distribution(module, name, MetricKind::Summary);
        let descriptor = descriptor.ok_or("its value is a summary, and it is not described as one")?;
        let shares: Vec<f64> = quantiles.iter().map(|quantile| quantile.share).collect();
        let shares = Quantiles::new(&shares).ok_or("its quantiles are not from 0 to 1, or do not rise")?;
        let value = |quantile: &metrics::Quantile| {
            quantile.value.map_or(Ok(Value::Null), |value| finite(value).map(Value::Float))
        };
        let values: Vec<Value> = quantiles.iter().map(value).collect::<Result<_, _>>()?;
        let sum = sum.map(finite).transpose()?.map(Value::Float);
        let columns = (sum, count.map(Value::Unsigned));
        to.push_summary(name, &labels, &descriptor, &shares, values.into_iter(), columns)
    }

    /// The descriptor of a metric of this kind.
    fn distribution(&self, module: &str, name: &str, kind: MetricKind) -> Option<Arc<Descriptor>> {
        self.description.descriptor(module, name).filter(|descriptor| descriptor.kind == kind).cloned()
    }
}

const TOO_MANY: &str = "there are more than limits.metrics";

fn is_scalar(kind: MetricKind) -> bool {
    match kind {
        MetricKind::Gauge | MetricKind::Counter => true,
        MetricKind::Histogram | MetricKind::Summary => false,
    }
}

fn finite(number: f64) -> Result<f64, &'static str> {
    if number.is_finite() { Ok(number) } else { Err("its value is not finite") }
}

/// How many metrics a histogram or summary counts as, if so many are left.
fn columns(parts: usize, others: u64, allowance: u64) -> Result<u64, &'static str> {
    let columns = parts as u64 + others;
    if columns > allowance { Err(TOO_MANY) } else { Ok(columns) }
}

fn check_names(name: &str, is_verbatim: bool, labels: MetricLabels<'_>, limits: &Limits) -> Result<(), &'static str> {
    if !(if is_verbatim { is_verbatim_name(name) } else { is_name(name) }) {
        return Err("its name breaks the rules");
    }
    if labels.pairs().len() as u64 > limits[Limit::Labels] {
        return Err("it has more labels than limits.labels");
    }
    for (at, (label, value)) in labels.pairs().enumerate() {
        if !is_label_name(label) {
            return Err("the name of one of its labels breaks the rules");
        }
        if labels.pairs().take(at).any(|(earlier, _)| earlier == label) {
            return Err("it has a label twice");
        }
        if value.len() as u64 > limits[Limit::Text] {
            return Err("one of its labels is longer than limits.text");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
