//! Requests under a script: nothing is encrypted, and what a guest learns of a request is in the script.

use std::time::Duration;

use crate::config::script::web::ScriptedFacts;
use crate::plugin::guest::bindings::gauged::plugin::http::{Response, Times};
use crate::plugin::guest::bindings::gauged::plugin::types::{Certificate, TlsSession};

/// Puts the facts of a script in the place of those that were measured.
pub(super) fn apply(facts: ScriptedFacts, response: &mut Response) {
    let ScriptedFacts { resolve, connect, handshake, first_byte, total, remote, tls } = facts;
    response.times = Times {
        resolve_ns: resolve.map(nanoseconds),
        connect_ns: nanoseconds(connect),
        tls_ns: handshake.map(nanoseconds),
        first_byte_ns: nanoseconds(first_byte),
        total_ns: nanoseconds(total),
    };
    response.remote_address = remote;
    let seconds = |moment: Duration| i64::try_from(moment.as_secs()).unwrap_or(i64::MAX);
    response.tls = tls.map(|tls| TlsSession {
        version: tls.version,
        certificate: Certificate {
            not_before: seconds(tls.not_before),
            not_after: seconds(tls.not_after),
            subject: tls.subject,
            issuer: tls.issuer,
        },
    });
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
