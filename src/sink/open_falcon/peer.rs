//! One server: its connection, which is kept, and how long it is left alone after a failure.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use serde::de::DeserializeOwned;
use tokio::time::timeout_at;

use super::connection::{CallFailure, Connection};
use super::rpc::{Reply, ReplyError, call_head, parse_response};
use crate::address::Endpoint;
use crate::client::{ClientError, ClientErrorKind, Dialer};
use crate::sink::error::{ErrorReason, SinkError};

/// How long a server is left alone after it failed, if another one works; twice as long each time …
const MIN_PAUSE: Duration = Duration::from_secs(30);

/// … up to this. Each attempt may hold the points up for the time of a request.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// A kind of servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PeerKind {
    /// The method that is called.
    pub(super) method: &'static str,
    /// The action when a server does not have it.
    pub(super) remedy: &'static str,
}

/// A call.
pub(super) struct Call<'a, P> {
    pub(super) kind: PeerKind,
    pub(super) id: u64,
    /// Makes the parameter, with the address of this host on the connection.
    pub(super) parameter: &'a P,
    /// How long it may take, from the first attempt to connect to the end of the response.
    pub(super) timeout: Duration,
}

/// A server.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) endpoint: Endpoint,
    /// Resolves its name: a resolver that hangs keeps one thread for each server.
    dialer: Dialer,
    /// That of the last call, if it succeeded. A call takes it, so that one that is given up closes it.
    pub(super) connection: Option<Connection>,
    pub(super) pause: Pause,
    /// Whether its failure was reported.
    pub(super) is_reported: bool,
}

/// How long a server is left alone.
#[derive(Debug, Default)]
pub(super) struct Pause {
    length: Duration,
    until: Option<Instant>,
}

impl Pause {
    pub(super) fn fail(&mut self, now: Instant) {
        self.length = (self.length * 2).clamp(MIN_PAUSE, MAX_PAUSE);
        self.until = Some(now + self.length);
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }
}

impl Peer {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, dialer: Dialer::default(), connection: None, pause: Pause::default(), is_reported: false }
    }

    /// Calls it. A server that refuses the call works.
    ///
    /// # Errors
    ///
    /// When there is no response of the protocol in time.
    pub(super) async fn call<T: DeserializeOwned, P: Fn(Option<IpAddr>) -> Bytes>(
        &mut self,
        call: &Call<'_, P>,
    ) -> Result<Result<T, ReplyError>, SinkError> {
        let until = Instant::now() + call.timeout;
        let called = timeout_at(until.into(), self.exchange(call, until)).await;
        let (connection, text) = called.unwrap_or_else(|_elapsed| {
            let text = format!("{} does not respond within {:?}", self.endpoint, call.timeout);
            let remedy = "check the server's load and log, and the network to it";
            Err(SinkError { reason: ErrorReason::Timeout, text, remedy })
        })?;
        let result = match parse_response(&text, call.id).map_err(|text| self.protocol_error(&text))? {
            Reply::Result(result) => Ok(result),
            Reply::Error(ReplyError::UnknownMethod(words)) => {
                let text = format!("{} responds {words:?}", self.endpoint);
                return Err(SinkError { reason: ErrorReason::Protocol, text, remedy: call.kind.remedy });
            }
            Reply::Error(error) => Err(error),
        };
        self.connection = Some(connection);
        Ok(result)
    }

    /// The connection of a call, and the text of the response.
    async fn exchange<P: Fn(Option<IpAddr>) -> Bytes>(
        &mut self,
        call: &Call<'_, P>,
        until: Instant,
    ) -> Result<(Connection, Vec<u8>), SinkError> {
        if let Some(mut kept) = self.connection.take().filter(Connection::is_reusable) {
            match exchange_on(&mut kept, call).await {
                // The server was restarted meanwhile, or closes connections that are idle.
                Err(CallFailure::Closed(_)) => {}
                called => {
                    return called.map(|text| (kept, text)).map_err(|failure| self.protocol_error(&failure.text()));
                }
            }
        }
        let mut connection = Connection::new(self.dialer.connect(&self.endpoint, until).await.map_err(connect_error)?);
        let text = exchange_on(&mut connection, call).await;
        text.map(|text| (connection, text)).map_err(|failure| self.protocol_error(&failure.text()))
    }

    fn protocol_error(&self, text: &str) -> SinkError {
        SinkError {
            reason: ErrorReason::Protocol,
            text: format!("{} {text}", self.endpoint),
            remedy: "check that the address is that of the server, and see its log",
        }
    }
}

async fn exchange_on<P: Fn(Option<IpAddr>) -> Bytes>(
    connection: &mut Connection,
    call: &Call<'_, P>,
) -> Result<Vec<u8>, CallFailure> {
    let parameter = (call.parameter)(connection.local_address());
    connection.call(call_head(call.kind.method, call.id), &parameter).await
}

fn connect_error(ClientError { kind, text, remedy }: ClientError) -> SinkError {
    let reason = match kind {
        ClientErrorKind::Resolve => ErrorReason::Resolve,
        ClientErrorKind::Timeout => ErrorReason::Timeout,
        ClientErrorKind::Shortage => ErrorReason::Descriptors,
        // The others are of HTTP.
        _ => ErrorReason::Connect,
    };
    SinkError { reason, text, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let (mut pause, mut now) = (Pause::default(), Instant::now());
        assert!(pause.is_over(now));
        for expected in [30, 60, 120, 240, 300, 300] {
            pause.fail(now);
            now += Duration::from_secs(expected - 1);
            assert!(!pause.is_over(now));
            now += Duration::from_secs(1);
            assert!(pause.is_over(now));
        }
    }
}
