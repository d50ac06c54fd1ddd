//! The links of interfaces, from `/sys/class/net`. That directory shows the network namespace in which `/sys` was mounted,
//! which may not be the host's. A wrong speed is worse than none, so links are used only if both have the same interfaces.

use gauged_plugin::bounds::COUNT;
use gauged_plugin::skipped::Skipped;
use gauged_plugin::{Tick, files};

use super::table::Table;

const DIRECTORY: &str = "/sys/class/net";

/// A file of the bonding driver among the interfaces.
const BONDING_FILE: &str = "bonding_masters";

/// Bytes per second in the kernel's unit of speed, Mbit/s.
const MBIT: u64 = 1_000_000 / 8;

/// The bit of `flags` that is set while the interface is enabled.
const IFF_UP: u64 = 1;

/// The lifetime of cached attributes: reading the speed calls the driver.
const CACHE_NS: u64 = 60_000_000_000;

/// The links of all interfaces.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// The interfaces that the table and `/sys` had in common when they last matched.
    names: Vec<String>,
    cache: Vec<CachedAttributes>,
}

/// The known state of a link.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) is_up: Option<bool>,
    pub(crate) has_carrier: Option<bool>,
    pub(crate) carrier_changes: Option<u64>,
    pub(crate) mtu: Option<u64>,
    /// Bytes per second.
    pub(crate) speed: Option<u64>,
}

/// Rarely changing attributes of an interface.
#[derive(Debug)]
struct CachedAttributes {
    interface: String,
    read_ns: u64,
    /// The state at the time of the read: a restored link may have another speed.
    is_up: Option<bool>,
    mtu: Option<u64>,
    speed: Option<u64>,
}

impl Links {
    /// Whether `/sys` has exactly the interfaces of the table.
    pub(crate) fn match_table(&mut self, table: &Table<'_>, skipped: &mut Skipped) -> bool {
        if table.names().eq(self.names.iter().map(String::as_str)) {
            return true;
        }
        self.names.clear();
        self.cache.clear();
        let listed = skipped.keep(files::list_if_exists(DIRECTORY), "the links of interfaces");
        let Some(mut listed) = listed.flatten() else { return false };
        listed.retain(|name| *name != BONDING_FILE);
        let is_same = listed.len() == table.interfaces.len()
            && table.names().all(|name| listed.iter().any(|listed| listed == name));
        if is_same {
            self.names = table.names().map(str::to_owned).collect();
        }
        is_same
    }

    pub(crate) fn read(&mut self, tick: Tick, interface: &str, skipped: &mut Skipped) -> Link {
        // The kernel reports "unknown" for `lo` and tunnels, which means usable. Other words are none of it.
        let state = attribute(interface, "operstate", skipped);
        let (is_up, has_carrier) = match state.as_deref().map(str::trim_ascii) {
            Some("up" | "unknown") => (Some(true), Some(true)),
            Some("dormant" | "testing") => (Some(false), Some(true)),
            Some("down" | "lowerlayerdown" | "notpresent") => {
                (Some(false), is_enabled(interface, skipped).and_then(|is_on| is_on.then_some(false)))
            }
            Some(_) | None => (None, None),
        };
        let CachedAttributes { mtu, speed, .. } = *self.cached_attributes(tick, interface, is_up, skipped);
        Link { is_up, has_carrier, carrier_changes: number(interface, "carrier_changes", skipped), mtu, speed }
    }

    fn cached_attributes(
        &mut self,
        tick: Tick,
        interface: &str,
        is_up: Option<bool>,
        skipped: &mut Skipped,
    ) -> &CachedAttributes {
        let now_ns = tick.monotonic_ns;
        let at = self.cache.iter().position(|cached| cached.interface == interface);
        let at = at.unwrap_or_else(|| {
            let interface = interface.to_owned();
            self.cache.push(CachedAttributes { interface, read_ns: 0, is_up: None, mtu: None, speed: None });
            self.cache.len() - 1
        });
        let cached = &mut self.cache[at];
        if cached.read_ns == 0 || cached.is_up != is_up || now_ns - cached.read_ns >= CACHE_NS {
            cached.mtu = number(interface, "mtu", skipped);
            cached.speed = number(interface, "speed", skipped).and_then(speed);
            (cached.read_ns, cached.is_up) = (now_ns, is_up);
        }
        cached
    }
}

/// Reads an attribute. Not all interfaces have all of them, and some are unreadable while the interface is disabled.
fn attribute(interface: &str, attribute: &str, skipped: &mut Skipped) -> Option<String> {
    let read = files::read_text(&format!("{DIRECTORY}/{interface}/{attribute}"));
    skipped.optional(read, format_args!("{attribute} of {interface}"))
}

fn number(interface: &str, name: &str, skipped: &mut Skipped) -> Option<u64> {
    COUNT.check(attribute(interface, name, skipped)?.trim_ascii().parse().ok()?)
}

fn is_enabled(interface: &str, skipped: &mut Skipped) -> Option<bool> {
    let flags = attribute(interface, "flags", skipped)?;
    let flags = u64::from_str_radix(flags.trim_ascii().strip_prefix("0x")?, 16).ok()?;
    Some(flags & IFF_UP != 0)
}

/// Converts a speed. Interfaces without one have 0 or -1, which older kernels write as 16 or 32 unsigned bits.
fn speed(mbits: u64) -> Option<u64> {
    let has_speed = mbits > 0 && mbits != u64::from(u16::MAX) && i32::try_from(mbits).is_ok();
    has_speed.then(|| mbits * MBIT)
}
