//! What a compiler may use for one file, and how it reports that it was not enough.

use std::time::Duration;

use crate::plugin::guest::engine_options::EngineOptions;

/// The settings that the agent passes to its compiler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileOptions {
    /// The processor time for the file, in whole seconds.
    pub cpu: Duration,
    /// Those of the engine which is to load the artifact.
    pub engine: EngineOptions,
}

/// The address space of the compiler: two and a half times that for a Python guest of 18 MB.
pub(crate) const MEMORY_BYTES: u64 = 1 << 30;

/// The largest artifact: six times the largest file; a Python guest becomes 1.7 times its size, a small one six times.
pub(crate) const ARTIFACT_BYTES: u64 = 192 << 20;

/// The exit code of a child that rejected the content; its message has the reason.
pub(crate) const REJECTED: u8 = 3;

/// The exit code of a child whose memory was not enough.
pub(crate) const OUT_OF_MEMORY: u8 = 4;

/// The exit code of a child whose artifact was too large: where the signal for it is ignored, the write fails.
pub(crate) const ARTIFACT_TOO_LARGE: u8 = 5;

/// The beginning of the line by which a child reports, before it reads the file, that it could not be confined; the rest is
/// the reason.
pub(crate) const UNCONFINED: &str = "unconfined: ";
