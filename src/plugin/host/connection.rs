//! An open connection of a guest, as the bindings name it.

use std::time::Duration;

use tokio::sync::SemaphorePermit;

use crate::client::metered::Stream;

/// An open connection.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Connection {
    pub(crate) stream: Box<dyn Stream>,
    /// The time limit of each operation; none for that of the call.
    pub(crate) timeout: Option<Duration>,
    pub(crate) _permit: SemaphorePermit<'static>,
}
