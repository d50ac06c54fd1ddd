//! A call of a plugin, and its result.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::plugin::guest::fault::{Failure, Fault, FaultKind};
use crate::plugin::guest::instance::Instance;
use crate::plugin::guest::result::Collected;
use crate::plugin::version::Version;

/// A call that is under way.
pub(crate) type Call = Pin<Box<dyn Future<Output = CallResult> + Send>>;

/// The result of a call.
pub(crate) struct CallResult {
    /// The version that was called; none when the call panicked.
    pub(crate) version: Option<Arc<Version>>,
    /// The instance, for the next call; none when it did not start.
    pub(crate) instance: Option<Box<Instance>>,
    pub(crate) result: Result<Collected, Failure>,
    pub(crate) took: Duration,
    /// How long it has held the thread at a time.
    pub(crate) held: Duration,
}

impl CallResult {
    pub(crate) fn new(
        version: Option<Arc<Version>>,
        instance: Option<Box<Instance>>,
        result: Result<Collected, Failure>,
        took: Duration,
    ) -> Self {
        Self { version, instance, result, took, held: Duration::ZERO }
    }

    /// The result of a call that panicked.
    pub(crate) fn panicked() -> Self {
        let message = "the agent panicked while serving it; report this".to_owned();
        let fault = Failure::Fault(Fault { kind: FaultKind::Panic, message });
        Self::new(None, None, Err(fault), Duration::ZERO)
    }
}
