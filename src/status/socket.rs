//! The socket of an agent: made so that at no moment anybody but the agent's user and root may connect, and removed only while
//! it is the agent's own. A dead socket is replaced. One that lives is another agent's, and anything that is no socket is
//! somebody's file: both are left alone.

use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::time::timeout;

use super::place::SocketPlace;

/// The permissions of the socket: its user connects.
const SOCKET_MODE: u32 = 0o600;

/// The permissions of a directory that is made for it.
const DIRECTORY_MODE: u32 = 0o700;

/// How many connections may wait: a few watchers, and a burst of scripts.
const BACKLOG: u32 = 64;

/// How long a socket may take to show whether somebody listens: the kernel answers at once.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

/// An open socket. It is removed when this is dropped, unless another one has taken its place.
#[derive(Debug)]
pub(super) struct OwnSocket {
    pub(super) listener: UnixListener,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SocketError {
    /// Another agent listens there.
    InUse,
    /// Reason and remedy.
    Failed(String, &'static str),
}

impl Identity {
    fn new(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl OwnSocket {
    /// Opens the socket.
    pub(super) async fn open(place: &SocketPlace) -> Result<Self, SocketError> {
        let path = &place.socket;
        if place.makes_directory
            && let Some(directory) = path.parent()
        {
            make_directory(directory)?;
        }
        match fs::symlink_metadata(path) {
            Ok(metadata) => remove_dead(path, &metadata).await?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("failed to examine it", &error)),
        }
        let (listener, identity) = listen(path).map_err(|error| match error.kind() {
            // Another agent was faster.
            io::ErrorKind::AddrInUse => SocketError::InUse,
            _ => failed("failed to open it", &error),
        })?;
        Ok(Self { listener, path: path.clone(), identity })
    }

    /// Whether the socket at its path is this one.
    pub(super) fn is_in_place(&self) -> bool {
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
fn listen(path: &Path) -> io::Result<(UnixListener, Identity)> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    let identity = Identity::new(&fs::symlink_metadata(path)?);
    Ok((socket.listen(BACKLOG)?, identity))
}

fn make_directory(directory: &Path) -> Result<(), SocketError> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(failed(&format!("failed to create {}", directory.display()), &error))
        }
        _ => Ok(()),
    }
}

/// Makes room for a socket: what is there may be replaced only if it is a socket on which nobody listens.
async fn remove_dead(path: &Path, metadata: &Metadata) -> Result<(), SocketError> {
    if !metadata.file_type().is_socket() {
        let remedy = "move it away, or name another socket with --socket";
        return Err(SocketError::Failed("it is a file of another kind, and no socket".to_owned(), remedy));
    }
    match timeout(PROBE_PATIENCE, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let is_same = |now: Metadata| Identity::new(&now) == Identity::new(metadata);
            if fs::symlink_metadata(path).is_ok_and(is_same) {
                fs::remove_file(path).map_err(|error| failed("failed to remove the dead socket there", &error))?;
            }
            Ok(())
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(failed("failed to examine it", &error))
        }
        // It took the connection, or its queue is full.
        _ => Err(SocketError::InUse),
    }
}

fn failed(operation: &str, error: &io::Error) -> SocketError {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "create its directory, or name another socket with --socket",
        io::ErrorKind::PermissionDenied => "let the agent's user write to its directory, or name another socket",
        io::ErrorKind::InvalidInput => "name a shorter path with --socket: a socket's may have 107 bytes",
        _ => "check its file system, and the agent's limit of open files",
    };
    SocketError::Failed(format!("{operation}: {error}"), remedy)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net;

    use super::*;

    fn place(socket: PathBuf) -> SocketPlace {
        SocketPlace { socket, is_named: true, makes_directory: false }
    }

    #[tokio::test]
    async fn dead_socket_is_replaced_and_live_one_left() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("s");
        let live = net::UnixListener::bind(&path).expect("bound");
        assert_eq!(OwnSocket::open(&place(path.clone())).await.expect_err("in use"), SocketError::InUse);
        drop(live);
        let own = OwnSocket::open(&place(path.clone())).await.expect("opened");
        let mode = fs::symlink_metadata(&path).expect("there").mode() & 0o7777;
        assert!(own.is_in_place() && mode == SOCKET_MODE, "{mode:o}");
        drop(own);
        assert!(!path.exists() && fs::read_dir(directory.path()).expect("readable").next().is_none());
    }

    #[tokio::test]
    async fn socket_of_a_successor_is_not_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("s");
        let own = OwnSocket::open(&place(path.clone())).await.expect("opened");
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
        let reason = async |path: PathBuf| match OwnSocket::open(&place(path)).await {
            Err(SocketError::Failed(reason, _)) => reason,
            other => panic!("{other:?}"),
        };
        let file = directory.path().join("file");
        fs::write(&file, "mine").expect("written");
        assert!(reason(file.clone()).await.contains("no socket"));
        assert_eq!(fs::read_to_string(&file).expect("there"), "mine");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).expect("linked");
        assert!(reason(link).await.contains("no socket"));
        assert!(reason(directory.path().join("none/s")).await.contains("failed to open it"));
        assert!(reason(directory.path().join("x".repeat(200))).await.contains("failed to open it"));
        assert!(reason(directory.path().to_owned()).await.contains("no socket"));
    }

    #[tokio::test]
    async fn directory_is_made_private() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("gauged/s");
        let place = SocketPlace { socket: socket.clone(), is_named: false, makes_directory: true };
        let own = OwnSocket::open(&place).await.expect("opened");
        let made = socket.parent().expect("it has one");
        assert_eq!(fs::metadata(made).expect("there").mode() & 0o7777, DIRECTORY_MODE);
        drop(own);
        drop(OwnSocket::open(&place).await.expect("opened in the directory that is there"));
    }
}
