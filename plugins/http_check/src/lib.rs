//! The module `http_check`: whether web servers answer as they should, and how quickly. A target that does not is
//! measured as down, which is no error. Follows no redirects and knows nothing of what a page means.

mod settings;

use gauged_plugin::http::{Request, Response, origin};
use gauged_plugin::service::{Failure, Service, Turns};
use gauged_plugin::{About, Error, Need, Plugin, Sample, Tick};
use settings::{Settings, Target};

gauged_plugin::metrics! {
    module "http_check";
    /// Whether it answers as it should: in time, with a status and a body that are expected.
    UP: gauge "up" in "1";
    /// Why it is down: `resolve`, `connect`, `tls`, `timeout`, `protocol`, `too_large`, `status`, `body`; left out while it is up.
    FAILURE: gauge "failure" in "1";
    /// How often it was down for that reason, since the plugin was started.
    FAILURES: counter "failures_total" in "1";
    /// The status of the response: 200, 404.
    STATUS: gauge "status_code" in "1";
    /// From the start until the connection stands, name resolution and TLS included.
    CONNECT: gauge "connect_seconds" in "s";
    /// From the start until the first byte of the response.
    FIRST_BYTE: gauge "first_byte_seconds" in "s";
    /// From the start until the last byte of the response.
    TOTAL: gauge "total_seconds" in "s";
    /// The size of the response's body.
    RESPONSE: gauge "response_bytes" in "By";
    /// How long the server's certificate is still good for; only with TLS. One that has expired is the failure `tls`.
    CERTIFICATE: gauge "certificate_expires_in_seconds" in "s";
}

/// A target, and how it was.
struct Check {
    /// Its number in the list, for errors.
    number: usize,
    target: Target,
    service: Service,
}

struct HttpCheck {
    checks: Vec<Check>,
    turns: Turns,
}

impl Plugin for HttpCheck {
    const ABOUT: About = About {
        version: env!("CARGO_PKG_VERSION"),
        description: "Whether web servers answer as they should, and how quickly.",
        metrics: METRICS,
    };
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        settings.check()?;
        let check = |(number, target): (usize, Target)| {
            let service = Service::new(target.name());
            Check { number, target, service }
        };
        let checks = settings.targets.into_iter().enumerate().map(check).collect();
        Ok(Self { checks, turns: Turns::default() })
    }

    fn needs(&self) -> Vec<Need> {
        let mut needs: Vec<Need> = Vec::new();
        for Check { target, service, .. } in &self.checks {
            let need = Need::fetch(origin(&target.url), &["check ", service.name()].concat());
            if needs.iter().all(|known| known.capability != need.capability) {
                needs.push(need);
            }
        }
        needs
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let Self { checks, turns } = self;
        turns.take(tick, checks, |check, timeout_ms| check.collect(tick, timeout_ms, sample))
    }
}

gauged_plugin::export!(HttpCheck);

impl Check {
    fn collect(&mut self, tick: Tick, timeout_ms: u32, sample: &mut Sample) -> Result<(), Error> {
        let Self { number, target, service } = self;
        let timeout_ms = target.timeout_ms.map_or(timeout_ms, |own_ms| timeout_ms.min(own_ms));
        let mut request = Request::new(&target.method, &target.url).timeout_ms(timeout_ms);
        for (name, value) in &target.headers.0 {
            request = request.header(name, value);
        }
        let response = request.send().map_err(Failure::from);
        let verdict = match &response {
            Ok(response) => target.verdict(response),
            Err(failure) => Err(failure.clone()),
        };
        let is_up = match service.note(verdict) {
            Ok(verdict) => verdict.is_some(),
            // What the agent does not take for a request was written so.
            Err(Error::Internal(why)) => return Err(Error::invalid(&format!("targets[{number}]"), why)),
            Err(error) => return Err(error),
        };

        let labels = [("target", service.name())];
        let mut row = sample.labelled(&labels);
        row.set(UP, is_up).set(FAILURE, service.down());
        if let Ok(response) = &response {
            row.set(STATUS, response.status).set(RESPONSE, response.body.len());
            row.set(CONNECT, seconds(response.connect_ns)).set(FIRST_BYTE, seconds(response.first_byte_ns));
            row.set(TOTAL, seconds(response.total_ns));
            row.set(CERTIFICATE, response.certificate_not_after.map(|at| until(at, tick)));
        }
        for &(reason, count) in service.failures() {
            sample.labelled(&[("target", service.name()), ("reason", reason)]).set(FAILURES, count);
        }
        Ok(())
    }
}

impl Target {
    /// Whether a response is as it should be.
    fn verdict(&self, response: &Response) -> Result<(), Failure> {
        if !self.status.includes(response.status) {
            let expected = self.status.expected();
            let why = format!("{} answers with the status {}, not {expected}", self.url, response.status);
            return Err(Failure::down("status", why));
        }
        let Some(text) = &self.contains else { return Ok(()) };
        if response.body.windows(text.len()).any(|window| window == text.as_bytes()) {
            return Ok(());
        }
        Err(Failure::down("body", format!("{} answers without the text \"{text}\"", self.url)))
    }
}

#[allow(clippy::cast_precision_loss, reason = "nobody needs nanoseconds of more than a hundred days")]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

/// Seconds from the tick until then.
fn until(unix_seconds: u64, tick: Tick) -> i64 {
    let whole = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    whole(unix_seconds) - whole(tick.unix_ms / 1000)
}

#[cfg(test)]
mod tests;
