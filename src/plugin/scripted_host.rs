//! Plays the script of a host for `gauged plugin test --script`: its files are below a directory of its own, and its servers listen
//! on loopback addresses, so that a plugin is tested with all of the agent's own code. The runs of the script change it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::config::script::system::{ScriptedClock, ScriptedInterface, ScriptedSockets, SystemAnswer, Table};
use crate::config::script::{
    FileError, FileFailure, Response, Script, ScriptedConnection, ScriptedFile, ScriptedResponse, ScriptedRun,
    ScriptedState, ScriptedUsage, ServerError, ServerFailure, StateBytes, StateError, StateFailure, Step, bytes,
};
use crate::escape::printable;
use crate::hostpath::below;

/// The largest request that a scripted web server reads: a plugin sends at most a head of 16 KiB and a body of 1 MiB.
const REQUEST_BYTES: usize = 2 << 20;

/// A host that plays a script.
#[derive(Debug)]
pub(crate) struct ScriptedHost {
    /// The root of its files. It is removed with the host.
    root: PathBuf,
    /// Where its servers listen, by `host:port`.
    servers: BTreeMap<String, SocketAddr>,
    state: Arc<Mutex<PresentHost>>,
}

/// The host as it is in the present run.
#[derive(Debug, Default)]
struct PresentHost {
    failures: BTreeMap<String, FileError>,
    usages: BTreeMap<String, ScriptedUsage>,
    responses: BTreeMap<(String, String), ScriptedResponse>,
    connections: BTreeMap<String, VecDeque<ScriptedConnection>>,
    /// What the plugin has saved before, until it uses its state.
    saved: Option<Vec<u8>>,
    state_failure: Option<StateError>,
    sockets: BTreeMap<Table, SystemAnswer<ScriptedSockets>>,
    clock: Option<SystemAnswer<ScriptedClock>>,
    interfaces: BTreeMap<String, SystemAnswer<ScriptedInterface>>,
    /// The conversations that did not follow the script.
    deviations: Vec<String>,
}

impl Drop for ScriptedHost {
    fn drop(&mut self) {
        // Nobody reads it any more.
        let _ = fs::remove_dir_all(&self.root);
    }
}

impl ScriptedHost {
    /// A host with the servers of a script, and without its runs.
    ///
    /// # Errors
    ///
    /// When its directory or a listener cannot be made.
    pub(crate) async fn start(script: &Script) -> io::Result<Arc<Self>> {
        let root = std::env::temp_dir().canonicalize()?.join(format!("gauged-script-{}", std::process::id()));
        fs::create_dir(&root)?;
        let mut host = Self { root, servers: BTreeMap::new(), state: Arc::default() };
        if let Some(machine) = &script.root {
            copy(machine, &host.root)?;
        }
        for endpoint in script.endpoints() {
            if host.servers.contains_key(endpoint) {
                continue;
            }
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            host.servers.insert(endpoint.clone(), listener.local_addr()?);
            tokio::spawn(serve(listener, endpoint.clone(), Arc::clone(&host.state)));
        }
        Ok(Arc::new(host))
    }

    /// The root of its files.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Changes the host to what it is in a run.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub(crate) fn advance(&self, run: &ScriptedRun) -> io::Result<()> {
        let mut state = self.lock();
        for (path, file) in &run.files {
            let place = below(&self.root, path);
            match file {
                ScriptedFile::Content(text) => {
                    state.failures.remove(path);
                    if let Some(directory) = place.parent() {
                        fs::create_dir_all(directory)?;
                    }
                    fs::write(place, text)?;
                }
                ScriptedFile::Failure(FileFailure { error: FileError::NotFound }) => {
                    state.failures.remove(path);
                    match fs::remove_file(place) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                        _ => {}
                    }
                }
                ScriptedFile::Failure(FileFailure { error }) => {
                    state.failures.insert(path.clone(), *error);
                }
            }
        }
        if let Some(scripted) = &run.state {
            (state.saved, state.state_failure) = match scripted {
                ScriptedState::Text(text) => (Some(text.clone().into_bytes()), None),
                ScriptedState::Bytes(StateBytes { hex }) => (bytes(hex), None),
                ScriptedState::Failure(StateFailure { error }) => (None, Some(*error)),
            };
        }
        state.sockets.extend(run.sockets.clone());
        state.clock = run.clock.clone().or_else(|| state.clock.take());
        state.interfaces.extend(run.interfaces.clone());
        state.usages.extend(run.usages.clone());
        state.responses.extend(run.responses.clone());
        for (endpoint, connection) in &run.connections {
            state.connections.entry(endpoint.clone()).or_default().push_back(connection.clone());
        }
        Ok(())
    }

    /// How a file fails.
    pub(crate) fn failure(&self, path: &str) -> Option<FileError> {
        self.lock().failures.get(path).copied()
    }

    /// The sizes of the file system that is mounted at a path.
    pub(crate) fn usage(&self, path: &str) -> Option<ScriptedUsage> {
        self.lock().usages.get(path).copied()
    }

    /// What the plugin has saved before, by the script, since the last call of this.
    pub(crate) fn take_state(&self) -> Option<Vec<u8>> {
        self.lock().saved.take()
    }

    /// How the plugin's state fails.
    pub(crate) fn state_failure(&self) -> Option<StateError> {
        self.lock().state_failure
    }

    /// The sockets of a table.
    pub(crate) fn sockets(&self, table: Table) -> Option<SystemAnswer<ScriptedSockets>> {
        self.lock().sockets.get(&table).cloned()
    }

    /// The state of the clock.
    pub(crate) fn clock(&self) -> Option<SystemAnswer<ScriptedClock>> {
        self.lock().clock.clone()
    }

    /// A network interface.
    pub(crate) fn interface(&self, name: &str) -> Option<SystemAnswer<ScriptedInterface>> {
        self.lock().interfaces.get(name).cloned()
    }

    /// Where a server listens. The error is that of the next connection to it.
    pub(crate) fn server(&self, endpoint: &str) -> Result<SocketAddr, ServerError> {
        let Some(address) = self.servers.get(endpoint) else { return Err(ServerError::Refused) };
        let mut state = self.lock();
        if let Some(connections) = state.connections.get_mut(endpoint)
            && let Some(ScriptedConnection::Failure(error @ (ServerError::Refused | ServerError::Resolve))) =
                connections.front()
        {
            let error = *error;
            connections.pop_front();
            return Err(error);
        }
        let has_connection = state.connections.get(endpoint).is_some_and(|connections| !connections.is_empty());
        let of_server = |((server, _), _): &(&(String, String), &ScriptedResponse)| server == endpoint;
        let responses: Vec<&ScriptedResponse> =
            state.responses.iter().filter(of_server).map(|(_, response)| response).collect();
        // A web server is up as long as it serves one path.
        let failure = responses.iter().find_map(|response| match response {
            ScriptedResponse::Failure(ServerFailure {
                error: error @ (ServerError::Refused | ServerError::Resolve),
            }) => Some(*error),
            _ => None,
        });
        let is_up = responses.iter().any(|response| match response {
            ScriptedResponse::Failure(ServerFailure { error }) => {
                !matches!(error, ServerError::Refused | ServerError::Resolve)
            }
            ScriptedResponse::Response(_) => true,
        });
        if has_connection || is_up { Ok(*address) } else { Err(failure.unwrap_or(ServerError::Refused)) }
    }

    /// The conversations that did not follow the script, since the last call of this.
    pub(crate) fn take_deviations(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().deviations)
    }

    fn lock(&self) -> MutexGuard<'_, PresentHost> {
        lock(&self.state)
    }
}

/// Copies the files of a directory, and those below it.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut open = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = open.pop() {
        fs::create_dir_all(&to)?;
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let target = to.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push((entry.path(), target));
            } else if kind.is_symlink() {
                std::os::unix::fs::symlink(fs::read_link(entry.path())?, target)?;
            } else if kind.is_file() {
                fs::copy(entry.path(), target)?;
            }
        }
    }
    Ok(())
}

/// Accepts a server's connections.
async fn serve(listener: TcpListener, endpoint: String, state: Arc<Mutex<PresentHost>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let (endpoint, state) = (endpoint.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let next = lock(&state).connections.get_mut(&endpoint).and_then(VecDeque::pop_front);
            let held = match next {
                Some(ScriptedConnection::Steps(steps)) => converse(&mut stream, steps).await,
                Some(ScriptedConnection::Failure(ServerError::Timeout)) => hold(&mut stream).await,
                Some(ScriptedConnection::Failure(_)) => Ok(()),
                None => respond(&mut stream, &endpoint, &state).await,
            };
            if let Err(why) = held {
                lock(&state).deviations.push(format!("{endpoint}: {why}"));
            }
        });
    }
}

fn lock(state: &Mutex<PresentHost>) -> MutexGuard<'_, PresentHost> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Holds a conversation. The error is how it deviates from the script.
async fn converse(stream: &mut TcpStream, steps: Vec<Step>) -> Result<(), String> {
    for step in steps {
        match step {
            Step::Receive(text) => receive(stream, text.as_bytes()).await?,
            Step::ReceiveHex(text) => receive(stream, &bytes(&text).unwrap_or_default()).await?,
            Step::Send(text) => send(stream, text.as_bytes()).await?,
            Step::SendHex(text) => send(stream, &bytes(&text).unwrap_or_default()).await?,
            Step::Wait(_) => hold(stream).await?,
        }
    }
    Ok(())
}

async fn receive(stream: &mut TcpStream, expected: &[u8]) -> Result<(), String> {
    let mut received = Vec::new();
    while received.len() < expected.len() && expected.starts_with(&received) {
        let mut piece = vec![0; expected.len() - received.len()];
        let read = stream.read(&mut piece).await.map_err(|error| error.to_string())?;
        if read == 0 {
            break;
        }
        received.extend_from_slice(&piece[..read]);
    }
    let shown = |bytes: &[u8]| printable(&String::from_utf8_lossy(bytes));
    if received == expected {
        return Ok(());
    }
    Err(format!("the plugin sent \"{}\" instead of \"{}\"", shown(&received), shown(expected)))
}

async fn send(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), String> {
    stream.write_all(bytes).await.map_err(|error| format!("the plugin closed the connection: {error}"))
}

/// Keeps a connection open, and silent, until the peer closes it.
async fn hold(stream: &mut TcpStream) -> Result<(), String> {
    let mut discarded = [0; 512];
    // The end of the connection, in whatever way.
    while stream.read(&mut discarded).await.is_ok_and(|read| read > 0) {}
    Ok(())
}

/// Answers one request as a web server.
async fn respond(stream: &mut TcpStream, endpoint: &str, state: &Mutex<PresentHost>) -> Result<(), String> {
    let (method, path) = request(stream).await?;
    let response = lock(state).responses.get(&(endpoint.to_owned(), path)).cloned();
    let Response { status, headers, body } = match response {
        Some(ScriptedResponse::Response(response)) => response,
        Some(ScriptedResponse::Failure(ServerFailure { error: ServerError::Timeout })) => return hold(stream).await,
        Some(ScriptedResponse::Failure(_)) => return Ok(()),
        None => Response { status: 404, headers: BTreeMap::new(), body: String::new() },
    };
    let mut message = format!("HTTP/1.1 {status} \r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
    for (name, value) in headers {
        // Writing to a string does not fail.
        let _ = write!(message, "{name}: {value}\r\n");
    }
    message.push_str("\r\n");
    if method != "HEAD" {
        message.push_str(&body);
    }
    send(stream, message.as_bytes()).await
}

/// Reads a request. Returns its method and path.
async fn request(stream: &mut TcpStream) -> Result<(String, String), String> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            if bytes.len() >= end + 4 + length.unwrap_or_default() {
                let mut words = head.split(' ');
                let [method, path] = [words.next(), words.next()].map(|word| word.unwrap_or_default().to_owned());
                return Ok((method, path));
            }
        }
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await.map_err(|error| error.to_string())?;
        if read == 0 || bytes.len() > REQUEST_BYTES {
            return Err("the plugin sent no complete request".to_owned());
        }
        bytes.extend_from_slice(&piece[..read]);
    }
}
