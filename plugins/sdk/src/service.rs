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

mod deadline;
pub mod figure;
mod poller;

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

    /// The service with the key of the setting that has its address: `servers[0].address`. What the agent rejects is then an error of
    /// this setting.
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
        let (reason, why) = match result {
            Ok(response) => {
                if self.down_reason.take().is_some() {
                    log::info(&[&self.name, " is up again"].concat());
                }
                return Ok(Some(response));
            }
            Err(Failure { reason, error: Error::Unavailable(why) }) => (reason, why),
            Err(Failure { error: Error::Failed(why), .. }) if !self.key.is_empty() => {
                return Err(Error::invalid(&self.key, why));
            }
            Err(Failure { error, .. }) => return Err(error),
        };
        if self.down_reason.replace(reason) != Some(reason) {
            log::warn(&[&self.name, " is down: ", &why].concat());
        }
        match self.failures.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => self.failures.push((reason, 1)),
        }
        Ok(None)
    }

    /// The reason why the service was down at the last poll; `None` if it was up.
    #[must_use]
    pub fn down_reason(&self) -> Option<&'static str> {
        self.down_reason
    }

    /// Sets the metrics of the state, with a label that has the name: whether it is up, the reason of the failure unless it is, and
    /// the failed polls by `reason`.
    pub fn set_state(&self, sample: &mut Sample, label: &str, [up, failure, failures]: [Descriptor; 3]) {
        sample.labelled(&[(label, &self.name)]).set(up, self.down_reason.is_none()).set(failure, self.down_reason);
        for &(reason, count) in &self.failures {
            sample.labelled(&[(label, &self.name), ("reason", reason)]).set(failures, count);
        }
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
    use crate::testing::Host;
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
            let mut service = Service::new("a");
            for &is_up in results {
                let result = if is_up { Ok(()) } else { Err(Failure::down("timeout", "no reply")) };
                Host::new().run(|| service.record(result).map(drop)).expect("the service's own fault");
            }
            let mut sample = Sample::default();
            service.set_state(&mut sample, "server", [UP, FAILURE, FAILURES]);
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
        let error = Service::new("a").with_key("servers[2].address").record(rejected());
        assert_eq!(error, Err(Error::invalid("servers[2].address", "no port")));
    }

    #[test]
    fn only_service_failures_mean_down() {
        let http = |error| Failure::from(http::Failure { address: "http://a/b".to_owned(), error });
        let net = |error| Failure::from(net::Failure { address: "a:1".to_owned(), error });
        let (text, error) = (String::new, || OsError::new("EIO", "broken"));
        let permission = || PermissionError::new("EPERM", "refused", "permit it");
        for (failure, reason) in [
            (http(http::Error::Resolve(text())), "resolve"),
            (http(http::Error::NotFound), "connect"),
            (http(http::Error::Refused(error())), "connect"),
            (http(http::Error::Unreachable(error())), "connect"),
            (http(http::Error::Proxy(text())), "connect"),
            (http(http::Error::NotPermitted(permission())), "permission"),
            (http(http::Error::Reset(error())), "closed"),
            (http(http::Error::Io(error())), "connect"),
            (http(http::Error::Tls(text())), "tls"),
            (http(http::Error::TooLarge(1)), "too_large"),
            (http(http::Error::Timeout), "timeout"),
            (http(http::Error::Protocol(text())), "protocol"),
            (net(net::Error::Resolve(text())), "resolve"),
            (net(net::Error::NotFound), "connect"),
            (net(net::Error::Refused(error())), "connect"),
            (net(net::Error::Unreachable(error())), "connect"),
            (net(net::Error::Exhausted(text())), "connect"),
            (net(net::Error::NotPermitted(permission())), "permission"),
            (net(net::Error::Tls(text())), "tls"),
            (net(net::Error::Timeout), "timeout"),
            (net(net::Error::Reset(error())), "closed"),
            (net(net::Error::Io(error())), "closed"),
        ] {
            assert_eq!(failure.reason, reason);
            assert!(matches!(failure.error, Error::Unavailable(_)), "{failure:?}");
        }
        assert!(matches!(http(http::Error::InvalidRequest(text())).error, Error::Failed(_)));
        assert!(matches!(net(net::Error::InvalidAddress(text())).error, Error::Failed(_)));
        let denied = |failure: Failure| match failure.error {
            Error::Denied(need) => need.capability,
            error => panic!("{error:?}"),
        };
        let (fetch, connect) = (Capability::fetch("http://a"), Capability::connect("a:1"));
        assert_eq!(denied(http(http::Error::Denied(fetch.clone()))), fetch);
        assert_eq!(denied(net(net::Error::Denied(connect.clone()))), connect);
    }
}
