//! Services that a plugin asks for their state: up or down, why, and how several of them share the time of one call. That
//! a service is down is what such a plugin is there to say, so it is measured, and no error.
//!
//! ```
//! use gauged_plugin::service::{Service, Turns};
//! use gauged_plugin::{Error, Sample, Tick, http};
//!
//! gauged_plugin::metrics! {
//!     module "web";
//!     /// Whether the server answers.
//!     UP: gauge "up" in "1";
//! }
//!
//! struct Web {
//!     servers: Vec<Service>,
//!     turns: Turns,
//! }
//!
//! impl Web {
//!     fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
//!         let Self { servers, turns } = self;
//!         turns.take(tick, servers, |server, timeout_ms| {
//!             let asked = http::Request::new("GET", server.name()).timeout_ms(timeout_ms).send();
//!             // Whoever is not granted the server learns of that; a server that does not answer is down.
//!             let is_up = server.note(asked.map_err(Into::into))?.is_some();
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
//!     let (mut web, mut sample) = (Web { servers, turns: Turns::default() }, Sample::default());
//!     let tick = Tick { unix_ms: 0, monotonic_ns: 0, budget_ms: 1000 };
//!     web.collect(tick, &mut sample)?;
//!     assert_eq!(sample.len(), 2);
//!     assert_eq!(web.servers[1].failures(), [("connect", 1)]);
//!     Ok::<(), Error>(())
//! })?;
//! let why = "WARN http://b/ is down: failed to reach http://b/: Connection refused (os error 111)";
//! assert_eq!(host.messages(), [why]);
//! # Ok::<(), Error>(())
//! ```

mod turns;

pub use turns::Turns;

use crate::{Error, http, log, net};

/// Why a service is down, or why that cannot be said.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// One word of few, for the value of a label: `timeout`, `connect`.
    pub reason: &'static str,
    /// [`Error::Unavailable`] with the whole story where the service is down; anything else is not the service's doing.
    pub error: Error,
}

impl Failure {
    /// The service is down: it answers, and not as it should.
    ///
    /// ```
    /// use gauged_plugin::{Error, service::Failure};
    ///
    /// let failure = Failure::down("status", "it answers 503");
    /// assert_eq!(failure.error, Error::Unavailable("it answers 503".to_owned()));
    /// ```
    #[must_use]
    pub fn down(reason: &'static str, why: impl Into<String>) -> Self {
        Self { reason, error: Error::Unavailable(why.into()) }
    }
}

impl From<http::Failure> for Failure {
    fn from(failure: http::Failure) -> Self {
        let reason = match failure.error {
            http::Error::Denied(_) => "denied",
            http::Error::InvalidRequest(_) => "request",
            http::Error::Resolve(_) => "resolve",
            http::Error::Connect(_) => "connect",
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
        let reason = match failure.error {
            net::Error::Denied(_) => "denied",
            net::Error::InvalidAddress(_) => "address",
            net::Error::Resolve(_) => "resolve",
            net::Error::Connect(_) => "connect",
            net::Error::Timeout => "timeout",
            net::Error::Io(_) => "closed",
        };
        Self { reason, error: failure.into() }
    }
}

/// A service, and how it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    name: String,
    /// Why it was down when it was last asked.
    down: Option<&'static str>,
    failures: Vec<(&'static str, u64)>,
}

impl Service {
    /// One that was not asked yet. Operators know it by this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), down: None, failures: Vec::new() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Notes what became of asking it: none when it is down. The log has a line when it goes down, when the reason
    /// becomes another, and when it is up again.
    ///
    /// # Errors
    ///
    /// What is not the service's doing: a grant that is missing, a malformed address.
    pub fn note<T>(&mut self, asked: Result<T, Failure>) -> Result<Option<T>, Error> {
        let (reason, why) = match asked {
            Ok(answer) => {
                if self.down.take().is_some() {
                    log::info(&[&self.name, " is up again"].concat());
                }
                return Ok(Some(answer));
            }
            Err(Failure { reason, error: Error::Unavailable(why) }) => (reason, why),
            Err(Failure { error, .. }) => return Err(error),
        };
        if self.down.replace(reason) != Some(reason) {
            log::warn(&[&self.name, " is down: ", &why].concat());
        }
        match self.failures.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => self.failures.push((reason, 1)),
        }
        Ok(None)
    }

    /// Why it was down when it was last asked; none when it was up.
    #[must_use]
    pub fn down(&self) -> Option<&'static str> {
        self.down
    }

    /// How often it was down for which reason, since the plugin was started.
    #[must_use]
    pub fn failures(&self) -> &[(&'static str, u64)] {
        &self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Host;
    use crate::{Capability, Need};

    #[test]
    fn changes_are_logged_and_failures_counted() {
        let mut host = Host::new();
        let mut service = Service::new("db");
        host.run(|| {
            let down = |reason| Err(Failure::down(reason, "so it is"));
            assert_eq!(service.note(Ok(7)), Ok(Some(7)));
            for (answer, is_down) in [(Ok(()), None), (down("timeout"), Some("timeout"))] {
                assert_eq!(service.note(answer).map(|answer| answer.is_some()), Ok(is_down.is_none()));
                assert_eq!(service.down(), is_down);
            }
            for answer in [down("timeout"), down("closed"), down("timeout"), Ok(()), Ok(())] {
                service.note(answer).expect("its own doing");
            }
            let denied = Error::Denied(Need::connect("db:1", "ask"));
            let refused = service.note(Err::<(), _>(Failure { reason: "denied", error: denied.clone() }));
            assert_eq!(refused, Err(denied));
        });
        assert_eq!(service.failures(), [("timeout", 3), ("closed", 1)]);
        let down = "WARN db is down: so it is";
        assert_eq!(host.messages(), [down, down, down, "INFO db is up again"]);
    }

    #[test]
    fn what_does_not_answer_is_down_and_nothing_else_is() {
        let http = |error| Failure::from(http::Failure { url: "http://a/b".to_owned(), error });
        let net = |error| Failure::from(net::Failure { address: "a:1".to_owned(), error });
        let text = String::new;
        for (failure, reason) in [
            (http(http::Error::Resolve(text())), "resolve"),
            (http(http::Error::Connect(text())), "connect"),
            (http(http::Error::Tls(text())), "tls"),
            (http(http::Error::TooLarge(1)), "too_large"),
            (http(http::Error::Timeout), "timeout"),
            (http(http::Error::Protocol(text())), "protocol"),
            (net(net::Error::Resolve(text())), "resolve"),
            (net(net::Error::Connect(text())), "connect"),
            (net(net::Error::Timeout), "timeout"),
            (net(net::Error::Io(text())), "closed"),
        ] {
            assert_eq!(failure.reason, reason);
            assert!(matches!(failure.error, Error::Unavailable(_)), "{failure:?}");
        }
        assert!(matches!(http(http::Error::InvalidRequest(text())).error, Error::Internal(_)));
        assert!(matches!(net(net::Error::InvalidAddress(text())).error, Error::Internal(_)));
        let denied = |failure: Failure| match failure.error {
            Error::Denied(need) => need.capability,
            error => panic!("{error:?}"),
        };
        assert_eq!(denied(http(http::Error::Denied(text()))), Capability::Fetch("http://a".to_owned()));
        assert_eq!(denied(net(net::Error::Denied(text()))), Capability::Connect("a:1".to_owned()));
    }
}
