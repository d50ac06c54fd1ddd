//! Reports about the certificates of clients.

use std::time::Duration;

use crate::config::{CertificateWarning, Config};

/// Reports the certificates of a configuration that was read which somebody has to look after.
pub(crate) fn report_certificates(config: &Config, now: Duration) {
    for CertificateWarning { key, file, reason, remedy } in config.client_certificate_warnings(now) {
        tracing::warn!(key, file, reason, remedy, "client certificate needs attention");
    }
}
