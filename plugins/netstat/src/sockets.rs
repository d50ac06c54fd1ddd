//! How many sockets there are: `/proc/net/sockstat` and `/proc/net/sockstat6`, each line a protocol, then names and values
//! in turn.

use gauged_plugin::Sample;
use gauged_plugin::kernel::{self, File};

gauged_plugin::metrics! {
    module "netstat";
    /// Sockets of whatever kind that processes have open.
    USED: gauge "sockstat_sockets_used" in "{socket}" from "sockets used";
    /// TCP sockets over IPv4 that are connected or listen.
    TCP_INUSE: gauge "sockstat_TCP_inuse" in "{socket}" from "TCP inuse";
    /// TCP connections that no process has open any more and that are not over yet.
    TCP_ORPHAN: gauge "sockstat_TCP_orphan" in "{socket}" from "TCP orphan";
    /// TCP connections in TIME_WAIT: over, and remembered for a minute.
    TCP_TW: gauge "sockstat_TCP_tw" in "{socket}" from "TCP tw";
    /// TCP sockets for which the kernel has memory, in whatever state, over either version of IP.
    TCP_ALLOC: gauge "sockstat_TCP_alloc" in "{socket}" from "TCP alloc";
    /// TCP sockets that are neither connected nor listen, and connections in TIME_WAIT: `closed` of `ss -s`.
    TCP_CLOSED: gauge "sockstat_TCP_closed" in "{socket}";
    /// Pages of memory that buffers of TCP take; the limits are those of net.ipv4.tcp_mem.
    TCP_MEM: gauge "sockstat_TCP_mem_pages" in "{page}" from "TCP mem";
    /// Bytes of memory that buffers of TCP take.
    TCP_MEM_BYTES: gauge "sockstat_TCP_mem_bytes" in "By";
    /// UDP sockets over IPv4.
    UDP_INUSE: gauge "sockstat_UDP_inuse" in "{socket}" from "UDP inuse";
    /// Pages of memory that buffers of UDP take; the limits are those of net.ipv4.udp_mem.
    UDP_MEM: gauge "sockstat_UDP_mem_pages" in "{page}" from "UDP mem";
    /// Bytes of memory that buffers of UDP take.
    UDP_MEM_BYTES: gauge "sockstat_UDP_mem_bytes" in "By";
    /// UDP-Lite sockets over IPv4.
    UDPLITE_INUSE: gauge "sockstat_UDPLITE_inuse" in "{socket}" from "UDPLITE inuse";
    /// Raw sockets over IPv4.
    RAW_INUSE: gauge "sockstat_RAW_inuse" in "{socket}" from "RAW inuse";
    /// IPv4 packets of which fragments are missing.
    FRAG_INUSE: gauge "sockstat_FRAG_inuse" in "{packet}" from "FRAG inuse";
    /// Bytes of memory that fragments of IPv4 packets take while others are missing.
    FRAG_MEMORY: gauge "sockstat_FRAG_memory_bytes" in "By" from "FRAG memory";
    /// TCP sockets over IPv6 that are connected or listen.
    TCP6_INUSE: gauge "sockstat_TCP6_inuse" in "{socket}" from "TCP6 inuse";
    /// UDP sockets over IPv6.
    UDP6_INUSE: gauge "sockstat_UDP6_inuse" in "{socket}" from "UDP6 inuse";
    /// UDP-Lite sockets over IPv6.
    UDPLITE6_INUSE: gauge "sockstat_UDPLITE6_inuse" in "{socket}" from "UDPLITE6 inuse";
    /// Raw sockets over IPv6.
    RAW6_INUSE: gauge "sockstat_RAW6_inuse" in "{socket}" from "RAW6 inuse";
    /// IPv6 packets of which fragments are missing.
    FRAG6_INUSE: gauge "sockstat_FRAG6_inuse" in "{packet}" from "FRAG6 inuse";
    /// Bytes of memory that fragments of IPv6 packets take while others are missing.
    FRAG6_MEMORY: gauge "sockstat_FRAG6_memory_bytes" in "By" from "FRAG6 memory";
}

/// Sets what both files tell. `page_bytes` is the size of a page, where it is known.
pub(crate) fn measured(
    sample: &mut Sample,
    file: &File,
    file6: Option<&File>,
    page_bytes: Option<u64>,
) -> Result<(), kernel::Error> {
    let (mut alloc, mut open, mut over) = (None, 0, 0);
    for line in file.lines().chain(file6.into_iter().flat_map(File::lines)) {
        let (protocol, mut values) = line.keyed();
        while let Some(name) = values.next() {
            // The kernel adds up what each CPU has counted while it goes on counting: less than nothing is nothing.
            let value = u64::try_from(values.number::<i64>(name)?).unwrap_or(0);
            let is_it = |source: &str| source.split_once(' ') == Some((protocol, name));
            let Some(metric) = METRICS.iter().find(|metric| is_it(metric.source)) else { continue };
            sample.set(*metric, value);
            let bytes = page_bytes.map(|page| value.saturating_mul(page));
            match *metric {
                TCP_ALLOC => alloc = Some(value),
                TCP_INUSE | TCP6_INUSE => open += value,
                TCP_TW => over = value,
                TCP_MEM => sample.set(TCP_MEM_BYTES, bytes),
                UDP_MEM => sample.set(UDP_MEM_BYTES, bytes),
                _ => {}
            }
        }
    }
    // By the formula of `ss`, which takes those in TIME_WAIT for open ones; the kernel has ceased to count them so.
    sample.set(TCP_CLOSED, alloc.map(|alloc: u64| alloc.saturating_sub(open.saturating_sub(over))));
    Ok(())
}
