//! Several servers of one kind, of which one is called: the first one that works, in an order that differs between hosts and stays the same
//! on each. One that failed is left alone for a while, as long as another one works.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use serde::de::DeserializeOwned;

use super::peer::{Call, Pause, Peer, PeerKind};
use super::rpc::ReplyError;
use crate::address::Endpoint;
use crate::sample::Text;
use crate::sink::error::{ErrorReason, SinkError};

/// How many servers a text names.
const MAX_NAMED: usize = 3;

/// A response, and which server sent it.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub(super) from: Endpoint,
    /// The error of a server that works, and refuses this call.
    pub(super) result: Result<T, ReplyError>,
    /// Why others failed before.
    pub(super) failed: Vec<ErrorReason>,
}

/// The servers.
#[derive(Debug)]
pub(super) struct Peers {
    /// The sink, for log lines.
    sink: Text,
    kind: PeerKind,
    /// In the order in which they are preferred.
    all: Vec<Peer>,
    /// The number of the last call. Numbers are never used again, so that a late response is recognised.
    id: u64,
}

impl Peers {
    /// The servers at these addresses, in the order of this host.
    pub(super) fn new(sink: &Text, kind: PeerKind, host: &str, endpoints: &[Endpoint]) -> Self {
        let rank = |endpoint: &Endpoint| {
            // The same in each start of the agent.
            let mut hasher = DefaultHasher::new();
            (host, endpoint.to_string()).hash(&mut hasher);
            hasher.finish()
        };
        let mut endpoints = endpoints.to_vec();
        endpoints.sort_by_cached_key(rank);
        endpoints.dedup();
        Self { sink: sink.clone(), kind, all: endpoints.into_iter().map(Peer::new).collect(), id: 0 }
    }

    /// Calls the first server that works. `parameter` gets the address of this host on the connection. Each server has `timeout` from the
    /// first attempt to connect to the end of its response.
    ///
    /// # Errors
    ///
    /// When none of them works.
    pub(super) async fn call<T: DeserializeOwned>(
        &mut self,
        parameter: impl Fn(Option<IpAddr>) -> Bytes,
        timeout: Duration,
    ) -> Result<Answer<T>, SinkError> {
        let mut failed: Vec<(usize, SinkError)> = Vec::new();
        for at in self.order(Instant::now()) {
            self.id += 1;
            let call = Call { kind: self.kind, id: self.id, parameter: &parameter, timeout };
            let peer = &mut self.all[at];
            match peer.call(&call).await {
                Ok(result) => {
                    peer.pause = Pause::default();
                    let from = peer.endpoint.clone();
                    self.report(at, &failed);
                    self.keep_only(at);
                    let failed = failed.into_iter().map(|(_, error)| error.reason).collect();
                    return Ok(Answer { from, result, failed });
                }
                Err(error) => {
                    peer.pause.fail(Instant::now());
                    failed.push((at, error));
                }
            }
        }
        Err(all_failed(failed))
    }

    /// The servers in the order in which they are tried.
    fn order(&self, now: Instant) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.all.len()).collect();
        order.sort_by_key(|at| !self.all[*at].pause.is_over(now));
        order
    }

    /// Reports servers that failed while another one works, each once, and a server that works again. When none works, the caller
    /// reports that.
    fn report(&mut self, works: usize, failed: &[(usize, SinkError)]) {
        let (sink, used) = (&*self.sink, self.all[works].endpoint.to_string());
        for (at, SinkError { text, remedy, .. }) in failed {
            let peer = &mut self.all[*at];
            if !std::mem::replace(&mut peer.is_reported, true) {
                tracing::warn!(sink, server = %peer.endpoint, reason = text, used, remedy, "server of a sink failed");
            }
        }
        if std::mem::take(&mut self.all[works].is_reported) {
            tracing::info!(sink, server = used, "server of a sink works again");
        }
    }

    /// Closes the connections to other servers than this one.
    fn keep_only(&mut self, kept: usize) {
        let others = self.all.iter_mut().enumerate().filter(|(at, _)| *at != kept);
        others.for_each(|(_, peer)| peer.connection = None);
    }
}

/// The error when no server works: in the order of preference, so that the same one has the same text.
fn all_failed(mut failed: Vec<(usize, SinkError)>) -> SinkError {
    failed.sort_by_key(|(at, _)| *at);
    let mut texts: Vec<&str> = failed.iter().take(MAX_NAMED).map(|(_, error)| &*error.text).collect();
    let more = format!("and {} more", failed.len().saturating_sub(MAX_NAMED));
    if failed.len() > MAX_NAMED {
        texts.push(&more);
    }
    let first = failed.first().map(|(_, error)| (error.reason, error.remedy));
    let (reason, remedy) = first.unwrap_or((ErrorReason::Connect, ""));
    SinkError { reason, text: texts.join("; "), remedy }
}
