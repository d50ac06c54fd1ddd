//! The module `netstat`: the host's counters of TCP, UDP, IP and ICMP, by the kernel's own names, and its numbers of
//! sockets, from `snmp`, `netstat`, `snmp6`, `sockstat` and `sockstat6` in `/proc/1/net`, and by state on request. Fields that are not declared are
//! ignored. Knows nothing of single connections or interfaces.

mod internet;
mod layout;
mod mptcp;
mod sockets;
mod states;
mod tcp_ext;
mod transport;

use gauged_plugin::descriptor::join;
use gauged_plugin::kernel::{File, page_bytes};
use gauged_plugin::select::{Pattern, Selection};
use gauged_plugin::skipped::Skipped;
use gauged_plugin::{About, Descriptor, Error, Need, Plugin, Sample, Tick, about};
use layout::Layout;

/// All metrics: fields by group in the kernel's order, then sockets.
const METRICS: &[Descriptor] = &join::<{ FIELD_COUNT + sockets::METRICS.len() + states::METRICS.len() }>(&[
    internet::METRICS,
    transport::METRICS,
    tcp_ext::METRICS,
    mptcp::METRICS,
    sockets::METRICS,
    states::METRICS,
]);

/// The number of fields without sockets.
const FIELD_COUNT: usize =
    internet::METRICS.len() + transport::METRICS.len() + tcp_ext::METRICS.len() + mptcp::METRICS.len();

/// The default fields: traffic, and everything that means loss, refusal or a limit. Includes the defaults of
/// `node_exporter` and Open-Falcon.
const DEFAULT_FIELDS: [&str; 43] = [
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

/// Constants among them, which say nothing of a host.
const DEFAULT_EXCLUDED_FIELDS: [&str; 2] = ["Tcp_MaxConn", "Tcp_Rto*"];

/// The files from which the page size follows: pages and kB of the whole host, and of its first node. In a container the
/// first two may be of different machines: lxcfs replaces only one of them.
const PAGE_FILES: [[&str; 2]; 2] = [
    ["/proc/vmstat", "/proc/meminfo"],
    ["/sys/devices/system/node/node0/vmstat", "/sys/devices/system/node/node0/meminfo"],
];

/// The time between attempts to find the page size: its two files are long, and in some containers never agree.
const PAGE_RETRY_NS: u64 = 60_000_000_000;

gauged_plugin::settings! {
    /// Fields to measure, all if it is empty; `*` stands for any text. With a table `fields` both of its defaults are gone.
    "fields.include": "list of patterns" = gauged_plugin::json_list!(DEFAULT_FIELDS);
    /// Fields to leave out; it wins over `include`.
    "fields.exclude": "list of patterns" = gauged_plugin::json_list!(DEFAULT_EXCLUDED_FIELDS);
    /// Fields in addition to `fields`.
    "more": "list of patterns" = "[]";
    /// Whether TCP sockets are counted by state, which costs some milliseconds for each thousand sockets.
    "tcp_states": "boolean" = "false";
}

/// The configuration. Field names are metric names without `_total`: `TcpExt_ListenDrops`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    fields: Selection,
    /// Fields in addition to `fields`.
    more: Vec<Pattern>,
    /// Whether TCP sockets are counted by state.
    tcp_states: bool,
}

struct Netstat {
    /// The selected fields.
    fields: Vec<&'static Descriptor>,
    /// The layouts of `snmp`, `netstat` and `snmp6`.
    layouts: [Layout; 3],
    /// The page size, once it is known.
    page_bytes: Option<u64>,
    /// The last attempt to find the page size.
    page_tried_ns: Option<u64>,
    /// Whether TCP sockets are counted by state.
    has_states: bool,
    skipped: Skipped,
}

impl Plugin for Netstat {
    const ABOUT: About = about!("Counters of TCP, UDP, IP and ICMP, and numbers of sockets.");
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        let Settings { fields, more, tcp_states: has_states } = settings;
        let names = || METRICS.iter().take(FIELD_COUNT).map(field_name);
        if let Some(at) = more.iter().position(|pattern| !names().any(|name| pattern.matches(name))) {
            let message = "matches no field listed in the README.md of this plugin, such as TcpExt_TCPOFOMerge";
            return Err(Error::invalid(&format!("more[{at}]"), message));
        }
        let is_chosen = |name: &str| fields.includes(name) || more.iter().any(|pattern| pattern.matches(name));
        let fields: Vec<_> = METRICS.iter().take(FIELD_COUNT).filter(|metric| is_chosen(field_name(metric))).collect();
        if fields.is_empty() {
            return Err(Error::invalid("fields", "selects no fields; fields have names such as TcpExt_ListenDrops"));
        }
        let (layouts, skipped) = (<[Layout; 3]>::default(), Skipped::default());
        Ok(Self { fields, layouts, page_bytes: None, page_tried_ns: None, has_states, skipped })
    }

    fn needs(&self) -> Vec<Need> {
        if self.has_states { states::needs() } else { Vec::new() }
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let page_bytes = self.page_bytes(tick);
        let Self { fields, layouts: [snmp, netstat, snmp6], has_states, skipped, .. } = self;
        if let Some(file) = skipped.read("/proc/1/net/snmp", "Ip, Icmp, Tcp and Udp") {
            snmp.read_pairs(&file, fields, sample, skipped);
        }
        if let Some(file) = skipped.read("/proc/1/net/netstat", "TcpExt and IpExt") {
            netstat.read_pairs(&file, fields, sample, skipped);
        }
        // Missing on hosts without IPv6.
        if let Some(file) = skipped.read("/proc/1/net/snmp6", "Ip6, Icmp6 and Udp6") {
            snmp6.read_lines(&file, fields, sample, skipped);
        }
        sockets::set_metrics(sample, page_bytes, skipped);
        if *has_states {
            states::set_metrics(sample, skipped);
        }
        skipped.finish(sample)
    }
}

gauged_plugin::export!(Netstat);

impl Netstat {
    fn page_bytes(&mut self, tick: Tick) -> Option<u64> {
        let is_too_early =
            self.page_tried_ns.is_some_and(|tried| tick.monotonic_ns.saturating_sub(tried) < PAGE_RETRY_NS);
        if self.page_bytes.is_none() && !is_too_early {
            self.page_tried_ns = Some(tick.monotonic_ns);
            let mut refused = Vec::new();
            let mut read = |path| File::read(path).map_err(|failure| refused.push(failure)).ok();
            self.page_bytes =
                PAGE_FILES.iter().find_map(|[vmstat, meminfo]| page_bytes(&read(vmstat)?, &read(meminfo)?));
            if self.page_bytes.is_none() {
                for failure in refused {
                    self.skipped.optional(Err::<(), _>(failure), "the memory of sockets in bytes");
                }
            }
        }
        self.page_bytes
    }
}

/// The name in the configuration: `TcpExt_ListenDrops`.
fn field_name(metric: &Descriptor) -> &'static str {
    metric.name.strip_suffix("_total").unwrap_or(metric.name)
}

#[cfg(test)]
mod tests;
