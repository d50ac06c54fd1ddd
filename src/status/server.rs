//! The thread that answers on the socket. It takes the view of the moment, whatever the other threads do; nobody waits for it.
//! The socket is opened by it and looked after: where it cannot be opened, or is another agent's, it is tried again.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::process::geteuid;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::place::{SocketPlace, SocketPlaces};
use super::protocol::{CONNECTIONS, ERROR, REQUEST, REQUEST_BYTES, REQUEST_PATIENCE, RESPONSE_PATIENCE};
use super::socket::{self, SocketError};
use super::view::Slot;
use crate::thread::hand_over;
use crate::unix_socket::OwnSocket;

/// How often the socket is looked after, and how long a start that failed pauses.
const CHECK: Duration = Duration::from_secs(10);

/// How long the server pauses when the host has no descriptor for a connection.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// The server, as the tick thread has it.
#[derive(Debug)]
pub(crate) struct StatusServer {
    /// None once the thread has it, and where there is no place for a socket.
    job: Option<Job>,
    has_place: bool,
    /// Dropped to end the thread.
    running: Option<oneshot::Sender<()>>,
    /// Completes when the thread has ended.
    ended: oneshot::Receiver<()>,
}

/// The thread's end of that.
#[derive(Debug)]
struct Job {
    slot: Arc<Slot>,
    place: SocketPlace,
    running: oneshot::Receiver<()>,
    /// Dropped with the job, when the socket is removed.
    _ended: oneshot::Sender<()>,
}

impl StatusServer {
    /// A server without its thread. There is none where no directory is for its socket.
    pub(crate) fn new(slot: &Arc<Slot>, places: &SocketPlaces) -> Self {
        let ((running, is_running), (end, ended)) = (oneshot::channel(), oneshot::channel());
        let place = places.place(Path::is_dir);
        if place.is_none() {
            tracing::debug!("no directory for the status socket");
        }
        let job = place.map(|place| Job { slot: Arc::clone(slot), place, running: is_running, _ended: end });
        Self { has_place: job.is_some(), job, running: Some(running), ended }
    }

    /// Starts the thread, unless it runs or is not needed.
    pub(crate) fn start_thread(&mut self) -> io::Result<()> {
        hand_over("status", &mut self.job, Job::run)
    }

    /// Whether its thread has to be started.
    pub(crate) fn is_waiting(&self) -> bool {
        self.job.is_some()
    }

    /// Whether anybody can ask.
    pub(crate) fn has_place(&self) -> bool {
        self.has_place
    }

    /// Ends the thread, and waits at most this long until the socket is removed.
    pub(crate) async fn end(mut self, patience: Duration) {
        drop((self.running.take(), self.job.take()));
        // A file system that hangs ends with the process.
        let _ = timeout(patience, &mut self.ended).await;
    }
}

impl Job {
    fn run(mut self) {
        let mut reports = Reports::default();
        let runtime = loop {
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => break runtime,
                Err(error) => {
                    let reason = format!("failed to start its thread: {error}");
                    reports.failed(&self.place.socket, &reason, "leave the agent more memory or open files");
                    thread::sleep(CHECK);
                    if self.running.try_recv() == Err(oneshot::error::TryRecvError::Closed) {
                        return;
                    }
                }
            }
        };
        runtime.block_on(async {
            tokio::select! {
                biased;
                // Never sent.
                _ = &mut self.running => {}
                () = serve(&self.slot, &self.place, &mut reports) => {}
            }
        });
    }
}

/// Opens the socket, answers on it, and opens it again when it is gone. Never returns.
async fn serve(slot: &Arc<Slot>, place: &SocketPlace, reports: &mut Reports) {
    loop {
        let checked = Instant::now();
        match socket::open(place).await {
            Ok(socket) => {
                reports.opened(&place.socket);
                answer_all(slot, &socket).await;
            }
            Err(SocketError::InUse) => reports.in_use(&place.socket),
            Err(SocketError::Failed(reason, remedy)) => reports.failed(&place.socket, &reason, remedy),
        }
        sleep_until(checked + CHECK).await;
    }
}

/// Answers all who connect, until the socket is not at its path any more.
async fn answer_all(slot: &Arc<Slot>, socket: &OwnSocket) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let mut check_at = Instant::now() + CHECK;
    loop {
        let accepted = async {
            // Never closed.
            let permit = Arc::clone(&connections).acquire_owned().await;
            (permit, socket.listener.accept().await)
        };
        tokio::select! {
            (permit, accepted) = accepted => match accepted {
                Ok((stream, _)) => {
                    let slot = Arc::clone(slot);
                    tokio::spawn(async move {
                        // Whoever goes away gets no document.
                        let _ = answer(stream, &slot).await;
                        drop(permit);
                    });
                }
                Err(_) => tokio::time::sleep(SHORTAGE_PAUSE).await,
            },
            () = sleep_until(check_at) => {
                check_at = Instant::now() + CHECK;
                if !socket.is_in_place() {
                    return;
                }
            }
        }
    }
}

/// Answers one who has connected.
async fn answer(mut stream: UnixStream, slot: &Slot) -> io::Result<()> {
    let response = match request(&mut stream).await {
        Ok(()) => serde_json::to_vec(&slot.document())?,
        Err(why) => serde_json::to_vec(&json!({ ERROR: why }))?,
    };
    let written = async {
        stream.write_all(&response).await?;
        stream.write_all(b"\n").await?;
        stream.shutdown().await
    };
    timeout(RESPONSE_PATIENCE, written).await?
}

/// Reads the request. The error is for whoever sent it; it is sent after the request was read, or the connection would be reset.
async fn request(stream: &mut UnixStream) -> Result<(), String> {
    let peer = stream.peer_cred().map_err(|error| format!("your user is not known: {error}"))?.uid();
    let mut line = Vec::new();
    let mut limited = BufReader::new(stream.take(REQUEST_BYTES));
    match timeout(REQUEST_PATIENCE, limited.read_until(b'\n', &mut line)).await {
        // The permissions of the socket say the same, where the system honours them.
        Ok(Ok(_)) if peer != 0 && peer != geteuid().as_raw() => {
            Err("only the agent's user and root may ask".to_owned())
        }
        Ok(Ok(_)) if line == format!("{REQUEST}\n").as_bytes() => Ok(()),
        Ok(Ok(_)) => Err(format!("unknown request; send the line {REQUEST}")),
        Ok(Err(error)) => Err(format!("failed to read the request: {error}")),
        Err(_) => Err(format!("no request within {} s", REQUEST_PATIENCE.as_secs())),
    }
}

/// The state of the socket that was reported last: each is reported once.
#[derive(Debug, Default)]
struct Reports {
    last: Option<String>,
}

impl Reports {
    /// Records a state. Returns whether it is another than before.
    fn is_news(&mut self, state: String) -> bool {
        let is_news = self.last.as_ref() != Some(&state);
        self.last = Some(state);
        is_news
    }

    fn opened(&mut self, socket: &Path) {
        let socket = socket.display();
        if self.last.take().is_some() {
            tracing::info!(%socket, "status socket opened");
        } else {
            tracing::debug!(%socket, "status socket open");
        }
    }

    fn in_use(&mut self, socket: &Path) {
        let socket = socket.display().to_string();
        if self.is_news(format!("{socket}: in use")) {
            let remedy = "none, if two agents are meant to run; otherwise end the other one, or name another socket with \
                          --socket";
            tracing::info!(socket, remedy, "status socket left to another agent");
        }
    }

    fn failed(&mut self, socket: &Path, reason: &str, remedy: &str) {
        let socket = socket.display().to_string();
        if self.is_news(format!("{socket}: {reason}")) {
            let consequence = "gauged status has no answer; it is tried again every 10 s";
            tracing::warn!(socket, reason, remedy, consequence, "status socket not opened");
        }
    }
}
