//! A scripted host: files, file systems, HTTP servers and other servers. It replaces the agent on targets other than wasm,
//! for the current thread.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use super::default_grants::{capability_of_first_process, first_process_path};
use super::scripted_system::System;
use super::{ScriptedConnection, ScriptedDatagrams};
use crate::bindings::gauged::plugin::http::Request;
use crate::bindings::gauged::plugin::log::{Level, SkipReason, Skipped};
use crate::component::covers;
use crate::files::{FileStatus, FilesystemUsage};
use crate::http::{Response, Times};
use crate::testing::{scripted_files as files, scripted_net as net};
use crate::{Capability, OsError};

thread_local! {
    /// The host of the running plugin.
    static CURRENT: RefCell<Option<Host>> = const { RefCell::new(None) };
}

/// A plugin's use of a capability, granted or not.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) capability: Capability,
    /// Whether a directory was listed. A grant of its entries suffices for that.
    pub(super) is_list: bool,
}

/// A scripted host. All of its contents are granted unless denied by [`deny`](Self::deny).
///
/// ```
/// use gauged_plugin::files;
/// use gauged_plugin::testing::Host;
///
/// let mut host = Host::new();
/// host.file("/proc/loadavg", "0.1 0.2 0.3 1/200 4711\n").file_fails("/proc/stat", files::Error::Timeout);
/// host.run(|| {
///     assert!(files::read_text("/proc/loadavg")?.starts_with("0.1"));
///     assert_eq!(files::list("/proc")?, ["loadavg", "stat"]);
///     assert_eq!(files::read("/proc/stat").unwrap_err().error, files::Error::Timeout);
///     assert_eq!(files::read_text_if_exists("/proc/mdstat")?, None);
///     Ok::<(), gauged_plugin::Error>(())
/// })?;
/// # Ok::<(), gauged_plugin::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Host {
    pub(super) root: Option<PathBuf>,
    pub(super) files: BTreeMap<String, Result<Vec<u8>, files::Error>>,
    pub(super) links: BTreeMap<String, String>,
    pub(super) statuses: BTreeMap<String, FileStatus>,
    pub(super) usages: BTreeMap<String, Result<FilesystemUsage, files::Error>>,
    responses: BTreeMap<String, Result<Response, http::Error>>,
    pub(super) connections: BTreeMap<String, VecDeque<Result<ScriptedConnection, net::Error>>>,
    pub(super) datagrams: BTreeMap<String, VecDeque<Result<ScriptedDatagrams, net::Error>>>,
    pub(super) system: System,
    state: Option<Vec<u8>>,
    state_error: Option<state::Error>,
    denied: Vec<Capability>,
    accesses: Vec<Access>,
    requests: Vec<Request>,
    messages: Vec<String>,
    /// The kinds of skipped parts that were reported.
    skips: BTreeSet<(String, &'static str, String)>,
}

impl Host {
    /// An empty host.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A host with the files below a directory, relative to the plugin's `Cargo.toml`: in `fixtures/web-1`,
    /// `fixtures/web-1/proc/uptime` is `/proc/uptime`.
    ///
    /// # Panics
    ///
    /// The directory does not exist.
    #[must_use]
    pub fn from_fixture(directory: &str) -> Self {
        let root = PathBuf::from(directory);
        assert!(root.is_dir(), "the directory {directory} does not exist");
        Self { root: Some(root), ..Self::default() }
    }

    /// Adds a file. As in the agent, `/proc/net` and `/proc/mounts` are those of process 1.
    pub fn file(&mut self, path: &str, content: impl Into<Vec<u8>>) -> &mut Self {
        self.files.insert(first_process_path(path).into_owned(), Ok(content.into()));
        self
    }

    /// Makes reading and listing a path fail. `NotFound` removes a file of a fixture machine.
    pub fn file_fails(&mut self, path: &str, error: files::Error) -> &mut Self {
        self.files.insert(first_process_path(path).into_owned(), Err(error));
        self
    }

    /// Adds a symbolic link. Only its own path is known: reading it as a file does not follow it.
    pub fn link(&mut self, path: &str, target: &str) -> &mut Self {
        self.links.insert(first_process_path(path).into_owned(), target.to_owned());
        self
    }

    /// Sets the state of a path. Files and directories have one without it: their type and size, and of `/proc/<pid>/fd` the
    /// number of its entries, as since Linux 6.2.
    pub fn status(&mut self, path: &str, status: FileStatus) -> &mut Self {
        self.statuses.insert(first_process_path(path).into_owned(), status);
        self
    }

    /// Mounts a file system with these sizes.
    pub fn usage(&mut self, path: &str, usage: FilesystemUsage) -> &mut Self {
        self.usages.insert(path.to_owned(), Ok(usage));
        self
    }

    /// Makes the size query of a file system fail.
    pub fn usage_fails(&mut self, path: &str, error: files::Error) -> &mut Self {
        self.usages.insert(path.to_owned(), Err(error));
        self
    }

    /// Adds a response to a URL, or to a unix socket and a URL: `unix:/run/app.sock http://app/status`. See [`response`].
    pub fn http(&mut self, url: &str, response: Response) -> &mut Self {
        self.responses.insert(url.to_owned(), Ok(response));
        self
    }

    /// Makes requests to a URL fail.
    pub fn http_fails(&mut self, url: &str, error: http::Error) -> &mut Self {
        self.responses.insert(url.to_owned(), Err(error));
        self
    }

    /// Adds a connection that a server accepts at this address. Without one left, connections are refused.
    pub fn connection(&mut self, address: &str, connection: ScriptedConnection) -> &mut Self {
        self.connections.entry(address.to_owned()).or_default().push_back(Ok(connection));
        self
    }

    /// Makes the next connection to an address fail.
    pub fn connection_fails(&mut self, address: &str, error: net::Error) -> &mut Self {
        self.connections.entry(address.to_owned()).or_default().push_back(Err(error));
        self
    }

    /// Sets the state that the plugin has saved before.
    pub fn state(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        (self.state, self.state_error) = (Some(bytes.as_ref().to_vec()), None);
        self
    }

    /// Makes loading and saving the state fail from now on.
    pub fn state_fails(&mut self, error: state::Error) -> &mut Self {
        self.state_error = Some(error);
        self
    }

    /// The state that the plugin has saved last.
    #[must_use]
    pub fn saved_state(&self) -> Option<&[u8]> {
        self.state.as_deref()
    }

    /// Adds the datagrams of a peer at `udp:host:port`, for the next socket that is opened for it. Without one left, the peer
    /// accepts no datagrams: what is sent is lost, and a receive is refused.
    pub fn datagrams(&mut self, address: &str, datagrams: ScriptedDatagrams) -> &mut Self {
        self.datagrams.entry(address.to_owned()).or_default().push_back(Ok(datagrams));
        self
    }

    /// Makes the next opening of a socket for a peer fail, as for a name that cannot be resolved.
    pub fn datagrams_fail(&mut self, address: &str, error: net::Error) -> &mut Self {
        self.datagrams.entry(address.to_owned()).or_default().push_back(Err(error));
        self
    }

    /// Denies a capability; `*` stands for any text within one segment.
    pub fn deny(&mut self, capability: &Capability) -> &mut Self {
        self.denied.push(capability_of_first_process(capability).into_owned());
        self
    }

    /// The received HTTP requests, in order.
    #[must_use]
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// The logged messages, each as `WARN text`, and the skipped parts, each kind once.
    #[must_use]
    pub fn messages(&self) -> &[String] {
        &self.messages
    }

    /// The messages that are not for the plugin's author only.
    #[must_use]
    pub fn warnings(&self) -> Vec<&str> {
        self.messages.iter().map(String::as_str).filter(|message| !message.starts_with("DEBUG")).collect()
    }

    /// Runs a closure on this host.
    ///
    /// # Panics
    ///
    /// The call is nested in another one.
    pub fn run<T>(&mut self, run: impl FnOnce() -> T) -> T {
        let before = CURRENT.replace(Some(std::mem::take(self)));
        assert!(before.is_none(), "Host::run cannot be nested");
        let result = run();
        *self = CURRENT.take().expect("only this call takes it");
        result
    }

    /// The paths of all files, of the fixture machine and scripted ones, without those that fail.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths: BTreeSet<String> = BTreeSet::new();
        let mut directories: Vec<PathBuf> =
            self.root.iter().flat_map(|root| [root.join("proc"), root.join("sys")]).collect();
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(&directory).into_iter().flatten() {
                let path = entry.expect("readable").path();
                let below = self.root.as_ref().and_then(|root| path.strip_prefix(root).ok());
                if path.is_dir() {
                    directories.push(path);
                } else if let Some(below) = below.and_then(|path| path.to_str()) {
                    paths.insert(format!("/{below}"));
                }
            }
        }
        paths.extend(self.files.keys().cloned());
        paths.retain(|path| self.files.get(path).is_none_or(Result::is_ok));
        paths.into_iter().collect()
    }

    /// The content of a file of this host.
    pub(super) fn content(&self, path: &str) -> Vec<u8> {
        match self.files.get(path) {
            Some(scripted) => scripted.clone().unwrap_or_default(),
            None => self.fixture_path(path).and_then(|path| std::fs::read(path).ok()).unwrap_or_default(),
        }
    }

    /// The accesses since the last call.
    pub(super) fn take_accesses(&mut self) -> Vec<Access> {
        std::mem::take(&mut self.accesses)
    }

    /// Records an access. The error is the missing grant.
    pub(super) fn access(&mut self, capability: Capability, is_list: bool) -> Result<(), Capability> {
        let is_denied = self.denied.iter().any(|denied| covers(denied, &capability));
        self.accesses.push(Access { capability: capability.clone(), is_list });
        if is_denied { Err(capability) } else { Ok(()) }
    }

    fn skip(&mut self, Skipped { source, line, word: _, reason, message, remedy, left_out }: &Skipped) {
        let (level, name) = match reason {
            SkipReason::Missing => ("DEBUG", "missing"),
            SkipReason::NotPermitted => ("WARN", "not permitted"),
            SkipReason::Malformed => ("WARN", "malformed"),
            SkipReason::Truncated => ("WARN", "truncated"),
        };
        let at = if *line > 0 { format!(" line {line}") } else { String::new() };
        let remedy = if remedy.is_empty() { String::new() } else { format!("; {remedy}") };
        if self.skips.insert((source.clone(), name, left_out.clone())) {
            self.messages.push(format!("{level} without {left_out}: {source}{at} is {name}: {message}{remedy}"));
        }
    }
}

/// A response with this status and body, after 2 ms: 1 ms to connect, 0.5 ms until the first byte, and 0.5 ms to receive it.
///
/// ```
/// use gauged_plugin::http;
/// use gauged_plugin::testing::{Host, response};
///
/// let mut host = Host::new();
/// host.http("http://localhost/status", response(200, "Active connections: 3\n"));
/// host.http_fails("http://localhost/slow", http::Error::Timeout);
/// host.run(|| {
///     assert_eq!(http::get("http://localhost/status")?.status, 200);
///     assert_eq!(http::get("http://localhost/slow").unwrap_err().error, http::Error::Timeout);
///     Ok::<(), gauged_plugin::Error>(())
/// })?;
/// # Ok::<(), gauged_plugin::Error>(())
/// ```
#[must_use]
pub fn response(status: u16, body: impl Into<Vec<u8>>) -> Response {
    Response {
        status,
        headers: Vec::new(),
        body: body.into(),
        times: Times {
            resolve_ns: None,
            connect_ns: 1_000_000,
            tls_ns: None,
            first_byte_ns: 500_000,
            total_ns: 2_000_000,
        },
        remote_address: "192.0.2.1:80".to_owned(),
        tls: None,
    }
}

pub(super) fn connection_refused() -> OsError {
    OsError::new("ECONNREFUSED", "Connection refused")
}

pub(super) fn with_current<T>(act: impl FnOnce(&mut Host) -> T) -> T {
    CURRENT.with_borrow_mut(|host| {
        let outside = "a host function was called without a host; call it in testing::Harness or Host::run";
        act(host.as_mut().expect(outside))
    })
}

/// The host functions of [`crate::http`].
pub(crate) mod http {
    use crate::bindings::gauged::plugin::http::Request;
    pub(crate) use crate::http::Error;
    use crate::http::{MAX_BODY_BYTES, Response, address, capability};

    pub(crate) fn fetch(request: &Request) -> Result<Response, Error> {
        super::with_current(|host| {
            host.requests.push(request.clone());
            host.access(capability(request), false).map_err(Error::Denied)?;
            let refused = || Err(Error::Refused(super::connection_refused()));
            let response = host.responses.get(&address(request)).cloned().unwrap_or_else(refused)?;
            let own_limit = request.options.as_ref().and_then(|options| options.max_body_bytes);
            let limit = own_limit.unwrap_or(MAX_BODY_BYTES).min(MAX_BODY_BYTES);
            if response.body.len() > limit as usize {
                return Err(Error::TooLarge(limit.into()));
            }
            Ok(response)
        })
    }
}

/// The host functions of [`crate::state`].
pub(crate) mod state {
    pub(crate) use crate::state::Error;
    use crate::state::MAX_BYTES;

    pub(crate) fn load() -> Result<Option<Vec<u8>>, Error> {
        super::with_current(|host| host.state_error.clone().map_or_else(|| Ok(host.state.clone()), Err))
    }

    pub(crate) fn save(bytes: &[u8]) -> Result<(), Error> {
        super::with_current(|host| match &host.state_error {
            Some(error) => Err(error.clone()),
            None if bytes.len() > MAX_BYTES => Err(Error::TooLarge(MAX_BYTES as u64)),
            None => {
                host.state = Some(bytes.to_vec());
                Ok(())
            }
        })
    }
}

/// The host functions of [`crate::log`].
pub(crate) mod log {
    use super::Level;

    pub(crate) fn log(level: Level, message: &str) {
        let level = match level {
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
        };
        super::with_current(|host| host.messages.push(format!("{level} {message}")));
    }

    pub(crate) fn skip(skipped: &super::Skipped) {
        super::with_current(|host| host.skip(skipped));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Error, list, read, usage};

    #[test]
    fn directory_lists_fixture_and_scripted_files() {
        let root = std::env::temp_dir().join(format!("gauged-plugin-{}", std::process::id()));
        std::fs::create_dir_all(root.join("sys/class/net/eth0")).expect("made");
        std::fs::write(root.join("sys/class/net/eth0/mtu"), "1500\n").expect("written");
        let mut host = Host::from_fixture(root.to_str().expect("text"));
        host.file("/sys/class/net/eth1/mtu", "9000\n").file("/sys/class/net/lo", "");
        host.run(|| {
            assert_eq!(list("/sys/class/net").expect("there"), ["eth0", "eth1", "lo"]);
            assert_eq!(list("/").expect("there"), ["sys"]);
            assert_eq!(read("/sys/class/net/eth0/mtu").expect("there"), b"1500\n");
            for (path, error) in [
                ("/sys/class/net/eth0", Error::WrongType),
                ("/sys/class/net/eth0/mtu/x", Error::NotFound),
                ("/sys/class/none", Error::NotFound),
            ] {
                assert_eq!(read(path).expect_err(path).error, error);
            }
            assert_eq!(list("/sys/class/net/eth1/mtu").expect_err("a file").error, Error::WrongType);
            assert_eq!(list("/sys/class/net/eth0/mtu").expect_err("a file").error, Error::WrongType);
            assert_eq!(list("/sys/class/none").expect_err("nothing").error, Error::NotFound);
        });
        host.file_fails("/sys/class/net/eth0/mtu", Error::NotFound).file_fails("/sys/class/net/lo", Error::NotFound);
        host.run(|| {
            assert_eq!(list("/sys/class/net").expect("there"), ["eth0", "eth1"]);
            assert!(list("/sys/class/net/eth0").expect("there").is_empty());
            assert_eq!(read("/sys/class/net/eth0/mtu").expect_err("removed").error, Error::NotFound);
        });
        std::fs::remove_dir_all(root).expect("removed");
    }

    #[test]
    fn path_must_be_canonical_and_granted() {
        let mut host = Host::new();
        host.file("/data/a", "").deny(&Capability::read("/data/*"));
        host.run(|| {
            for path in ["", "data", "/data/", "//data", "/data/../data/a", "/./data"] {
                assert!(matches!(read(path).expect_err(path).error, Error::InvalidPath(_)), "{path}");
            }
            let missing = Capability::read("/data/a");
            assert_eq!(read("/data/a").expect_err("denied").error, Error::Denied(missing));
            assert_eq!(usage("/").expect_err("no file system").error, Error::NotFound);
        });
    }

    #[test]
    fn unscripted_connection_is_refused() {
        use crate::net::Connection;

        let mut host = Host::new();
        host.connection("db:1", ScriptedConnection::new()).connection_fails("db:1", net::Error::Timeout);
        host.run(|| {
            assert!(matches!(crate::http::get("http://db").expect_err("no server").error, http::Error::Refused(_)));
            assert!(Connection::open("db:1").is_ok());
            assert_eq!(Connection::open("db:1").expect_err("slow").error, net::Error::Timeout);
            assert!(matches!(Connection::open("db:1").expect_err("gone").error, net::Error::Refused(_)));
        });
        assert_eq!(host.requests().len(), 1);
    }

    #[test]
    fn unscripted_peer_accepts_no_datagrams() {
        use crate::net::DatagramSocket;

        let mut host = Host::new();
        host.datagrams_fail("udp:time:123", net::Error::Resolve("no such name".to_owned()));
        host.run(|| {
            let open = || DatagramSocket::open("udp:time:123").map_err(|failure| failure.error);
            assert_eq!(open().expect_err("no name"), net::Error::Resolve("no such name".to_owned()));
            let socket = open().expect("without a packet");
            socket.send(b"lost").expect("sent");
            assert!(matches!(socket.receive().expect_err("nobody").error, net::Error::Refused(_)));
            let error = DatagramSocket::open("time:123").expect_err("TCP").error;
            assert!(matches!(error, net::Error::InvalidAddress(_)));
        });
    }

    #[test]
    fn request_options_are_those_of_the_agent() {
        use crate::http::Request;

        let mut host = Host::new();
        let by_socket = |method: &str| Request::new(method, "http://app/x").unix_socket("/run/app.sock");
        host.http("unix:/run/app.sock http://app/x", response(200, "12345"));
        host.deny(&Capability::fetch_unix("/run/app.sock", &["POST"]));
        host.run(|| {
            assert_eq!(by_socket("GET").max_body_bytes(5).send().expect("a response").text(), "12345");
            assert_eq!(by_socket("GET").max_body_bytes(4).send().expect_err("large").error, http::Error::TooLarge(4));
            let missing = Capability::fetch("unix:/run/app.sock POST");
            assert_eq!(by_socket("POST").send().expect_err("denied").error, http::Error::Denied(missing));
            let other = crate::http::get("http://app/x").expect_err("no server");
            assert!(matches!(other.error, http::Error::Refused(_)));
        });
    }

    #[test]
    #[should_panic(expected = "was called without a host")]
    fn host_function_without_a_host_panics() {
        let _ = read("/proc/uptime");
    }
}
