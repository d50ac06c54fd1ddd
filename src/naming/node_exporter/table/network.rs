//! Protocols and sockets.

use super::super::super::row::{Pairs, Row, gauge, missing, untyped};

/// The number of the ICMP message, which is part of the name there.
const TYPE: Pairs = &[("type", "*")];
const RECEIVED: &str = "ICMP messages of this type that were received.";
const SENT: &str = "ICMP messages of this type that were sent.";

pub(super) const ROWS: &[Row] = &[
    untyped("node_netstat_Icmp6_InType*", "netstat.Icmp6_InType_total").select(TYPE).help(RECEIVED),
    untyped("node_netstat_Icmp6_OutType*", "netstat.Icmp6_OutType_total").select(TYPE).help(SENT),
    untyped("node_netstat_IcmpMsg_InType*", "netstat.IcmpMsg_InType_total").select(TYPE).help(RECEIVED),
    untyped("node_netstat_IcmpMsg_OutType*", "netstat.IcmpMsg_OutType_total").select(TYPE).help(SENT),
    untyped("node_netstat_Ip_DefaultTTL", "netstat.Ip_DefaultTTL"),
    untyped("node_netstat_Ip_Forwarding", "netstat.Ip_Forwarding"),
    untyped("node_netstat_MPTcpExt_MPCurrEstab", "netstat.MPTcpExt_MPCurrEstab"),
    untyped("node_netstat_Tcp_CurrEstab", "netstat.Tcp_CurrEstab"),
    untyped("node_netstat_Tcp_MaxConn", "netstat.Tcp_MaxConn"),
    untyped("node_netstat_Tcp_Rto*", "netstat.Tcp_Rto*"),
    untyped("node_netstat_*", "netstat.*_total").remark("all of them with `fields = {}`"),
    gauge("node_sockstat_sockets_used", "netstat.sockstat_sockets_used"),
    gauge("node_sockstat_TCP_mem", "netstat.sockstat_TCP_mem_pages"),
    gauge("node_sockstat_UDP_mem", "netstat.sockstat_UDP_mem_pages"),
    gauge("node_sockstat_TCP_mem_bytes", "netstat.sockstat_TCP_mem_bytes"),
    gauge("node_sockstat_UDP_mem_bytes", "netstat.sockstat_UDP_mem_bytes"),
    gauge("node_sockstat_FRAG_memory", "netstat.sockstat_FRAG_memory_bytes"),
    gauge("node_sockstat_FRAG6_memory", "netstat.sockstat_FRAG6_memory_bytes"),
    gauge("node_sockstat_TCP_alloc", "netstat.sockstat_TCP_alloc"),
    gauge("node_sockstat_TCP_orphan", "netstat.sockstat_TCP_orphan"),
    gauge("node_sockstat_TCP_tw", "netstat.sockstat_TCP_tw"),
    gauge("node_sockstat_*_inuse", "netstat.sockstat_*_inuse"),
    gauge("node_tcp_connection_states", "netstat.tcp_sockets").remark("with `tcp_states`; off by default there, too"),
    missing(
        "node_udp_queues",
        "not collected yet: needs a list of all sockets; `netstat.Udp_RcvbufErrors_total` counts losses",
    ),
    missing("node_arp_entries", "not collected yet: needs a list of all neighbours"),
];
