//! Heartbeats to Open-Falcon's heartbeat server (hbs), which lists the host with its address and agent. Nothing else depends on them: points
//! are sent with and without one.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::peer::PeerKind;
use super::peers::Peers;
use super::rpc::ReplyError;
use crate::address::Endpoint;
use crate::sample::Text;
use crate::sink::error::{ErrorReason, SinkError};
use crate::sink::heartbeat_statistics::HeartbeatStatistics;

const HBS: PeerKind = PeerKind {
    method: "Agent.ReportStatus",
    remedy: "list the addresses of heartbeat servers (hbs), which listen on port 6030 unless configured otherwise",
};

/// How often there is a heartbeat: as the original agent's. Open-Falcon forgets a host after a day.
const INTERVAL: Duration = Duration::from_secs(60);

/// How long address and version may be: the widths of hbs' columns. Its database refuses the whole row for a longer text.
const COLUMN_BYTES: usize = 16;

/// The settings of heartbeats.
#[derive(Debug, Clone)]
pub(in crate::sink) struct HeartbeatSettings {
    /// The sink, for log lines.
    pub(in crate::sink) sink: Text,
    /// The heartbeat servers.
    pub(in crate::sink) endpoints: Vec<Endpoint>,
    /// How long each of them has for a heartbeat.
    pub(in crate::sink) timeout: Duration,
    /// The name of the host, which may change. There is no heartbeat before the first one.
    pub(in crate::sink) host: watch::Receiver<Text>,
}

/// The parameter of a heartbeat.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Status<'a> {
    hostname: &'a str,
    #[serde(rename = "IP")]
    ip: String,
    agent_version: String,
    plugin_version: &'a str,
}

/// The response to it.
#[derive(Debug, Deserialize)]
struct Received {
    code: i64,
}

/// Sends heartbeats until `ended` completes.
pub(in crate::sink) async fn heartbeat(
    settings: HeartbeatSettings,
    statistics: Arc<HeartbeatStatistics>,
    ended: impl Future<Output = ()>,
) {
    let HeartbeatSettings { sink, endpoints, timeout, mut host } = settings;
    let beats = async {
        // The name comes with the first sample.
        let Ok(first) = host.wait_for(|host| !host.is_empty()).await.map(|host| host.clone()) else { return };
        let mut peers = Peers::new(&sink, HBS, &first, &endpoints);
        loop {
            let host = host.borrow().clone();
            let beat = beat(&mut peers, &host, timeout).await;
            report(&sink, &statistics, beat);
            tokio::time::sleep(INTERVAL).await;
        }
    };
    tokio::select! {
        () = beats => {}
        () = pin!(ended) => {}
    }
}

/// Sends a heartbeat to the first server that works.
async fn beat(peers: &mut Peers, host: &str, timeout: Duration) -> Result<(), SinkError> {
    let refused = |text: String| SinkError { reason: ErrorReason::Status, text, remedy: "see the log of hbs" };
    let answer = peers.call(|local| parameter(host, local).into(), timeout).await?;
    match answer.result {
        Ok(Received { code: 0 }) => Ok(()),
        Ok(Received { code }) => Err(refused(format!("{} responds code {code}", answer.from))),
        Err(ReplyError::UnknownMethod(words) | ReplyError::Unreadable(words) | ReplyError::Other(words)) => {
            Err(refused(format!("{} responds {words:?}", answer.from)))
        }
    }
}

fn parameter(host: &str, local: Option<IpAddr>) -> Vec<u8> {
    let agent_version = concat!("gauged ", env!("CARGO_PKG_VERSION"));
    let status = Status {
        hostname: host,
        // A long IPv6 address has no room there.
        ip: local.map(|address| address.to_string()).filter(|text| text.len() <= COLUMN_BYTES).unwrap_or_default(),
        agent_version: agent_version.chars().take(COLUMN_BYTES).collect(),
        // Gauged has no directory of plugins with one version.
        plugin_version: "",
    };
    // Texts become JSON without failing.
    serde_json::to_vec(&status).unwrap_or_default()
}

fn report(sink: &str, statistics: &HeartbeatStatistics, beat: Result<(), SinkError>) {
    let is_news = statistics.record(beat.is_ok());
    match beat {
        Ok(()) if is_news => tracing::info!(sink, "heartbeat works again"),
        Err(SinkError { text, remedy, .. }) if is_news => {
            tracing::warn!(sink, reason = text, remedy, "heartbeat failed");
        }
        Ok(()) | Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_news_once() {
        let statistics = HeartbeatStatistics::default();
        let news = [true, true, false, false, true, true].map(|is_up| statistics.record(is_up));
        assert_eq!(news, [false, false, true, false, true, false]);
        let first_fails = HeartbeatStatistics::default();
        assert_eq!([false, false, true].map(|is_up| first_fails.record(is_up)), [true, false, true]);
    }

    #[test]
    fn status_fits_the_columns_of_hbs() {
        let sent = |address: &str| {
            let text = parameter("web-1", Some(address.parse().expect("an address")));
            serde_json::from_slice::<serde_json::Value>(&text).expect("JSON")
        };
        let status = sent("10.0.0.7");
        assert_eq!(
            (&status["Hostname"], &status["IP"], &status["PluginVersion"]),
            (&"web-1".into(), &"10.0.0.7".into(), &"".into())
        );
        let version = status["AgentVersion"].as_str().expect("a text");
        assert!(version.starts_with("gauged ") && version.len() <= COLUMN_BYTES, "{version}");
        assert_eq!(sent("2001:db8::1:2")["IP"], "2001:db8::1:2");
        assert_eq!(sent("2001:db8:1:2:3:4:5:6")["IP"], "");
    }
}
