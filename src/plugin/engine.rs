//! The one wasmtime engine: what guests may be made of, and the clock by which a running guest is interrupted.

use std::future::poll_fn;
use std::hash::{Hash as _, Hasher};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::component::Component;

use super::sealed::Sealed;

/// How much of a stack a guest may use: a Python guest needs 200 KiB, and a deeper recursion is a fault.
const GUEST_STACK_BYTES: usize = 512 << 10;

/// The stack that a guest runs on: its own part, and what host functions need above it.
const FIBER_STACK_BYTES: usize = GUEST_STACK_BYTES + (256 << 10);

/// How finely a running guest's time is measured, and how long it runs before others get their turn.
const EPOCH: Duration = Duration::from_millis(1);

/// Makes guests of artifacts, and interrupts those that run. It cannot compile.
#[derive(Clone)]
pub(super) struct Engine {
    wasmtime: wasmtime::Engine,
    clock: Arc<Clock>,
}

impl Engine {
    pub(super) fn new() -> wasmtime::Result<Self> {
        let wasmtime = wasmtime::Engine::new(config().enable_compiler(false))?;
        let clock = Arc::new(Clock::start(wasmtime.clone())?);
        Ok(Self { wasmtime, clock })
    }

    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }

    /// Makes a component of an artifact. Whoever calls this has it of [`mod@super::compile`], or knows that it came from
    /// there.
    ///
    /// # Errors
    ///
    /// When it was made by another engine, or for a machine that can do more.
    #[expect(unsafe_code, reason = "an artifact is native code; a compiler's is run, and nobody else's")]
    pub(super) fn load(&self, artifact: &Sealed) -> wasmtime::Result<Component> {
        // SAFETY: the content is what `precompile_component` returned, of an engine with the same configuration, and
        // nobody can change it any more.
        unsafe { Component::deserialize_file(&self.wasmtime, artifact.path()) }
    }

    /// Feeds a hash with what an artifact has to have in common with this engine. The machine's abilities are not among
    /// that: they are compared when the artifact is loaded.
    pub(super) fn identify(&self, hasher: &mut impl Hasher) {
        self.wasmtime.precompile_compatibility_hash().hash(hasher);
    }

    /// Awaits a call of a guest, and keeps the epochs advancing whenever the guest runs: not while it waits for the host,
    /// and not when no guest is called at all.
    pub(super) async fn running<F: Future>(&self, mut call: Pin<&mut F>) -> F::Output {
        poll_fn(|context| {
            let _running = self.clock.run();
            call.as_mut().poll(context)
        })
        .await
    }
}

/// An engine that only compiles, for [`Engine`]s in other processes.
pub(super) fn compiler() -> wasmtime::Result<wasmtime::Engine> {
    wasmtime::Engine::new(&config())
}

/// What both of them have to agree upon.
fn config() -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(GUEST_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        // Nothing in the contract is asynchronous, and what is off cannot have a hole.
        .concurrency_support(false)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .wasm_tail_call(false)
        // A seventh of the artifact, for backtraces that an operator has no use for.
        .generate_address_map(false)
        .native_unwind_info(false)
        .wasm_backtrace_max_frames(None);
    config
}

/// Advances the engine's epoch while guests run; sleeps for good otherwise.
struct Clock {
    shared: Arc<Shared>,
    ticker: Thread,
}

#[derive(Default)]
struct Shared {
    /// How many guests run; [`CLOSED`] at the end.
    running: AtomicUsize,
    /// Whether the ticker sleeps until it is woken, or is about to.
    is_parked: AtomicBool,
}

const CLOSED: usize = usize::MAX;

impl Clock {
    fn start(engine: wasmtime::Engine) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ticking = Arc::clone(&shared);
        let ticker = thread::Builder::new().name("epochs".to_owned()).spawn(move || ticking.tick(&engine))?;
        Ok(Self { shared, ticker: ticker.thread().clone() })
    }

    fn run(&self) -> Running<'_> {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.is_parked.load(Ordering::SeqCst) {
            self.ticker.unpark();
        }
        Running(self)
    }
}

impl Shared {
    /// Between one guest and the next it stays awake: a thousand of them are called one after another, and to wake a
    /// thread for each costs more than most of them take.
    fn tick(&self, engine: &wasmtime::Engine) {
        loop {
            let ran = self.running.load(Ordering::SeqCst);
            thread::sleep(EPOCH);
            engine.increment_epoch();
            match ran {
                CLOSED => return,
                0 => {
                    // Whoever runs a guest from here on sees this, or is seen here.
                    self.is_parked.store(true, Ordering::SeqCst);
                    if self.running.load(Ordering::SeqCst) == 0 {
                        thread::park();
                    }
                    self.is_parked.store(false, Ordering::SeqCst);
                }
                _ => {}
            }
        }
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.shared.running.store(CLOSED, Ordering::SeqCst);
        self.ticker.unpark();
    }
}

/// A guest that runs, until this is dropped.
struct Running<'a>(&'a Clock);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.shared.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(bytes: &[u8]) -> Sealed {
        Sealed::copy(bytes).expect("copied")
    }

    #[test]
    fn what_one_engine_compiles_the_other_loads_and_cannot_compile() {
        let component = wat::parse_str("(component (core module $m (memory 1)) (core instance (instantiate $m)))");
        let component = component.expect("valid");
        let engine = Engine::new().expect("this machine runs guests");
        assert!(engine.wasmtime().precompile_component(&component).is_err(), "it has no compiler");
        let artifact = compiler().and_then(|compiler| compiler.precompile_component(&component)).expect("compiled");
        assert!(engine.load(&content(&artifact)).is_ok());

        let mut otherwise = config();
        let other = wasmtime::Engine::new(otherwise.epoch_interruption(false)).expect("such an engine");
        let artifact = other.precompile_component(&component).expect("compiled");
        assert!(engine.load(&content(&artifact)).is_err(), "it was made by another engine");
        assert!(engine.load(&content(b"anything")).is_err());
    }
}
