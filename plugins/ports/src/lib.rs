//! The module `ports`: the listening state of configured ports, from the kernel's socket tables. Makes no connections, so
//! it neither disturbs a service nor depends on a firewall, and cannot tell whether the service responds.

mod port;
mod table;

use std::ops::ControlFlow;

use gauged_plugin::files::{self, Failure};
use gauged_plugin::service::{HIDDEN_PROCESSES, is_not_permitted};
use gauged_plugin::{About, Error, Need, Plugin, Sample, Tick, log};
use port::Port;
use table::{Listener, Scan, Table};

gauged_plugin::metrics! {
    module "ports";
    /// Whether a socket listens on the port: a TCP socket in the state LISTEN, or a UDP socket without a peer.
    LISTENING: gauge "listening" in "1";
    /// Established connections not yet accepted by the service; rises when it is too slow or stuck.
    ACCEPT_QUEUE: gauge "accept_queue" in "{connection}";
    /// Whether the kernel's socket table could not be read completely; ports that were not found are then missing.
    TABLE_ERROR: gauge "table_error" in "1";
}

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    listen: Vec<Port>,
}

struct Ports {
    ports: Vec<Port>,
    /// The tables that could not be read at the last tick; a warning was logged for each.
    unreadable: Vec<Table>,
}

impl Plugin for Ports {
    const ABOUT: About = About {
        version: env!("CARGO_PKG_VERSION"),
        description: "Listening state of configured ports.",
        metrics: METRICS,
    };
    type Config = Settings;

    fn configure(Settings { listen }: Settings) -> Result<Self, Error> {
        if listen.is_empty() {
            return Err(Error::invalid("listen", "lists no ports; list the ports to watch, such as [80, \"udp:53\"]"));
        }
        for (at, port) in listen.iter().enumerate() {
            if listen[..at].contains(port) {
                return Err(Error::invalid(&format!("listen[{at}]"), format!("{port} is listed twice; remove one")));
            }
        }
        Ok(Self { ports: listen, unreadable: Vec::new() })
    }

    fn needs(&self) -> Vec<Need> {
        self.tables().map(|table| Need::read(table.path(), "find listening ports")).collect()
    }

    fn collect(&mut self, _tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let mut sockets = vec![Sockets::default(); self.ports.len()];
        // The tables that were not read completely, with the reason.
        let mut failed: Vec<(Table, String)> = Vec::new();
        let (mut absent, mut is_any_there) = (Vec::new(), false);
        for table in self.tables() {
            let result = scan(table, |listener| {
                for (known, sockets) in self.ports.iter().zip(&mut sockets) {
                    if known.number == listener.port && known.protocol.tables().contains(&table) {
                        sockets.add(listener);
                    }
                }
            });
            match result {
                Ok(()) => is_any_there = true,
                Err(Failed::NotRead(failure)) if failure.error == files::Error::NotFound => {
                    absent.push((table, failure));
                }
                Err(Failed::NotRead(failure)) if matches!(failure.error, files::Error::Denied(_)) => {
                    return Err(failure.into());
                }
                Err(Failed::NotRead(failure)) => failed.push((table, failure_text(&failure))),
                Err(Failed::Incomplete(why)) => {
                    is_any_there = true;
                    failed.push((table, [table.path(), " ", &why].concat()));
                }
            }
        }
        // Without a table of IPv6 the kernel has none, unless the files of process 1 are hidden from the agent.
        let is_hidden = !absent.is_empty() && !is_any_there && is_missing(OPEN_FILE);
        for (table, failure) in absent {
            if is_hidden {
                failed.push((table, format!("{} is hidden: {HIDDEN_PROCESSES}", table.path())));
            } else if !table.is_ipv6() {
                failed.push((table, failure_text(&failure)));
            }
        }
        self.report(sample, &sockets, &failed);
        self.warn_unreadable(&failed);
        Ok(())
    }
}

gauged_plugin::export!(Ports);

impl Ports {
    /// The tables of the configured ports.
    fn tables(&self) -> impl Iterator<Item = Table> {
        let is_needed = |table: &Table| self.ports.iter().any(|port| port.protocol.tables().contains(table));
        Table::ALL.into_iter().filter(is_needed)
    }

    fn report(&self, sample: &mut Sample, sockets: &[Sockets], failed: &[(Table, String)]) {
        for (port, sockets) in self.ports.iter().zip(sockets) {
            let tables = port.protocol.tables();
            // A port that was not found may be in an unreadable table.
            let is_unknown = failed.iter().any(|(table, _)| tables.contains(table));
            if !sockets.are_there && is_unknown {
                continue;
            }
            let number = port.number.to_string();
            let labels = [("port", &*number), ("protocol", port.protocol.name())];
            let mut row = sample.labelled(&labels);
            row.set(LISTENING, sockets.are_there);
            if port.protocol.has_accept_queue() && sockets.are_there && !is_unknown {
                row.set(ACCEPT_QUEUE, sockets.waiting);
            }
        }
        for table in self.tables() {
            let has_failed = failed.iter().any(|(failed, _)| *failed == table);
            sample.labelled(&[("table", table.name())]).set(TABLE_ERROR, has_failed);
        }
    }

    /// Logs a warning for each newly unreadable table.
    fn warn_unreadable(&mut self, failed: &[(Table, String)]) {
        for (table, why) in failed {
            if !self.unreadable.contains(table) {
                log::warn(&format!("{why}; ports found only in this table are missing"));
            }
        }
        self.unreadable = failed.iter().map(|(table, _)| *table).collect();
    }
}

/// The listening sockets of a port.
#[derive(Debug, Clone, Copy)]
struct Sockets {
    are_there: bool,
    /// The connections that wait to be accepted; `None` if that of a socket is not known.
    waiting: Option<u64>,
}

impl Default for Sockets {
    fn default() -> Self {
        Self { are_there: false, waiting: Some(0) }
    }
}

impl Sockets {
    fn add(&mut self, listener: Listener) {
        self.are_there = true;
        self.waiting = self.waiting.zip(listener.waiting).map(|(sum, more)| sum.saturating_add(more));
    }
}

/// A table that was not read completely.
enum Failed {
    NotRead(Failure),
    /// The reason, a predicate of the table.
    Incomplete(String),
}

/// Reads a table, as far as it has listening sockets.
fn scan(table: Table, mut found: impl FnMut(Listener)) -> Result<(), Failed> {
    let mut scan = Scan::new(table);
    let last = read_pieces(table.path(), |piece| scan.take(piece, &mut found)).map_err(Failed::NotRead)?;
    scan.end(last, found).map_err(Failed::Incomplete)
}

/// Reads a file in pieces until `take` breaks. So far the only piece is the whole file.
fn read_pieces(path: &str, mut take: impl FnMut(&[u8]) -> ControlFlow<()>) -> Result<ControlFlow<()>, Failure> {
    Ok(take(&files::read(path)?))
}

/// A file of process 1 that every plugin may read.
const OPEN_FILE: &str = "/proc/1/net/dev";

fn is_missing(path: &str) -> bool {
    matches!(files::read(path), Err(failure) if failure.error == files::Error::NotFound)
}

fn failure_text(failure: &Failure) -> String {
    match (&failure.error, Error::from(failure.clone())) {
        (files::Error::TooLarge(limit), _) => {
            format!("{} exceeds the limit of {limit} bytes because of its many connections", failure.path)
        }
        (_, Error::Unavailable(why) | Error::Internal(why)) if is_not_permitted(failure) => {
            format!("{why} ({HIDDEN_PROCESSES})")
        }
        (_, Error::Unavailable(why) | Error::Internal(why)) => why,
        _ => format!("{} cannot be read", failure.path),
    }
}

#[cfg(test)]
mod tests;
