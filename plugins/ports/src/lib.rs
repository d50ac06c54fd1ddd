//! The module `ports`: the listening state of configured ports, from the kernel's socket tables: by a query for listening sockets,
//! and from the files in `/proc/1/net` where there is no such query. Makes no connections, so
//! it neither disturbs a service nor depends on a firewall, and cannot tell whether the service responds.

mod port;
mod table;

use gauged_plugin::files::{self, Failure};
use gauged_plugin::skipped::{Cause as _, Skip};
use gauged_plugin::system::{self, Listeners, SocketTable};
use gauged_plugin::{About, Error, Need, Plugin, Sample, Tick, about};
use port::Port;
use table::{Listener, Scan, is_tcp};

gauged_plugin::metrics! {
    module "ports" by {"port": "Number of the port", "protocol": "`tcp`, `tcp6`, `udp` or `udp6`"};
    /// Whether a socket listens on the port: a TCP socket in the state LISTEN, or a UDP socket without a peer.
    LISTENING: gauge "listening" in "1";
    /// Established connections not yet accepted by the service; rises when it is too slow or stuck.
    ACCEPT_QUEUE: gauge "accept_queue" in "{connection}";
    module "ports" by {"table": "File in `/proc/1/net`"};
    /// Whether the kernel's socket table could not be read completely; ports that were not found are then missing.
    TABLE_ERROR: gauge "table_error" in "1";
}

/// What is left out with a table that was not read completely.
const LOST: &str = "ports that only this table has";

gauged_plugin::settings! {
    /// Ports to watch, such as `[80, "tcp6:443", "udp:53", "udp6:53"]`; a number is a TCP port.
    "listen": "list of ports", required;
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
}

impl Plugin for Ports {
    const ABOUT: About = about!("Listening state of configured ports.");
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
        Ok(Self { ports: listen })
    }

    fn needs(&self) -> Vec<Need> {
        self.tables().map(|table| Need::read(table.path(), "find listening ports")).collect()
    }

    fn collect(&mut self, _tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let mut sockets = vec![Sockets { are_there: false, waiting: Some(0) }; self.ports.len()];
        // The tables that were not read completely, and the first that was not granted.
        let (mut failed, mut denied, mut is_any_there) = (Vec::new(), None, false);
        for table in self.tables() {
            let result = find(table, |listener| {
                for (known, sockets) in self.ports.iter().zip(&mut sockets) {
                    if known.number == listener.port && known.tables().contains(&table) {
                        sockets.add(listener);
                    }
                }
            });
            match result {
                Ok(()) => is_any_there = true,
                // The agent reports missing grants itself.
                Err(Failed::NotRead(failure)) if matches!(failure.error, files::Error::Denied(_)) => {
                    failed.push(table);
                    denied.get_or_insert(failure);
                }
                // The kernel has no IPv6.
                Err(Failed::NotRead(failure)) if failure.error == files::Error::NotFound && table.is_ipv6() => {}
                Err(incomplete) => {
                    let skip = match incomplete {
                        Failed::NotRead(failure) => failure.skip(),
                        Failed::Incomplete(skip) => {
                            is_any_there = true;
                            skip
                        }
                    };
                    skip.report(LOST);
                    failed.push(table);
                }
            }
        }
        match denied {
            Some(failure) if !is_any_there => return Err(failure.into()),
            _ => self.report(sample, &sockets, &failed),
        }
        Ok(())
    }
}

gauged_plugin::export!(Ports);

impl Ports {
    /// The tables of the configured ports.
    fn tables(&self) -> impl Iterator<Item = SocketTable> {
        let is_needed = |table: &SocketTable| self.ports.iter().any(|port| port.tables().contains(table));
        SocketTable::ALL.into_iter().filter(is_needed)
    }

    fn report(&self, sample: &mut Sample, sockets: &[Sockets], failed: &[SocketTable]) {
        for (port, sockets) in self.ports.iter().zip(sockets) {
            let tables = port.tables();
            // A port that was not found may be in an unreadable table.
            let is_unknown = failed.iter().any(|table| tables.contains(table));
            if !sockets.are_there && is_unknown {
                continue;
            }
            let mut row = sample.labelled(&[("port", &port.number.to_string()), ("protocol", port.protocol.name())]);
            row.set(LISTENING, sockets.are_there);
            if is_tcp(port.protocol) && sockets.are_there && !is_unknown {
                row.set(ACCEPT_QUEUE, sockets.waiting);
            }
        }
        for table in self.tables() {
            sample.labelled(&[("table", table.name())]).set(TABLE_ERROR, failed.contains(&table));
        }
    }
}

/// The listening sockets of a port.
#[derive(Debug, Clone, Copy)]
struct Sockets {
    are_there: bool,
    /// The connections that wait to be accepted; `None` if that of a socket is not known.
    waiting: Option<u64>,
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
    Incomplete(Skip),
}

/// Finds the listening sockets of a table. The kernel lists them at a small part of the price of its file, which also has all other
/// sockets.
fn find(table: SocketTable, mut found: impl FnMut(Listener)) -> Result<(), Failed> {
    match system::list_listeners(table) {
        Ok(Listeners { sockets, truncated: false }) => {
            for socket in sockets {
                found(Listener { port: socket.port, waiting: Some(socket.queued.into()) });
            }
            Ok(())
        }
        // The file has all of them, and an error of its own.
        Ok(_) | Err(_) => scan(table, found),
    }
}

/// Reads a table, as far as it has listening sockets.
fn scan(table: SocketTable, mut found: impl FnMut(Listener)) -> Result<(), Failed> {
    let mut scan = Scan::new(table);
    let last = files::read_pieces(table.path(), |piece| scan.take(piece, &mut found)).map_err(Failed::NotRead)?;
    scan.end(last, found).map_err(Failed::Incomplete)
}

#[cfg(test)]
mod tests;
