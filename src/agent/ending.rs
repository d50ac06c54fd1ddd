//! The end of the agent: what is waited for, and what is lost.

use super::outputs::Outputs;
use crate::plugin::Plugins;
use crate::process::{Request, log_ignored};

/// Waits for the last samples to be written and for the guest thread, a moment each. Another request to end ends it at once.
pub(super) async fn end(outputs: Outputs, plugins: Plugins, requests: &mut impl AsyncFnMut() -> Request) {
    let mut late = None;
    let ending = async {
        let flush = async { late = Some(outputs.end().await) };
        tokio::join!(flush, plugins.end());
    };
    tokio::select! {
        biased;
        () = ending => {}
        () = end_requested(requests) => {}
    }
    let (sinks, reason, remedy) = match late {
        Some(late) if late.is_empty() => return,
        Some(late) => (late.join(", "), "they did not take them in time", "check what reads or stores their lines"),
        None => {
            let remedy = "send one signal, and wait two seconds";
            ("all".to_owned(), "a second signal ended the agent", remedy)
        }
    };
    tracing::error!(reason, remedy, sinks, "last samples lost");
}

/// Waits for a request to end: until then a reload has no effect.
pub(super) async fn end_requested(requests: &mut impl AsyncFnMut() -> Request) {
    loop {
        match requests().await {
            Request::End => return,
            Request::Reload => log_ignored("HUP"),
            Request::Reopen => log_ignored("USR1"),
        }
    }
}
