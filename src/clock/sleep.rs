//! Sleeps to moments that may not come.

use std::time::Instant;

/// Sleeps until a moment; for ever when there is none.
pub(crate) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
