//! The module `redis`: statistics of Redis from its reply to INFO. Connections are kept from tick to tick. A server that
//! does not respond is measured as down, which is not an error. Reads no keys.

mod info;
mod resp;

use gauged_plugin::net::Connection;
use gauged_plugin::rates::Rates;
use gauged_plugin::service::{Failure, Poller, Service, check_no_user};
use gauged_plugin::skipped::{Reason, Skip};
use gauged_plugin::{About, Error, Need, Plugin, Sample, Tick, about};
use info::{FAILURE, FAILURES, MAX_DATABASES, MAX_REPLICAS, METRICS, Measured, UP};
use resp::Reply;

/// The most servers: the agent's limit of connections per plugin.
const MAX_SERVERS: usize = 16;

/// The size of one read, mostly enough for the whole reply to INFO.
const READ_BYTES: u32 = 16 << 10;

/// The length to which a server's error is cut.
const MAX_ERROR_CHARS: usize = 200;

gauged_plugin::settings! {
    /// Servers to poll, at most 16. Each needs a grant `connect`.
    "servers": "list of tables" = r#"[{"address": "127.0.0.1:6379"}]"#;
    /// Address: `host:port` or `unix:/path`.
    "servers[].address": "text", required;
    /// User, for Redis 6 and later.
    "servers[].username": "text";
    /// Password of the user, or of the server.
    "servers[].password": "text", secret;
}

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    servers: Vec<ServerSettings>,
}

/// A server's address and login. `Debug` leaves out the password.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ServerSettings {
    address: String,
    username: Option<String>,
    password: Option<String>,
}

impl std::fmt::Debug for ServerSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerSettings").field("address", &self.address).finish_non_exhaustive()
    }
}

struct Server {
    settings: ServerSettings,
    service: Service,
    /// The connection of the last tick, if it succeeded.
    connection: Option<Connection>,
}

struct Redis {
    servers: Vec<Server>,
    poller: Poller,
    lookups: Rates<2>,
}

impl Plugin for Redis {
    const ABOUT: About = about!("Clients, memory, commands, persistence and replication of Redis.");
    type Config = Settings;

    fn configure(Settings { servers }: Settings) -> Result<Self, Error> {
        if servers.is_empty() || servers.len() > MAX_SERVERS {
            let message = format!("has {} servers; list 1 to {MAX_SERVERS}, or remove the key", servers.len());
            return Err(Error::invalid("servers", message));
        }
        for (number, settings) in servers.iter().enumerate() {
            let invalid = |key: &str, why: &str| Err(Error::invalid(&format!("servers[{number}].{key}"), why));
            if let Err(why) = check_no_user(&settings.address, "write them into `username` and `password`") {
                return invalid("address", &why);
            }
            if servers.iter().take(number).any(|other| other.address == settings.address) {
                return invalid("address", "is listed twice; remove one");
            }
            if settings.username.is_some() && settings.password.is_none() {
                return invalid("password", "is missing; a username needs one");
            }
        }
        let server = |(number, settings): (usize, ServerSettings)| {
            let service = Service::new(&settings.address).with_key(format!("servers[{number}].address"));
            Server { settings, service, connection: None }
        };
        let servers = servers.into_iter().enumerate().map(server).collect();
        Ok(Self { servers, poller: Poller::default(), lookups: Rates::default() })
    }

    fn needs(&self) -> Vec<Need> {
        let need = |server: &Server| Need::connect(&*server.settings.address, "query statistics with INFO");
        self.servers.iter().map(need).collect()
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let Self { servers, poller, lookups } = self;
        // A single server has the whole budget. Of several, each may wait twice: for the connection and for the reply.
        let is_single = servers.len() == 1;
        poller.poll(tick, servers, |server, share_ms| {
            let reply = server.query_info(if is_single { None } else { Some((share_ms / 2).max(1)) });
            let Server { service, connection, .. } = server;
            let result = reply.map(|(text, kept)| {
                let measured = info::measure(service.name(), &text, tick, lookups, sample);
                report_left_out(service.name(), &measured);
                *connection = kept;
            });
            service.measure(result, sample, "server", [UP, FAILURE, FAILURES]).map(drop)
        })
    }
}

gauged_plugin::export!(Redis);

/// Reports the fields of a reply that are not measured.
fn report_left_out(server: &str, measured: &Measured<'_>) {
    for (field, value) in &measured.left_out {
        let why = format!("{field}:{value} is impossible or not understood");
        Skip::malformed(server, value, why).report(format_args!("the metrics of {field}"));
    }
    if measured.has_more {
        let why = format!("has more than {MAX_DATABASES} databases or {MAX_REPLICAS} replicas");
        let skip = Skip { reason: Reason::Truncated, ..Skip::malformed(server, "", why) };
        skip.report("further databases and replicas");
    }
}

impl Server {
    /// Queries INFO; returns the reply, and the connection if it can be kept. A kept connection that was closed, because it
    /// was idle or the server restarted, is replaced by a new one.
    fn query_info(&mut self, timeout_ms: Option<u32>) -> Result<(String, Option<Connection>), Failure> {
        let mut info_command = Vec::new();
        resp::append_command(&mut info_command, &["INFO"]);
        if let Some(kept) = self.connection.take() {
            match exchange(&kept, &info_command, 1) {
                Ok((text, is_over)) => return Ok((text, is_over.then_some(kept))),
                Err(failure) if failure.reason == "closed" => {}
                Err(failure) => return Err(failure),
            }
        }
        let ServerSettings { address, username, password } = &self.settings;
        let connection = match timeout_ms {
            Some(timeout_ms) => Connection::open_with_timeout(address, timeout_ms)?,
            None => Connection::open(address)?,
        };
        let Some(password) = password else {
            let (text, is_over) = exchange(&connection, &info_command, 1)?;
            return Ok((text, is_over.then_some(connection)));
        };
        let mut words = vec!["AUTH"];
        words.extend(username.as_deref());
        words.push(password);
        // Send both at once to save a round trip.
        let mut both = Vec::new();
        resp::append_command(&mut both, &words);
        both.extend_from_slice(&info_command);
        let (text, is_over) = exchange(&connection, &both, 2)?;
        Ok((text, is_over.then_some(connection)))
    }
}

/// Sends commands and returns the text of the last reply, if no reply is an error, and whether nothing follows it: the next
/// reply on a connection that sends more than it was asked for could be an older one.
fn exchange(connection: &Connection, commands: &[u8], replies: usize) -> Result<(String, bool), Failure> {
    let sent = connection.write(commands);
    let mut bytes = Vec::new();
    let mut last = String::new();
    for number in 1..=replies {
        last = loop {
            match resp::take_reply(&mut bytes)
                .map_err(|why| Failure::down("protocol", format!("not a Redis reply: {why}")))?
            {
                Some(Reply::Text(text)) => break text,
                Some(Reply::Error(error)) => return Err(error_reply(&error, number < replies)),
                None => {}
            }
            let read = connection.read(READ_BYTES);
            // A server that refuses clients may have closed already; its error can still be read.
            let read = if sent.is_ok() { read? } else { read.unwrap_or_default() };
            if read.is_empty() {
                sent?;
                let why = format!("the connection was closed after {} bytes of a reply", bytes.len());
                return Err(Failure::down("closed", why));
            }
            bytes.extend_from_slice(&read);
        };
    }
    Ok((last, bytes.is_empty()))
}

/// The failure for a server's error reply to AUTH or INFO.
fn error_reply(error: &str, is_auth: bool) -> Failure {
    let shown: String = error.chars().take(MAX_ERROR_CHARS).collect();
    let (reason, remedy) = match error.split(' ').next().unwrap_or_default() {
        "NOAUTH" => ("auth", "a password is required; set `password` in the configuration"),
        "WRONGPASS" => ("auth", "the password was rejected; correct `username` and `password`"),
        "NOPERM" => ("auth", "the user may not run INFO; allow it with ACL SETUSER … +info"),
        "LOADING" => ("loading", "the dataset is being loaded from disk"),
        "DENIED" => ("protected", "protected mode accepts local clients only; set a password on the server"),
        "BUSY" => ("busy", "a script is running"),
        _ if is_auth => ("auth", "the password was rejected; correct `username` and `password`, or remove both"),
        _ => ("error", "INFO was rejected"),
    };
    Failure::down(reason, format!("{remedy} ({shown})"))
}

#[cfg(test)]
mod tests;
