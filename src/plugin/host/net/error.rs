//! The errors of `net`, and its deadlines.

use std::fmt::Display;
use std::io;
use std::time::Instant;

use rustix::io::Errno;
use tokio::time::timeout_at;

use crate::address::{Address, Endpoint};
use crate::client::tls::find_tls_error;
use crate::escape::printable;
use crate::plugin::context::PluginContext;
use crate::plugin::grants::kind::{Denial, Grant, GrantKind};
use crate::plugin::guest::bindings::gauged::plugin::net::Error;
use crate::plugin::guest::bindings::gauged::plugin::types::OsError;
use crate::plugin::host::denial::Refusal;
use crate::plugin::host::dial::{ConnectError, FIREWALL_REMEDY, Unreachable};
use crate::plugin::host::os_error::{os_error, without_code};

/// The error of an address that is of no use here.
pub(crate) fn invalid(address: &str, why: &str) -> Error {
    Error::InvalidAddress(format!("the address \"{}\" {why}", printable(address)))
}

/// The error of an access that is denied.
pub(crate) fn denied(plugin: &PluginContext, denial: Denial) -> Error {
    match plugin.deny(denial) {
        Refusal::Missing(capability) => Error::Denied(capability),
        Refusal::Forbidden(why) => Error::Forbidden(why),
    }
}

/// The error for an endpoint that was not reached. `address` makes the address to grant of one that its name resolves to; `remedy` is
/// for connections that are not permitted.
pub(crate) fn unreachable(
    plugin: &PluginContext,
    error: Unreachable,
    address: impl Fn(Endpoint) -> Address,
    remedy: &str,
) -> Error {
    match error {
        Unreachable::Denied(endpoint) => {
            let missing = Grant::new(GrantKind::Connect, &address(endpoint).to_string());
            denied(plugin, Denial::Missing(missing))
        }
        Unreachable::Resolve(why) => Error::Resolve(why),
        Unreachable::Connect(error) => unconnected(&error, remedy),
        Unreachable::Timeout => Error::Timeout,
    }
}

/// The error of a connection that was not made.
pub(crate) fn unconnected(error: &io::Error, remedy: &str) -> Error {
    ConnectError::new(error, remedy).into()
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::NotPermitted(error) => Self::NotPermitted(error),
            ConnectError::Refused(error) => Self::Refused(error),
            ConnectError::Unreachable(error) => Self::Unreachable(error),
            ConnectError::Reset(error) => Self::Reset(error),
            ConnectError::Timeout => Self::Timeout,
            ConnectError::Io(error) => Self::Io(error),
        }
    }
}

pub(crate) fn no_handle(error: impl Display) -> Error {
    Error::Io(without_code(error.to_string()))
}

/// Awaits an operation until its deadline.
pub(crate) async fn within<T>(until: Instant, operation: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    // An operation may have an effect at once, so it must not begin after the deadline.
    if Instant::now() >= until {
        return Err(Error::Timeout);
    }
    timeout_at(until.into(), operation).await.unwrap_or(Err(Error::Timeout))
}

/// The error of an open connection.
pub(crate) fn broken(error: &io::Error) -> Error {
    match find_tls_error(error) {
        Some(error) => Error::Tls(error.to_string()),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            unexpected_end("the peer closed the connection without ending TLS")
        }
        None => unconnected(error, FIREWALL_REMEDY),
    }
}

/// The error for a stream that ends where TLS does not.
pub(crate) fn unexpected_end(text: &str) -> Error {
    Error::Reset(OsError { text: text.to_owned(), ..os_error(Errno::CONNRESET) })
}

/// The error of a connection on which TLS has failed.
pub(crate) fn failed() -> Error {
    Error::Tls("the connection has ended, since TLS failed on it; open another one".to_owned())
}
