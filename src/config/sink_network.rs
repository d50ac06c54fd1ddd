//! The settings of sinks that send numbers over the network: `remote_write`, `otlp`, `open_falcon` and `influx`.

pub(super) mod parsing;
pub(super) mod rows;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use self::rows::HTTP_KEYS;
use super::client::{Authorization, CLIENT_KEYS, ClientSettings};
use super::key::{written_duration, written_size};
use super::redaction::HIDDEN;
use super::sensitive::hide;
use crate::address::{Endpoint, HttpUrl};
use crate::naming::Naming;

/// The settings of a sink that sends numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkSettings {
    /// The names of its series.
    pub naming: Naming,
    /// How long a request may take.
    pub timeout: Duration,
    /// How it connects.
    pub connection: Arc<ClientSettings>,
    /// How many bytes its spool has at most.
    pub spool_bytes: u64,
    /// How old a request in its spool gets at most.
    pub spool_age: Duration,
    /// Its protocol.
    pub protocol: ProtocolSettings,
}

/// The protocol of a sink, and its receiver.
#[derive(Clone, PartialEq, Eq)]
pub enum ProtocolSettings {
    /// Prometheus' remote write.
    RemoteWrite {
        /// The receiver.
        url: HttpUrl,
        /// The label `job`; none for that of the naming.
        job: Option<String>,
        /// The label `instance`; none for the host name.
        instance: Option<String>,
    },
    /// OTLP over HTTP.
    Otlp {
        /// The receiver.
        url: HttpUrl,
    },
    /// The line protocol of `InfluxDB` over HTTP.
    Influx {
        /// The receiver.
        url: HttpUrl,
    },
    /// Open-Falcon's.
    OpenFalcon {
        /// The receiver.
        receiver: FalconReceiver,
        /// The heartbeat servers (hbs); none for no heartbeat.
        heartbeat: Vec<Endpoint>,
    },
}

/// The receiver of a sink of kind `open_falcon`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FalconReceiver {
    /// Transfers, which speak JSON-RPC; at least one.
    Transfers(Vec<Endpoint>),
    /// Nightingale's endpoint.
    Push(HttpUrl),
}

impl NetworkSettings {
    /// Whether it sends heartbeats.
    pub(crate) fn has_heartbeat(&self) -> bool {
        matches!(&self.protocol, ProtocolSettings::OpenFalcon { heartbeat, .. } if !heartbeat.is_empty())
    }

    /// Protocol and receiver, for people: without the query of a URL, which may have secrets.
    pub(crate) fn shown_target(&self) -> String {
        let receiver = match &self.protocol {
            ProtocolSettings::OpenFalcon { receiver: FalconReceiver::Transfers(transfers), .. } => {
                transfers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            }
            protocol => protocol.url().map(|url| format!("{}{}", url.origin, url.path.path())).unwrap_or_default(),
        };
        format!("{} at {receiver}", self.protocol.name())
    }

    /// The value of a key that only these sinks have, as it is written, without secrets; null where it has its default, and that is no
    /// value. None for a key that is another sink's. `inherited` are the settings of `[client]`.
    pub(super) fn written_value(&self, name: &str, inherited: &ClientSettings) -> Option<Value> {
        let connection = &*self.connection;
        let is_for_http = HTTP_KEYS.contains(&name) || CLIENT_KEYS.contains(&name);
        if is_for_http && self.protocol.url().is_none() {
            return None;
        }
        Some(match name {
            "naming" => self.naming.as_str().into(),
            "timeout" => written_duration(self.timeout).into(),
            "spool_size" => written_size(self.spool_bytes).into(),
            "spool_age" => written_duration(self.spool_age).into(),
            "token_file" => match &connection.authorization {
                Some(Authorization::Bearer { token_file, .. }) => token_file.clone().into(),
                _ => Value::Null,
            },
            "username" | "password_file" => match &connection.authorization {
                Some(Authorization::Basic { username, .. }) if name == "username" => username.clone().into(),
                Some(Authorization::Basic { password_file, .. }) => password_file.clone().into(),
                _ => Value::Null,
            },
            "headers" => {
                let headers = connection.headers.iter().map(|(name, value)| {
                    let shown =
                        if value.is_sensitive() { HIDDEN.into() } else { String::from_utf8_lossy(value.as_bytes()) };
                    (name.to_string(), shown.into())
                });
                Value::Object(headers.collect())
            }
            "ca_file" | "certificate" | "key" | "proxy" => {
                let own = connection.written_value(name);
                own.filter(|_| !connection.inherits(name, inherited)).map_or(Value::Null, Value::from)
            }
            _ => return self.protocol.written_value(name),
        })
    }
}

impl ProtocolSettings {
    /// The value of `kind`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::RemoteWrite { .. } => "remote_write",
            Self::Otlp { .. } => "otlp",
            Self::Influx { .. } => "influx",
            Self::OpenFalcon { .. } => "open_falcon",
        }
    }

    /// The receiver, if it speaks HTTP.
    fn url(&self) -> Option<&HttpUrl> {
        match self {
            Self::RemoteWrite { url, .. }
            | Self::Otlp { url }
            | Self::Influx { url }
            | Self::OpenFalcon { receiver: FalconReceiver::Push(url), .. } => Some(url),
            Self::OpenFalcon { receiver: FalconReceiver::Transfers(_), .. } => None,
        }
    }

    fn written_value(&self, name: &str) -> Option<Value> {
        let list = |endpoints: &[Endpoint]| endpoints.iter().map(ToString::to_string).collect::<Value>();
        let text = |text: &Option<String>| text.clone().map_or(Value::Null, Value::from);
        Some(match (self, name) {
            (_, "url") => {
                let mut written = Value::from(self.url()?.to_string());
                hide(&mut written);
                written
            }
            (Self::RemoteWrite { job, .. }, "job") => text(job),
            (Self::RemoteWrite { instance, .. }, "instance") => text(instance),
            (Self::OpenFalcon { receiver: FalconReceiver::Transfers(transfers), .. }, "transfers") => list(transfers),
            (Self::OpenFalcon { heartbeat, .. }, "heartbeat") => list(heartbeat),
            _ => return None,
        })
    }
}

/// Without secrets in the query of the URL.
impl fmt::Debug for ProtocolSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["url", "job", "instance", "transfers", "heartbeat"];
        f.debug_map().key(&self.name()).value(&names.map(|name| self.written_value(name))).finish()
    }
}
