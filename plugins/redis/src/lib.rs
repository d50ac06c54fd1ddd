//! The module `redis`: what Redis does, holds and replicates, from its answer to INFO. A connection is kept from tick to
//! tick. A server that does not answer is measured as down, which is no error. Knows nothing of what is in the keys.

mod info;
mod resp;

use gauged_plugin::net::Connection;
use gauged_plugin::rates::Rates;
use gauged_plugin::service::{Failure, Service, Turns};
use gauged_plugin::{About, Error, Need, Plugin, Sample, Tick, log};
use info::{DATABASES, FAILURE, FAILURES, LISTED_REPLICAS, METRICS, UP};
use resp::Reply;

/// The most servers of one plugin: as many connections as the agent lets one have.
const SERVERS: usize = 16;

/// What is read at a time: all of INFO, nearly always.
const READ_BYTES: u32 = 16 << 10;

/// What of an error that a server answers is shown.
const SHOWN: usize = 200;

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    servers: Vec<Access>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { servers: vec![Access { address: "127.0.0.1:6379".to_owned(), username: None, password: None }] }
    }
}

/// Where a server is, and who asks it. Not to be shown as a whole: it has the password.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Access {
    address: String,
    username: Option<String>,
    password: Option<String>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("address", &self.address).finish_non_exhaustive()
    }
}

struct Server {
    number: usize,
    access: Access,
    service: Service,
    /// The one that was asked at the last tick, if it answered.
    connection: Option<Connection>,
    /// Whether the operator was told that databases or replicas are left out.
    is_told: bool,
}

struct Redis {
    servers: Vec<Server>,
    turns: Turns,
    lookups: Rates<2>,
}

impl Plugin for Redis {
    const ABOUT: About = About {
        version: env!("CARGO_PKG_VERSION"),
        description: "What Redis does, holds and replicates.",
        metrics: METRICS,
    };
    type Config = Settings;

    fn configure(Settings { servers }: Settings) -> Result<Self, Error> {
        if servers.is_empty() || servers.len() > SERVERS {
            let message = format!("has {} servers; write 1 to {SERVERS}, or remove the key", servers.len());
            return Err(Error::invalid("servers", message));
        }
        for (number, access) in servers.iter().enumerate() {
            let invalid = |key: &str, why: &str| Err(Error::invalid(&format!("servers[{number}].{key}"), why));
            if servers.iter().take(number).any(|other| other.address == access.address) {
                return invalid("address", "is there twice; remove one");
            }
            if access.username.is_some() && access.password.is_none() {
                return invalid("password", "is missing; a user name takes one");
            }
        }
        let server = |(number, access): (usize, Access)| {
            let service = Service::new(&access.address);
            Server { number, access, service, connection: None, is_told: false }
        };
        let servers = servers.into_iter().enumerate().map(server).collect();
        Ok(Self { servers, turns: Turns::default(), lookups: Rates::default() })
    }

    fn needs(&self) -> Vec<Need> {
        self.servers.iter().map(|server| Need::connect(&*server.access.address, "ask Redis for its figures")).collect()
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let Self { servers, turns, lookups } = self;
        // One alone has all the time there is. Of several each may be waited for twice: until it accepts, and until it
        // answers.
        let is_alone = servers.len() == 1;
        turns.take(tick, servers, |server, share_ms| {
            let asked = server.ask(if is_alone { None } else { Some((share_ms / 2).max(1)) });
            let Server { number, service, connection, is_told, .. } = server;
            let measured = asked.and_then(|(text, fresh)| {
                let measured = info::measure(service.name(), &text, tick, lookups, sample);
                let has_more = measured.map_err(|why| Failure::down("protocol", why))?;
                if has_more && !*is_told {
                    *is_told = true;
                    log::warn(&format!(
                        "{} has more than {DATABASES} databases or {LISTED_REPLICAS} replicas, and the others are left out",
                        service.name()
                    ));
                }
                *connection = Some(fresh);
                Ok(())
            });
            match service.note(measured) {
                Ok(Some(())) => {}
                Ok(None) => {
                    let labels = [("server", service.name())];
                    sample.labelled(&labels).set(UP, false).set(FAILURE, service.down());
                }
                // What the agent does not take for an address was written so.
                Err(Error::Internal(why)) => return Err(Error::invalid(&format!("servers[{number}].address"), why)),
                Err(error) => return Err(error),
            }
            for &(reason, count) in service.failures() {
                sample.labelled(&[("server", service.name()), ("reason", reason)]).set(FAILURES, count);
            }
            Ok(())
        })
    }
}

gauged_plugin::export!(Redis);

impl Server {
    /// Asks for the figures, and answers them with the connection on which they came. One that was kept may be closed
    /// for good reasons: because it was idle, or because the server has restarted. Then another says how things are.
    fn ask(&mut self, timeout_ms: Option<u32>) -> Result<(String, Connection), Failure> {
        let mut question = Vec::new();
        resp::command(&mut question, &["INFO"]);
        if let Some(kept) = self.connection.take() {
            match exchange(&kept, &question, 1) {
                Ok(text) => return Ok((text, kept)),
                Err(failure) if failure.reason == "closed" => {}
                Err(failure) => return Err(failure),
            }
        }
        let Access { address, username, password } = &self.access;
        let connection = match timeout_ms {
            Some(timeout_ms) => Connection::open_with_timeout(address, timeout_ms)?,
            None => Connection::open(address)?,
        };
        let Some(password) = password else {
            let text = exchange(&connection, &question, 1)?;
            return Ok((text, connection));
        };
        let mut words = vec!["AUTH"];
        words.extend(username.as_deref());
        words.push(password);
        // Both at once, so that they take no longer than one.
        let mut both = Vec::new();
        resp::command(&mut both, &words);
        both.extend_from_slice(&question);
        let text = exchange(&connection, &both, 2)?;
        Ok((text, connection))
    }
}

/// Sends commands, and answers the text of the last reply, if none of them is an error.
fn exchange(connection: &Connection, commands: &[u8], replies: usize) -> Result<String, Failure> {
    let sent = connection.write(commands);
    let mut bytes = Vec::new();
    let mut last = String::new();
    for number in 1..=replies {
        last = loop {
            match resp::take(&mut bytes)
                .map_err(|why| Failure::down("protocol", format!("this is not Redis: {why}")))?
            {
                Some(Reply::Text(text)) => break text,
                Some(Reply::Error(error)) => return Err(refused(&error, number < replies)),
                None => {}
            }
            let read = connection.read(READ_BYTES);
            // A server that says no before it is asked may have closed already; what it said is still there.
            let read = if sent.is_ok() { read? } else { read.unwrap_or_default() };
            if read.is_empty() {
                sent?;
                let why = format!("it closes the connection after {} bytes of a reply", bytes.len());
                return Err(Failure::down("closed", why));
            }
            bytes.extend_from_slice(&read);
        };
    }
    if bytes.is_empty() {
        Ok(last)
    } else {
        Err(Failure::down("protocol", "this is not Redis: it says more than it is asked"))
    }
}

/// What an error means that a server answers, to AUTH or to INFO.
fn refused(error: &str, is_auth: bool) -> Failure {
    let shown: String = error.chars().take(SHOWN).collect();
    let (reason, remedy) = match error.split(' ').next().unwrap_or_default() {
        "NOAUTH" => ("auth", "it wants a password; set `password` in the configuration"),
        "WRONGPASS" => ("auth", "it does not accept the password; correct `username` and `password`"),
        "NOPERM" => ("auth", "the user may not ask for INFO; grant it by ACL SETUSER … +info"),
        "LOADING" => ("loading", "it is reading its data from disk"),
        "DENIED" => {
            ("protected", "it is in protected mode, in which only its own host is answered; give it a password")
        }
        "BUSY" => ("busy", "a script keeps it busy"),
        _ if is_auth => ("auth", "it does not accept the password; correct `username` and `password`, or remove both"),
        _ => ("error", "it does not answer INFO"),
    };
    Failure::down(reason, format!("{remedy} ({shown})"))
}

#[cfg(test)]
mod tests;
