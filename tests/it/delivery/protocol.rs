//! The protocols of network sinks, as their receivers speak them.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::receiver::{Arrival, Response};

/// A protocol. Its name is that of the sink, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    RemoteWrite,
    Otlp,
    Influx,
    /// Open-Falcon's JSON-RPC.
    Transfer,
    /// Open-Falcon's points over HTTP.
    Nightingale,
}

impl Protocol {
    pub const ALL: [Self; 5] = [Self::RemoteWrite, Self::Otlp, Self::Influx, Self::Transfer, Self::Nightingale];

    /// The name of its sink.
    pub fn name(self) -> &'static str {
        match self {
            Self::RemoteWrite => "remote_write",
            Self::Otlp => "otlp",
            Self::Influx => "influx",
            Self::Transfer => "transfer",
            Self::Nightingale => "nightingale",
        }
    }

    /// The lines of its sink's table that say where the receiver is.
    pub fn keys(self, address: SocketAddr) -> String {
        let (kind, path) = match self {
            Self::RemoteWrite => ("remote_write", "/api/v1/write"),
            Self::Otlp => ("otlp", "/v1/metrics"),
            Self::Influx => ("influx", "/write?db=hosts"),
            Self::Nightingale => ("open_falcon", "/openfalcon/push"),
            Self::Transfer => return format!("kind = \"open_falcon\"\ntransfers = [\"{address}\"]"),
        };
        format!("kind = \"{kind}\"\nurl = \"http://{address}{path}\"")
    }

    /// Whether calls come over plain TCP.
    pub fn is_rpc(self) -> bool {
        self == Self::Transfer
    }

    /// Whether a series has at most one point a second.
    pub fn has_whole_seconds(self) -> bool {
        matches!(self, Self::Transfer | Self::Nightingale)
    }

    /// The response to a request that is stored.
    pub fn success(self, arrival: &Arrival, date: &str) -> Vec<u8> {
        match self {
            Self::RemoteWrite | Self::Influx => Response::stored(204, "", b"", date),
            Self::Otlp => Response::stored(200, "Content-Type: application/x-protobuf\r\n", b"", date),
            Self::Nightingale => {
                let count = arrival.points().len();
                let body = json!({"succ": count, "fail": 0, "msg": "received"}).to_string();
                Response::stored(200, "Content-Type: application/json\r\n", body.as_bytes(), date)
            }
            Self::Transfer => {
                let count = arrival.points().len();
                rpc_response(
                    arrival,
                    &json!({"Message": "ok", "Total": count, "Invalid": 0, "Latency": 0}),
                    &Value::Null,
                )
            }
        }
    }

    /// The reply of a transfer: a result in JSON where the status is 200, else an error.
    pub fn rpc_reply(arrival: &Arrival, response: &Response) -> Vec<u8> {
        let text = String::from_utf8_lossy(&response.body);
        match response.status {
            200 => rpc_response(arrival, &serde_json::from_str(&text).expect("JSON"), &Value::Null),
            _ => rpc_response(arrival, &Value::Null, &json!(text)),
        }
    }
}

/// A reply as Go's server writes it.
fn rpc_response(arrival: &Arrival, result: &Value, error: &Value) -> Vec<u8> {
    let call: Value = serde_json::from_slice(&arrival.body).expect("JSON");
    format!("{{\"id\":{},\"result\":{result},\"error\":{error}}}\n", call["id"]).into_bytes()
}
