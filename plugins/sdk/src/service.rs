//! Services that a plugin polls: their state, the reason of a failure, and the time that each may take. A service that is
//! down is a measurement, not an error.
//!
//! ```
//! use gauged_plugin::service::{Service, Poller};
//! use gauged_plugin::{Error, Sample, Tick, http};
//!
//! gauged_plugin::metrics! {
//!     module "web";
//!     /// Whether the server responds.
//!     UP: gauge "up" in "1";
//! }
//!
//! struct Web {
//!     servers: Vec<Service>,
//!     poller: Poller,
//! }
//!
//! impl Web {
//!     fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
//!         let Self { servers, poller } = self;
//!         poller.poll(tick, servers, |server, timeout_ms| {
//!             let response = http::Request::new("GET", server.name()).timeout_ms(timeout_ms).send();
//!             // A missing grant is an error; a server that does not respond is down.
//!             let is_up = server.record(response.map_err(Into::into))?.is_some();
//!             sample.labelled(&[("url", server.name())]).set(UP, is_up);
//!             Ok(())
//!         })
//!     }
//! }
//!
//! use gauged_plugin::testing::{Host, response};
//! let mut host = Host::new();
//! host.http("http://a/", response(200, ""));
//! host.run(|| {
//!     let servers = ["http://a/", "http://b/"].map(Service::new).to_vec();
//!     let (mut web, mut sample) = (Web { servers, poller: Poller::default() }, Sample::default());
//!     let tick = Tick { unix_ms: 0, monotonic_ns: 0, budget_ms: 1000, interval_ms: 10_000 };
//!     web.collect(tick, &mut sample)?;
//!     assert_eq!(sample.len(), 2);
//!     assert_eq!(web.servers[1].failures(), [("connect", 1)]);
//!     Ok::<(), Error>(())
//! })?;
//! let why = "WARN http://b/ is down: failed to reach http://b/: Connection refused (ECONNREFUSED)";
//! assert_eq!(host.messages(), [why]);
//! # Ok::<(), Error>(())
//! ```

mod address;
mod deadline;
pub mod figure;
mod poller;

pub use address::{authority, check_no_user};
pub use deadline::Deadline;
pub use poller::Poller;

use crate::{Descriptor, Error, Sample, files, http, log, net};

/// A failed poll of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// One of a few words, for use as a label value: `timeout`, `connect`.
    pub reason: &'static str,
    /// [`Error::Unavailable`] with the details if the service is down. Other variants are not the service's fault.
    pub error: Error,
}

impl Failure {
    /// A service that is down because of its response.
    ///
    /// ```
    /// use gauged_plugin::{Error, service::Failure};
    ///
    /// let failure = Failure::down("status", "returned status 503");
    /// assert_eq!(failure.error, Error::Unavailable("returned status 503".to_owned()));
    /// ```
    #[must_use]
    pub fn down(reason: &'static str, why: impl Into<String>) -> Self {
        Self { reason, error: Error::Unavailable(why.into()) }
    }
}

impl From<http::Failure> for Failure {
    fn from(failure: http::Failure) -> Self {
        let reason = match &failure.error {
            http::Error::Denied(_) => "denied",
            http::Error::InvalidRequest(_) | http::Error::Forbidden(_) | http::Error::NotSupported(_) => "request",
            http::Error::Resolve(_) => "resolve",
            // The service is down for this agent, and the text has the remedy.
            http::Error::NotPermitted(error) => {
                return Self::down("permission", format!("failed to reach {}: {error}", failure.address));
            }
            http::Error::NotFound
            | http::Error::Refused(_)
            | http::Error::Unreachable(_)
            | http::Error::Proxy(_)
            | http::Error::Io(_) => "connect",
            http::Error::Reset(_) => "closed",
            http::Error::Tls(_) => "tls",
            http::Error::TooLarge(_) => "too_large",
            http::Error::Timeout => "timeout",
            http::Error::Protocol(_) => "protocol",
        };
        Self { reason, error: failure.into() }
    }
}

impl From<net::Failure> for Failure {
    fn from(failure: net::Failure) -> Self {
        let reason = match &failure.error {
            net::Error::Denied(_) => "denied",
            net::Error::Forbidden(_) | net::Error::InvalidAddress(_) | net::Error::NotSupported(_) => "address",
            net::Error::NotPermitted(error) => {
                return Self::down("permission", format!("failed to reach {}: {error}", failure.address));
            }
            net::Error::Resolve(_) => "resolve",
            net::Error::NotFound | net::Error::Refused(_) | net::Error::Unreachable(_) | net::Error::Exhausted(_) => {
                "connect"
            }
            net::Error::Tls(_) => "tls",
            net::Error::TooLarge(_) => "too_large",
            net::Error::Timeout => "timeout",
            net::Error::Reset(_) | net::Error::Io(_) => "closed",
        };
        Self { reason, error: failure.into() }
    }
}

/// A service that writes a file. A file that is not there, or cannot be read, means that it is down.
impl From<files::Failure> for Failure {
    fn from(failure: files::Failure) -> Self {
        let reason = match &failure.error {
            files::Error::Denied(_) => return Self { reason: "denied", error: failure.into() },
            files::Error::Forbidden(_) | files::Error::InvalidPath(_) => {
                return Self { reason: "address", error: failure.into() };
            }
            files::Error::NotFound => "missing",
            files::Error::NotPermitted(_) => "permission",
            files::Error::Timeout => "timeout",
            files::Error::TooLarge(_) => "too_large",
            files::Error::NotSupported(_) | files::Error::WrongType | files::Error::Io(_) => "read",
        };
        match Error::from(failure) {
            Error::Failed(why) | Error::Unavailable(why) => Self::down(reason, why),
            error => Self { reason, error },
        }
    }
}

/// A service, with its last state and its failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    name: String,
    /// The key of the setting that names it; may be empty.
    key: String,
    /// The reason of the last poll's failure.
    down_reason: Option<&'static str>,
    failures: Vec<(&'static str, u64)>,
}

impl Service {
    /// A service that was not polled yet. The name is shown to operators.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), key: String::new(), down_reason: None, failures: Vec::new() }
    }

    /// The service with the key of the setting that has its address: `servers[0].address`. A request that the agent rejects is then an
    /// error of this setting, with which the service is down.
    #[must_use]
    pub fn with_key(self, key: impl Into<String>) -> Self {
        Self { key: key.into(), ..self }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Records the result of a poll; returns `None` if the service is down. Logs a line when it goes down, when the reason
    /// changes, and when it is up again.
    ///
    /// # Errors
    ///
    /// A failure that is not the service's fault: a missing grant, a malformed address.
    pub fn record<T>(&mut self, result: Result<T, Failure>) -> Result<Option<T>, Error> {
        let (reason, why, is_invalid) = match result {
            Ok(response) => {
                if self.down_reason.take().is_some() {
                    log::info(&[&self.name, " is up again"].concat());
                }
                return Ok(Some(response));
            }
            Err(Failure { reason, error: Error::Unavailable(why) }) => (reason, why, false),
            Err(Failure { reason, error: Error::Failed(why) }) if !self.key.is_empty() => (reason, why, true),
            Err(Failure { error, .. }) => return Err(error),
        };
        if self.down_reason.replace(reason) != Some(reason) {
            log::warn(&[&self.name, " is down: ", &why].concat());
        }
        match self.failures.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => self.failures.push((reason, 1)),
        }
        if is_invalid { Err(Error::invalid(&self.key, why)) } else { Ok(None) }
    }

    /// Records the result of a poll, and sets the metrics of the state, with a label that has the name: whether it is up, the reason of
    /// the failure unless it is, and the failed polls by `reason`. A service for which a grant is missing has none.
    ///
    /// # Errors
    ///
    /// As [`record`](Self::record).
    pub fn measure<T>(
        &mut self,
        result: Result<T, Failure>,
        sample: &mut Sample,
        label: &str,
        [up, failure, failures]: [Descriptor; 3],
    ) -> Result<Option<T>, Error> {
        let recorded = self.record(result);
        if !matches!(recorded, Err(Error::Denied(_))) {
            sample.labelled(&[(label, &self.name)]).set(up, self.down_reason.is_none()).set(failure, self.down_reason);
            for &(reason, count) in &self.failures {
                sample.labelled(&[(label, &self.name), ("reason", reason)]).set(failures, count);
            }
        }
        recorded
    }

    /// The reason why the service was down at the last poll; `None` if it was up.
    #[must_use]
    pub fn down_reason(&self) -> Option<&'static str> {
        self.down_reason
    }

    /// The number of failed polls by reason, since the plugin started.
    #[must_use]
    pub fn failures(&self) -> &[(&'static str, u64)] {
        &self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CONNECTION_FAILURES, FILE_FAILURES, Host, REQUEST_FAILURES};
    use crate::{Capability, Need, OsError, PermissionError};

    #[test]
    fn state_changes_are_logged_and_failures_counted() {
        let mut host = Host::new();
        let mut service = Service::new("db");
        host.run(|| {
            let down = |reason| Err(Failure::down(reason, "no reply"));
            assert_eq!(service.record(Ok(7)), Ok(Some(7)));
            for (result, reason) in [(Ok(()), None), (down("timeout"), Some("timeout"))] {
                assert_eq!(service.record(result).map(|response| response.is_some()), Ok(reason.is_none()));
                assert_eq!(service.down_reason(), reason);
            }
            for result in [down("timeout"), down("closed"), down("timeout"), Ok(()), Ok(())] {
                service.record(result).expect("the service's own fault");
            }
            let denied = Error::Denied(Need::connect("db:1", "read counters"));
            let refused = service.record(Err::<(), _>(Failure { reason: "denied", error: denied.clone() }));
            assert_eq!(refused, Err(denied));
        });
        assert_eq!(service.failures(), [("timeout", 3), ("closed", 1)]);
        let down = "WARN db is down: no reply";
        assert_eq!(host.messages(), [down, down, down, "INFO db is up again"]);
    }

    crate::metrics! {
        module "db" by {"server": "Name of the server"};
        /// Whether it responds.
        UP: gauge "up" in "1";
        /// Reason of the failure.
        FAILURE: gauge "failure" in "1";
        /// Failed polls.
        FAILURES: counter "failures_total" in "1" by {"reason": "Reason of the failure"} since plugin;
    }

    #[test]
    fn state_has_its_metrics() {
        let state = |results: &[bool]| {
            let (mut service, mut sample) = (Service::new("a"), Sample::default());
            for &is_up in results {
                sample = Sample::default();
                let result = if is_up { Ok(()) } else { Err(Failure::down("timeout", "no reply")) };
                let measured =
                    Host::new().run(|| service.measure(result, &mut sample, "server", [UP, FAILURE, FAILURES]));
                assert_eq!(measured.map(|response| response.is_some()), Ok(is_up));
            }
            sample.len()
        };
        assert_eq!(METRICS.len(), 3);
        assert_eq!(state(&[true]), 1, "whether it is up");
        assert_eq!(state(&[false]), 3, "with the reason and the number of failures");
        assert_eq!(state(&[false, true]), 2, "the failures are counted on");
    }

    #[test]
    fn rejected_address_is_an_invalid_setting() {
        let rejected = || Err::<(), _>(Failure { reason: "address", error: Error::Failed("no port".to_owned()) });
        assert_eq!(Service::new("a").record(rejected()), Err(Error::Failed("no port".to_owned())));
        let (mut host, mut sample) = (Host::new(), Sample::default());
        let mut service = Service::new("a").with_key("servers[2].address");
        let error = host.run(|| service.measure(rejected(), &mut sample, "server", [UP, FAILURE, FAILURES]));
        assert_eq!(error, Err(Error::invalid("servers[2].address", "no port")));
        assert_eq!((service.down_reason(), sample.len()), (Some("address"), 3), "it is down");
        assert_eq!(host.messages(), ["WARN a is down: no port"]);
        // Whether a service without a grant is up is not known.
        let denied = Failure { reason: "denied", error: Error::Denied(Need::connect("a:1", "read counters")) };
        let mut sample = Sample::default();
        let error = service.measure(Err::<(), _>(denied), &mut sample, "server", [UP, FAILURE, FAILURES]);
        assert!(matches!(error, Err(Error::Denied(_))) && sample.is_empty());
    }

    #[test]
    fn only_service_failures_mean_down() {
        let http = |error| Failure::from(http::Failure { address: "http://a/b".to_owned(), error });
        let net = |error| Failure::from(net::Failure { address: "a:1".to_owned(), error });
        let (text, error) = (String::new, || OsError::new("EIO", "broken"));
        let permission = || PermissionError::new("EPERM", "refused", "permit it");
        let of_requests = [
            (http::Error::Resolve(text()), "resolve"),
            (http::Error::NotFound, "connect"),
            (http::Error::Refused(error()), "connect"),
            (http::Error::Unreachable(error()), "connect"),
            (http::Error::Proxy(text()), "connect"),
            (http::Error::NotPermitted(permission()), "permission"),
            (http::Error::Reset(error()), "closed"),
            (http::Error::Io(error()), "connect"),
            (http::Error::Tls(text()), "tls"),
            (http::Error::TooLarge(1), "too_large"),
            (http::Error::Timeout, "timeout"),
            (http::Error::Protocol(text()), "protocol"),
        ];
        let of_connections = [
            (net::Error::Resolve(text()), "resolve"),
            (net::Error::NotFound, "connect"),
            (net::Error::Refused(error()), "connect"),
            (net::Error::Unreachable(error()), "connect"),
            (net::Error::Exhausted(text()), "connect"),
            (net::Error::NotPermitted(permission()), "permission"),
            (net::Error::Tls(text()), "tls"),
            (net::Error::Timeout, "timeout"),
            (net::Error::Reset(error()), "closed"),
            (net::Error::Io(error()), "closed"),
        ];
        let of_requests = of_requests.map(|(error, reason)| (http(error), reason, REQUEST_FAILURES));
        let of_connections = of_connections.map(|(error, reason)| (net(error), reason, CONNECTION_FAILURES));
        for (failure, reason, words) in of_requests.into_iter().chain(of_connections) {
            assert_eq!(failure.reason, reason);
            assert!(words.contains(&reason), "{reason}");
            assert!(matches!(failure.error, Error::Unavailable(_)), "{failure:?}");
        }
        let rejected = [
            (http(http::Error::InvalidRequest(text())), "request"),
            (http(http::Error::Forbidden(text())), "request"),
            (http(http::Error::NotSupported(text())), "request"),
            (net(net::Error::InvalidAddress(text())), "address"),
            (net(net::Error::Forbidden(text())), "address"),
            (net(net::Error::NotSupported(text())), "address"),
        ];
        for (failure, reason) in rejected {
            assert!(failure.reason == reason && matches!(failure.error, Error::Failed(_)), "{failure:?}");
        }
        let denied = |failure: Failure| match failure.error {
            Error::Denied(need) => need.capability,
            error => panic!("{error:?}"),
        };
        let (fetch, connect) = (Capability::fetch("http://a"), Capability::connect("a:1"));
        assert_eq!(denied(http(http::Error::Denied(fetch.clone()))), fetch);
        assert_eq!(denied(net(net::Error::Denied(connect.clone()))), connect);
    }

    #[test]
    fn unreadable_file_means_down() {
        let error = || OsError::new("EIO", "broken");
        for (error, reason) in [
            (files::Error::NotFound, "missing"),
            (files::Error::NotPermitted(PermissionError::new("EACCES", "refused", "permit it")), "permission"),
            (files::Error::Timeout, "timeout"),
            (files::Error::TooLarge(1), "too_large"),
            (files::Error::NotSupported(String::new()), "read"),
            (files::Error::WrongType, "read"),
            (files::Error::Io(error()), "read"),
            (files::Error::Forbidden(String::new()), "address"),
            (files::Error::InvalidPath(String::new()), "address"),
        ] {
            let mut host = Host::new();
            host.file_fails("/x", error);
            let failure = Failure::from(host.run(|| files::read("/x")).expect_err("it fails"));
            assert_eq!(failure.reason, reason);
            assert!(FILE_FAILURES.contains(&reason), "{reason}");
            assert_eq!(matches!(failure.error, Error::Failed(_)), reason == "address", "{failure:?}");
        }
    }
}
