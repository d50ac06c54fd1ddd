//! The module `netstat`: what TCP, UDP, IP and ICMP of the host have counted, by the kernel's own names, and how many sockets
//! there are: `snmp`, `netstat`, `snmp6`, `sockstat` and `sockstat6` of `/proc/1/net`. Which fields there are is a table
//! with a sentence on each; a field that is not in it is passed over. Knows nothing of single connections or interfaces.

mod internet;
mod layout;
mod sockets;
mod tcp_ext;
mod transport;

use gauged_plugin::descriptor::join;
use gauged_plugin::kernel::{File, page_bytes};
use gauged_plugin::select::{Pattern, Selection};
use gauged_plugin::{About, Descriptor, Error, Plugin, Sample, Tick};
use layout::Layout;

/// Each group of fields is together and in the kernel's order; the sockets are last.
const METRICS: &[Descriptor] = &join::<{ COUNTED + sockets::METRICS.len() }>(&[
    internet::METRICS,
    transport::METRICS,
    tcp_ext::METRICS,
    sockets::METRICS,
]);

/// How many fields there are, sockets aside.
const COUNTED: usize = internet::METRICS.len() + transport::METRICS.len() + tcp_ext::METRICS.len();

/// What is measured unless the configuration says otherwise: traffic, and all that means loss, refusal or a limit. As much
/// as `node_exporter` and Open-Falcon measure by default, at least.
const DEFAULT: [&str; 43] = [
    "*_InErrors",
    "Ip_Forwarding",
    "Ip_InDiscards",
    "Ip_OutDiscards",
    "Ip_ReasmFails",
    "Ip6_InDiscards",
    "Ip6_OutDiscards",
    "Ip6_ReasmFails",
    "Ip*_InOctets",
    "Ip*_OutOctets",
    "Icmp*_InMsgs",
    "Icmp*_OutMsgs",
    "Tcp_*",
    "Udp_*",
    "Udp6_*",
    "TcpExt_Syncookies*",
    "TcpExt_*Prune*",
    "TcpExt_LockDroppedIcmps",
    "TcpExt_ArpFilter",
    "TcpExt_TW",
    "TcpExt_DelayedACKLocked",
    "TcpExt_Listen*",
    "TcpExt_TCPPrequeueDropped",
    "TcpExt_TCPTSReorder",
    "TcpExt_TCPDSACKUndo",
    "TcpExt_TCPLoss",
    "TcpExt_TCPLostRetransmit",
    "TcpExt_TCPLossFailures",
    "TcpExt_TCPFastRetrans",
    "TcpExt_TCPTimeouts",
    "TcpExt_TCPSchedulerFailed",
    "TcpExt_TCPAbort*",
    "TcpExt_TCPMemoryPressures",
    "TcpExt_TCPSpuriousRTOs",
    "TcpExt_TCPBacklogDrop",
    "TcpExt_TCPMinTTLDrop",
    "TcpExt_TCPTimeWaitOverflow",
    "TcpExt_TCPReqQFull*",
    "TcpExt_TCPOFOQueue",
    "TcpExt_TCPOFODrop",
    "TcpExt_TCPSynRetrans",
    "TcpExt_TCPZeroWindowDrop",
    "TcpExt_TCPRcvQDrop",
];

/// How long a host that did not tell how large a page is, is left alone: the two files are long, and in some containers
/// they never agree.
const PAGE_NS: u64 = 60_000_000_000;

/// The configuration. Names are those of the metrics without `_total`: `TcpExt_ListenDrops`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    fields: Selection,
    /// Those besides.
    more: Vec<Pattern>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { fields: Selection::only(&DEFAULT), more: Vec::new() }
    }
}

struct Netstat {
    /// What is chosen.
    fields: Vec<&'static Descriptor>,
    /// Those of `snmp`, `netstat` and `snmp6`.
    layouts: [Layout; 3],
    /// Known from the first tick on, where it can be told.
    page_bytes: Option<u64>,
    /// When the host was last asked for it.
    page_asked_ns: Option<u64>,
}

impl Plugin for Netstat {
    const ABOUT: About = About {
        version: env!("CARGO_PKG_VERSION"),
        description: "What TCP, UDP, IP and ICMP have counted, and how many sockets there are.",
        metrics: METRICS,
    };
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        let Settings { fields, more } = settings;
        let names = || METRICS.iter().take(COUNTED).map(field_name);
        if let Some(at) = more.iter().position(|pattern| !names().any(|name| pattern.matches(name))) {
            let message = "is none of the fields that README.md of this plugin lists, such as TcpExt_TCPOFOMerge";
            return Err(Error::invalid(&format!("more[{at}]"), message));
        }
        let is_chosen = |name: &str| fields.picks(name) || more.iter().any(|pattern| pattern.matches(name));
        let fields: Vec<_> = METRICS.iter().take(COUNTED).filter(|metric| is_chosen(field_name(metric))).collect();
        if fields.is_empty() {
            return Err(Error::invalid("fields", "leaves none over; fields have names such as TcpExt_ListenDrops"));
        }
        Ok(Self { fields, layouts: <[Layout; 3]>::default(), page_bytes: None, page_asked_ns: None })
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let [snmp, netstat, snmp6] = &mut self.layouts;
        snmp.in_pairs(&File::read("/proc/1/net/snmp")?, &self.fields, sample)?;
        netstat.in_pairs(&File::read("/proc/1/net/netstat")?, &self.fields, sample)?;
        // Not there where the host has no IPv6.
        if let Some(file) = File::read_if_there("/proc/1/net/snmp6")? {
            snmp6.in_lines(&file, &self.fields, sample)?;
        }
        let page_bytes = self.page_bytes(tick)?;
        let file6 = File::read_if_there("/proc/1/net/sockstat6")?;
        sockets::measured(sample, &File::read("/proc/1/net/sockstat")?, file6.as_ref(), page_bytes)?;
        Ok(())
    }
}

gauged_plugin::export!(Netstat);

impl Netstat {
    fn page_bytes(&mut self, tick: Tick) -> Result<Option<u64>, Error> {
        let is_left_alone = self.page_asked_ns.is_some_and(|asked| tick.monotonic_ns.saturating_sub(asked) < PAGE_NS);
        if self.page_bytes.is_none() && !is_left_alone {
            self.page_asked_ns = Some(tick.monotonic_ns);
            let files = (File::read_if_there("/proc/vmstat")?, File::read_if_there("/proc/meminfo")?);
            self.page_bytes =
                if let (Some(vmstat), Some(meminfo)) = files { page_bytes(&vmstat, &meminfo) } else { None };
        }
        Ok(self.page_bytes)
    }
}

/// What the configuration calls it: `TcpExt_ListenDrops`.
fn field_name(metric: &Descriptor) -> &'static str {
    metric.name.strip_suffix("_total").unwrap_or(metric.name)
}

#[cfg(test)]
mod tests;
