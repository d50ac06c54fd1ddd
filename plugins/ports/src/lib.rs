//! The module `ports`: the listening state of configured ports, from the kernel's socket tables. Makes no connections, so
//! it neither disturbs a service nor depends on a firewall, and cannot tell whether the service responds.

mod port;
mod table;

use gauged_plugin::files::{self, Failure};
use gauged_plugin::kernel::File;
use gauged_plugin::{About, Error, Need, Plugin, Sample, Tick, log};
use port::Port;
use table::Table;

gauged_plugin::metrics! {
    module "ports";
    /// Whether a socket listens on the port: a TCP socket in the state LISTEN, or a UDP socket without a peer.
    LISTENING: gauge "listening" in "1";
    /// Established connections not yet accepted by the service; rises when it is too slow or stuck.
    ACCEPT_QUEUE: gauge "accept_queue" in "{connection}";
    /// Whether the kernel's socket table cannot be read, mostly because it is too large; ports found only in it are
    /// then missing.
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
        let mut queues: Vec<Option<u64>> = vec![None; self.ports.len()];
        let mut failed: Vec<(Table, Failure)> = Vec::new();
        for table in self.tables() {
            match read_table(table) {
                Ok(Some(file)) => {
                    table.listeners(&file, |port, waiting| {
                        for (known, queue) in self.ports.iter().zip(&mut queues) {
                            if known.number == port && known.protocol.tables().contains(&table) {
                                *queue = Some(queue.unwrap_or(0).saturating_add(waiting));
                            }
                        }
                    })?;
                }
                // The kernel has no IPv6.
                Ok(None) => {}
                Err(failure) if matches!(failure.error, files::Error::Denied(_)) => return Err(failure.into()),
                Err(failure) => failed.push((table, failure)),
            }
        }
        self.report(sample, &queues, &failed);
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

    fn report(&self, sample: &mut Sample, queues: &[Option<u64>], failed: &[(Table, Failure)]) {
        for (port, queue) in self.ports.iter().zip(queues) {
            let tables = port.protocol.tables();
            // A port that was not found may be in an unreadable table.
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

    /// Logs a warning for each newly unreadable table.
    fn warn_unreadable(&mut self, failed: &[(Table, Failure)]) {
        for (table, failure) in failed {
            if !self.unreadable.contains(table) {
                log::warn(&format!("{}; ports found only in this table are missing", failure_text(failure)));
            }
        }
        self.unreadable = failed.iter().map(|(table, _)| *table).collect();
    }
}

fn read_table(table: Table) -> Result<Option<File>, Failure> {
    if table.is_ipv6() { File::read_if_exists(table.path()) } else { File::read(table.path()).map(Some) }
}

fn failure_text(failure: &Failure) -> String {
    match (&failure.error, Error::from(failure.clone())) {
        (files::Error::TooLarge(limit), _) => {
            format!("{} exceeds the limit of {limit} bytes because of its many connections", failure.path)
        }
        (_, Error::Unavailable(why) | Error::Internal(why)) => why,
        _ => format!("{} cannot be read", failure.path),
    }
}

#[cfg(test)]
mod tests;
