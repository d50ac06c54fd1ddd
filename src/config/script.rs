//! The script of a host, for `gauged plugin test --script`: files, file systems, web servers and other servers as a plugin finds
//! them, and how they change from one run to the next. Only the data; `plugin::scripted_host` plays it.

pub(crate) mod system;
pub(crate) mod web;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::system::{ScriptedClock, ScriptedInterface, ScriptedSockets, SystemAnswer, Table};
pub(crate) use self::web::{Response, ScriptedResponse, ServerError, ServerFailure};
use self::web::{ScriptedFacts, parse_span};
use super::overrides::PluginOverride;
use crate::address::{Address, Origin};
use crate::hostpath;

/// The time between two runs, as in the agent.
const DEFAULT_AFTER: Duration = Duration::from_secs(10);

/// The script of a host.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// A directory with files of the host, which are not changed.
    pub(crate) root: Option<PathBuf>,
    /// Grants and settings of the plugin.
    pub(crate) overrides: Vec<PluginOverride>,
    /// The runs, each with the host as it is then. The plugin is configured on the first one.
    pub(crate) runs: Vec<ScriptedRun>,
}

/// One run, and what it changes of the host.
#[derive(Debug, Default, Clone)]
pub(crate) struct ScriptedRun {
    /// The time since the run before.
    pub(crate) after: Duration,
    pub(crate) files: BTreeMap<String, ScriptedFile>,
    pub(crate) usages: BTreeMap<String, ScriptedUsage>,
    /// The responses of web servers, by `host:port` or `unix:/path`, and path with query.
    pub(crate) responses: BTreeMap<(String, String), ScriptedResponse>,
    /// What the plugin learns of requests for them.
    pub(crate) facts: BTreeMap<(String, String), ScriptedFacts>,
    /// The conversations that servers hold from now on, one after the other, with their addresses.
    pub(crate) connections: Vec<(Address, ScriptedConnection)>,
    /// What the plugin has saved before, or how its state fails from now on.
    pub(crate) state: Option<ScriptedState>,
    pub(crate) sockets: BTreeMap<Table, SystemAnswer<ScriptedSockets>>,
    pub(crate) clock: Option<SystemAnswer<ScriptedClock>>,
    /// By name.
    pub(crate) interfaces: BTreeMap<String, SystemAnswer<ScriptedInterface>>,
}

/// A file of the host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum ScriptedFile {
    /// Its content.
    Content(String),
    /// It fails.
    Failure(FileFailure),
}

/// The failure of a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileFailure {
    pub(crate) error: FileError,
}

/// How a file fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FileError {
    /// There is no such file, or no more.
    NotFound,
    /// The agent's user may not read it.
    NotPermitted,
    /// It does not respond.
    Timeout,
    /// It cannot be read.
    Io,
}

/// The sizes of a mounted file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScriptedUsage {
    pub(crate) total_bytes: u64,
    pub(crate) free_bytes: u64,
    pub(crate) available_bytes: u64,
    #[serde(default)]
    pub(crate) inodes: u64,
    #[serde(default)]
    pub(crate) free_inodes: u64,
    #[serde(default)]
    pub(crate) read_only: bool,
}

/// A connection to a server other than a web server, or the datagrams of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ScriptedConnection {
    Failure(ServerError),
    /// The conversation. Then the server closes the connection.
    Steps(Vec<Step>),
}

/// A step of a conversation, as the server sees it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Step {
    /// Waits for exactly this text; another one ends the conversation, and is reported.
    Receive(String),
    /// As `receive`, as hexadecimal digits.
    ReceiveHex(String),
    /// Sends a text.
    Send(String),
    /// Sends bytes, as hexadecimal digits.
    SendHex(String),
    /// Does not go on.
    Wait(bool),
    /// Goes on over TLS, once the plugin starts it.
    StartTls(ScriptedTls),
}

/// TLS in a conversation, without cryptography: what the plugin learns of it. All but the error may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct ScriptedTls {
    /// The name that the plugin has to ask for; any one if it is empty.
    pub(crate) server_name: String,
    /// Why TLS fails.
    pub(crate) error: Option<String>,
    pub(crate) version: String,
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    pub(crate) subject: String,
    pub(crate) issuer: String,
    /// The bytes of the end point, as hexadecimal digits; none as for a certificate that has none.
    pub(crate) end_point_hex: Option<String>,
}

/// A certificate for the half years before and after the first run, without names.
impl Default for ScriptedTls {
    fn default() -> Self {
        Self {
            server_name: String::new(),
            error: None,
            version: "1.3".to_owned(),
            not_before: 1_774_200_000,
            not_after: 1_805_800_000,
            subject: String::new(),
            issuer: String::new(),
            end_point_hex: None,
        }
    }
}

/// The state of the plugin.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum ScriptedState {
    /// What it has saved, as text.
    Text(String),
    /// The same, as hexadecimal digits.
    Bytes(StateBytes),
    Failure(StateFailure),
}

/// Bytes of a state.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StateBytes {
    pub(crate) hex: String,
}

/// The failure of a state.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StateFailure {
    pub(crate) error: StateError,
}

/// How a state fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StateError {
    /// The agent has no directory for it.
    NotSupported,
    /// The disk does not respond.
    Timeout,
    /// The disk fails.
    Io,
}

/// The script as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    root: Option<PathBuf>,
    #[serde(default)]
    grants: Vec<String>,
    #[serde(default)]
    config: Map<String, Value>,
    #[serde(rename = "run")]
    runs: Vec<Run>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    after: Option<String>,
    #[serde(default)]
    files: BTreeMap<String, ScriptedFile>,
    #[serde(default)]
    usage: BTreeMap<String, ScriptedUsage>,
    #[serde(default)]
    http: BTreeMap<String, ScriptedResponse>,
    #[serde(default)]
    connection: Vec<Connection>,
    state: Option<ScriptedState>,
    #[serde(default)]
    sockets: BTreeMap<Table, SystemAnswer<ScriptedSockets>>,
    clock: Option<SystemAnswer<ScriptedClock>>,
    #[serde(default)]
    interfaces: BTreeMap<String, SystemAnswer<ScriptedInterface>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Connection {
    address: String,
    error: Option<ServerError>,
    #[serde(default)]
    steps: Vec<Step>,
}

impl Script {
    /// Parses a script. Its directory is that which `root` is relative to.
    ///
    /// # Errors
    ///
    /// Line and reason.
    pub(crate) fn parse(text: &str, directory: &Path) -> Result<Self, String> {
        let Document { root, grants, config, runs } = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut overrides = vec![PluginOverride::Setting(config)];
        for grant in grants {
            overrides.push(PluginOverride::grant(&grant)?);
        }
        if runs.is_empty() {
            return Err("has no [[run]]; write one for each call of the plugin".to_owned());
        }
        let runs = runs.into_iter().map(ScriptedRun::new).collect::<Result<_, _>>()?;
        Ok(Self { root: root.map(|root| directory.join(root)), overrides, runs })
    }

    /// All web servers of the script, as `host:port` or `unix:/path`.
    pub(crate) fn web_servers(&self) -> impl Iterator<Item = &String> {
        self.runs.iter().flat_map(|run| run.responses.keys().map(|(endpoint, _)| endpoint))
    }

    /// All other servers of the script.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &Address> {
        self.runs.iter().flat_map(|run| run.connections.iter().map(|(address, _)| address))
    }
}

impl ScriptedRun {
    fn new(run: Run) -> Result<Self, String> {
        let Run { after, files, usage, http, connection, state, sockets, clock, interfaces } = run;
        let after = match after {
            Some(text) => parse_span(&text)?,
            None => DEFAULT_AFTER,
        };
        for path in files.keys().chain(usage.keys()) {
            hostpath::check(path).map_err(|why| format!("{path:?} {why}"))?;
        }
        let files = files.into_iter().map(|(path, file)| (hostpath::first_process_path(&path).into_owned(), file));
        let (mut responses, mut all_facts) = (BTreeMap::new(), BTreeMap::new());
        for (page, response) in http {
            let (socket, url) = match page.split_once(' ').filter(|(socket, _)| socket.starts_with("unix:")) {
                Some((socket, url)) => {
                    let parsed = Address::parse(socket).map_err(|why| format!("{socket:?} {why}"))?;
                    (Some(parsed.to_string()), url)
                }
                None => (None, &*page),
            };
            let (origin, path) = Origin::from_url(url).map_err(|why| format!("the URL {url:?} {why}"))?;
            let server = socket.clone().unwrap_or_else(|| origin.endpoint.to_string());
            let key = (server, path.as_str().to_owned());
            let facts = ScriptedFacts::new(&origin, socket.as_deref(), response.written());
            all_facts.insert(key.clone(), facts.map_err(|why| format!("{page:?} {why}"))?);
            if responses.insert(key, response).is_some() {
                return Err(format!("{page:?} is the same page as another one; remove one of the two"));
            }
        }
        let mut connections = Vec::new();
        for Connection { address: text, error, steps } in connection {
            let address = Address::parse(&text).map_err(|why| format!("{text:?} {why}"))?;
            let connection = error.map_or(ScriptedConnection::Steps(steps), ScriptedConnection::Failure);
            connection.check(&address).map_err(|why| format!("the connection to {text:?} {why}"))?;
            connections.push((address, connection));
        }
        if let Some(ScriptedState::Bytes(StateBytes { hex })) = &state
            && bytes(hex).is_none()
        {
            return Err(no_digits(hex));
        }
        let (files, usages) = (files.collect(), usage);
        Ok(Self { after, files, usages, responses, facts: all_facts, connections, state, sockets, clock, interfaces })
    }
}

fn no_digits(text: &str) -> String {
    format!("{text:?} is not a text of hexadecimal digits, two a byte")
}

impl ScriptedConnection {
    /// Refuses what servers at this address cannot do: the end of a sentence that begins with the connection.
    fn check(&self, address: &Address) -> Result<(), String> {
        let steps = match (self, address) {
            (Self::Failure(ServerError::Resolve), Address::Unix(_)) => {
                return Err("has the error resolve; a unix socket has no name to resolve".to_owned());
            }
            (Self::Failure(ServerError::Closed), Address::Udp(_)) => {
                return Err("has the error closed; there is no connection of datagrams that could be".to_owned());
            }
            (Self::Failure(_), _) => return Ok(()),
            (Self::Steps(steps), _) => steps,
        };
        for step in steps {
            let digits = match step {
                Step::SendHex(text) | Step::ReceiveHex(text) => Some(text),
                Step::StartTls(tls) => tls.end_point_hex.as_ref(),
                _ => None,
            };
            if let Some(text) = digits.filter(|text| bytes(text).is_none()) {
                return Err(format!("has {text:?}, which is not a text of hexadecimal digits, two a byte"));
            }
        }
        if let Address::Udp(_) = address {
            if let Some(Step::Send(_) | Step::SendHex(_)) = steps.first() {
                return Err(
                    "begins with a datagram to the plugin; begin with receive, by which its socket is known".to_owned()
                );
            }
            if steps.iter().any(|step| matches!(step, Step::StartTls(_))) {
                return Err("has start-tls, which datagrams do not have".to_owned());
            }
        }
        Ok(())
    }
}

/// The bytes of a text of hexadecimal digits. Spaces between bytes are left out.
pub(crate) fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pair = |pair: &[u8]| match pair {
        [high, low] => {
            let value = |digit: u8| char::from(digit).to_digit(16);
            u8::try_from(value(*high)? * 16 + value(*low)?).ok()
        }
        _ => None,
    };
    digits.chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Script, String> {
        Script::parse(text, Path::new("/scripts"))
    }

    #[test]
    fn script_has_runs_with_all_parts() {
        let script = parse(
            r#"
            root = "web-1"
            grants = ["connect=db:5432"]
            config = { server = "db" }

            [[run]]
            files = { "/proc/net/dev" = "eth0", "/proc/stat" = { error = "timeout" } }
            usage = { "/" = { total_bytes = 10, free_bytes = 5, available_bytes = 4 } }
            state = { hex = "00 01" }
            clock = { synchronised = true, offset_ns = -5 }
            interfaces = { eth0 = { up = true, duplex = "full", statistics = { rx = 7 } } }
            sockets.tcp = { counts = { listen = 2 }, listeners = [{ address = "::", port = 80, queue_limit = 9 }] }
            sockets.udp6 = { error = "not-supported" }
            [run.http]
            "http://Web/status?a" = { body = "ok" }
            "http://web/x" = { error = "closed" }
            [run.http."https://web/"]
            times = { resolve = "2ms", tls = "30ms", total = "1s" }
            remote = "[2001:db8::7]:443"
            tls = { issuer = "CN=Own", not_after = "2026-09-20T00:00:00Z" }
            [run.http."unix:/run/app.sock http://app/status"]

            [[run.connection]]
            address = "db:5432"
            steps = [{ receive = "Q" }, { send-hex = "00 fF" }, { start-tls = { subject = "CN=db" } }, { wait = true }]

            [[run.connection]]
            address = "udp:db:323"
            steps = [{ receive = "?" }, { send = "!" }]

            [[run]]
            after = "1m"
            state = { error = "not-supported" }
            "#,
        )
        .expect("valid");
        assert_eq!(script.root.as_deref(), Some(Path::new("/scripts/web-1")));
        assert_eq!((script.overrides.len(), script.runs.len()), (2, 2));
        let [first, second] = &script.runs[..] else { panic!("{script:?}") };
        assert_eq!((first.after, second.after), (DEFAULT_AFTER, Duration::from_secs(60)));
        assert_eq!(first.files["/proc/1/net/dev"], ScriptedFile::Content("eth0".to_owned()));
        assert_eq!(first.files["/proc/stat"], ScriptedFile::Failure(FileFailure { error: FileError::Timeout }));
        assert_eq!(first.usages["/"].inodes, 0);
        assert!(matches!(first.clock, Some(SystemAnswer::Answer(ScriptedClock { offset_ns: -5, .. }))));
        let interface = &first.interfaces["eth0"];
        assert!(matches!(interface, SystemAnswer::Answer(interface) if interface.statistics["rx"] == 7));
        let [tcp, udp] = [&first.sockets[&Table::Tcp], &first.sockets[&Table::Udp6]];
        assert!(matches!(tcp, SystemAnswer::Answer(sockets) if sockets.listeners[0].port == 80), "{tcp:?}");
        assert!(matches!(udp, SystemAnswer::Failure(_)), "{udp:?}");
        assert_eq!(first.state, Some(ScriptedState::Bytes(StateBytes { hex: "00 01".to_owned() })));
        assert_eq!(second.state, Some(ScriptedState::Failure(StateFailure { error: StateError::NotSupported })));
        let paths: Vec<&str> = first.responses.keys().map(|(_, path)| &**path).collect();
        assert_eq!(paths, ["/status", "/", "/status?a", "/x"]);
        assert_eq!((script.web_servers().count(), script.servers().count()), (4, 2));
        let [(_, ScriptedConnection::Steps(steps)), (address, _)] = &first.connections[..] else { panic!("{first:?}") };
        let tls = ScriptedTls { subject: "CN=db".to_owned(), ..ScriptedTls::default() };
        assert_eq!((steps[2].clone(), address.to_string()), (Step::StartTls(tls), "udp:db:323".to_owned()));
        assert_eq!(bytes("00 fF"), Some(vec![0, 255]));
    }

    #[test]
    fn errors_of_scripts_name_the_cause() {
        let connection =
            |address: &str, rest: &str| format!("[[run]]\n[[run.connection]]\naddress = {address:?}\n{rest}");
        for (text, expected) in [
            ("", "missing field `run`"),
            ("run = []", "has no [[run]]"),
            ("colour = 1\n[[run]]", "unknown field `colour`"),
            ("[[run]]\nfiles = { \"proc\" = \"\" }", "\"proc\" is not absolute; begin it with /"),
            ("[[run]]\nhttp = { \"a\" = {} }", "the URL \"a\""),
            ("[[run]]\nafter = \"soon\"", "\"soon\" is not a duration"),
            ("[[run]]\n[[run.connection]]\naddress = \"db\"", "\"db\" "),
            ("[[run]]\n[[run.connection]]\naddress = \"db:1\"\nsteps = [{ send-hex = \"0\" }]", "hexadecimal"),
            ("[[run]]\nsockets.raw = { counts = {} }", "unknown variant `raw`"),
            ("[[run]]\nstate = { hex = \"0\" }", "hexadecimal"),
            (&connection("unix:/run/a", "error = \"resolve\""), "no name to resolve"),
            (&connection("udp:a:1", "error = \"closed\""), "has the error closed"),
            (&connection("udp:a:1", "steps = [{ send = \"a\" }]"), "begin with receive"),
            (&connection("udp:a:1", "steps = [{ receive = \"a\" }, { start-tls = {} }]"), "has start-tls"),
            (&connection("a:1", "steps = [{ start-tls = { end-point-hex = \"x\" } }]"), "hexadecimal"),
            (&connection("a:1", "steps = [{ start-tls = { end-point = \"x\" } }]"), "unknown field"),
            ("grants = [\"x=y\"]\n[[run]]", "is not a kind of grant"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
