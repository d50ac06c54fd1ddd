//! The wasmtime engine: its configuration, and the clock that interrupts running guests.

use std::future::poll_fn;
use std::hash::{Hash as _, Hasher};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use wasmtime::component::Component;

use crate::plugin::accounts::{Admission, HeldMemory};
use crate::plugin::build::footprint::Footprint;
use crate::plugin::build::sealed::Sealed;
use crate::plugin::guest::fault::Fault;

/// The stack of a guest: a Python guest needs 200 KiB. Deeper recursion is a fault.
const GUEST_STACK_BYTES: usize = 512 << 10;

/// The stack of the fiber: the guest's, and that of host functions.
const FIBER_STACK_BYTES: usize = GUEST_STACK_BYTES + (256 << 10);

/// The resolution of a guest's time limit, and how long a guest runs before others get their turn.
const EPOCH: Duration = Duration::from_millis(1);

/// How long epochs advance at their resolution while no other guest begins to run. By then the thread of a guest that does not
/// yield was abandoned …
const LONGEST_RUN: Duration = Duration::from_secs(60);

/// … and nobody needs the exact time.
const HUNG_EPOCH: Duration = Duration::from_millis(100);

/// How far a memory reserves address space where that is scarce: it grows in place that far, and is moved then. A guest that
/// grows page by page to the default limit is moved 64 times.
const COMPACT_RESERVATION_BYTES: u64 = 1 << 20;

/// The guard region of such a memory, which spares the checks of small offsets: a page of WebAssembly.
const COMPACT_GUARD_BYTES: u64 = 64 << 10;

/// How guests' memories are laid out. An artifact fits engines of one layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryLayout {
    /// wasmtime's default: 4 GiB of address space for each memory, and no checks of bounds.
    Reserved,
    /// Little address space, and checks of bounds.
    Compact,
}

impl MemoryLayout {
    /// The layout for this process: compact where its address space is limited (`RLIMIT_AS`), which would have room for no or
    /// few guests otherwise.
    pub(crate) fn detect() -> Self {
        match getrlimit(Resource::As).current {
            Some(_) => Self::Compact,
            None => Self::Reserved,
        }
    }
}

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
    layout: MemoryLayout,
    clock: Arc<EpochClock>,
}

impl Engine {
    pub(crate) fn new() -> wasmtime::Result<Self> {
        Self::with_layout(MemoryLayout::detect())
    }

    fn with_layout(layout: MemoryLayout) -> wasmtime::Result<Self> {
        let wasmtime = wasmtime::Engine::new(config(layout).enable_compiler(false))?;
        let clock = Arc::new(EpochClock::start(wasmtime.clone())?);
        Ok(Self { wasmtime, layout, clock })
    }

    /// The layout that its artifacts need.
    pub(crate) fn layout(&self) -> MemoryLayout {
        self.layout
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

    /// Hashes what an artifact must have in common with this engine. CPU features are compared when it is loaded.
    pub(crate) fn identify(&self, hasher: &mut impl Hasher) {
        self.wasmtime.precompile_compatibility_hash().hash(hasher);
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

/// An engine that only compiles, for [`Engine`]s of this layout in other processes.
pub(crate) fn compiler(layout: MemoryLayout) -> wasmtime::Result<wasmtime::Engine> {
    wasmtime::Engine::new(&config(layout))
}

/// The configuration of both engines.
fn config(layout: MemoryLayout) -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(GUEST_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        // The WIT has nothing asynchronous; what is off has no vulnerabilities.
        .concurrency_support(false)
        .wasm_custom_page_sizes(false)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .wasm_tail_call(false)
        // These are a seventh of the artifact, for backtraces that do not help an operator.
        .generate_address_map(false)
        .native_unwind_info(false)
        .wasm_backtrace_max_frames(None);
    if layout == MemoryLayout::Compact {
        config
            .memory_reservation(COMPACT_RESERVATION_BYTES)
            .memory_reservation_for_growth(COMPACT_RESERVATION_BYTES)
            .memory_guard_size(COMPACT_GUARD_BYTES);
    }
    config
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
        let engine = Engine::new().expect("this machine runs guests");
        assert!(engine.wasmtime().precompile_component(&component).is_err(), "it has no compiler");
        let artifact = compiler(engine.layout()).and_then(|compiler| compiler.precompile_component(&component));
        let mut artifact = artifact.expect("compiled");
        assert!(engine.load(&content(&artifact), &admission(u64::MAX)).is_err(), "it has no footprint");
        Footprint::append(&mut artifact).expect("small");
        let loaded = |most| engine.load(&content(&artifact), &admission(most)).expect("of the same configuration");
        assert!(
            matches!(loaded(1 << 20), Loaded::Artifact(Artifact { footprint, .. }) if footprint.total_bytes() > 1024)
        );
        assert!(matches!(loaded(1024), Loaded::Refused(fault) if fault.kind == FaultKind::Memory));

        let mut different = config(engine.layout());
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
        let layouts = [MemoryLayout::Reserved, MemoryLayout::Compact];
        for (compiled, loaded) in layouts.into_iter().flat_map(|one| layouts.map(|other| (one, other))) {
            let artifact = compiler(compiled).and_then(|compiler| compiler.precompile_component(&component));
            let engine = Engine::with_layout(loaded).expect("this machine runs guests");
            let mut artifact = artifact.expect("compiled");
            Footprint::append(&mut artifact).expect("small");
            let is_loaded = engine.load(&content(&artifact), &admission(u64::MAX)).is_ok();
            assert_eq!(is_loaded, compiled == loaded, "{compiled:?} {loaded:?}");
        }
        // They have different keys in the cache.
        let hash = |layout| {
            let mut hasher = std::hash::DefaultHasher::new();
            Engine::with_layout(layout).expect("this machine runs guests").identify(&mut hasher);
            hasher.finish()
        };
        assert_ne!(hash(MemoryLayout::Reserved), hash(MemoryLayout::Compact));
    }
}
