//! The module `ports`: whether something listens on the ports that are configured, from the kernel's tables of sockets.
//! Connects to nothing, so that it neither disturbs a service nor mistakes a firewall for one that is down; and does not
//! know whether what listens also answers.

mod port;
mod table;

use gauged_plugin::files::{self, Failure};
use gauged_plugin::kernel::File;
use gauged_plugin::{About, Error, Need, Plugin, Sample, Tick, log};
use port::Port;
use table::Table;

gauged_plugin::metrics! {
    module "ports";
    /// Whether a socket is bound to this port and open to new peers: a TCP socket that listens, a UDP socket without a peer.
    LISTENING: gauge "listening" in "1";
    /// Connections that are established and that the service has not accepted yet: rises when it is too slow, or stuck.
    ACCEPT_QUEUE: gauge "accept_queue" in "{connection}";
    /// Whether the kernel's table of these sockets cannot be read, mostly because it is too large; ports that only it could tell of are then missing.
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
    /// The tables that could not be read at the last tick, and of which the operator has been told.
    unreadable: Vec<Table>,
}

impl Plugin for Ports {
    const ABOUT: About = About {
        version: env!("CARGO_PKG_VERSION"),
        description: "Whether something listens on the ports that are configured.",
        metrics: METRICS,
    };
    type Config = Settings;

    fn configure(Settings { listen }: Settings) -> Result<Self, Error> {
        if listen.is_empty() {
            return Err(Error::invalid("listen", "has no ports; write those to watch, such as [80, \"udp:53\"]"));
        }
        for (at, port) in listen.iter().enumerate() {
            if listen[..at].contains(port) {
                return Err(Error::invalid(&format!("listen[{at}]"), format!("{port} is there twice; remove one")));
            }
        }
        Ok(Self { ports: listen, unreadable: Vec::new() })
    }

    fn needs(&self) -> Vec<Need> {
        self.tables().map(|table| Need::read(table.path(), "see which ports are listened on")).collect()
    }

    fn collect(&mut self, _tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let mut queues: Vec<Option<u64>> = vec![None; self.ports.len()];
        let mut failed: Vec<(Table, Failure)> = Vec::new();
        for table in self.tables() {
            match read(table) {
                Ok(Some(file)) => {
                    table.listeners(&file, |port, waiting| {
                        for (known, queue) in self.ports.iter().zip(&mut queues) {
                            if known.number == port && known.protocol.tables().contains(&table) {
                                *queue = Some(queue.unwrap_or(0).saturating_add(waiting));
                            }
                        }
                    })?;
                }
                // A kernel without IPv6.
                Ok(None) => {}
                Err(failure) if matches!(failure.error, files::Error::Denied(_)) => return Err(failure.into()),
                Err(failure) => failed.push((table, failure)),
            }
        }
        self.report(sample, &queues, &failed);
        self.tell(&failed);
        Ok(())
    }
}

gauged_plugin::export!(Ports);

impl Ports {
    /// The tables that tell of the configured ports.
    fn tables(&self) -> impl Iterator<Item = Table> {
        let is_asked = |table: &Table| self.ports.iter().any(|port| port.protocol.tables().contains(table));
        Table::ALL.into_iter().filter(is_asked)
    }

    fn report(&self, sample: &mut Sample, queues: &[Option<u64>], failed: &[(Table, Failure)]) {
        for (port, queue) in self.ports.iter().zip(queues) {
            let tables = port.protocol.tables();
            // One that was not found may be in the table that was not read.
            let is_unknown = failed.iter().any(|(table, _)| tables.contains(table));
            if queue.is_none() && is_unknown {
                continue;
            }
            let number = port.number.to_string();
            let labels = [("port", &*number), ("protocol", port.protocol.name())];
            let mut row = sample.labelled(&labels);
            row.set(LISTENING, queue.is_some());
            if port.protocol.has_accept_queue() && !is_unknown {
                row.set(ACCEPT_QUEUE, *queue);
            }
        }
        for table in self.tables() {
            let has_failed = failed.iter().any(|(failed, _)| *failed == table);
            sample.labelled(&[("table", table.name())]).set(TABLE_ERROR, has_failed);
        }
    }

    /// Tells the operator once why ports are missing.
    fn tell(&mut self, failed: &[(Table, Failure)]) {
        for (table, failure) in failed {
            if !self.unreadable.contains(table) {
                log::warn(&format!("{}; ports that only this table tells of are missing", why(failure)));
            }
        }
        self.unreadable = failed.iter().map(|(table, _)| *table).collect();
    }
}

fn read(table: Table) -> Result<Option<File>, Failure> {
    if table.is_ipv6() { File::read_if_there(table.path()) } else { File::read(table.path()).map(Some) }
}

fn why(failure: &Failure) -> String {
    match (&failure.error, Error::from(failure.clone())) {
        (files::Error::TooLarge(limit), _) => {
            format!("{} has so many connections that it exceeds the {limit} bytes that are read", failure.path)
        }
        (_, Error::Unavailable(why) | Error::Internal(why)) => why,
        _ => format!("{} cannot be read", failure.path),
    }
}

#[cfg(test)]
mod tests;
