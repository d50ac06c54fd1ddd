//! Where what may wait is done: on other threads, of which there are few, so that only the guest waits that asked for it,
//! and not longer than it has time. What the system does not give back keeps its place and its thread.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::super::configured::Plugin;

/// How many operations may wait for file systems and for names at a time, those of all plugins together. One that is
/// stuck keeps its place and its thread until the system gives it back.
static PLACES: Semaphore = Semaphore::const_new(64);

/// Why there is no result.
#[derive(Debug)]
pub(super) enum Lost {
    /// It was not there in time, or there was no place to begin at all.
    Late,
    /// The agent's own code panicked.
    Panicked(String),
}

/// Does on another thread what may wait.
pub(super) async fn elsewhere<T: Send + 'static>(
    plugin: &Plugin,
    until: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Lost> {
    let places = (Arc::clone(&plugin.places).try_acquire_owned(), PLACES.try_acquire());
    let (Ok(own_place), Ok(place)) = places else { return Err(Lost::Late) };
    let working = spawn_blocking(move || {
        let done = work();
        drop((own_place, place));
        done
    });
    match tokio::time::timeout_at(until.into(), working).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(panicked)) => Err(Lost::Panicked(panicked.to_string())),
        Err(_elapsed) => Err(Lost::Late),
    }
}
