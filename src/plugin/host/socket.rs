//! Connects to a granted unix socket of the measured host: to the very file that the path leads to within the grants.

use std::sync::Arc;
use std::time::Instant;

use rustix::fs::FileType;
use rustix::io::Errno;
use tokio::net::UnixStream;

use crate::address::Address;
use crate::plugin::context::PluginContext;
use crate::plugin::grants::kind::Denial;
use crate::plugin::grants::{Basis, Grants};
use crate::plugin::guest::bindings::gauged::plugin::types::OsError;
use crate::plugin::host::dial::ConnectError;
use crate::plugin::host::os_error::{self, os_error, permission_error, without_code};
use crate::plugin::host::ration::{Ration, RationedStream};
use crate::plugin::host::resolved_path::{PathError, resolve};
use crate::plugin::offload::permits::{OffloadTarget, PermitError};

/// What to do about a socket that the agent's user may not connect to.
const SOCKET_REMEDY: &str = "run the agent as a user or in a group that may write to the socket";

/// Why there is no connection to a unix socket.
pub(crate) enum SocketError {
    Denied(Denial),
    /// The path is not a normalized absolute one: the problem and the remedy.
    Malformed(String),
    NotFound,
    /// The file system does not have sockets; the reason.
    NotSupported(String),
    /// It was found, and not connected to.
    Connect(ConnectError),
}

/// Connects to the socket at a path. `check` must allow both the path and what it leads to.
pub(crate) async fn open_socket(
    plugin: &PluginContext,
    path: &str,
    until: Instant,
    ration: &Ration,
    check: impl Fn(&Grants, &str) -> Result<Basis, PathError> + Send + 'static,
) -> Result<RationedStream<UnixStream>, SocketError> {
    let (grants, owned) = (Arc::clone(&plugin.grants), path.to_owned());
    let resolving = plugin.accounts.permits.run(OffloadTarget::Path(path.to_owned()), until, move || {
        resolve(grants.root(), &owned, FileType::Socket, |path| check(&grants, path))
    });
    let io = |error| SocketError::Connect(ConnectError::Io(error));
    let resolved = match resolving.await {
        Ok(Ok(resolved)) => resolved,
        Ok(Err(PathError::Denied(denial))) => return Err(SocketError::Denied(denial)),
        Ok(Err(PathError::Malformed(why))) => return Err(SocketError::Malformed(why)),
        Ok(Err(PathError::NotFound)) => return Err(SocketError::NotFound),
        // As the kernel has it.
        Ok(Err(PathError::WrongType)) => {
            let text = "the file is not a socket".to_owned();
            let error = OsError { text, ..os_error(Errno::CONNREFUSED) };
            return Err(SocketError::Connect(ConnectError::Refused(error)));
        }
        Ok(Err(PathError::NotPermitted(error))) => {
            return Err(SocketError::Connect(ConnectError::NotPermitted(permission_error(error, SOCKET_REMEDY))));
        }
        Ok(Err(PathError::NotSupported(error))) => return Err(SocketError::NotSupported(os_error::text(error))),
        Ok(Err(PathError::Io(error))) => return Err(io(error)),
        Err(PermitError::Panicked(why)) => return Err(io(without_code(why))),
        Err(PermitError::Late) => return Err(SocketError::Connect(ConnectError::Timeout)),
    };
    if let Some(script) = &plugin.script
        && script.check_unix_server(&Address::Unix(path.to_owned()).to_string()).is_err()
    {
        return Err(SocketError::Connect(ConnectError::Refused(os_error(Errno::CONNREFUSED))));
    }
    let connected = UnixStream::connect(&resolved.path).await;
    let stream = connected.map_err(|error| SocketError::Connect(ConnectError::new(&error, SOCKET_REMEDY)))?;
    Ok(RationedStream::new(stream, ration))
}
