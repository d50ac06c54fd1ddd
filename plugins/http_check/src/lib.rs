//! The module `http_check`: availability and response times of web servers. A target without the expected response is
//! measured as down, which is not an error. Follows no redirects.

mod settings;

use std::time::Duration;

use gauged_plugin::http::{Request, Response};
use gauged_plugin::service::{Failure, Poller, Service};
use gauged_plugin::{About, Error, Need, Plugin, Row, Sample, Tick, about};
use settings::{SETTINGS, Settings, Target};

gauged_plugin::metrics! {
    module "http_check" by {"target": "Name of the target"};
    /// Whether the target responds as expected: in time, with an expected status and body.
    UP: gauge "up" in "1";
    /// Reason of the failure: `request` (the agent rejects it), `resolve`, `connect`, `permission`, `closed`, `tls`, `timeout`,
    /// `protocol`, `too_large`, `status`, `body`; left out while the target is up.
    FAILURE: gauge "failure" in "1";
    /// Failed checks by reason, since the plugin started.
    FAILURES: counter "failures_total" in "1" by {"reason": "A word of `failure`"} since plugin;
    /// HTTP status of the response: 200, 404.
    STATUS: gauge "status_code" in "1";
    /// Time of the name resolution; left out where there is nothing to resolve.
    RESOLVE: gauge "resolve_seconds" in "s";
    /// Time to connect, after the name resolution.
    CONNECT: gauge "connect_seconds" in "s";
    /// Time of the handshake of TLS, after connecting; only with TLS.
    HANDSHAKE: gauge "tls_seconds" in "s";
    /// Time to send the request and wait for the first byte of the response, after connecting and TLS.
    FIRST_BYTE: gauge "first_byte_seconds" in "s";
    /// Time to receive the response, from the first byte to the last one.
    RECEIVE: gauge "receive_seconds" in "s";
    /// Time of the whole request: the sum of the others.
    TOTAL: gauge "total_seconds" in "s";
    /// Size of the response body.
    RESPONSE: gauge "response_bytes" in "By";
    /// Address that responded: of the server, of the proxy, or a unix socket.
    ADDRESS: gauge "remote_address" in "1";
    /// Version of TLS: `1.2`, `1.3`; only with TLS.
    VERSION: gauge "tls_version" in "1";
    /// Time until the server's certificate expires; only with TLS. An expired certificate is the failure `tls`, or below zero where
    /// the plugin's table `client` has `insecure`.
    EXPIRY: gauge "certificate_expires_in_seconds" in "s";
    /// Time since the server's certificate began to be valid; only with TLS.
    AGE: gauge "certificate_age_seconds" in "s";
    /// Owner of the server's certificate, as in `CN=www.example.org`; only with TLS.
    SUBJECT: gauge "certificate_subject" in "1";
    /// Authority that signed the server's certificate; only with TLS.
    ISSUER: gauge "certificate_issuer" in "1";
}

/// The longest part of a name in a certificate that is shown; servers choose them.
const NAME_BYTES: usize = 1024;

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
        let need =
            |check: &Check| Need::new(check.target.request().capability(), &["check ", check.service.name()].concat());
        self.checks.iter().map(need).collect()
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
        let response = target.request().timeout_ms(timeout_ms).send().map_err(Failure::from);
        let verdict = match &response {
            Ok(response) => target.check_response(response),
            Err(failure) => Err(failure.clone()),
        };
        service.measure(verdict, sample, "target", [UP, FAILURE, FAILURES])?;
        if let Ok(response) = &response {
            set_response(&mut sample.labelled(&[("target", service.name())]), response, tick);
        }
        Ok(())
    }
}

/// Sets the metrics of a response.
fn set_response(row: &mut Row<'_>, response: &Response, tick: Tick) {
    let (times, time) = (response.times, Duration::from_nanos);
    row.set(STATUS, response.status).set(RESPONSE, response.body.len()).set(ADDRESS, &*response.remote_address);
    row.set(RESOLVE, times.resolve_ns.map(time)).set(CONNECT, time(times.connect_ns));
    row.set(HANDSHAKE, times.tls_ns.map(time)).set(FIRST_BYTE, time(times.first_byte_ns));
    row.set(RECEIVE, time(times.receive_ns())).set(TOTAL, time(times.total_ns));
    if let Some(session) = &response.tls {
        let now = i64::try_from(tick.unix_ms / 1000).unwrap_or(i64::MAX);
        let certificate = &session.certificate;
        row.set(VERSION, &*session.version).set(EXPIRY, certificate.not_after.saturating_sub(now));
        row.set(AGE, now.saturating_sub(certificate.not_before));
        row.set(SUBJECT, beginning(&certificate.subject)).set(ISSUER, beginning(&certificate.issuer));
    }
}

impl Target {
    /// The request, without a timeout.
    fn request(&self) -> Request {
        let mut request = Request::new(&self.method, &self.url);
        if let Some(path) = &self.unix_socket {
            request = request.unix_socket(path);
        }
        self.headers.0.iter().fold(request, |request, (name, value)| request.header(name, value))
    }

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

/// The beginning of a name that is too long.
fn beginning(name: &str) -> &str {
    let mut end = name.len().min(NAME_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.get(..end).unwrap_or(name)
}

#[cfg(test)]
mod tests;
