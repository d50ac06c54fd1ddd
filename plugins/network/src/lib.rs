//! The module `network`: what the network interfaces of the host have carried, from `/proc/1/net/dev`, and the state of
//! their links, from `/sys/class/net`. Knows nothing of connections and protocols.

mod link;
mod table;

use gauged_plugin::kernel::File;
use gauged_plugin::rates::{Change, Rates};
use gauged_plugin::select::Selection;
use gauged_plugin::{About, Error, Plugin, Row, Sample, Tick};
use link::Links;
use table::Table;

gauged_plugin::metrics! {
    module "network";
    /// Bytes that were received.
    RECEIVED_BYTES: counter "receive_bytes_total" in "By" from "receive bytes";
    /// Packets that were received.
    RECEIVED_PACKETS: counter "receive_packets_total" in "{packet}" from "receive packets";
    /// Packets that arrived damaged, or could not be taken for another fault.
    RECEIVE_ERRORS: counter "receive_errors_total" in "{packet}" from "receive errs";
    /// Packets that arrived well and were dropped: there was no room, or nobody wanted them.
    RECEIVE_DROPPED: counter "receive_dropped_total" in "{packet}" from "receive drop";
    /// Packets lost because the interface's buffer was full.
    RECEIVE_FIFO: counter "receive_fifo_errors_total" in "{packet}" from "receive fifo";
    /// Packets of a wrong length or checksum, or not aligned: a bad cable, port or transceiver.
    RECEIVE_FRAME: counter "receive_frame_errors_total" in "{packet}" from "receive frame";
    /// Compressed packets that were received.
    RECEIVE_COMPRESSED: counter "receive_compressed_total" in "{packet}" from "receive compressed";
    /// Packets to groups that were received.
    RECEIVE_MULTICAST: counter "receive_multicast_total" in "{packet}" from "receive multicast";
    /// Bytes that were sent.
    SENT_BYTES: counter "transmit_bytes_total" in "By" from "transmit bytes";
    /// Packets that were sent.
    SENT_PACKETS: counter "transmit_packets_total" in "{packet}" from "transmit packets";
    /// Packets that could not be sent for a fault.
    TRANSMIT_ERRORS: counter "transmit_errors_total" in "{packet}" from "transmit errs";
    /// Packets that were dropped on their way out: there was no room.
    TRANSMIT_DROPPED: counter "transmit_dropped_total" in "{packet}" from "transmit drop";
    /// Packets lost because the interface's buffer ran empty while it sent them.
    TRANSMIT_FIFO: counter "transmit_fifo_errors_total" in "{packet}" from "transmit fifo";
    /// Collisions; on a link that can send and receive at a time there are none.
    TRANSMIT_COLLISIONS: counter "transmit_collisions_total" in "{collision}" from "transmit colls";
    /// Packets that were not sent because the link was lost, or sent too late.
    TRANSMIT_CARRIER: counter "transmit_carrier_errors_total" in "{packet}" from "transmit carrier";
    /// Compressed packets that were sent.
    TRANSMIT_COMPRESSED: counter "transmit_compressed_total" in "{packet}" from "transmit compressed";

    /// Bytes received in a second, over the tick.
    RECEIVE_RATE: gauge "receive_bytes_per_second" in "By/s";
    /// Bytes sent in a second, over the tick.
    TRANSMIT_RATE: gauge "transmit_bytes_per_second" in "By/s";
    /// Packets received in a second, over the tick.
    RECEIVE_PACKET_RATE: gauge "receive_packets_per_second" in "{packet}/s";
    /// Packets sent in a second, over the tick.
    TRANSMIT_PACKET_RATE: gauge "transmit_packets_per_second" in "{packet}/s";
    /// Bytes received over the tick, as a share of what the link can carry.
    RECEIVE_UTILISATION: gauge "receive_utilisation_percent" in "%";
    /// Bytes sent over the tick, as a share of what the link can carry.
    TRANSMIT_UTILISATION: gauge "transmit_utilisation_percent" in "%";

    /// Whether it can carry packets; true also where the kernel does not know, as for `lo` and tunnels.
    UP: gauge "up" in "1";
    /// Whether there is somebody at the other end of the wire; left out while nobody has switched the interface on.
    CARRIER: gauge "carrier" in "1";
    /// The largest packet that it sends.
    MTU: gauge "mtu_bytes" in "By";
    /// What the link can carry in each direction; left out where it has no speed, or does not tell it.
    SPEED: gauge "speed_bytes_per_second" in "By/s";
}

/// The host's ends of the links of containers: there are many, they come and go, and what they carry is the containers'.
const OF_CONTAINERS: [&str; 3] = ["cali*", "lxc*", "veth*"];

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    interfaces: Selection,
}

impl Default for Settings {
    fn default() -> Self {
        Self { interfaces: Selection::except(&OF_CONTAINERS) }
    }
}

struct Network {
    interfaces: Selection,
    links: Links,
    rates: Rates<4>,
}

impl Plugin for Network {
    const ABOUT: About = About {
        version: env!("CARGO_PKG_VERSION"),
        description: "What network interfaces carry, and the state of their links.",
        metrics: METRICS,
    };
    type Config = Settings;

    fn configure(Settings { interfaces }: Settings) -> Result<Self, Error> {
        Ok(Self { interfaces, links: Links::default(), rates: Rates::default() })
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let file = File::read("/proc/1/net/dev")?;
        let table = Table::new(&file)?;
        let has_links = self.links.are_of(&table);
        for (name, mut columns) in table.interfaces() {
            if !self.interfaces.picks(name) {
                continue;
            }
            let labels = [("device", name)];
            let mut row = sample.labelled(&labels);
            let counters = table.counters(&mut columns, |metric, count| {
                row.set(metric, count);
            })?;
            let link = has_links.then(|| self.links.read(tick, name));
            if let Some(link) = &link {
                row.set(UP, link.is_up).set(CARRIER, link.has_carrier).set(MTU, link.mtu).set(SPEED, link.speed);
            }
            if let Some(change) = self.rates.change(tick, name, counters) {
                over_the_tick(&mut row, &change, link.and_then(|link| link.speed));
            }
        }
        Ok(())
    }
}

gauged_plugin::export!(Network);

fn over_the_tick(row: &mut Row<'_>, change: &Change<4>, speed: Option<u64>) {
    let [received, received_packets, sent, sent_packets] = change.per_second();
    row.set(RECEIVE_RATE, received).set(TRANSMIT_RATE, sent);
    row.set(RECEIVE_PACKET_RATE, received_packets).set(TRANSMIT_PACKET_RATE, sent_packets);
    #[allow(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
    let share = |rate: f64| speed.map(|speed| rate / speed as f64 * 100.0);
    row.set(RECEIVE_UTILISATION, share(received)).set(TRANSMIT_UTILISATION, share(sent));
}

#[cfg(test)]
mod tests;
