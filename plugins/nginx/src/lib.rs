//! The module `nginx`: connections and requests, from the page of nginx's `stub_status`. A server that does not answer is
//! measured as down, which is no error. Knows nothing of single hosts, upstreams or statuses: the page does not either.

use gauged_plugin::http::{Request, origin};
use gauged_plugin::kernel::{self, File};
use gauged_plugin::rates::Rates;
use gauged_plugin::service::{Failure, Service, Turns};
use gauged_plugin::{About, Error, Need, Plugin, Sample, Tick};

gauged_plugin::metrics! {
    module "nginx";
    /// Whether it answers with its status.
    UP: gauge "up" in "1";
    /// Why it is down: `resolve`, `connect`, `tls`, `timeout`, `protocol`, `too_large`, `status`; left out while it is up.
    FAILURE: gauge "failure" in "1";
    /// How often it was down for that reason, since the plugin was started.
    FAILURES: counter "failures_total" in "1";
    /// Open client connections, those that wait included.
    ACTIVE: gauge "connections_active" in "{connection}";
    /// Connections that were accepted.
    ACCEPTED: counter "connections_accepted_total" in "{connection}";
    /// Connections that were served; less than those accepted where a limit such as `worker_connections` was reached.
    HANDLED: counter "connections_handled_total" in "{connection}";
    /// Requests of clients.
    REQUESTS: counter "requests_total" in "{request}";
    /// Requests of clients over the last tick.
    REQUEST_RATE: gauge "requests_per_second" in "{request}/s";
    /// Connections of which the request is being read.
    READING: gauge "connections_reading" in "{connection}";
    /// Connections to which the response is being written, or for which it is made.
    WRITING: gauge "connections_writing" in "{connection}";
    /// Connections that are kept open for another request.
    WAITING: gauge "connections_waiting" in "{connection}";
}

/// The most servers of one plugin.
const URLS: usize = 100;

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
    turns: Turns,
    requests: Rates<1>,
}

impl Plugin for Nginx {
    const ABOUT: About =
        About { version: env!("CARGO_PKG_VERSION"), description: "How busy nginx is.", metrics: METRICS };
    type Config = Settings;

    fn configure(Settings { urls }: Settings) -> Result<Self, Error> {
        if urls.is_empty() || urls.len() > URLS {
            let message = format!("has {} URLs; write 1 to {URLS}, or remove the key", urls.len());
            return Err(Error::invalid("urls", message));
        }
        for (number, url) in urls.iter().enumerate() {
            if urls.iter().take(number).any(|other| other == url) {
                return Err(Error::invalid(&format!("urls[{number}]"), "is there twice; remove it"));
            }
        }
        let servers = urls.iter().map(|url| Service::new(url)).collect();
        Ok(Self { servers, turns: Turns::default(), requests: Rates::default() })
    }

    fn needs(&self) -> Vec<Need> {
        self.servers.iter().map(|server| Need::fetch(origin(server.name()), "ask nginx for its status")).collect()
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let Self { servers, turns, requests } = self;
        turns.take(tick, servers, |server, timeout_ms| {
            let status = match server.note(ask(server.name(), timeout_ms)) {
                // What the agent does not take for a URL was written so.
                Err(Error::Internal(why)) => return Err(Error::invalid("urls", why)),
                other => other?,
            };
            let labels = [("url", server.name())];
            let mut row = sample.labelled(&labels);
            row.set(UP, status.is_some()).set(FAILURE, server.down());
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

/// What the page says.
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

fn ask(url: &str, timeout_ms: u32) -> Result<Status, Failure> {
    let response = Request::new("GET", url).timeout_ms(timeout_ms).send()?;
    if response.status != 200 {
        let why = format!(
            "{url} answers with the status {}; is stub_status on there, and open to this host?",
            response.status
        );
        return Err(Failure::down("status", why));
    }
    let page = File::new(url, response.text());
    parse(&page).map_err(|error| Failure::down("protocol", format!("this is not stub_status: {error}")))
}

/// Four lines: the first and the last with names before the numbers, between them a heading and its numbers. What other
/// servers of this family add, they add at the ends.
fn parse(page: &File) -> Result<Status, kernel::Error> {
    let mut lines = page.lines();
    let mut line = || lines.next().ok_or_else(|| page.error("ends too early"));
    let mut named = line()?.fields();
    expect(page, &mut named, "Active")?;
    expect(page, &mut named, "connections:")?;
    let active = named.number("active connections")?;
    let mut heading = line()?.fields();
    for word in ["server", "accepts", "handled", "requests"] {
        expect(page, &mut heading, word)?;
    }
    let [accepted, handled, requests] = line()?.fields().numbers("connections and requests")?;
    let mut named = line()?.fields();
    let mut number = |name| {
        expect(page, &mut named, name)?;
        named.number(name)
    };
    let (reading, writing) = (number("Reading:")?, number("Writing:")?);
    Ok(Status { active, accepted, handled, requests, reading, writing, waiting: number("Waiting:")? })
}

fn expect(page: &File, fields: &mut kernel::Fields<'_>, word: &str) -> Result<(), kernel::Error> {
    let found = fields.word(word)?;
    if found == word { Ok(()) } else { Err(page.error(format_args!("has \"{found}\" where {word} should be"))) }
}

#[cfg(test)]
mod tests;
