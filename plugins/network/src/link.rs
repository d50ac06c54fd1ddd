//! The links of interfaces, from `/sys/class/net`. That directory shows the network namespace in which `/sys` was mounted,
//! which may not be the host's. A wrong speed is worse than none, so links are used only if both have the same interfaces, as
//! far as these can be read.

use gauged_plugin::bounds::COUNT;
use gauged_plugin::kernel::{File, Number as _};
use gauged_plugin::skipped::{Skip, Skipped};
use gauged_plugin::{Tick, files};

use super::table::Table;

const DIRECTORY: &str = "/sys/class/net";

/// A file of the bonding driver among the interfaces.
const BONDING_FILE: &str = "bonding_masters";

/// Bytes per second in the kernel's unit of speed, Mbit/s.
const MBIT: u64 = 1_000_000 / 8;

/// The bit of `flags` that is set while the interface is enabled.
const IFF_UP: u64 = 1;

/// The ticks in a row after which a difference is reported: an interface that was added between two reads is none.
const MISMATCHES_BEFORE_REPORT: u32 = 2;

/// The lifetime of cached attributes: reading the speed calls the driver.
const CACHE_NS: u64 = 60_000_000_000;

/// The links of all interfaces.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// The interfaces of the table when it last matched `/sys`, and the number of lines that were not understood.
    names: Vec<String>,
    unread: usize,
    /// The ticks in a row at which both differed.
    mismatches: u32,
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
    /// Whether `/sys` has the interfaces of the table: each that has a name, and besides at most as many as there are lines
    /// without one.
    pub(crate) fn match_table(&mut self, table: &Table<'_>, skipped: &mut Skipped) -> bool {
        if table.unread == self.unread && table.names().eq(self.names.iter().map(String::as_str)) {
            return true;
        }
        self.names.clear();
        self.cache.clear();
        let listed = skipped.keep(files::list_if_exists(DIRECTORY), "the links of interfaces");
        let Some(mut listed) = listed.flatten() else { return false };
        listed.retain(|name| *name != BONDING_FILE);
        match find_difference(table, &listed) {
            None => {
                self.names = table.names().map(str::to_owned).collect();
                (self.unread, self.mismatches) = (table.unread, 0);
                true
            }
            Some(name) => {
                self.mismatches = self.mismatches.saturating_add(1);
                if self.mismatches >= MISMATCHES_BEFORE_REPORT {
                    let why = format!(
                        "has other interfaces than /proc/1/net/dev, such as {name}; mount the host's /sys for the agent"
                    );
                    Skip::malformed(DIRECTORY, "", why).report("the links of interfaces");
                }
                false
            }
        }
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

/// An interface that only the table or only `/sys` has. `listed` is sorted. An alias, `eth0:1`, has no link of its own, and the
/// host lists no name that is not UTF-8.
fn find_difference(table: &Table<'_>, listed: &[String]) -> Option<String> {
    let is_listed = |name: &str| listed.binary_search_by(|other| other.as_str().cmp(name)).is_ok();
    let mut found = 0;
    for name in table.names() {
        if is_listed(name) {
            found += 1;
        } else if !name.contains(char::REPLACEMENT_CHARACTER) && !alias_of(name).is_some_and(is_listed) {
            return Some(name.to_owned());
        }
    }
    let is_other = |name: &&String| !table.names().any(|other| other == **name);
    if listed.len() - found > table.unread { listed.iter().find(is_other).cloned() } else { None }
}

/// The interface of an alias.
fn alias_of(name: &str) -> Option<&str> {
    name.split_once(':').map(|(interface, _)| interface)
}

/// Reads an attribute. Not all interfaces have all of them, and some are unreadable while the interface is disabled.
fn attribute(interface: &str, attribute: &str, skipped: &mut Skipped) -> Option<String> {
    let read = files::read_text(&format!("{DIRECTORY}/{interface}/{attribute}"));
    skipped.optional(read, format_args!("{attribute} of {interface}"))
}

/// Reads a number; a negative one is the driver's word for none.
fn number(interface: &str, name: &str, skipped: &mut Skipped) -> Option<u64> {
    let path = format!("{DIRECTORY}/{interface}/{name}");
    let file = File::new(&path, attribute(interface, name, skipped)?);
    let word = file.fields().next()?;
    if i64::parse(word).is_some_and(|number| number < 0) {
        return None;
    }
    skipped.keep(file.fields().bounded(name, &COUNT), format_args!("{name} of {interface}"))
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
