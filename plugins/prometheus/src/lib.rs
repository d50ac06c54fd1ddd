//! The module `prometheus`, and a module for each target: the metrics of programs that Prometheus can scrape, in its text format or in
//! OpenMetrics. Their names are kept. A target that is down is measured as such, and its metrics end.

mod settings;
mod target;
mod labels;

use gauged_plugin::service::Poller;
use gauged_plugin::{About, Error, Need, Plugin, Sample, Tick, about};
use settings::{SETTINGS, Settings};
use target::Target;

gauged_plugin::metrics! {
    module "prometheus" by {"target": "Name of the target"};
    /// Whether the target returns metrics.
    UP: gauge "up" in "1";
    /// Reason of the failure: `request` (the agent rejects it), `resolve`, `connect`, `permission`, `closed`, `tls`, `timeout`,
    /// `protocol`, `too_large`, `status`, `encoding`, `content`; left out while the target is up.
    FAILURE: gauge "failure" in "1";
    /// Failed scrapes by reason, since the plugin started.
    FAILURES: counter "failures_total" in "1" by {"reason": "A word of `failure`"} since plugin;
    /// Time from the request to the last byte of the response.
    DURATION: gauge "scrape_duration_seconds" in "s";
    /// Size of the response body.
    RESPONSE: gauge "response_bytes" in "By";
    /// Metrics of the target in the sample, a histogram or summary as one.
    SCRAPED: gauge "scraped_metrics" in "{metric}";
    /// Metrics of the target that the settings exclude.
    EXCLUDED: gauge "excluded_metrics" in "{metric}";
    /// Values of the target that are left out because they are infinite or not a number, which samples cannot have.
    NOT_FINITE: gauge "not_finite_values" in "{value}";
    /// Lines of the target that are left out because they are not understood.
    SKIPPED: gauge "skipped_lines" in "{line}";
    /// Samples of the target that are left out because it has more than `max_samples`.
    EXCESS: gauge "excess_samples" in "{sample}";
}

struct Prometheus {
    targets: Vec<Target>,
    poller: Poller,
}

impl Plugin for Prometheus {
    const ABOUT: About = about!("Metrics of programs that Prometheus can scrape.");
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        settings.validate()?;
        let targets: Vec<Target> = settings.targets.into_iter().enumerate().map(Target::new).collect();
        for (number, target) in targets.iter().enumerate() {
            if targets.iter().take(number).any(|other| other.module() == target.module()) {
                let why =
                    "leads to the module of another target; give each target a name of its own letters and digits";
                return Err(Error::invalid(&format!("targets[{number}].name"), why));
            }
        }
        Ok(Self { targets, poller: Poller::default() })
    }

    fn needs(&self) -> Vec<Need> {
        self.targets.iter().map(Target::need).collect()
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let Self { targets, poller } = self;
        let polled = poller.poll(tick, targets, |target, timeout_ms| target.collect(timeout_ms, sample));
        if polled.is_err() {
            // The agent gets nothing of this sample.
            targets.iter_mut().for_each(Target::forget_descriptions);
        }
        polled
    }
}

gauged_plugin::export!(Prometheus);

#[cfg(test)]
mod tests;
