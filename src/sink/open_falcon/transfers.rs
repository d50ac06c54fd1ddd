//! Open-Falcon's transfers, of which one gets the points over JSON-RPC, and what their responses mean.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use serde::Deserialize;

use super::batch::unpack;
use super::peer::PeerKind;
use super::peers::{Answer, Peers};
use super::rpc::ReplyError;
use crate::address::Endpoint;
use crate::sample::Text;
use crate::sink::error::{ErrorReason, SinkError};
use crate::sink::statistics::SinkStatistics;
use crate::sink::verdict::{Retry, Verdict, words};

const TRANSFER: PeerKind = PeerKind {
    method: "Transfer.Update",
    remedy: "list the addresses of transfers, which listen on port 8433 unless configured otherwise",
};

/// How many metrics of a request are named when some of its points are invalid: a transfer does not report which.
const MAX_NAMED: usize = 8;

/// The transfers of a sink.
#[derive(Debug)]
pub(in crate::sink) struct Transfers {
    peers: Peers,
    statistics: Arc<SinkStatistics>,
}

/// A transfer's response.
#[derive(Debug, Deserialize)]
struct Received {
    #[serde(rename = "Message", default)]
    message: String,
    #[serde(rename = "Invalid")]
    invalid: i64,
}

/// A point, as far as a report names it.
#[derive(Debug, Deserialize)]
struct SentPoint {
    metric: String,
}

impl Transfers {
    /// The transfers at these addresses, for the sink of this name.
    pub(in crate::sink) fn new(
        sink: &Text,
        host: &str,
        endpoints: &[Endpoint],
        statistics: &Arc<SinkStatistics>,
    ) -> Self {
        Self { peers: Peers::new(sink, TRANSFER, host, endpoints), statistics: Arc::clone(statistics) }
    }

    /// Sends the body of a request to the first transfer that works. Each has `timeout` from the first attempt to connect to the end of its
    /// response. Where one may have stored the points and did not respond, another one gets them again: graphs keep one point of a time.
    pub(in crate::sink) async fn send(&mut self, body: &Bytes, timeout: Duration) -> Verdict {
        let Some(points) = unpack(body) else {
            return Verdict::Rejected { text: "the request is damaged".to_owned() };
        };
        match self.peers.call(|_| points.clone(), timeout).await {
            Ok(answer) => {
                answer.failed.iter().for_each(|reason| self.statistics.count(*reason, 1));
                verdict(&answer, &points)
            }
            Err(SinkError { reason, text, remedy }) => {
                Verdict::Retry(Retry { after: None, reason, text, remedy, is_about_request: false })
            }
        }
    }
}

/// The verdict on the response of a transfer that works.
fn verdict(answer: &Answer<Received>, points: &[u8]) -> Verdict {
    let from = &answer.from;
    match &answer.result {
        Ok(Received { invalid: ..=0, .. }) => Verdict::DELIVERED,
        Ok(Received { message, invalid }) => {
            let sent: Vec<SentPoint> = serde_json::from_slice(points).unwrap_or_default();
            let rejected = u64::try_from(*invalid).unwrap_or_default().min(sent.len() as u64);
            let text = format!(
                "{from} finds {rejected} of {} points invalid ({}): {}",
                sent.len(),
                words(message.as_bytes()),
                named(&sent)
            );
            Verdict::Delivered { rejected, text: Some(text) }
        }
        // The transfer would fail the same call for ever.
        Err(ReplyError::Unreadable(words)) => {
            Verdict::Rejected { text: format!("{from} cannot read the points: {words}") }
        }
        Err(ReplyError::UnknownMethod(words) | ReplyError::Other(words)) => Verdict::Retry(Retry {
            after: None,
            reason: ErrorReason::Status,
            text: format!("{from} responds {words:?}"),
            remedy: "see the transfer's log",
            is_about_request: true,
        }),
    }
}

/// The metrics of points.
fn named(points: &[SentPoint]) -> String {
    let named = points.iter().take(MAX_NAMED).map(|point| words(point.metric.as_bytes()));
    let mut named = named.collect::<Vec<_>>().join(", ");
    if points.len() > MAX_NAMED {
        named.push_str(", …");
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(result: Result<i64, ReplyError>) -> Verdict {
        let result = result.map(|invalid| Received { message: "ok".to_owned(), invalid });
        let from = Endpoint { host: crate::address::Host::Name("transfer".to_owned()), port: 8433 };
        verdict(&Answer { from, result, failed: Vec::new() }, br#"[{"metric":"cpu.idle"},{"metric":"mem.memfree"}]"#)
    }

    #[test]
    fn invalid_points_are_counted_and_named() {
        let text = |rejected| format!("transfer:8433 finds {rejected} of 2 points invalid (ok): cpu.idle, mem.memfree");
        assert_eq!(judged(Ok(1)), Verdict::Delivered { rejected: 1, text: Some(text(1)) });
        assert_eq!(judged(Ok(0)), Verdict::DELIVERED);
        // Lies.
        assert_eq!(judged(Ok(i64::MAX)), Verdict::Delivered { rejected: 2, text: Some(text(2)) });
        assert_eq!(judged(Ok(-1)), Verdict::DELIVERED);
    }

    #[test]
    fn unreadable_points_are_rejected() {
        let Verdict::Rejected { text } = judged(Err(ReplyError::Unreadable("json: x".to_owned()))) else { panic!() };
        assert_eq!(text, "transfer:8433 cannot read the points: json: x");
    }

    #[test]
    fn unknown_errors_may_be_about_the_request() {
        let Verdict::Retry(retry) = judged(Err(ReplyError::Other("busy".to_owned()))) else { panic!("no retry") };
        assert!(retry.is_about_request);
        assert_eq!((retry.reason, &*retry.text), (ErrorReason::Status, "transfer:8433 responds \"busy\""));
    }

    #[test]
    fn many_metrics_are_cut() {
        let points: Vec<SentPoint> = (0..20).map(|at| SentPoint { metric: format!("m{at}") }).collect();
        assert_eq!(named(&points), "m0, m1, m2, m3, m4, m5, m6, m7, …");
    }
}
