//! The socket of an agent for its status: nobody but the agent's user and root may connect.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use super::place::SocketPlace;
use crate::unix_socket::{self, OwnSocket};

/// The permissions of the socket: its user connects.
const SOCKET_MODE: u32 = 0o600;

/// The permissions of a directory that is made for it.
const DIRECTORY_MODE: u32 = 0o700;

/// How many connections may wait: a few watchers, and a burst of scripts.
const BACKLOG: u32 = 64;

/// Why there is no socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SocketError {
    /// Another agent listens there.
    InUse,
    /// Reason and remedy.
    Failed(String, &'static str),
}

/// Opens the socket.
pub(super) async fn open(place: &SocketPlace) -> Result<OwnSocket, SocketError> {
    let path = &place.socket;
    if place.makes_directory
        && let Some(directory) = path.parent()
    {
        make_directory(directory)?;
    }
    OwnSocket::open(path, SOCKET_MODE, BACKLOG).await.map_err(|error| match error {
        unix_socket::SocketError::InUse => SocketError::InUse,
        unix_socket::SocketError::Foreign => {
            let remedy = "move it away, or name another socket with --socket";
            SocketError::Failed("it is a file of another kind, and no socket".to_owned(), remedy)
        }
        unix_socket::SocketError::Failed(operation, error) => failed(operation, &error),
    })
}

fn make_directory(directory: &Path) -> Result<(), SocketError> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(failed(&format!("failed to create {}", directory.display()), &error))
        }
        _ => Ok(()),
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
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::PathBuf;

    use super::*;

    fn place(socket: PathBuf) -> SocketPlace {
        SocketPlace { socket, is_named: true, makes_directory: false }
    }

    #[tokio::test]
    async fn errors_have_reason_and_remedy() {
        let directory = tempfile::tempdir().expect("a directory");
        let error = async |path: PathBuf| match open(&place(path)).await {
            Err(SocketError::Failed(reason, remedy)) => (reason, remedy),
            other => panic!("{other:?}"),
        };
        let file = directory.path().join("file");
        fs::write(&file, "mine").expect("written");
        assert!(error(file).await.0.contains("no socket"));
        let (reason, remedy) = error(directory.path().join("none/s")).await;
        assert!(reason.contains("failed to open it") && remedy.starts_with("create its directory"), "{reason}");
        let (reason, remedy) = error(directory.path().join("x".repeat(200))).await;
        assert!(reason.contains("failed to open it") && remedy.contains("shorter path"), "{reason}");
    }

    #[tokio::test]
    async fn directory_is_made_private() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("gauged/s");
        let place = SocketPlace { socket: socket.clone(), is_named: false, makes_directory: true };
        let own = open(&place).await.expect("opened");
        let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o7777;
        assert_eq!(mode(socket.parent().expect("it has one")), DIRECTORY_MODE);
        assert_eq!(mode(&socket), SOCKET_MODE);
        drop(own);
        drop(open(&place).await.expect("opened in the directory that is there"));
    }
}
