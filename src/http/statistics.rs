//! The counters of the server. Its own thread counts, the tick thread reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::exposition::ExpositionCounts;
use crate::sample::{Labels, Values};

/// Why a connection or a request came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// It was no HTTP/1.
    Malformed,
    /// Its headers were too long or too many, or its body too large.
    TooLarge,
    /// The peer did not send or read in time.
    Timeout,
    /// It had to make room for another connection.
    Displaced,
    /// There was no TLS handshake.
    Tls,
    /// It had no valid token.
    Unauthorized,
    /// It was for another host.
    Host,
    /// The server had no room for its response or stream, or no sample yet.
    Unavailable,
    /// It asked for something that there is not.
    Invalid,
}

impl Rejection {
    /// The reasons in the order of the metrics.
    const ALL: [Self; 9] = [
        Self::Malformed,
        Self::TooLarge,
        Self::Timeout,
        Self::Displaced,
        Self::Tls,
        Self::Unauthorized,
        Self::Host,
        Self::Unavailable,
        Self::Invalid,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Timeout => "timeout",
            Self::Displaced => "displaced",
            Self::Tls => "tls",
            Self::Unauthorized => "unauthorized",
            Self::Host => "host",
            Self::Unavailable => "unavailable",
            Self::Invalid => "invalid",
        }
    }
}

/// The numbers of the server.
#[derive(Debug)]
pub(crate) struct Statistics {
    pub(super) connections: AtomicU64,
    pub(super) streams: AtomicU64,
    requests: AtomicU64,
    /// By reason, in their order.
    rejected: Box<[(Labels, AtomicU64)]>,
    dropped_events: AtomicU64,
    /// Series that the configured naming leaves out, by reason.
    left_out: [(Labels, AtomicU64); 2],
    /// When the first certificate expires, in seconds since the Unix epoch; 0 without TLS.
    certificate_expiry: AtomicU64,
    /// How long the last rendering of `/metrics` took, in nanoseconds.
    render_nanos: AtomicU64,
}

impl Default for Statistics {
    fn default() -> Self {
        let counter = |reason: &Rejection| ([("reason", reason.label())].into(), AtomicU64::default());
        Self {
            connections: AtomicU64::default(),
            streams: AtomicU64::default(),
            requests: AtomicU64::default(),
            rejected: Rejection::ALL.iter().map(counter).collect(),
            dropped_events: AtomicU64::default(),
            left_out: ["max_series", "collision"].map(|reason| ([("reason", reason)].into(), AtomicU64::default())),
            certificate_expiry: AtomicU64::default(),
            render_nanos: AtomicU64::default(),
        }
    }
}

impl Statistics {
    pub(super) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn reject(&self, reason: Rejection) {
        self.rejected[reason as usize].1.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn drop_event(&self) {
        self.dropped_events.fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn dropped_events(&self) -> u64 {
        self.dropped_events.load(Ordering::Relaxed)
    }

    pub(super) fn record_left_out(&self, counts: ExpositionCounts) {
        for ((_, number), count) in self.left_out.iter().zip([counts.left_out, counts.collisions]) {
            number.store(count as u64, Ordering::Relaxed);
        }
    }

    pub(super) fn record_expiry(&self, expiry: Option<Duration>) {
        self.certificate_expiry.store(expiry.map_or(0, |expiry| expiry.as_secs()), Ordering::Relaxed);
    }

    pub(super) fn record_rendering(&self, duration: Duration) {
        self.render_nanos.store(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Appends the metrics.
    pub(crate) fn append_metrics(&self, to: &mut Values<'_>) {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        to.push("http_connections", number(&self.connections));
        to.push("http_streams", number(&self.streams));
        to.push("http_requests_total", number(&self.requests));
        for (labels, count) in &self.rejected {
            to.push_labelled("http_rejected_total", labels, number(count));
        }
        to.push("http_dropped_events_total", number(&self.dropped_events));
        for (labels, count) in &self.left_out {
            to.push_labelled("http_left_out_series", labels, number(count));
        }
        to.push("http_render_seconds", Duration::from_nanos(number(&self.render_nanos)).as_secs_f64());
        match number(&self.certificate_expiry) {
            0 => {}
            expiry => to.push("http_certificate_expiry_timestamp_seconds", expiry),
        }
    }
}
