//! The wasmtime engine, and the clock that interrupts running guests. Its configuration is in `engine_options`.

use std::future::poll_fn;
use std::hash::{Hash as _, Hasher};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use wasmtime::component::Component;

use crate::plugin::accounts::{Admission, HeldMemory};
use crate::plugin::build::footprint::Footprint;
use crate::plugin::build::sealed::Sealed;
use crate::plugin::guest::engine_options::{EngineOptions, Purpose, config};
use crate::plugin::guest::fault::Fault;

/// The resolution of a guest's time limit, and how long a guest runs before others get their turn.
const EPOCH: Duration = Duration::from_millis(1);

/// How long epochs advance at their resolution while no other guest begins to run. By then the thread of a guest that does not
/// yield was abandoned …
const LONGEST_RUN: Duration = Duration::from_secs(60);

/// … and nobody needs the exact time.
const HUNG_EPOCH: Duration = Duration::from_millis(100);

/// An artifact that was loaded.
pub(crate) struct Artifact {
    pub(crate) component: Component,
    pub(crate) footprint: Footprint,
    /// Its memory, which is counted for the plugin.
    pub(crate) held: HeldMemory,
}

/// The outcome of a load.
pub(crate) enum Loaded {
    Artifact(Artifact),
    /// It needs more memory than the plugin, or all plugins together, may have, and was not decoded.
    Refused(Fault),
}

/// Loads artifacts and interrupts running guests. It cannot compile.
#[derive(Clone)]
pub(crate) struct Engine {
    wasmtime: wasmtime::Engine,
    options: EngineOptions,
    clock: Arc<EpochClock>,
}

impl Engine {
    pub(crate) fn new(purpose: Purpose) -> wasmtime::Result<Self> {
        Self::with_options(EngineOptions::detect(purpose))
    }

    fn with_options(options: EngineOptions) -> wasmtime::Result<Self> {
        let wasmtime = wasmtime::Engine::new(config(options).enable_compiler(false))?;
        let clock = Arc::new(EpochClock::start(wasmtime.clone())?);
        Ok(Self { wasmtime, options, clock })
    }

    /// The options that its artifacts need.
    pub(crate) fn options(&self) -> EngineOptions {
        self.options
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }

    /// Loads an artifact if it is admitted, by its footprint. It must be the output of [`mod@crate::plugin::build::compile`].
    ///
    /// # Errors
    ///
    /// When it was compiled by another engine, or for a machine with more CPU features.
    #[expect(unsafe_code, reason = "an artifact is native code; only those of the compiler get here")]
    pub(crate) fn load(&self, artifact: &Sealed, admission: &Admission) -> wasmtime::Result<Loaded> {
        let footprint = Footprint::read(artifact)?;
        let held = match admission.admit(footprint) {
            Ok(held) => held,
            Err(fault) => return Ok(Loaded::Refused(fault)),
        };
        // SAFETY: the content is the output of `precompile_component` of an engine with the same configuration, followed by the
        // footprint, which it does not read, and it cannot change any more.
        let component = unsafe { Component::deserialize_file(&self.wasmtime, artifact.path()) }?;
        Ok(Loaded::Artifact(Artifact { component, footprint, held }))
    }

    /// Hashes what an artifact must have in common with this engine. CPU features are compared when it is loaded. An artifact for
    /// another purpose can be loaded, and is too large or has no addresses.
    pub(crate) fn identify(&self, hasher: &mut impl Hasher) {
        self.wasmtime.precompile_compatibility_hash().hash(hasher);
        self.options.purpose.hash(hasher);
    }

    /// Awaits a call of a guest. Epochs advance while the guest runs, and not while it waits for the host.
    pub(crate) async fn run_guest<F: Future>(&self, mut call: Pin<&mut F>) -> F::Output {
        poll_fn(|context| {
            let _running = self.clock.run();
            call.as_mut().poll(context)
        })
        .await
    }
}

/// Advances the engine's epoch while guests run, and sleeps otherwise.
struct EpochClock {
    state: Arc<EpochState>,
}

#[derive(Default)]
struct EpochState {
    /// How many guests run; [`CLOSED`] at the end.
    running: AtomicUsize,
    /// How many have begun to run so far.
    begun: AtomicUsize,
    /// Whether the ticker sleeps, or is about to.
    is_parked: AtomicBool,
    /// The thread, once it runs.
    ticker: OnceLock<Thread>,
}

const CLOSED: usize = usize::MAX;

impl EpochClock {
    fn start(engine: wasmtime::Engine) -> io::Result<Self> {
        let state = Arc::new(EpochState::default());
        let ticker_state = Arc::clone(&state);
        crate::thread::start("epochs", move || ticker_state.tick(&engine))?;
        Ok(Self { state })
    }

    fn run(&self) -> Running<'_> {
        self.state.begun.fetch_add(1, Ordering::Relaxed);
        self.state.running.fetch_add(1, Ordering::SeqCst);
        if self.state.is_parked.load(Ordering::SeqCst) {
            self.state.unpark();
        }
        Running(self)
    }
}

impl EpochState {
    /// Runs the ticker. It stays awake between two guests: a thousand are called one after the other, and to wake a thread for
    /// each costs more than most calls.
    fn tick(&self, engine: &wasmtime::Engine) {
        // Before the flag is set for the first time.
        let _ = self.ticker.set(thread::current());
        let (mut begun, mut since) = (0, Instant::now());
        loop {
            let ran = self.running.load(Ordering::SeqCst);
            let latest = self.begun.load(Ordering::Relaxed);
            if latest != begun {
                (begun, since) = (latest, Instant::now());
            }
            thread::sleep(if since.elapsed() < LONGEST_RUN { EPOCH } else { HUNG_EPOCH });
            engine.increment_epoch();
            match ran {
                CLOSED => return,
                0 => {
                    // A guest that starts from here on sees this flag, or is seen below.
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

    fn unpark(&self) {
        if let Some(ticker) = self.ticker.get() {
            ticker.unpark();
        }
    }
}

impl Drop for EpochClock {
    fn drop(&mut self) {
        self.state.running.store(CLOSED, Ordering::SeqCst);
        self.state.unpark();
    }
}

/// A running guest, until this is dropped.
struct Running<'a>(&'a EpochClock);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.state.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PluginConfig;
    use crate::plugin::context::PluginContext;
    use crate::plugin::grants::Grants;
    use crate::plugin::guest::engine_options::{MemoryLayout, compiler};
    use crate::plugin::guest::fault::FaultKind;
    use crate::plugin::offload::pool::OffloadPool;

    fn admission(memory_bytes: u64) -> Admission {
        let pool = OffloadPool::start().expect("threads");
        let config = PluginConfig { memory_bytes, ..PluginConfig::default() };
        PluginContext::new("test", config.into(), Grants::none(), &pool).admission()
    }

    fn content(bytes: &[u8]) -> Sealed {
        Sealed::copy(bytes).expect("copied")
    }

    #[test]
    fn only_artifacts_of_the_same_configuration_load() {
        let component = wat::parse_str("(component (core module $m (memory 1)) (core instance (instantiate $m)))");
        let component = component.expect("valid");
        let engine = Engine::new(Purpose::Serve).expect("this machine runs guests");
        assert!(engine.wasmtime().precompile_component(&component).is_err(), "it has no compiler");
        let artifact = compiler(engine.options()).and_then(|compiler| compiler.precompile_component(&component));
        let mut artifact = artifact.expect("compiled");
        assert!(engine.load(&content(&artifact), &admission(u64::MAX)).is_err(), "it has no footprint");
        Footprint::append(&mut artifact).expect("small");
        let loaded = |most| engine.load(&content(&artifact), &admission(most)).expect("of the same configuration");
        assert!(
            matches!(loaded(1 << 20), Loaded::Artifact(Artifact { footprint, .. }) if footprint.total_bytes() > 1024)
        );
        assert!(matches!(loaded(1024), Loaded::Refused(fault) if fault.kind == FaultKind::Memory));

        let mut different = config(engine.options());
        let other = wasmtime::Engine::new(different.epoch_interruption(false)).expect("such an engine");
        let mut artifact = other.precompile_component(&component).expect("compiled");
        Footprint::append(&mut artifact).expect("small");
        assert!(engine.load(&content(&artifact), &admission(u64::MAX)).is_err(), "it is of another configuration");
        assert!(engine.load(&content(b"anything"), &admission(u64::MAX)).is_err());
    }

    #[test]
    fn artifacts_fit_engines_of_their_layout_only() {
        let component = wat::parse_str("(component (core module $m (memory 1)) (core instance (instantiate $m)))");
        let component = component.expect("valid");
        let options: Vec<EngineOptions> = [MemoryLayout::Reserved, MemoryLayout::Compact]
            .into_iter()
            .flat_map(|layout| {
                let purposes = [Purpose::Serve, Purpose::Diagnose, Purpose::Develop];
                purposes.map(|purpose| EngineOptions { layout, purpose })
            })
            .collect();
        for (compiled, loaded) in options.iter().flat_map(|one| options.iter().map(move |other| (*one, *other))) {
            let artifact = compiler(compiled).and_then(|compiler| compiler.precompile_component(&component));
            let engine = Engine::with_options(loaded).expect("this machine runs guests");
            let mut artifact = artifact.expect("compiled");
            Footprint::append(&mut artifact).expect("small");
            let is_loaded = engine.load(&content(&artifact), &admission(u64::MAX)).is_ok();
            assert_eq!(is_loaded, compiled.layout == loaded.layout, "{compiled:?} {loaded:?}");
        }
        // All have different keys in the cache.
        let hashes = options.iter().map(|&options| {
            let mut hasher = std::hash::DefaultHasher::new();
            Engine::with_options(options).expect("this machine runs guests").identify(&mut hasher);
            hasher.finish()
        });
        assert_eq!(hashes.collect::<std::collections::HashSet<u64>>().len(), options.len());
    }
}
