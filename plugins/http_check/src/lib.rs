//! The module `http_check`: availability and response times of web servers. A target without the expected response is
//! measured as down, which is not an error. Follows no redirects.

mod settings;

use gauged_plugin::http::{Request, Response, origin};
use gauged_plugin::service::{Failure, Poller, Service};
use gauged_plugin::{About, Error, Need, Plugin, Sample, Tick, about};
use settings::{SETTINGS, Settings, Target};

gauged_plugin::metrics! {
    module "http_check" by {"target": "Name of the target"};
    /// Whether the target responds as expected: in time, with an expected status and body.
    UP: gauge "up" in "1";
    /// Reason of the failure: `resolve`, `connect`, `tls`, `timeout`, `protocol`, `too_large`, `status`, `body`; left
    /// out while the target is up.
    FAILURE: gauge "failure" in "1";
    /// Failed checks by reason, since the plugin started.
    FAILURES: counter "failures_total" in "1" by {"reason": "A word of `failure`"} since plugin;
    /// HTTP status of the response: 200, 404.
    STATUS: gauge "status_code" in "1";
    /// Time until the connection was established, including name resolution and TLS.
    CONNECT: gauge "connect_seconds" in "s";
    /// Time until the first byte of the response.
    FIRST_BYTE: gauge "first_byte_seconds" in "s";
    /// Time until the last byte of the response.
    TOTAL: gauge "total_seconds" in "s";
    /// Size of the response body.
    RESPONSE: gauge "response_bytes" in "By";
    /// Time until the server's certificate expires; only with TLS. An expired certificate is the failure `tls`.
    CERTIFICATE: gauge "certificate_expires_in_seconds" in "s";
}

/// A target with its state.
struct Check {
    target: Target,
    service: Service,
}

struct HttpCheck {
    checks: Vec<Check>,
    poller: Poller,
}

impl Plugin for HttpCheck {
    const ABOUT: About = about!("Availability and response times of web servers.");
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        settings.validate()?;
        let check = |(number, target): (usize, Target)| {
            let service = Service::new(target.name()).with_key(format!("targets[{number}]"));
            Check { target, service }
        };
        let checks = settings.targets.into_iter().enumerate().map(check).collect();
        Ok(Self { checks, poller: Poller::default() })
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
        let Self { checks, poller } = self;
        poller.poll(tick, checks, |check, timeout_ms| check.collect(tick, timeout_ms, sample))
    }
}

gauged_plugin::export!(HttpCheck);

impl Check {
    fn collect(&mut self, tick: Tick, timeout_ms: u32, sample: &mut Sample) -> Result<(), Error> {
        let Self { target, service } = self;
        let timeout_ms = target.timeout_ms.map_or(timeout_ms, |own_ms| timeout_ms.min(own_ms));
        let mut request = Request::new(&target.method, &target.url).timeout_ms(timeout_ms);
        for (name, value) in &target.headers.0 {
            request = request.header(name, value);
        }
        let response = request.send().map_err(Failure::from);
        let verdict = match &response {
            Ok(response) => target.check_response(response),
            Err(failure) => Err(failure.clone()),
        };
        service.record(verdict)?;
        service.set_state(sample, "target", [UP, FAILURE, FAILURES]);
        if let Ok(response) = &response {
            let mut row = sample.labelled(&[("target", service.name())]);
            row.set(STATUS, response.status).set(RESPONSE, response.body.len());
            row.set(CONNECT, seconds(response.connect_ns)).set(FIRST_BYTE, seconds(response.first_byte_ns));
            row.set(TOTAL, seconds(response.total_ns));
            row.set(CERTIFICATE, response.certificate_not_after.map(|at| seconds_until(at, tick)));
        }
        Ok(())
    }
}

impl Target {
    /// Compares a response with the expected status and text.
    fn check_response(&self, response: &Response) -> Result<(), Failure> {
        if !self.status.includes(response.status) {
            let expected = self.status.text();
            let why = format!("{} returned status {}, expected {expected}", self.url, response.status);
            return Err(Failure::down("status", why));
        }
        let Some(text) = &self.contains else { return Ok(()) };
        if response.body.windows(text.len()).any(|window| window == text.as_bytes()) {
            return Ok(());
        }
        Err(Failure::down("body", format!("{} returned a body without the text \"{text}\"", self.url)))
    }
}

#[allow(clippy::cast_precision_loss, reason = "exact for a hundred days")]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

/// Seconds from the tick until a time.
fn seconds_until(unix_seconds: u64, tick: Tick) -> i64 {
    let whole = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    whole(unix_seconds) - whole(tick.unix_ms / 1000)
}

#[cfg(test)]
mod tests;
