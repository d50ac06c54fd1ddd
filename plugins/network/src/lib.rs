//! The module `network`: traffic and errors of the host's network interfaces, from `/proc/1/net/dev`, and the state of
//! their links, from `/sys/class/net`. Knows nothing of connections and protocols.

mod link;
mod table;

use gauged_plugin::bounds::{INTERFACE_BYTES_PER_SECOND, INTERFACE_PACKETS_PER_SECOND, TICK_PERCENT, TIMES_SPEED};
use gauged_plugin::rates::{EachChange, Rates};
use gauged_plugin::select::Selection;
use gauged_plugin::skipped::Skipped;
use gauged_plugin::{About, Error, Plugin, Row, Sample, Tick, about};
use link::Links;
use table::Table;

gauged_plugin::metrics! {
    module "network" by {"device": "Name of the interface"} since boot;
    /// Bytes received.
    RECEIVED_BYTES: counter "receive_bytes_total" in "By" from "receive bytes";
    /// Packets received.
    RECEIVED_PACKETS: counter "receive_packets_total" in "{packet}" from "receive packets";
    /// Packets received damaged, or lost to another fault.
    RECEIVE_ERRORS: counter "receive_errors_total" in "{packet}" from "receive errs";
    /// Packets received intact and dropped: no buffer space, or no receiver.
    RECEIVE_DROPPED: counter "receive_dropped_total" in "{packet}" from "receive drop";
    /// Packets lost because the interface's buffer was full.
    RECEIVE_FIFO: counter "receive_fifo_errors_total" in "{packet}" from "receive fifo";
    /// Packets with a wrong length, checksum or alignment: a bad cable, port or transceiver.
    RECEIVE_FRAME: counter "receive_frame_errors_total" in "{packet}" from "receive frame";
    /// Compressed packets received.
    RECEIVE_COMPRESSED: counter "receive_compressed_total" in "{packet}" from "receive compressed";
    /// Multicast packets received.
    RECEIVE_MULTICAST: counter "receive_multicast_total" in "{packet}" from "receive multicast";
    /// Bytes sent.
    SENT_BYTES: counter "transmit_bytes_total" in "By" from "transmit bytes";
    /// Packets sent.
    SENT_PACKETS: counter "transmit_packets_total" in "{packet}" from "transmit packets";
    /// Packets not sent because of an error.
    TRANSMIT_ERRORS: counter "transmit_errors_total" in "{packet}" from "transmit errs";
    /// Packets dropped before they were sent: no buffer space.
    TRANSMIT_DROPPED: counter "transmit_dropped_total" in "{packet}" from "transmit drop";
    /// Packets lost because the interface's buffer ran empty during transmission.
    TRANSMIT_FIFO: counter "transmit_fifo_errors_total" in "{packet}" from "transmit fifo";
    /// Collisions; full-duplex links have none.
    TRANSMIT_COLLISIONS: counter "transmit_collisions_total" in "{collision}" from "transmit colls";
    /// Packets that were not sent because the link was lost, or sent too late.
    TRANSMIT_CARRIER: counter "transmit_carrier_errors_total" in "{packet}" from "transmit carrier";
    /// Compressed packets sent.
    TRANSMIT_COMPRESSED: counter "transmit_compressed_total" in "{packet}" from "transmit compressed";

    /// Bytes received per second over the tick.
    RECEIVE_RATE: gauge "receive_bytes_per_second" in "By/s";
    /// Bytes sent per second over the tick.
    TRANSMIT_RATE: gauge "transmit_bytes_per_second" in "By/s";
    /// Packets received per second over the tick.
    RECEIVE_PACKET_RATE: gauge "receive_packets_per_second" in "{packet}/s";
    /// Packets sent per second over the tick.
    TRANSMIT_PACKET_RATE: gauge "transmit_packets_per_second" in "{packet}/s";
    /// Bytes received over the tick as a share of the link's capacity.
    RECEIVE_UTILISATION: gauge "receive_utilisation_percent" in "%";
    /// Bytes sent over the tick as a share of the link's capacity.
    TRANSMIT_UTILISATION: gauge "transmit_utilisation_percent" in "%";

    /// Whether the interface can carry packets; true also if the kernel does not know, as for `lo` and tunnels.
    UP: gauge "up" in "1";
    /// Whether the link has a carrier; left out while the interface is disabled.
    CARRIER: gauge "carrier" in "1";
    /// Times that the carrier was lost or found, also between two ticks: a link that flaps; since Linux 3.15.
    CARRIER_CHANGES: counter "carrier_changes_total" in "{change}";
    /// Largest packet that the interface sends.
    MTU: gauge "mtu_bytes" in "By";
    /// Capacity of the link in each direction; left out if it has none or does not report it.
    SPEED: gauge "speed_bytes_per_second" in "By/s";
}

/// The host's ends of containers' links: many, short-lived, and with the containers' own traffic.
const DEFAULT_EXCLUDE: [&str; 3] = ["cali*", "lxc*", "veth*"];

gauged_plugin::settings! {
    /// Interfaces to measure, all if it is empty; `*` stands for any text. With a table `interfaces` both of its defaults are gone.
    "interfaces.include": "list of patterns" = "[]";
    /// Interfaces to leave out; it wins over `include`.
    "interfaces.exclude": "list of patterns" = gauged_plugin::json_list!(DEFAULT_EXCLUDE);
}

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    interfaces: Selection,
}

struct Network {
    interfaces: Selection,
    links: Links,
    rates: Rates<4>,
    skipped: Skipped,
}

impl Plugin for Network {
    const ABOUT: About = about!("Traffic, errors and link state of network interfaces.");
    type Config = Settings;

    fn configure(Settings { interfaces }: Settings) -> Result<Self, Error> {
        Ok(Self { interfaces, links: Links::default(), rates: Rates::default(), skipped: Skipped::default() })
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let Self { interfaces, links, rates, skipped } = self;
        let Some(file) = skipped.read("/proc/1/net/dev", "all interfaces") else { return skipped.finish(sample) };
        let table = Table::new(&file, skipped);
        let Some(table) = skipped.keep(table, "all interfaces") else { return skipped.finish(sample) };
        let has_links = links.match_table(&table, skipped);
        for (name, fields) in &table.interfaces {
            if !interfaces.includes(name) {
                continue;
            }
            let mut row = sample.labelled(&[("device", *name)]);
            let counters = table.set_counters(name, fields, &mut row, skipped);
            let link = has_links.then(|| links.read(tick, name, skipped));
            if let Some(link) = &link {
                row.set(UP, link.is_up).set(CARRIER, link.has_carrier).set(CARRIER_CHANGES, link.carrier_changes);
                row.set(MTU, link.mtu).set(SPEED, link.speed);
            }
            if let Some(change) = rates.change_each(tick, name, counters) {
                set_rates(&mut row, &change, link.and_then(|link| link.speed));
            }
        }
        skipped.finish(sample)
    }
}

gauged_plugin::export!(Network);

/// The greatest speed that virtual interfaces invent although they carry more: `tun` reports 10 Mbit/s.
const INVENTED_SPEED: u64 = 10_000_000 / 8;

/// Sets the rates that are known, unless the interface was reset, or a counter moved further than any interface, or this one,
/// can carry: a driver that was reset.
fn set_rates(row: &mut Row<'_>, change: &EachChange<4>, speed: Option<u64>) {
    if change.is_reset.contains(&true) {
        return;
    }
    let [received, received_packets, sent, sent_packets] = change.per_second();
    #[allow(clippy::cast_precision_loss, reason = "a percentage needs no 53 bits")]
    let times_speed = |rate: f64| speed.map(|speed| rate / speed as f64);
    let has_speed = speed.is_some_and(|speed| speed > INVENTED_SPEED);
    let is_possible = |rate: f64| {
        let times = times_speed(rate).filter(|_| has_speed);
        INTERFACE_BYTES_PER_SECOND.check(rate).is_some() && times.is_none_or(|times| TIMES_SPEED.check(times).is_some())
    };
    let are_possible = |rate: f64| is_possible(rate) && INTERFACE_PACKETS_PER_SECOND.check(rate).is_some();
    // A packet has a byte at least.
    if ![received, sent].into_iter().flatten().all(is_possible)
        || ![received_packets, sent_packets].into_iter().flatten().all(are_possible)
    {
        return;
    }
    row.set(RECEIVE_RATE, received).set(TRANSMIT_RATE, sent);
    row.set(RECEIVE_PACKET_RATE, received_packets).set(TRANSMIT_PACKET_RATE, sent_packets);
    let share = |rate: Option<f64>| TICK_PERCENT.check(times_speed(rate?)? * 100.0);
    row.set(RECEIVE_UTILISATION, share(received)).set(TRANSMIT_UTILISATION, share(sent));
}

#[cfg(test)]
mod tests;
