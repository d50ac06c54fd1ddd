//! A call of a plugin, and its result.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::super::fault::{Failure, Fault, FaultKind};
use super::super::instance::Instance;
use super::super::load::Version;
use super::super::result::Collected;

/// A call that is under way.
pub(in super::super) type Call = Pin<Box<dyn Future<Output = CallResult> + Send>>;

/// The result of a call.
pub(in super::super) struct CallResult {
    /// The version that was called; none when the call panicked.
    pub(super) version: Option<Arc<Version>>,
    /// The instance, for the next call; none when it did not start.
    pub(super) instance: Option<Box<Instance>>,
    pub(super) result: Result<Collected, Failure>,
    pub(super) took: Duration,
}

impl CallResult {
    /// The result of a call that panicked.
    pub(in super::super) fn panicked() -> Self {
        let message = "the agent panicked while serving it; report this".to_owned();
        let fault = Failure::Fault(Fault { kind: FaultKind::Panic, message });
        Self { version: None, instance: None, result: Err(fault), took: Duration::ZERO }
    }
}
