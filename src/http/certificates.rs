//! Reports about certificates: warnings in the log, and the metric of their end.

use std::sync::Arc;
use std::time::Duration;

use super::statistics::Statistics;
use crate::config::{CertificateWarning, Config, HttpConfig, ServerTls};

/// Reports the certificates of a configuration that was read which somebody has to look after.
pub(crate) fn report_certificates(http: Option<&Arc<HttpConfig>>, now: Duration) {
    let tls = http.and_then(|http| http.tls.as_ref());
    for warning in tls.into_iter().flat_map(|tls| tls.warnings(now)) {
        let CertificateWarning { key, file, reason, remedy } = warning;
        tracing::warn!(key, file, reason, remedy, "HTTP certificate needs attention");
    }
}

/// Has the metric follow a configuration that is in effect now.
pub(super) fn follow_expiry(config: &Config, statistics: &Statistics) {
    let tls = config.http.as_ref().and_then(|http| http.tls.as_ref());
    statistics.record_expiry(tls.and_then(ServerTls::expiry));
}
