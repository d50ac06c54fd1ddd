//! A unix socket in the file system that an agent listens on: made so that at no moment anybody may connect who is not meant to, and
//! removed only while it is the agent's own. A dead socket is replaced. One that lives is another agent's, and anything that is no
//! socket is somebody's file: both are left alone.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::time::timeout;

/// How long a socket may take to show whether somebody listens: the kernel answers at once.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

/// An open socket. It is removed when this is dropped, unless another one has taken its place.
#[derive(Debug)]
pub(crate) struct OwnSocket {
    pub(crate) listener: UnixListener,
    path: PathBuf,
    identity: Identity,
}

/// A file as such, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

/// Why there is no socket.
#[derive(Debug)]
pub(crate) enum SocketError {
    /// Another process listens there.
    InUse,
    /// A file of another kind is there.
    Foreign,
    /// The operation, and its error.
    Failed(&'static str, io::Error),
}

impl Identity {
    fn new(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl OwnSocket {
    /// Opens a socket with these permissions, at which so many connections may wait.
    pub(crate) async fn open(path: &Path, mode: u32, backlog: u32) -> Result<Self, SocketError> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => remove_dead(path, &metadata).await?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(SocketError::Failed("failed to examine it", error)),
        }
        let (listener, identity) = listen(path, mode, backlog).map_err(|error| match error.kind() {
            // Another agent was faster.
            io::ErrorKind::AddrInUse => SocketError::InUse,
            _ => SocketError::Failed("failed to open it", error),
        })?;
        Ok(Self { listener, path: path.to_owned(), identity })
    }

    /// Whether the socket at its path is this one.
    pub(crate) fn is_in_place(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|metadata| Identity::new(&metadata) == self.identity)
    }
}

impl Drop for OwnSocket {
    fn drop(&mut self) {
        if self.is_in_place() {
            // Otherwise it is dead, and the next agent replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes a socket with its permissions before anybody can connect.
fn listen(path: &Path, mode: u32, backlog: u32) -> io::Result<(UnixListener, Identity)> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    let identity = Identity::new(&fs::symlink_metadata(path)?);
    Ok((socket.listen(backlog)?, identity))
}

/// Makes room for a socket: what is there may be replaced only if it is a socket on which nobody listens.
async fn remove_dead(path: &Path, metadata: &Metadata) -> Result<(), SocketError> {
    if !metadata.file_type().is_socket() {
        return Err(SocketError::Foreign);
    }
    match timeout(PROBE_PATIENCE, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let is_same = |now: Metadata| Identity::new(&now) == Identity::new(metadata);
            if fs::symlink_metadata(path).is_ok_and(is_same) {
                let failed = |error| SocketError::Failed("failed to remove the dead socket there", error);
                fs::remove_file(path).map_err(failed)?;
            }
            Ok(())
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(SocketError::Failed("failed to examine it", error))
        }
        // It took the connection, or its queue is full.
        _ => Err(SocketError::InUse),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net;

    use super::*;

    const MODE: u32 = 0o640;

    async fn open(path: &Path) -> Result<OwnSocket, SocketError> {
        OwnSocket::open(path, MODE, 8).await
    }

    #[tokio::test]
    async fn dead_socket_is_replaced_and_live_one_left() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("s");
        let live = net::UnixListener::bind(&path).expect("bound");
        assert!(matches!(open(&path).await, Err(SocketError::InUse)));
        drop(live);
        let own = open(&path).await.expect("opened");
        let mode = fs::symlink_metadata(&path).expect("there").mode() & 0o7777;
        assert!(own.is_in_place() && mode == MODE, "{mode:o}");
        drop(own);
        assert!(!path.exists() && fs::read_dir(directory.path()).expect("readable").next().is_none());
    }

    #[tokio::test]
    async fn socket_of_a_successor_is_not_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("s");
        let own = open(&path).await.expect("opened");
        fs::remove_file(&path).expect("removed");
        let successor = net::UnixListener::bind(&path).expect("bound");
        assert!(!own.is_in_place());
        drop(own);
        assert!(path.exists());
        drop(successor);
    }

    #[tokio::test]
    async fn foreign_files_are_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let is_foreign = async |path: &Path| matches!(open(path).await, Err(SocketError::Foreign));
        let file = directory.path().join("file");
        fs::write(&file, "mine").expect("written");
        assert!(is_foreign(&file).await);
        assert_eq!(fs::read_to_string(&file).expect("there"), "mine");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).expect("linked");
        assert!(is_foreign(&link).await && is_foreign(directory.path()).await);
        for unusable in [directory.path().join("none/s"), directory.path().join("x".repeat(200))] {
            assert!(matches!(open(&unusable).await, Err(SocketError::Failed("failed to open it", _))));
        }
    }
}
