//! The module `nginx`: connections and requests, from nginx's `stub_status` page. A server that does not respond is
//! measured as down, which is not an error. The page has nothing on single hosts, upstreams or statuses.

use gauged_plugin::http::{Request, origin};
use gauged_plugin::kernel::{self, File};
use gauged_plugin::rates::Rates;
use gauged_plugin::service::{Failure, Poller, Service};
use gauged_plugin::{About, Error, Need, Plugin, Sample, Tick};

gauged_plugin::metrics! {
    module "nginx";
    /// Whether nginx returns its status.
    UP: gauge "up" in "1";
    /// Reason of the failure: `resolve`, `connect`, `tls`, `timeout`, `protocol`, `too_large`, `status`; left out while
    /// nginx is up.
    FAILURE: gauge "failure" in "1";
    /// Failed polls by reason, since the plugin started.
    FAILURES: counter "failures_total" in "1";
    /// Open client connections, including waiting ones.
    ACTIVE: gauge "connections_active" in "{connection}";
    /// Accepted connections.
    ACCEPTED: counter "connections_accepted_total" in "{connection}";
    /// Handled connections; fewer than accepted if a limit such as `worker_connections` was reached.
    HANDLED: counter "connections_handled_total" in "{connection}";
    /// Client requests.
    REQUESTS: counter "requests_total" in "{request}";
    /// Client requests per second over the tick.
    REQUEST_RATE: gauge "requests_per_second" in "{request}/s";
    /// Connections whose request is being read.
    READING: gauge "connections_reading" in "{connection}";
    /// Connections whose response is being made or written.
    WRITING: gauge "connections_writing" in "{connection}";
    /// Idle connections kept open for another request.
    WAITING: gauge "connections_waiting" in "{connection}";
}

/// The most servers, so that each has a share of the call's time.
const MAX_URLS: usize = 100;

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    urls: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { urls: vec!["http://127.0.0.1:8080/stub_status".to_owned()] }
    }
}

struct Nginx {
    servers: Vec<Service>,
    poller: Poller,
    requests: Rates<1>,
}

impl Plugin for Nginx {
    const ABOUT: About = About {
        version: env!("CARGO_PKG_VERSION"),
        description: "Connections and requests of nginx.",
        metrics: METRICS,
    };
    type Config = Settings;

    fn configure(Settings { urls }: Settings) -> Result<Self, Error> {
        if urls.is_empty() || urls.len() > MAX_URLS {
            let message = format!("has {} URLs; list 1 to {MAX_URLS}, or remove the key", urls.len());
            return Err(Error::invalid("urls", message));
        }
        for (number, url) in urls.iter().enumerate() {
            if urls.iter().take(number).any(|other| other == url) {
                return Err(Error::invalid(&format!("urls[{number}]"), "is listed twice; remove it"));
            }
        }
        let servers = urls.iter().map(|url| Service::new(url)).collect();
        Ok(Self { servers, poller: Poller::default(), requests: Rates::default() })
    }

    fn needs(&self) -> Vec<Need> {
        self.servers.iter().map(|server| Need::fetch(origin(server.name()), "read the status of nginx")).collect()
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let Self { servers, poller, requests } = self;
        poller.poll(tick, servers, |server, timeout_ms| {
            let status = match server.record(fetch_status(server.name(), timeout_ms)) {
                // The agent rejects the URL, so the configuration is wrong.
                Err(Error::Internal(why)) => return Err(Error::invalid("urls", why)),
                other => other?,
            };
            let labels = [("url", server.name())];
            let mut row = sample.labelled(&labels);
            row.set(UP, status.is_some()).set(FAILURE, server.down_reason());
            if let Some(status) = status {
                row.set(ACTIVE, status.active).set(REQUESTS, status.requests);
                row.set(ACCEPTED, status.accepted).set(HANDLED, status.handled);
                row.set(READING, status.reading).set(WRITING, status.writing).set(WAITING, status.waiting);
                let change = requests.change(tick, server.name(), [status.requests]);
                row.set(REQUEST_RATE, change.map(|change| change.per_second()[0]));
            }
            for &(reason, count) in server.failures() {
                sample.labelled(&[("url", server.name()), ("reason", reason)]).set(FAILURES, count);
            }
            Ok(())
        })
    }
}

gauged_plugin::export!(Nginx);

/// The numbers on the page.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    active: u64,
    accepted: u64,
    handled: u64,
    requests: u64,
    reading: u64,
    writing: u64,
    waiting: u64,
}

fn fetch_status(url: &str, timeout_ms: u32) -> Result<Status, Failure> {
    let response = Request::new("GET", url).timeout_ms(timeout_ms).send()?;
    if response.status != 200 {
        let why = format!("{url} returned status {}; enable stub_status there and allow this host", response.status);
        return Err(Failure::down("status", why));
    }
    let page = File::new(url, response.text());
    parse(&page).map_err(|error| Failure::down("protocol", format!("not a stub_status page: {error}")))
}

/// Parses four lines: numbers with names, a header, its numbers, and again numbers with names. Servers derived from nginx
/// append further fields, which are ignored.
fn parse(page: &File) -> Result<Status, kernel::Error> {
    let mut lines = page.lines();
    let mut line = || lines.next().ok_or_else(|| page.error("is truncated"));
    let mut named = line()?.fields();
    expect_word(page, &mut named, "Active")?;
    expect_word(page, &mut named, "connections:")?;
    let active = named.number("active connections")?;
    let mut header = line()?.fields();
    for word in ["server", "accepts", "handled", "requests"] {
        expect_word(page, &mut header, word)?;
    }
    let [accepted, handled, requests] = line()?.fields().numbers("connections and requests")?;
    let mut named = line()?.fields();
    let mut number = |name| {
        expect_word(page, &mut named, name)?;
        named.number(name)
    };
    let (reading, writing) = (number("Reading:")?, number("Writing:")?);
    Ok(Status { active, accepted, handled, requests, reading, writing, waiting: number("Waiting:")? })
}

fn expect_word(page: &File, fields: &mut kernel::Fields<'_>, word: &str) -> Result<(), kernel::Error> {
    let found = fields.word(word)?;
    if found == word { Ok(()) } else { Err(page.error(format_args!("has \"{found}\" instead of {word}"))) }
}

#[cfg(test)]
mod tests;
