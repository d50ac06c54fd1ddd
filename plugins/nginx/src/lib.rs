//! The module `nginx`: connections and requests, from nginx's `stub_status` page. A server that does not respond is
//! measured as down, which is not an error. The page has nothing on single hosts, upstreams or statuses.

mod status;

use gauged_plugin::bounds::OPERATIONS_PER_SECOND;
use gauged_plugin::http::Request;
use gauged_plugin::rates::Rates;
use gauged_plugin::service::{Failure, Poller, Service, check_no_user};
use gauged_plugin::skipped::Skip;
use gauged_plugin::{About, Error, Need, Plugin, Sample, Tick, about};
use status::Status;

gauged_plugin::metrics! {
    module "nginx" by {"url": "URL of the status page"};
    /// Whether nginx returns a page at the URL of its status.
    UP: gauge "up" in "1";
    /// Reason of the failure: `request` (the agent rejects it), `resolve`, `connect`, `permission`, `closed`, `tls`, `timeout`,
    /// `protocol`, `too_large`, `status`; left out while nginx is up.
    FAILURE: gauge "failure" in "1";
    /// Failed polls by reason, since the plugin started.
    FAILURES: counter "failures_total" in "1" by {"reason": "A word of `failure`"} since plugin;
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

gauged_plugin::settings! {
    /// Addresses of status pages (`stub_status`), at most 100. Each needs a grant `fetch`.
    "urls": "list of URLs" = r#"["http://127.0.0.1:8080/stub_status"]"#;
    /// The path of a unix socket to connect to. The URLs have the host to name and the path to ask for.
    "unix_socket": "text";
}

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    urls: Vec<String>,
    unix_socket: Option<String>,
}

struct Nginx {
    servers: Vec<Service>,
    unix_socket: Option<String>,
    poller: Poller,
    requests: Rates<1>,
}

impl Plugin for Nginx {
    const ABOUT: About = about!("Connections and requests of nginx.");
    type Config = Settings;

    fn configure(Settings { urls, unix_socket }: Settings) -> Result<Self, Error> {
        if urls.is_empty() || urls.len() > MAX_URLS {
            let message = format!("has {} URLs; list 1 to {MAX_URLS}, or remove the key", urls.len());
            return Err(Error::invalid("urls", message));
        }
        for (number, url) in urls.iter().enumerate() {
            check_no_user(url, "remove them, and `allow` the agent's address in nginx")
                .map_err(|why| Error::invalid(&format!("urls[{number}]"), why))?;
            if urls.iter().take(number).any(|other| other == url) {
                return Err(Error::invalid(&format!("urls[{number}]"), "is listed twice; remove it"));
            }
        }
        let servers = urls
            .iter()
            .enumerate()
            .map(|(number, url)| Service::new(url).with_key(format!("urls[{number}]")))
            .collect();
        Ok(Self { servers, unix_socket, poller: Poller::default(), requests: Rates::default() })
    }

    fn needs(&self) -> Vec<Need> {
        let requests = self.servers.iter().map(|server| request(server.name(), self.unix_socket.as_deref()));
        requests.map(|request| Need::new(request.capability(), "read the status of nginx")).collect()
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let Self { servers, unix_socket, poller, requests } = self;
        poller.poll(tick, servers, |service, timeout_ms| {
            let page =
                fetch_page(request(service.name(), unix_socket.as_deref()).timeout_ms(timeout_ms), service.name());
            let Some(page) = service.measure(page, sample, "url", [UP, FAILURE, FAILURES])? else { return Ok(()) };
            let status = Status::parse(&page);
            let mut row = sample.labelled(&[("url", service.name())]);
            row.set(ACTIVE, status.active).set(REQUESTS, status.requests);
            row.set(ACCEPTED, status.accepted).set(HANDLED, status.handled);
            row.set(READING, status.reading).set(WRITING, status.writing).set(WAITING, status.waiting);
            let change = status.requests.and_then(|total| requests.change(tick, service.name(), [total]));
            let rate = change.and_then(|change| OPERATIONS_PER_SECOND.check(change.per_second()[0]));
            row.set(REQUEST_RATE, rate);
            report_left_out(service.name(), &status);
            Ok(())
        })
    }
}

gauged_plugin::export!(Nginx);

/// The request for a page, without a timeout.
fn request(url: &str, unix_socket: Option<&str>) -> Request {
    let request = Request::new("GET", url);
    match unix_socket {
        Some(path) => request.unix_socket(path),
        None => request,
    }
}

fn fetch_page(request: Request, url: &str) -> Result<String, Failure> {
    let response = request.send()?;
    if response.status != 200 {
        let why = format!("{url} returned status {}; enable stub_status there and allow this host", response.status);
        return Err(Failure::down("status", why));
    }
    Ok(response.text())
}

/// Reports numbers that the page does not have.
fn report_left_out(url: &str, status: &Status) {
    let missing = status.missing();
    if missing.len() == Status::NAMES.len() {
        let why = "is a page without a status of nginx; enable stub_status there";
        return Skip::malformed(url, "", why).report("all numbers");
    }
    for name in missing {
        Skip::malformed(url, "", format!("has no number, or an impossible one, for {name}")).report(name);
    }
}

#[cfg(test)]
mod tests;
