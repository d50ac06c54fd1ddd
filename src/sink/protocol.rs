//! The protocols of network sinks: each has an encoder, from samples to requests, and a receiver, from a request to a verdict.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http::StatusCode;
use http::header::{DATE, HeaderMap};
use hyper::body::Bytes;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};

use super::error::ErrorReason;
use super::numeric::NumericSettings;
use super::open_falcon::HeartbeatSettings;
use super::otlp::HostFacts;
use super::remote_write::RemoteWriteSettings;
use super::request::Request;
use super::spool::SpoolIdentity;
use super::statistics::SinkStatistics;
use super::verdict::{Retry, Verdict};
use super::{influx, open_falcon, otlp, remote_write};
use crate::address::HttpUrl;
use crate::client::{ClientError, ClientErrorKind, HttpClient};
use crate::config::{FalconReceiver, NetworkSettings, ProtocolSettings};
use crate::sample::{Sample, Text};

/// The encoder of a sink.
pub(super) enum Encoder {
    RemoteWrite(Box<remote_write::Encoder>),
    Otlp(Box<otlp::Encoder>),
    Influx(Box<influx::Encoder>),
    OpenFalcon(Box<open_falcon::Encoder>),
}

impl Encoder {
    pub(super) fn new(network: &NetworkSettings, numeric: &Arc<NumericSettings>, facts: &HostFacts) -> Self {
        let numeric = Arc::clone(numeric);
        match &network.protocol {
            ProtocolSettings::RemoteWrite { job, instance, .. } => {
                let own = RemoteWriteSettings { job: job.clone(), instance: instance.clone() };
                Self::RemoteWrite(Box::new(remote_write::Encoder::new(numeric, own)))
            }
            ProtocolSettings::Otlp { .. } => Self::Otlp(Box::new(otlp::Encoder::new(numeric, facts.clone()))),
            ProtocolSettings::Influx { .. } => Self::Influx(Box::new(influx::Encoder::new(numeric))),
            ProtocolSettings::OpenFalcon { .. } => Self::OpenFalcon(Box::new(open_falcon::Encoder::new(numeric))),
        }
    }

    /// Whether another configuration needs another encoder: its series have other labels.
    pub(super) fn is_for(own: &NetworkSettings, other: &NetworkSettings) -> bool {
        let labels = |network: &NetworkSettings| match &network.protocol {
            ProtocolSettings::RemoteWrite { job, instance, .. } => (job.clone(), instance.clone()),
            ProtocolSettings::Otlp { .. } | ProtocolSettings::Influx { .. } | ProtocolSettings::OpenFalcon { .. } => {
                (None, None)
            }
        };
        labels(own) == labels(other)
    }

    /// The requests of a sample.
    pub(super) fn encode(&mut self, sample: &Sample, numeric: &Arc<NumericSettings>, to: &mut Vec<Request>) {
        match self {
            Self::RemoteWrite(encoder) => encoder.encode(sample, numeric, to),
            Self::Otlp(encoder) => encoder.encode(sample, numeric, to),
            Self::Influx(encoder) => encoder.encode(sample, numeric, to),
            Self::OpenFalcon(encoder) => encoder.encode(sample, numeric, to),
        }
    }

    /// The requests that end all series.
    pub(super) fn end(&mut self, time: Duration, to: &mut Vec<Request>) {
        match self {
            Self::RemoteWrite(encoder) => encoder.end(time, to),
            Self::Otlp(encoder) => encoder.end(time, to),
            Self::Influx(encoder) => encoder.end(time, to),
            Self::OpenFalcon(encoder) => encoder.end(time, to),
        }
    }

    /// How many series are left out.
    pub(super) fn left_out(&self) -> usize {
        match self {
            Self::RemoteWrite(encoder) => encoder.left_out(),
            Self::Otlp(encoder) => encoder.left_out(),
            Self::Influx(encoder) => encoder.left_out(),
            Self::OpenFalcon(encoder) => encoder.left_out(),
        }
    }
}

/// The receiver of a sink's requests.
pub(super) enum Receiver {
    Http(Box<HttpReceiver>),
    Transfers(open_falcon::Transfers),
}

/// A receiver of requests over HTTP.
pub(super) struct HttpReceiver {
    client: HttpClient,
    headers: HeaderMap,
    verdict: fn(StatusCode, &HeaderMap, &[u8]) -> Verdict,
}

/// The end of an exchange.
pub(super) struct JudgedResponse {
    pub(super) verdict: Verdict,
    /// None without a response.
    pub(super) response: Option<ResponseFacts>,
}

/// The facts of any response.
pub(super) struct ResponseFacts {
    /// The receiver's time, since the Unix epoch, if it has one.
    pub(super) date: Option<Duration>,
}

impl JudgedResponse {
    fn new(verdict: Verdict, headers: &HeaderMap) -> Self {
        Self { verdict, response: Some(ResponseFacts { date: date(headers) }) }
    }
}

impl Receiver {
    /// The receiver of a sink. `host` tells this host from others, so that a fleet is spread over several transfers.
    pub(super) fn new(network: &NetworkSettings, sink: &Text, host: &str, statistics: &Arc<SinkStatistics>) -> Self {
        let http = |url: &HttpUrl, headers, verdict| {
            let client = HttpClient::new(url.clone(), Arc::clone(&network.connection));
            Self::Http(Box::new(HttpReceiver { client, headers, verdict }))
        };
        match &network.protocol {
            ProtocolSettings::RemoteWrite { url, .. } => http(url, remote_write::headers(), remote_write::verdict),
            ProtocolSettings::Otlp { url } => http(url, otlp::headers(), otlp::verdict),
            ProtocolSettings::Influx { url } => http(url, influx::headers(), influx::verdict),
            ProtocolSettings::OpenFalcon { receiver: FalconReceiver::Push(url), .. } => {
                http(url, open_falcon::headers(), open_falcon::verdict)
            }
            ProtocolSettings::OpenFalcon { receiver: FalconReceiver::Transfers(transfers), .. } => {
                Self::Transfers(open_falcon::Transfers::new(sink, host, transfers, statistics))
            }
        }
    }

    /// Asks for the receiver's clock, in at most this time. Any response has it, and stores nothing.
    pub(super) async fn ask(&mut self, timeout: Duration) -> JudgedResponse {
        match self {
            Self::Http(http) => match http.client.head(timeout).await {
                Ok(response) => JudgedResponse::new(Verdict::DELIVERED, &response.headers),
                Err(error) => JudgedResponse { verdict: Verdict::Retry(retry(error)), response: None },
            },
            // Their protocol has no clock.
            Self::Transfers(_) => JudgedResponse::new(Verdict::DELIVERED, &HeaderMap::new()),
        }
    }

    /// Goes on with other settings of the same protocol. Returns false where that needs another receiver.
    pub(super) fn follow(&mut self, network: &NetworkSettings) -> bool {
        let url = match &network.protocol {
            ProtocolSettings::RemoteWrite { url, .. }
            | ProtocolSettings::Otlp { url }
            | ProtocolSettings::Influx { url }
            | ProtocolSettings::OpenFalcon { receiver: FalconReceiver::Push(url), .. } => Some(url),
            ProtocolSettings::OpenFalcon { .. } => None,
        };
        match (&mut *self, url) {
            (Self::Http(http), Some(url)) => {
                http.client.follow(url.clone(), Arc::clone(&network.connection));
                true
            }
            _ => false,
        }
    }

    /// Sends a request, and waits for the verdict, at most this long.
    pub(super) async fn send(&mut self, body: Bytes, timeout: Duration) -> JudgedResponse {
        let HttpReceiver { client, headers, verdict } = match self {
            Self::Http(http) => &mut **http,
            Self::Transfers(transfers) => {
                return JudgedResponse { verdict: transfers.send(&body, timeout).await, response: None };
            }
        };
        match client.post(headers, body, timeout).await {
            Ok(response) => {
                let verdict = verdict(response.status, &response.headers, &response.body);
                JudgedResponse::new(verdict, &response.headers)
            }
            Err(error) => JudgedResponse { verdict: Verdict::Retry(retry(error)), response: None },
        }
    }
}

/// The time of a response, since the Unix epoch.
fn date(headers: &HeaderMap) -> Option<Duration> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    date.duration_since(UNIX_EPOCH).ok()
}

/// A request without a response is sent again.
fn retry(ClientError { kind, text, remedy }: ClientError) -> Retry {
    let reason = match kind {
        ClientErrorKind::Resolve => ErrorReason::Resolve,
        ClientErrorKind::Connect => ErrorReason::Connect,
        ClientErrorKind::Tls => ErrorReason::Tls,
        ClientErrorKind::Timeout => ErrorReason::Timeout,
        ClientErrorKind::Closed | ClientErrorKind::Protocol | ClientErrorKind::TooLarge => ErrorReason::Protocol,
        ClientErrorKind::Proxy => ErrorReason::Proxy,
        ClientErrorKind::Redirect => ErrorReason::Status,
        ClientErrorKind::Shortage => ErrorReason::Descriptors,
    };
    let is_about_request = matches!(
        kind,
        ClientErrorKind::Timeout | ClientErrorKind::Closed | ClientErrorKind::Protocol | ClientErrorKind::TooLarge
    );
    Retry { after: None, reason, text, remedy, is_about_request }
}

/// The heartbeats of a sink, which end when this is dropped.
pub(super) struct Heartbeats(JoinHandle<()>);

impl Heartbeats {
    /// Starts those that a sink is to send; none for other sinks. Needs a `LocalRuntime` or `LocalSet`.
    pub(super) fn start(
        network: &NetworkSettings,
        sink: &Text,
        host: watch::Receiver<Text>,
        statistics: &Arc<SinkStatistics>,
    ) -> Option<Self> {
        let ProtocolSettings::OpenFalcon { heartbeat, .. } = &network.protocol else { return None };
        if heartbeat.is_empty() {
            return None;
        }
        let (sink, endpoints, timeout) = (sink.clone(), heartbeat.clone(), network.timeout);
        let settings = HeartbeatSettings { sink, endpoints, timeout, host };
        let beats = open_falcon::heartbeat(settings, Arc::clone(statistics.heartbeat()), pending());
        Some(Self(spawn_local(beats)))
    }
}

impl Drop for Heartbeats {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The identity that the spool of a sink has, for its requests.
pub(super) fn identity(network: &NetworkSettings) -> SpoolIdentity {
    let protocol = match &network.protocol {
        ProtocolSettings::RemoteWrite { .. } => remote_write::VERSION,
        ProtocolSettings::Otlp { .. } => otlp::VERSION,
        ProtocolSettings::Influx { .. } => influx::VERSION,
        ProtocolSettings::OpenFalcon { .. } => open_falcon::VERSION,
    };
    SpoolIdentity { kind: network.protocol.name(), protocol, naming: network.naming.as_str() }
}
