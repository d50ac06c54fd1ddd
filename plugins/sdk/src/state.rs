//! What a plugin keeps: bytes that are there after a restart of the agent, in the next version of the plugin, and after a fault; such
//! as the position in a file that it reads on. They are the plugin's own, at most 64 KiB, and need no grant.
//!
//! Save as often as the bytes change: the agent writes them to its disk at most once a minute, and at its end. A plugin that
//! can measure without them goes on after an error.
//!
//! ```
//! use gauged_plugin::{state, testing::Host};
//!
//! let mut host = Host::new();
//! host.run(|| {
//!     assert_eq!(state::load()?, None, "nothing was saved yet");
//!     state::save(b"1024")?;
//!     assert_eq!(state::load()?.as_deref(), Some(&b"1024"[..]));
//!     Ok::<(), gauged_plugin::Error>(())
//! })?;
//! // The next version of the plugin finds it.
//! assert_eq!(host.saved_state(), Some(&b"1024"[..]));
//! # Ok::<(), gauged_plugin::Error>(())
//! ```

use std::fmt;

pub use crate::bindings::gauged::plugin::state::Error;
use crate::host::state as host;

/// The most bytes that are kept.
pub const MAX_BYTES: usize = 64 << 10;

/// Returns the bytes that were saved last; `None` before the first save.
///
/// # Errors
///
/// Those of the WIT; `?` converts them to [`crate::Error`].
pub fn load() -> Result<Option<Vec<u8>>, Failure> {
    host::load().map_err(Failure)
}

/// Saves bytes in place of those before.
///
/// # Errors
///
/// As [`load`], and when there are more than [`MAX_BYTES`].
pub fn save(bytes: &[u8]) -> Result<(), Failure> {
    host::save(bytes).map_err(Failure)
}

/// A state that was not loaded or saved.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure(pub Error);

/// The cause, as a sentence.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the plugin's state is not kept: ")?;
        match &self.0 {
            Error::NotSupported(why) => f.write_str(why),
            Error::NotPermitted(error) => error.fmt(f),
            Error::TooLarge(limit) => write!(f, "it has more than {limit} bytes"),
            Error::Timeout => f.write_str("the disk did not respond in time"),
            Error::Io(error) => error.fmt(f),
        }
    }
}

/// Too many bytes are a mistake of the plugin, and become `Failed`. Everything else may pass, and becomes `Unavailable`.
impl From<Failure> for crate::Error {
    fn from(failure: Failure) -> Self {
        let text = failure.to_string();
        if matches!(failure.0, Error::TooLarge(_)) { Self::Failed(text) } else { Self::Unavailable(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Host;

    #[test]
    fn state_is_bounded_and_may_fail() {
        let mut host = Host::new();
        host.state(b"before");
        host.run(|| {
            assert_eq!(load(), Ok(Some(b"before".to_vec())));
            assert_eq!(save(&vec![0; MAX_BYTES + 1]), Err(Failure(Error::TooLarge(65536))));
            assert_eq!(save(&vec![0; MAX_BYTES]), Ok(()));
        });
        assert_eq!(host.saved_state().map(<[u8]>::len), Some(MAX_BYTES));
        host.state_fails(Error::NotSupported("there is no state directory".to_owned()));
        let error = host.run(|| crate::Error::from(save(b"x").expect_err("not kept")));
        let text = "the plugin's state is not kept: there is no state directory";
        assert_eq!(error, crate::Error::Unavailable(text.to_owned()));
        assert_eq!(host.run(load), Err(Failure(Error::NotSupported("there is no state directory".to_owned()))));
        assert!(matches!(Failure(Error::TooLarge(1)).into(), crate::Error::Failed(_)));
        host.state(b"again");
        assert_eq!(host.run(load), Ok(Some(b"again".to_vec())));
    }
}
