//! Numbers of sockets, from `/proc/net/sockstat` and `/proc/net/sockstat6`: each line has a protocol, then alternating
//! names and values.

use gauged_plugin::Sample;
use gauged_plugin::bounds::COUNT;
use gauged_plugin::kernel::File;
use gauged_plugin::skipped::Skipped;

gauged_plugin::metrics! {
    module "netstat" since boot;
    /// Open sockets of all kinds.
    USED: gauge "sockstat_sockets_used" in "{socket}" from "sockets used";
    /// TCP sockets over IPv4 that are connected or listen.
    TCP_INUSE: gauge "sockstat_TCP_inuse" in "{socket}" from "TCP inuse";
    /// TCP connections that no process has open and that are not closed yet.
    TCP_ORPHAN: gauge "sockstat_TCP_orphan" in "{socket}" from "TCP orphan";
    /// TCP connections in TIME_WAIT: closed, and remembered for a minute.
    TCP_TW: gauge "sockstat_TCP_tw" in "{socket}" from "TCP tw";
    /// Allocated TCP sockets in any state, over IPv4 and IPv6.
    TCP_ALLOC: gauge "sockstat_TCP_alloc" in "{socket}" from "TCP alloc";
    /// TCP sockets that are neither connected nor listen, and connections in TIME_WAIT: `closed` of `ss -s`.
    TCP_CLOSED: gauge "sockstat_TCP_closed" in "{socket}";
    /// Memory of TCP buffers, in pages; its limits are in net.ipv4.tcp_mem.
    TCP_MEM: gauge "sockstat_TCP_mem_pages" in "{page}" from "TCP mem";
    /// Memory of TCP buffers.
    TCP_MEM_BYTES: gauge "sockstat_TCP_mem_bytes" in "By";
    /// UDP sockets over IPv4.
    UDP_INUSE: gauge "sockstat_UDP_inuse" in "{socket}" from "UDP inuse";
    /// Memory of UDP buffers, in pages; its limits are in net.ipv4.udp_mem.
    UDP_MEM: gauge "sockstat_UDP_mem_pages" in "{page}" from "UDP mem";
    /// Memory of UDP buffers.
    UDP_MEM_BYTES: gauge "sockstat_UDP_mem_bytes" in "By";
    /// UDP-Lite sockets over IPv4.
    UDPLITE_INUSE: gauge "sockstat_UDPLITE_inuse" in "{socket}" from "UDPLITE inuse";
    /// Raw sockets over IPv4.
    RAW_INUSE: gauge "sockstat_RAW_inuse" in "{socket}" from "RAW inuse";
    /// IPv4 packets with missing fragments.
    FRAG_INUSE: gauge "sockstat_FRAG_inuse" in "{packet}" from "FRAG inuse";
    /// Memory of fragments of IPv4 packets with missing fragments.
    FRAG_MEMORY: gauge "sockstat_FRAG_memory_bytes" in "By" from "FRAG memory";
    /// TCP sockets over IPv6 that are connected or listen.
    TCP6_INUSE: gauge "sockstat_TCP6_inuse" in "{socket}" from "TCP6 inuse";
    /// UDP sockets over IPv6.
    UDP6_INUSE: gauge "sockstat_UDP6_inuse" in "{socket}" from "UDP6 inuse";
    /// UDP-Lite sockets over IPv6.
    UDPLITE6_INUSE: gauge "sockstat_UDPLITE6_inuse" in "{socket}" from "UDPLITE6 inuse";
    /// Raw sockets over IPv6.
    RAW6_INUSE: gauge "sockstat_RAW6_inuse" in "{socket}" from "RAW6 inuse";
    /// IPv6 packets with missing fragments.
    FRAG6_INUSE: gauge "sockstat_FRAG6_inuse" in "{packet}" from "FRAG6 inuse";
    /// Memory of fragments of IPv6 packets with missing fragments.
    FRAG6_MEMORY: gauge "sockstat_FRAG6_memory_bytes" in "By" from "FRAG6 memory";
}

const PATH: &str = "/proc/1/net/sockstat";
const PATH6: &str = "/proc/1/net/sockstat6";

/// Sets the metrics of both files. `page_bytes` is the page size, if known.
pub(crate) fn set_metrics(sample: &mut Sample, page_bytes: Option<u64>, skipped: &mut Skipped) {
    let file = skipped.read(PATH, "sockstat");
    // Missing on hosts without IPv6.
    let file6 = skipped.keep(File::read_if_exists(PATH6), "sockstat6");
    let (has_ipv6, file6) = (!matches!(file6, Some(None)), file6.flatten());
    let mut seen = [false; METRICS.len()];
    let (mut alloc, mut in_use, mut in_use6, mut waiting) = (None, None, None, None);
    for line in [&file, &file6].into_iter().flatten().flat_map(File::lines) {
        let (protocol, mut values) = line.key_values();
        while let Some(name) = values.next() {
            let matches = |source: &str| source.split_once(' ') == Some((protocol, name));
            let at = METRICS.iter().position(|metric| matches(metric.source));
            let at = at.filter(|&at| !std::mem::replace(&mut seen[at], true));
            let number = values.number::<i64>(name);
            let Some(metric) = at.map(|at| METRICS[at]) else { continue };
            // The kernel sums values over CPUs while they change, so a value can be negative for a moment.
            let value = skipped.keep(number, metric.name).map(|value| COUNT.check(value).unwrap_or(0).unsigned_abs());
            let Some(value) = value else { continue };
            sample.set(metric, value);
            let bytes = page_bytes.map(|page| value.saturating_mul(page));
            match metric {
                TCP_ALLOC => alloc = Some(value),
                TCP_INUSE => in_use = Some(value),
                TCP6_INUSE => in_use6 = Some(value),
                TCP_TW => waiting = Some(value),
                TCP_MEM => sample.set(TCP_MEM_BYTES, bytes),
                UDP_MEM => sample.set(UDP_MEM_BYTES, bytes),
                _ => {}
            }
        }
    }
    // Each file that is there has a line of TCP, unless it is empty or cut.
    if !has_ipv6 {
        in_use6 = Some(0);
    } else if let (None, Some(file)) = (in_use6, file6) {
        skipped.lose(file.truncated("has no number of sockets in use for TCP6"), TCP_CLOSED.name);
    }
    // The formula of `ss`, which counts TIME_WAIT among the open sockets, although the kernel no longer does.
    let open = in_use.zip(in_use6).map(|(in_use, in_use6)| u64::saturating_add(in_use, in_use6));
    let closed = alloc.zip(open.zip(waiting));
    sample.set(
        TCP_CLOSED,
        closed.map(|(alloc, (open, waiting))| u64::saturating_sub(alloc, open.saturating_sub(waiting))),
    );
}
