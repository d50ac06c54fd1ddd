//! The fields of TCP, UDP and UDP-Lite, each group in the kernel's order. TCP is counted for both versions of IP together,
//! UDP for each. Constants of TCP, such as its shortest timeout, come last.

gauged_plugin::metrics! {
    module "netstat" since boot;
    /// Connections that the host began.
    TCP_ACTIVE_OPENS: counter "Tcp_ActiveOpens_total" in "{connection}";
    /// Connections that others began to a listener of the host.
    TCP_PASSIVE_OPENS: counter "Tcp_PassiveOpens_total" in "{connection}";
    /// Connections that failed before they were established: refused, reset, or without a response.
    TCP_ATTEMPT_FAILS: counter "Tcp_AttemptFails_total" in "{connection}";
    /// Connections that were reset after they had been established.
    TCP_ESTAB_RESETS: counter "Tcp_EstabResets_total" in "{connection}";
    /// Connections that are established now, including those that the peer has closed.
    TCP_CURR_ESTAB: gauge "Tcp_CurrEstab" in "{connection}";
    /// Segments received, including those with errors.
    TCP_IN_SEGS: counter "Tcp_InSegs_total" in "{segment}";
    /// Segments sent, retransmitted ones not included.
    TCP_OUT_SEGS: counter "Tcp_OutSegs_total" in "{segment}";
    /// Segments retransmitted: the network loses or delays packets; compare with segments sent.
    TCP_RETRANS_SEGS: counter "Tcp_RetransSegs_total" in "{segment}";
    /// Segments dropped because of errors.
    TCP_IN_ERRS: counter "Tcp_InErrs_total" in "{segment}";
    /// Segments sent that reset a connection or refuse one.
    TCP_OUT_RSTS: counter "Tcp_OutRsts_total" in "{segment}";
    /// Segments dropped because of a wrong checksum.
    TCP_IN_CSUM_ERRORS: counter "Tcp_InCsumErrors_total" in "{segment}";
    /// UDP datagrams over IPv4 delivered to processes.
    UDP_IN_DATAGRAMS: counter "Udp_InDatagrams_total" in "{datagram}";
    /// UDP datagrams over IPv4 dropped because their port has no listener.
    UDP_NO_PORTS: counter "Udp_NoPorts_total" in "{datagram}";
    /// UDP datagrams over IPv4 dropped for another reason: a full receive buffer, a wrong checksum.
    UDP_IN_ERRORS: counter "Udp_InErrors_total" in "{datagram}";
    /// UDP datagrams over IPv4 sent.
    UDP_OUT_DATAGRAMS: counter "Udp_OutDatagrams_total" in "{datagram}";
    /// UDP datagrams over IPv4 dropped because a receive buffer was full: a process does not read fast enough.
    UDP_RCVBUF_ERRORS: counter "Udp_RcvbufErrors_total" in "{datagram}";
    /// UDP datagrams over IPv4 not sent because a send buffer was full.
    UDP_SNDBUF_ERRORS: counter "Udp_SndbufErrors_total" in "{datagram}";
    /// UDP datagrams over IPv4 dropped because of a wrong checksum.
    UDP_IN_CSUM_ERRORS: counter "Udp_InCsumErrors_total" in "{datagram}";
    /// UDP multicast datagrams over IPv4 dropped because no process has joined their group.
    UDP_IGNORED_MULTI: counter "Udp_IgnoredMulti_total" in "{datagram}";
    /// UDP datagrams over IPv4 dropped because all of the protocol was over its limit of memory.
    UDP_MEM_ERRORS: counter "Udp_MemErrors_total" in "{datagram}";
    /// UDP-Lite datagrams over IPv4 delivered to processes.
    UDP_LITE_IN_DATAGRAMS: counter "UdpLite_InDatagrams_total" in "{datagram}";
    /// UDP-Lite datagrams over IPv4 dropped because their port has no listener.
    UDP_LITE_NO_PORTS: counter "UdpLite_NoPorts_total" in "{datagram}";
    /// UDP-Lite datagrams over IPv4 dropped for another reason: a full receive buffer, a wrong checksum.
    UDP_LITE_IN_ERRORS: counter "UdpLite_InErrors_total" in "{datagram}";
    /// UDP-Lite datagrams over IPv4 sent.
    UDP_LITE_OUT_DATAGRAMS: counter "UdpLite_OutDatagrams_total" in "{datagram}";
    /// UDP-Lite datagrams over IPv4 dropped because a receive buffer was full: a process does not read fast enough.
    UDP_LITE_RCVBUF_ERRORS: counter "UdpLite_RcvbufErrors_total" in "{datagram}";
    /// UDP-Lite datagrams over IPv4 not sent because a send buffer was full.
    UDP_LITE_SNDBUF_ERRORS: counter "UdpLite_SndbufErrors_total" in "{datagram}";
    /// UDP-Lite datagrams over IPv4 dropped because of a wrong checksum.
    UDP_LITE_IN_CSUM_ERRORS: counter "UdpLite_InCsumErrors_total" in "{datagram}";
    /// UDP-Lite multicast datagrams over IPv4 dropped because no process has joined their group.
    UDP_LITE_IGNORED_MULTI: counter "UdpLite_IgnoredMulti_total" in "{datagram}";
    /// UDP-Lite datagrams over IPv4 dropped because all of the protocol was over its limit of memory.
    UDP_LITE_MEM_ERRORS: counter "UdpLite_MemErrors_total" in "{datagram}";
    /// UDP datagrams over IPv6 delivered to processes.
    UDP6_IN_DATAGRAMS: counter "Udp6_InDatagrams_total" in "{datagram}";
    /// UDP datagrams over IPv6 dropped because their port has no listener.
    UDP6_NO_PORTS: counter "Udp6_NoPorts_total" in "{datagram}";
    /// UDP datagrams over IPv6 dropped for another reason: a full receive buffer, a wrong checksum.
    UDP6_IN_ERRORS: counter "Udp6_InErrors_total" in "{datagram}";
    /// UDP datagrams over IPv6 sent.
    UDP6_OUT_DATAGRAMS: counter "Udp6_OutDatagrams_total" in "{datagram}";
    /// UDP datagrams over IPv6 dropped because a receive buffer was full: a process does not read fast enough.
    UDP6_RCVBUF_ERRORS: counter "Udp6_RcvbufErrors_total" in "{datagram}";
    /// UDP datagrams over IPv6 not sent because a send buffer was full.
    UDP6_SNDBUF_ERRORS: counter "Udp6_SndbufErrors_total" in "{datagram}";
    /// UDP datagrams over IPv6 dropped because of a wrong checksum.
    UDP6_IN_CSUM_ERRORS: counter "Udp6_InCsumErrors_total" in "{datagram}";
    /// UDP multicast datagrams over IPv6 dropped because no process has joined their group.
    UDP6_IGNORED_MULTI: counter "Udp6_IgnoredMulti_total" in "{datagram}";
    /// UDP datagrams over IPv6 dropped because all of the protocol was over its limit of memory.
    UDP6_MEM_ERRORS: counter "Udp6_MemErrors_total" in "{datagram}";
    /// UDP-Lite datagrams over IPv6 delivered to processes.
    UDP_LITE6_IN_DATAGRAMS: counter "UdpLite6_InDatagrams_total" in "{datagram}";
    /// UDP-Lite datagrams over IPv6 dropped because their port has no listener.
    UDP_LITE6_NO_PORTS: counter "UdpLite6_NoPorts_total" in "{datagram}";
    /// UDP-Lite datagrams over IPv6 dropped for another reason: a full receive buffer, a wrong checksum.
    UDP_LITE6_IN_ERRORS: counter "UdpLite6_InErrors_total" in "{datagram}";
    /// UDP-Lite datagrams over IPv6 sent.
    UDP_LITE6_OUT_DATAGRAMS: counter "UdpLite6_OutDatagrams_total" in "{datagram}";
    /// UDP-Lite datagrams over IPv6 dropped because a receive buffer was full: a process does not read fast enough.
    UDP_LITE6_RCVBUF_ERRORS: counter "UdpLite6_RcvbufErrors_total" in "{datagram}";
    /// UDP-Lite datagrams over IPv6 not sent because a send buffer was full.
    UDP_LITE6_SNDBUF_ERRORS: counter "UdpLite6_SndbufErrors_total" in "{datagram}";
    /// UDP-Lite datagrams over IPv6 dropped because of a wrong checksum.
    UDP_LITE6_IN_CSUM_ERRORS: counter "UdpLite6_InCsumErrors_total" in "{datagram}";
    /// UDP-Lite datagrams over IPv6 dropped because all of the protocol was over its limit of memory.
    UDP_LITE6_MEM_ERRORS: counter "UdpLite6_MemErrors_total" in "{datagram}";
    /// The algorithm of TCP's retransmission timeout: 1 for others than those of RFC 4022.
    TCP_RTO_ALGORITHM: gauge "Tcp_RtoAlgorithm" in "1";
    /// The shortest retransmission timeout of TCP.
    TCP_RTO_MIN: gauge "Tcp_RtoMin" in "ms";
    /// The longest retransmission timeout of TCP.
    TCP_RTO_MAX: gauge "Tcp_RtoMax" in "ms";
    /// The limit of TCP connections; -1 without a fixed one, as in Linux.
    TCP_MAX_CONN: gauge "Tcp_MaxConn" in "{connection}";
}
