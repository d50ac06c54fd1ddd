//! The configuration of the wasmtime engines: the one that loads artifacts, and the one that compiles them in a process of its own.
//! An artifact fits engines with the options that it was compiled for.

use std::num::NonZeroUsize;

use rustix::process::{Resource, getrlimit};
use wasmtime::OptLevel;

/// The stack of a guest: a Python guest needs 200 KiB. Deeper recursion is a fault.
const GUEST_STACK_BYTES: usize = 512 << 10;

/// The stack of the fiber: the guest's, and that of host functions.
const FIBER_STACK_BYTES: usize = GUEST_STACK_BYTES + (256 << 10);

/// How far a memory reserves address space where that is scarce: it grows in place that far, and is moved then. A guest that
/// grows page by page to the default limit is moved 64 times.
const COMPACT_RESERVATION_BYTES: u64 = 1 << 20;

/// The guard region of such a memory, which spares the checks of small offsets: a page of WebAssembly.
const COMPACT_GUARD_BYTES: u64 = 64 << 10;

/// How many calls of a backtrace are kept: those of a runtime's parser and the author's own, and recursion shows itself.
const BACKTRACE_FRAMES: Option<NonZeroUsize> = NonZeroUsize::new(30);

/// The options that an artifact and the engine that loads it share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// How memories are laid out.
    pub layout: MemoryLayout,
    /// The purpose of the engine.
    pub purpose: Purpose,
}

impl EngineOptions {
    /// Those of an engine in this process.
    pub(crate) fn detect(purpose: Purpose) -> Self {
        Self { layout: MemoryLayout::detect(), purpose }
    }
}

/// The purpose of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To serve: artifacts have nothing that does not help an operator.
    Serve,
    /// To show an author where a guest failed: artifacts have the addresses of instructions.
    Diagnose,
    /// To show an author the effect of each change, with the same addresses: artifacts are not optimised, since each is used
    /// for a moment only.
    Develop,
}

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
    fn detect() -> Self {
        match getrlimit(Resource::As).current {
            Some(_) => Self::Compact,
            None => Self::Reserved,
        }
    }
}

/// An engine that only compiles, for engines with these options in other processes.
pub(crate) fn compiler(options: EngineOptions) -> wasmtime::Result<wasmtime::Engine> {
    let mut config = config(options);
    if options.purpose == Purpose::Develop {
        config.cranelift_opt_level(OptLevel::None);
    }
    wasmtime::Engine::new(&config)
}

/// The configuration of both engines.
pub(crate) fn config(EngineOptions { layout, purpose }: EngineOptions) -> wasmtime::Config {
    let is_diagnosis = purpose != Purpose::Serve;
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
        // Addresses are a seventh of the artifact, and backtraces do not help an operator.
        .generate_address_map(is_diagnosis)
        .wasm_backtrace_max_frames(BACKTRACE_FRAMES.filter(|_| is_diagnosis))
        .native_unwind_info(false);
    if layout == MemoryLayout::Compact {
        config
            .memory_reservation(COMPACT_RESERVATION_BYTES)
            .memory_reservation_for_growth(COMPACT_RESERVATION_BYTES)
            .memory_guard_size(COMPACT_GUARD_BYTES);
    }
    config
}
