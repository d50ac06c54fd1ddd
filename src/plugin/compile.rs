//! From a file's bytes to native code. Bytes go in, an artifact comes out: nothing else is shared with the rest, so that
//! another process can do it.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::engine::Engine;
use super::probe;

/// How many files are compiled side by side: a compiler takes a whole core, and the ticks want one too.
const AT_ONCE: usize = 2;

/// Compiles files, a few at a time, without holding up the caller's thread.
#[derive(Clone)]
pub(super) struct Compiler {
    engine: Engine,
    places: Arc<Semaphore>,
}

impl Compiler {
    pub(super) fn new(engine: Engine) -> Self {
        Self { engine, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Makes an artifact of a plugin's file.
    ///
    /// # Errors
    ///
    /// Why it is not a plugin, with the remedy: the end of a sentence that begins with the file.
    pub(super) async fn compile(&self, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
        // The semaphore is never closed, so there is always a permit in the end.
        let _place = self.places.acquire().await;
        let engine = self.engine.clone();
        let compiled = spawn_blocking(move || {
            let component = probe::to_component(&bytes)?;
            engine
                .wasmtime()
                .precompile_component(&component)
                .map_err(|error| format!("does not compile: {error:#}; rebuild it with the gauged SDK"))
        });
        compiled.await.unwrap_or_else(|_| Err("makes the compiler panic; rebuild it, and report this".to_owned()))
    }
}
