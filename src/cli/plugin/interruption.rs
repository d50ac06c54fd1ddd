//! Signals that end a command, which leaves nothing behind then.

use std::future::Future;

use crate::process::{Request, Signals};

/// Waits for the end of some work; none when a signal asks for the end first.
pub(super) async fn unless_ended<T>(signals: &mut Signals, work: impl Future<Output = T>) -> Option<T> {
    let ended = async {
        loop {
            match signals.request().await {
                // Its terminal is gone.
                Request::End | Request::Reload => return,
                Request::Reopen => {}
            }
        }
    };
    tokio::select! {
        biased;
        () = ended => None,
        result = work => Some(result),
    }
}
