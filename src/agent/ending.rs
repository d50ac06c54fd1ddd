//! The end of the agent: what is waited for, and what is lost.

use std::time::Instant;

use tokio::time::timeout_at;

use super::outputs::{FLUSH, Outputs};
use crate::plugin::Plugins;
use crate::process::{Request, log_ignored};
use crate::sink::SinksEnd;
use crate::state_directory::StateDirectory;
use crate::state_directory::plugin_states::PluginStates;

/// Waits for the last samples to be written, for the guest thread, and for the states of plugins, a moment each. Another request to
/// end ends it at once.
pub(super) async fn end(
    outputs: Outputs,
    plugins: Plugins,
    state: &StateDirectory,
    states: &PluginStates,
    requests: &mut impl AsyncFnMut() -> Request,
) {
    let (until, mut late) = (Instant::now() + FLUSH, None);
    let ending = async {
        let flush = async {
            let SinksEnd { late: names, is_kept } = outputs.end().await;
            late = Some(names);
            is_kept
        };
        let keep = async {
            plugins.end().await;
            write_states(states, until).await;
        };
        let (is_kept, ()) = tokio::join!(flush, keep);
        if is_kept && let Ok(ended) = state.start_end() {
            let _ = timeout_at(until.into(), ended).await;
        }
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

/// Writes the states of plugins that wait for it.
async fn write_states(states: &PluginStates, until: Instant) {
    let written = match states.start_end() {
        Ok(None) => return,
        Ok(Some(written)) => timeout_at(until.into(), written).await.is_ok_and(|written| written.is_ok()),
        Err(_) => false,
    };
    if !written {
        let (reason, remedy) = ("the disk did not respond in time", "check the disk of the state directory");
        tracing::warn!(reason, remedy, "last states of plugins not written");
    }
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
