//! File systems (FUSE) that a test serves, or does not. Their tests need namespaces (`namespaces.rs`).

use std::ffi::CString;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::namespaces::Refused;

/// Mounts a file system over a directory; returns the device from which its server reads requests.
fn mount_over(directory: &Path) -> Result<OwnedFd, Refused> {
    let device = "/dev/fuse";
    let refused = |what: &str, error| Refused(format!("{what}: {error}"));
    // Non-blocking: a killed process withdraws its request, also when the server has already been woken for it.
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let server = rustix::fs::open(device, flags, Mode::empty()).map_err(|error| refused(device, error))?;
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
    let options = CString::new(options).expect("no NUL");
    mount("none", directory, "fuse", MountFlags::NOSUID | MountFlags::NODEV, &*options)
        .map_err(|error| refused("mount", error))?;
    Ok(server)
}

/// A mount whose server reads no request. Every operation on it waits until the server is closed, at the latest on drop.
pub struct DeadMount {
    at: PathBuf,
    server: Option<OwnedFd>,
}

impl DeadMount {
    pub fn over(directory: &Path) -> Result<Self, Refused> {
        Ok(Self { server: Some(mount_over(directory)?), at: directory.to_owned() })
    }

    /// Closes the server: waiting operations end with an error.
    pub fn end(&mut self) {
        self.server = None;
    }
}

impl Drop for DeadMount {
    fn drop(&mut self) {
        self.end();
        let _ = unmount(&self.at, UnmountFlags::DETACH);
    }
}

/// A mount with one file, whose server behaves as the test wants.
pub struct ServedMount {
    at: PathBuf,
    state: Arc<Mutex<State>>,
    server: Option<thread::JoinHandle<()>>,
}

/// The name of the file in a [`ServedMount`].
pub const SERVED_FILE: &str = "file.wasm";

/// The responses of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Responds,
    /// Reading the file fails.
    FailsReads(Errno),
    /// Reading the file gets its response after this time.
    DelaysReads(Duration),
    /// Reading the file gets no response until the service changes.
    HangsInReads,
    /// No operation gets a response, until the service changes.
    Hangs,
}

struct State {
    service: Service,
    content: Vec<u8>,
    /// How many requests to read there were.
    reads: u64,
    /// When the file was written, in seconds since the Unix epoch: longer ago than any pause that the agent waits for.
    modified: u64,
    is_over: bool,
}

impl ServedMount {
    pub fn over(directory: &Path, content: Vec<u8>, service: Service) -> Result<Self, Refused> {
        let device = mount_over(directory)?;
        let state = Arc::new(Mutex::new(State { service, content, reads: 0, modified: 1_000_000_000, is_over: false }));
        let shared = Arc::clone(&state);
        let server = thread::spawn(move || serve(&device, &shared));
        Ok(Self { at: directory.to_owned(), state, server: Some(server) })
    }

    /// Changes the responses, also to requests that wait.
    pub fn set(&self, service: Service) {
        self.state.lock().expect("not poisoned").service = service;
    }

    /// Changes the time at which the file was written.
    pub fn touch(&self) {
        self.state.lock().expect("not poisoned").modified += 1;
    }

    /// How often the file was read so far.
    pub fn reads(&self) -> u64 {
        self.state.lock().expect("not poisoned").reads
    }
}

impl Drop for ServedMount {
    fn drop(&mut self) {
        if let Ok(mut state) = self.state.lock() {
            state.is_over = true;
        }
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
        let _ = unmount(&self.at, UnmountFlags::DETACH);
    }
}

/// A request of the kernel (linux/fuse.h): its header and what follows.
struct Request {
    operation: u32,
    id: u64,
    node: u64,
    body: Vec<u8>,
    received: Instant,
}

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const RELEASE: u32 = 18;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const OPENDIR: u32 = 27;
const READDIR: u32 = 28;
const RELEASEDIR: u32 = 29;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

/// The length of a request's header.
const HEADER: usize = 40;

/// The number of the root directory, and of the file.
const ROOT: u64 = 1;
const FILE: u64 = 2;

/// More than any request is long, as announced by `INIT`.
const BUFFER: usize = 64 << 10;

/// Reads requests and responds to them, until the mount is over.
fn serve(device: &OwnedFd, state: &Mutex<State>) {
    let (mut buffer, mut waiting) = (vec![0; BUFFER], Vec::<Request>::new());
    loop {
        let timeout = Duration::from_millis(5).try_into().expect("a short time");
        let _ = poll(&mut [PollFd::new(device, PollFlags::IN)], Some(&timeout));
        if state.lock().expect("not poisoned").is_over {
            return;
        }
        match rustix::io::read(device, &mut buffer) {
            Ok(length) => accept(device, &buffer[..length], &mut state.lock().expect("not poisoned"), &mut waiting),
            // There is no request, or none any more.
            Err(Errno::INTR | Errno::NOENT | Errno::AGAIN) => {}
            // It was unmounted.
            Err(_) => return,
        }
        let state = state.lock().expect("not poisoned");
        waiting.retain(|request| !respond(device, request, &state));
    }
}

/// Takes a request in. An interruption ends the request that it is about: the kernel waits for that response even when the
/// process was killed.
fn accept(device: &OwnedFd, bytes: &[u8], state: &mut State, waiting: &mut Vec<Request>) {
    let request = Request {
        operation: word(bytes, 4),
        id: long(bytes, 8),
        node: long(bytes, 16),
        body: bytes[HEADER..].to_vec(),
        received: Instant::now(),
    };
    match request.operation {
        FORGET | BATCH_FORGET => return,
        INTERRUPT => {
            let interrupted = long(&request.body, 0);
            if let Some(request) = waiting.extract_if(.., |request| request.id == interrupted).next() {
                send(device, &request, Err(Errno::INTR));
            }
            return;
        }
        READ => state.reads += 1,
        _ => {}
    }
    waiting.push(request);
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Responds to a request. Returns false when the request has to wait.
fn respond(device: &OwnedFd, request: &Request, state: &State) -> bool {
    match state.service {
        Service::Hangs if request.operation != INIT => return false,
        Service::HangsInReads if request.operation == READ => return false,
        Service::DelaysReads(delay) if request.operation == READ && request.received.elapsed() < delay => return false,
        Service::FailsReads(error) if request.operation == READ => {
            send(device, request, Err(error));
            return true;
        }
        _ => {}
    }
    let is_file = request.body.strip_suffix(b"\0") == Some(SERVED_FILE.as_bytes());
    let response = match request.operation {
        // Version 7.31, requests of up to a page.
        INIT => Ok([7, 31, 0, 0, 0, 4096, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0].map(u32::to_ne_bytes).concat()),
        LOOKUP if is_file => {
            let entry = [FILE, 0, 0, 0, 0].map(u64::to_ne_bytes).concat();
            Ok([entry, attributes(FILE, state)].concat())
        }
        LOOKUP => Err(Errno::NOENT),
        GETATTR => Ok([[0_u64; 2].map(u64::to_ne_bytes).concat(), attributes(request.node, state)].concat()),
        // Reads come to the server each time: nothing is cached.
        OPEN => Ok([0, 0, 1, 0].map(u32::to_ne_bytes).concat()),
        OPENDIR => Ok(vec![0; 16]),
        READ => {
            let from = usize::try_from(long(&request.body, 8)).expect("small").min(state.content.len());
            let length = (word(&request.body, 16) as usize).min(state.content.len() - from);
            Ok(state.content[from..from + length].to_vec())
        }
        READDIR if long(&request.body, 8) == 0 => {
            let mut entry = [FILE, 1].map(u64::to_ne_bytes).concat();
            entry.extend([SERVED_FILE.len() as u32, 8].map(u32::to_ne_bytes).concat());
            entry.extend(SERVED_FILE.as_bytes());
            entry.resize(entry.len().next_multiple_of(8), 0);
            Ok(entry)
        }
        READDIR | FLUSH | RELEASE | RELEASEDIR => Ok(Vec::new()),
        _ => Err(Errno::NOSYS),
    };
    send(device, request, response);
    true
}

/// The attributes of the root directory or of the file.
fn attributes(node: u64, state: &State) -> Vec<u8> {
    let (size, mode) = if node == ROOT { (0, 0o040_755) } else { (state.content.len() as u64, 0o100_644) };
    let mut attributes =
        [node, size, size.div_ceil(512), state.modified, state.modified, state.modified].map(u64::to_ne_bytes).concat();
    attributes.extend([0, 0, 0, mode, 1, 0, 0, 0, 4096, 0].map(u32::to_ne_bytes).concat());
    attributes
}

/// Sends a response. One that the kernel no longer waits for is refused, which does not matter.
fn send(device: &OwnedFd, request: &Request, response: Result<Vec<u8>, Errno>) {
    let (error, body) = response.map_or_else(|error| (-error.raw_os_error(), Vec::new()), |body| (0, body));
    let length = u32::try_from(16 + body.len()).expect("short");
    let header = [&length.to_ne_bytes()[..], &error.to_ne_bytes(), &request.id.to_ne_bytes()].concat();
    let _ = rustix::io::write(device, &[header, body].concat());
}
