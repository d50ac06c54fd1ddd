//! A target: its request, the response, and what becomes of its metrics.

use gauged_plugin::exposition::{Descriptions, Exposition, Format, Limits, Reading};
use gauged_plugin::http::{Request, Response};
use gauged_plugin::service::{Failure, Service};
use gauged_plugin::skipped::{Reason, Skip};
use gauged_plugin::{Error, Need, Sample};

use crate::labels::AddedLabels;
use crate::settings::TargetSettings;
use crate::{DURATION, EXCESS, EXCLUDED, FAILURE, FAILURES, NOT_FINITE, RESPONSE, SCRAPED, SKIPPED, UP};

/// The formats that are asked for, the more precise one first.
const ACCEPT: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// The label that tells the targets of a job apart.
const INSTANCE: &str = "instance";

/// The longest part of a module's name that is a target's: the rest of the longest name.
const MAX_MODULE_BYTES: usize = 100;

/// A target with its state.
pub(crate) struct Target {
    settings: TargetSettings,
    service: Service,
    /// The module of its metrics.
    module: String,
    labels: AddedLabels,
    descriptions: Descriptions,
}

/// What became of a scrape's metrics.
#[derive(Default)]
struct Counts {
    scraped: u64,
    excluded: u64,
    not_finite: u64,
}

impl Target {
    pub(crate) fn new((number, settings): (usize, TargetSettings)) -> Self {
        let mut labels = settings.labels.0.clone();
        if labels.iter().all(|(name, _)| name != INSTANCE) {
            labels.push((INSTANCE.to_owned(), settings.address().to_owned()));
        }
        let plain = |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte) } else { '_' };
        let name = settings.name().bytes().take(MAX_MODULE_BYTES).map(plain);
        Self {
            service: Service::new(settings.name()).with_key(format!("targets[{number}]")),
            module: "prometheus_".chars().chain(name).collect(),
            labels: AddedLabels::new(labels, settings.honor_labels),
            descriptions: Descriptions::default(),
            settings,
        }
    }

    pub(crate) fn module(&self) -> &str {
        &self.module
    }

    pub(crate) fn need(&self) -> Need {
        Need::new(self.request().capability(), &["scrape ", self.service.name()].concat())
    }

    /// Describes the metrics again at the next scrape.
    pub(crate) fn forget_descriptions(&mut self) {
        self.descriptions.clear();
    }

    /// Scrapes it.
    pub(crate) fn collect(&mut self, timeout_ms: u32, sample: &mut Sample) -> Result<(), Error> {
        let timeout_ms = self.settings.timeout_ms.map_or(timeout_ms, |own_ms| timeout_ms.min(own_ms));
        let response = self.request().timeout_ms(timeout_ms).send().map_err(Failure::from);
        let verdict = match &response {
            Ok(response) => self.read(response),
            Err(failure) => Err(failure.clone()),
        };
        let exposition = self.service.measure(verdict, sample, "target", [UP, FAILURE, FAILURES])?;
        let counts = exposition.as_ref().map(|exposition| self.add(exposition, sample));
        let mut row = sample.labelled(&[("target", self.service.name())]);
        if let Ok(response) = &response {
            row.set(DURATION, seconds(response.times.total_ns)).set(RESPONSE, response.body.len());
        }
        if let (Some(exposition), Some(Counts { scraped, excluded, not_finite })) = (&exposition, counts) {
            row.set(SCRAPED, scraped).set(EXCLUDED, excluded).set(NOT_FINITE, not_finite);
            row.set(SKIPPED, exposition.skipped_lines()).set(EXCESS, exposition.left_out());
        }
        Ok(())
    }

    /// The request, without a timeout.
    fn request(&self) -> Request {
        let TargetSettings { url, unix_socket, headers, username, password, bearer_token, .. } = &self.settings;
        // A compressed text takes longer here than it would on the way from the same host.
        let mut request = Request::new("GET", url).header("accept", ACCEPT).header("accept-encoding", "identity");
        if let Some(path) = unix_socket {
            request = request.unix_socket(path);
        }
        if let Some(username) = username {
            request = request.basic_auth(username, password.as_deref().unwrap_or_default());
        }
        if let Some(token) = bearer_token {
            request = request.header("authorization", &["Bearer ", token].concat());
        }
        headers.0.iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    /// Reads the metrics of a response.
    fn read<'a>(&self, response: &'a Response) -> Result<Exposition<'a>, Failure> {
        let url = &self.settings.url;
        if response.status != 200 {
            return Err(Failure::down("status", format!("{url} returned status {}, expected 200", response.status)));
        }
        let encoding = response.header("content-encoding").unwrap_or("identity");
        if !encoding.eq_ignore_ascii_case("identity") {
            let why = format!("{url} returned a body in the encoding {encoding}, which was not asked for");
            return Err(Failure::down("encoding", why));
        }
        let content_type = response.header("content-type").unwrap_or_default();
        let no_metrics =
            || Failure::down("content", format!("{url} returned no metrics: it is of the type \"{content_type}\""));
        let format = format_of(content_type).ok_or_else(no_metrics)?;
        let limits = Limits { samples: self.settings.max_samples, takes_unended_line: true, ..Limits::default() };
        let exposition = Exposition::read(&response.body, format, limits);
        let has_none = exposition.metrics().next().is_none();
        if has_none && exposition.skipped_lines() > 0 { Err(no_metrics()) } else { Ok(exposition) }
    }

    /// Adds the metrics of an exposition to its module.
    fn add(&mut self, exposition: &Exposition<'_>, sample: &mut Sample) -> Counts {
        let Self { settings, service, module, labels, descriptions, .. } = self;
        for skipped in exposition.skipped() {
            skipped.to_skip(service.name()).report(&skipped.lost);
        }
        if exposition.left_out() > 0 {
            let why = format!("has more than {} samples", settings.max_samples);
            let skip = Skip { reason: Reason::Truncated, ..Skip::malformed(service.name(), "", why) };
            skip.with_remedy("raise `max_samples`, and `limits.metrics` with it, or exclude some").report("the others");
        }
        sample.keep_names(module);
        let selects_all = settings.include.is_empty() && settings.exclude.is_empty();
        if selects_all {
            descriptions.describe_all(exposition, module, sample);
        }
        let mut counts = Counts::default();
        let mut merged = Vec::new();
        let (mut last_name, mut is_selected) = ("", true);
        for metric in exposition.metrics() {
            if !selects_all && metric.name != last_name {
                (last_name, is_selected) = (metric.name, settings.selects(metric.name));
                if is_selected {
                    descriptions.describe(metric.family, module, sample);
                }
            }
            if !is_selected {
                counts.excluded += 1;
            } else if matches!(metric.reading, Reading::Number(number) if !number.is_finite()) {
                counts.not_finite += 1;
            } else {
                counts.scraped += 1;
                let mut row = if let Some(labels) = labels.append(metric.labels) {
                    sample.row(labels)
                } else {
                    labels.merge(metric.labels, &mut merged);
                    sample.row(merged.iter().map(|(name, value)| (name, *value)))
                };
                row.set(metric.in_module(module), metric.reading);
            }
        }
        counts
    }
}

impl TargetSettings {
    /// Whether metrics of this name are kept.
    fn selects(&self, name: &str) -> bool {
        let is_included = self.include.is_empty() || self.include.iter().any(|pattern| pattern.matches(name));
        is_included && !self.exclude.iter().any(|pattern| pattern.matches(name))
    }
}

/// The format of a content type. None for a type that no metrics have.
fn format_of(content_type: &str) -> Option<Format> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    match () {
        () if media_type.eq_ignore_ascii_case("application/openmetrics-text") => Some(Format::OpenMetrics),
        // Some programs name no type, or another one for plain text.
        () if media_type.is_empty() => Some(Format::Text),
        () if media_type.eq_ignore_ascii_case("text/html") => None,
        () => media_type.get(..5).filter(|start| start.eq_ignore_ascii_case("text/")).map(|_| Format::Text),
    }
}

#[allow(clippy::cast_precision_loss, reason = "exact for a hundred days")]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}
