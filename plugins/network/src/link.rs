//! The links of interfaces, from `/sys/class/net`. That directory is of the network namespace in which `/sys` was mounted,
//! which need not be that of the host: a wrong speed is worse than none, so that links are only told where both have the
//! same interfaces.

use gauged_plugin::{Tick, files};

use super::table::Table;

const DIRECTORY: &str = "/sys/class/net";

/// A file among the interfaces, made by the driver of bonds.
const NO_INTERFACE: &str = "bonding_masters";

/// Bytes a second in the kernel's unit of speed, one Mbit/s.
const MBIT: u64 = 1_000_000 / 8;

/// Bit of `flags`: somebody has switched the interface on (`IFF_UP`).
const SWITCHED_ON: u64 = 1;

/// How long what hardly ever changes is taken to be as it was: the driver has to be asked for the speed.
const SETTLED_NS: u64 = 60_000_000_000;

/// What is known of links.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// The interfaces that both the table and `/sys` had when they last were the same.
    names: Vec<String>,
    settled: Vec<Settled>,
}

/// The state of a link, as far as it is told.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) is_up: Option<bool>,
    pub(crate) has_carrier: Option<bool>,
    pub(crate) mtu: Option<u64>,
    /// In bytes a second.
    pub(crate) speed: Option<u64>,
}

/// What hardly ever changes.
#[derive(Debug)]
struct Settled {
    interface: String,
    at_ns: u64,
    /// A link that was lost may come back with another speed.
    is_up: Option<bool>,
    mtu: Option<u64>,
    speed: Option<u64>,
}

impl Links {
    /// Whether links are told of the interfaces in the table, and of no others.
    pub(crate) fn are_of(&mut self, table: &Table<'_>) -> bool {
        if table.names().eq(self.names.iter().map(String::as_str)) {
            return true;
        }
        self.names.clear();
        self.settled.clear();
        let Ok(mut told) = files::list(DIRECTORY) else { return false };
        told.retain(|name| *name != NO_INTERFACE);
        let is_same =
            told.len() == table.names().count() && table.names().all(|name| told.iter().any(|told| told == name));
        if is_same {
            self.names = table.names().map(str::to_owned).collect();
        }
        is_same
    }

    pub(crate) fn read(&mut self, tick: Tick, interface: &str) -> Link {
        // The kernel does not know the state of `lo` and of tunnels, and says that they are to be used then.
        let state = attribute(interface, "operstate");
        let (is_up, has_carrier) = match state.as_deref().map(str::trim_ascii) {
            Some("up" | "unknown") => (Some(true), Some(true)),
            Some("dormant" | "testing") => (Some(false), Some(true)),
            Some(_) => (Some(false), is_switched_on(interface).and_then(|is_on| is_on.then_some(false))),
            None => (None, None),
        };
        let Settled { mtu, speed, .. } = *self.settled(tick, interface, is_up);
        Link { is_up, has_carrier, mtu, speed }
    }

    fn settled(&mut self, tick: Tick, interface: &str, is_up: Option<bool>) -> &Settled {
        let now_ns = tick.monotonic_ns;
        let at = self.settled.iter().position(|settled| settled.interface == interface);
        let at = at.unwrap_or_else(|| {
            let interface = interface.to_owned();
            self.settled.push(Settled { interface, at_ns: 0, is_up: None, mtu: None, speed: None });
            self.settled.len() - 1
        });
        let settled = &mut self.settled[at];
        if settled.at_ns == 0 || settled.is_up != is_up || now_ns - settled.at_ns >= SETTLED_NS {
            settled.mtu = number(interface, "mtu");
            settled.speed = number(interface, "speed").and_then(speed);
            (settled.at_ns, settled.is_up) = (now_ns, is_up);
        }
        settled
    }
}

/// Not all interfaces have all attributes, and some cannot be read while the interface is switched off.
fn attribute(interface: &str, attribute: &str) -> Option<String> {
    files::read_text(&format!("{DIRECTORY}/{interface}/{attribute}")).ok()
}

fn number(interface: &str, name: &str) -> Option<u64> {
    attribute(interface, name)?.trim_ascii().parse().ok()
}

fn is_switched_on(interface: &str) -> Option<bool> {
    let flags = attribute(interface, "flags")?;
    let flags = u64::from_str_radix(flags.trim_ascii().strip_prefix("0x")?, 16).ok()?;
    Some(flags & SWITCHED_ON != 0)
}

/// An interface without a speed has -1, which older kernels wrote in 16 or 32 bits without a sign, or 0.
fn speed(mbits: u64) -> Option<u64> {
    let has_speed = mbits > 0 && mbits != u64::from(u16::MAX) && i32::try_from(mbits).is_ok();
    has_speed.then(|| mbits * MBIT)
}
