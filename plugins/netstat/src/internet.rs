//! The fields of IP and ICMP, both versions, each group in the kernel's order; first those that show a network's health,
//! then the other types of ICMP messages.

gauged_plugin::metrics! {
    module "netstat" since boot;
    /// Whether packets for others are forwarded: 1 if so, 2 if not.
    IP_FORWARDING: gauge "Ip_Forwarding" in "1";
    /// The time to live of packets that are sent.
    IP_DEFAULT_TTL: gauge "Ip_DefaultTTL" in "1";
    /// IPv4 packets received, including those with errors.
    IP_IN_RECEIVES: counter "Ip_InReceives_total" in "{packet}";
    /// IPv4 packets dropped because of an invalid header.
    IP_IN_HDR_ERRORS: counter "Ip_InHdrErrors_total" in "{packet}";
    /// IPv4 packets dropped because their address was not one of the host's.
    IP_IN_ADDR_ERRORS: counter "Ip_InAddrErrors_total" in "{packet}";
    /// IPv4 packets forwarded.
    IP_FORW_DATAGRAMS: counter "Ip_ForwDatagrams_total" in "{packet}";
    /// IPv4 packets dropped because the host does not support their protocol.
    IP_IN_UNKNOWN_PROTOS: counter "Ip_InUnknownProtos_total" in "{packet}";
    /// Intact incoming IPv4 packets dropped for lack of memory.
    IP_IN_DISCARDS: counter "Ip_InDiscards_total" in "{packet}";
    /// IPv4 packets delivered to a protocol of the host.
    IP_IN_DELIVERS: counter "Ip_InDelivers_total" in "{packet}";
    /// IPv4 packets that the host's protocols sent.
    IP_OUT_REQUESTS: counter "Ip_OutRequests_total" in "{packet}";
    /// Intact outgoing IPv4 packets dropped for lack of memory.
    IP_OUT_DISCARDS: counter "Ip_OutDiscards_total" in "{packet}";
    /// IPv4 packets dropped because there was no route to their address.
    IP_OUT_NO_ROUTES: counter "Ip_OutNoRoutes_total" in "{packet}";
    /// IPv4 packets given up because fragments of them did not come in time.
    IP_REASM_TIMEOUT: counter "Ip_ReasmTimeout_total" in "{event}";
    /// IPv4 fragments received that had to be put together.
    IP_REASM_REQDS: counter "Ip_ReasmReqds_total" in "{fragment}";
    /// IPv4 packets put together from fragments.
    IP_REASM_OKS: counter "Ip_ReasmOKs_total" in "{packet}";
    /// Failures to put IPv4 packets together from fragments: lost, late, or too many for the memory.
    IP_REASM_FAILS: counter "Ip_ReasmFails_total" in "{event}";
    /// IPv4 packets split into fragments.
    IP_FRAG_OKS: counter "Ip_FragOKs_total" in "{packet}";
    /// IPv4 packets dropped because they were too large and must not be split.
    IP_FRAG_FAILS: counter "Ip_FragFails_total" in "{packet}";
    /// IPv4 fragments made.
    IP_FRAG_CREATES: counter "Ip_FragCreates_total" in "{fragment}";
    /// IPv4 packets handed to devices, including forwarded ones.
    IP_OUT_TRANSMITS: counter "Ip_OutTransmits_total" in "{packet}";
    /// ICMP messages received, including those with errors.
    ICMP_IN_MSGS: counter "Icmp_InMsgs_total" in "{message}";
    /// ICMP messages received that were wrong, or could not be acted upon.
    ICMP_IN_ERRORS: counter "Icmp_InErrors_total" in "{message}";
    /// ICMP messages dropped because of a wrong checksum.
    ICMP_IN_CSUM_ERRORS: counter "Icmp_InCsumErrors_total" in "{message}";
    /// ICMP messages received about undeliverable packets.
    ICMP_IN_DEST_UNREACHS: counter "Icmp_InDestUnreachs_total" in "{message}";
    /// ICMP messages received about expired packets.
    ICMP_IN_TIME_EXCDS: counter "Icmp_InTimeExcds_total" in "{message}";
    /// ICMP messages received that name a better router.
    ICMP_IN_REDIRECTS: counter "Icmp_InRedirects_total" in "{message}";
    /// ICMP echo requests received (pings).
    ICMP_IN_ECHOS: counter "Icmp_InEchos_total" in "{message}";
    /// ICMP echo replies received.
    ICMP_IN_ECHO_REPS: counter "Icmp_InEchoReps_total" in "{message}";
    /// ICMP messages sent, including failed ones.
    ICMP_OUT_MSGS: counter "Icmp_OutMsgs_total" in "{message}";
    /// ICMP messages that could not be sent.
    ICMP_OUT_ERRORS: counter "Icmp_OutErrors_total" in "{message}";
    /// ICMP messages not sent because the host sends too many.
    ICMP_OUT_RATE_LIMIT_GLOBAL: counter "Icmp_OutRateLimitGlobal_total" in "{message}";
    /// ICMP messages not sent because the host sends too many to one peer.
    ICMP_OUT_RATE_LIMIT_HOST: counter "Icmp_OutRateLimitHost_total" in "{message}";
    /// ICMP messages sent about undeliverable packets.
    ICMP_OUT_DEST_UNREACHS: counter "Icmp_OutDestUnreachs_total" in "{message}";
    /// ICMP messages sent about expired packets.
    ICMP_OUT_TIME_EXCDS: counter "Icmp_OutTimeExcds_total" in "{message}";
    /// ICMP messages sent that name a better router.
    ICMP_OUT_REDIRECTS: counter "Icmp_OutRedirects_total" in "{message}";
    /// ICMP echo requests sent (pings).
    ICMP_OUT_ECHOS: counter "Icmp_OutEchos_total" in "{message}";
    /// ICMP echo replies sent.
    ICMP_OUT_ECHO_REPS: counter "Icmp_OutEchoReps_total" in "{message}";
    /// IPv4 packets dropped on their way in because there was no route for them.
    IP_EXT_IN_NO_ROUTES: counter "IpExt_InNoRoutes_total" in "{packet}";
    /// IPv4 packets dropped because they were shorter than their header says.
    IP_EXT_IN_TRUNCATED_PKTS: counter "IpExt_InTruncatedPkts_total" in "{packet}";
    /// IPv4 multicast packets received.
    IP_EXT_IN_MCAST_PKTS: counter "IpExt_InMcastPkts_total" in "{packet}";
    /// IPv4 multicast packets sent.
    IP_EXT_OUT_MCAST_PKTS: counter "IpExt_OutMcastPkts_total" in "{packet}";
    /// IPv4 broadcast packets received.
    IP_EXT_IN_BCAST_PKTS: counter "IpExt_InBcastPkts_total" in "{packet}";
    /// IPv4 broadcast packets sent.
    IP_EXT_OUT_BCAST_PKTS: counter "IpExt_OutBcastPkts_total" in "{packet}";
    /// Bytes of IPv4 packets received, including headers.
    IP_EXT_IN_OCTETS: counter "IpExt_InOctets_total" in "By";
    /// Bytes of IPv4 packets sent, including headers.
    IP_EXT_OUT_OCTETS: counter "IpExt_OutOctets_total" in "By";
    /// Bytes of IPv4 multicast packets received.
    IP_EXT_IN_MCAST_OCTETS: counter "IpExt_InMcastOctets_total" in "By";
    /// Bytes of IPv4 multicast packets sent.
    IP_EXT_OUT_MCAST_OCTETS: counter "IpExt_OutMcastOctets_total" in "By";
    /// Bytes of IPv4 broadcast packets received.
    IP_EXT_IN_BCAST_OCTETS: counter "IpExt_InBcastOctets_total" in "By";
    /// Bytes of IPv4 broadcast packets sent.
    IP_EXT_OUT_BCAST_OCTETS: counter "IpExt_OutBcastOctets_total" in "By";
    /// IPv4 packets dropped because of a wrong checksum.
    IP_EXT_IN_CSUM_ERRORS: counter "IpExt_InCsumErrors_total" in "{packet}";
    /// IPv4 packets received from senders without congestion notification (ECN).
    IP_EXT_IN_NO_ECT_PKTS: counter "IpExt_InNoECTPkts_total" in "{packet}";
    /// IPv4 packets received from senders with congestion notification, code point ECT(1).
    IP_EXT_IN_ECT1_PKTS: counter "IpExt_InECT1Pkts_total" in "{packet}";
    /// IPv4 packets received from senders with congestion notification, code point ECT(0).
    IP_EXT_IN_ECT0_PKTS: counter "IpExt_InECT0Pkts_total" in "{packet}";
    /// IPv4 packets received with a congestion mark of a router.
    IP_EXT_IN_CE_PKTS: counter "IpExt_InCEPkts_total" in "{packet}";
    /// IPv4 packets given up because fragments of them overlapped.
    IP_EXT_REASM_OVERLAPS: counter "IpExt_ReasmOverlaps_total" in "{event}";
    /// IPv6 packets received, including those with errors.
    IP6_IN_RECEIVES: counter "Ip6_InReceives_total" in "{packet}";
    /// IPv6 packets dropped because of an invalid header.
    IP6_IN_HDR_ERRORS: counter "Ip6_InHdrErrors_total" in "{packet}";
    /// IPv6 packets dropped because they were too large for the network that they were to be forwarded to.
    IP6_IN_TOO_BIG_ERRORS: counter "Ip6_InTooBigErrors_total" in "{packet}";
    /// IPv6 packets dropped on their way in because there was no route for them.
    IP6_IN_NO_ROUTES: counter "Ip6_InNoRoutes_total" in "{packet}";
    /// IPv6 packets dropped because their address was not one of the host's.
    IP6_IN_ADDR_ERRORS: counter "Ip6_InAddrErrors_total" in "{packet}";
    /// IPv6 packets dropped because the host does not support their protocol.
    IP6_IN_UNKNOWN_PROTOS: counter "Ip6_InUnknownProtos_total" in "{packet}";
    /// IPv6 packets dropped because they were shorter than their header says.
    IP6_IN_TRUNCATED_PKTS: counter "Ip6_InTruncatedPkts_total" in "{packet}";
    /// Intact incoming IPv6 packets dropped for lack of memory.
    IP6_IN_DISCARDS: counter "Ip6_InDiscards_total" in "{packet}";
    /// IPv6 packets delivered to a protocol of the host.
    IP6_IN_DELIVERS: counter "Ip6_InDelivers_total" in "{packet}";
    /// IPv6 packets forwarded.
    IP6_OUT_FORW_DATAGRAMS: counter "Ip6_OutForwDatagrams_total" in "{packet}";
    /// IPv6 packets that the host's protocols sent.
    IP6_OUT_REQUESTS: counter "Ip6_OutRequests_total" in "{packet}";
    /// Intact outgoing IPv6 packets dropped for lack of memory.
    IP6_OUT_DISCARDS: counter "Ip6_OutDiscards_total" in "{packet}";
    /// IPv6 packets dropped because there was no route to their address.
    IP6_OUT_NO_ROUTES: counter "Ip6_OutNoRoutes_total" in "{packet}";
    /// IPv6 packets given up because fragments of them did not come in time.
    IP6_REASM_TIMEOUT: counter "Ip6_ReasmTimeout_total" in "{event}";
    /// IPv6 fragments received that had to be put together.
    IP6_REASM_REQDS: counter "Ip6_ReasmReqds_total" in "{fragment}";
    /// IPv6 packets put together from fragments.
    IP6_REASM_OKS: counter "Ip6_ReasmOKs_total" in "{packet}";
    /// Failures to put IPv6 packets together from fragments: lost, late, or too many for the memory.
    IP6_REASM_FAILS: counter "Ip6_ReasmFails_total" in "{event}";
    /// IPv6 packets split into fragments.
    IP6_FRAG_OKS: counter "Ip6_FragOKs_total" in "{packet}";
    /// IPv6 packets dropped because they were too large and must not be split.
    IP6_FRAG_FAILS: counter "Ip6_FragFails_total" in "{packet}";
    /// IPv6 fragments made.
    IP6_FRAG_CREATES: counter "Ip6_FragCreates_total" in "{fragment}";
    /// IPv6 multicast packets received.
    IP6_IN_MCAST_PKTS: counter "Ip6_InMcastPkts_total" in "{packet}";
    /// IPv6 multicast packets sent.
    IP6_OUT_MCAST_PKTS: counter "Ip6_OutMcastPkts_total" in "{packet}";
    /// Bytes of IPv6 packets received, including headers.
    IP6_IN_OCTETS: counter "Ip6_InOctets_total" in "By";
    /// Bytes of IPv6 packets sent, including headers.
    IP6_OUT_OCTETS: counter "Ip6_OutOctets_total" in "By";
    /// Bytes of IPv6 multicast packets received.
    IP6_IN_MCAST_OCTETS: counter "Ip6_InMcastOctets_total" in "By";
    /// Bytes of IPv6 multicast packets sent.
    IP6_OUT_MCAST_OCTETS: counter "Ip6_OutMcastOctets_total" in "By";
    /// Bytes of IPv6 broadcast packets received: none, since there are no broadcasts in IPv6.
    IP6_IN_BCAST_OCTETS: counter "Ip6_InBcastOctets_total" in "By";
    /// Bytes of IPv6 broadcast packets sent: none, since there are no broadcasts in IPv6.
    IP6_OUT_BCAST_OCTETS: counter "Ip6_OutBcastOctets_total" in "By";
    /// IPv6 packets received from senders without congestion notification (ECN).
    IP6_IN_NO_ECT_PKTS: counter "Ip6_InNoECTPkts_total" in "{packet}";
    /// IPv6 packets received from senders with congestion notification, code point ECT(1).
    IP6_IN_ECT1_PKTS: counter "Ip6_InECT1Pkts_total" in "{packet}";
    /// IPv6 packets received from senders with congestion notification, code point ECT(0).
    IP6_IN_ECT0_PKTS: counter "Ip6_InECT0Pkts_total" in "{packet}";
    /// IPv6 packets received with a congestion mark of a router.
    IP6_IN_CE_PKTS: counter "Ip6_InCEPkts_total" in "{packet}";
    /// IPv6 packets handed to devices, including forwarded ones.
    IP6_OUT_TRANSMITS: counter "Ip6_OutTransmits_total" in "{packet}";
    /// ICMPv6 messages received, including those with errors.
    ICMP6_IN_MSGS: counter "Icmp6_InMsgs_total" in "{message}";
    /// ICMPv6 messages received that were wrong, or could not be acted upon.
    ICMP6_IN_ERRORS: counter "Icmp6_InErrors_total" in "{message}";
    /// ICMPv6 messages dropped because of a wrong checksum.
    ICMP6_IN_CSUM_ERRORS: counter "Icmp6_InCsumErrors_total" in "{message}";
    /// ICMPv6 messages received about undeliverable packets.
    ICMP6_IN_DEST_UNREACHS: counter "Icmp6_InDestUnreachs_total" in "{message}";
    /// ICMPv6 messages received about packets too large for a network on the path.
    ICMP6_IN_PKT_TOO_BIGS: counter "Icmp6_InPktTooBigs_total" in "{message}";
    /// ICMPv6 messages received about expired packets.
    ICMP6_IN_TIME_EXCDS: counter "Icmp6_InTimeExcds_total" in "{message}";
    /// ICMPv6 messages received that name a better router.
    ICMP6_IN_REDIRECTS: counter "Icmp6_InRedirects_total" in "{message}";
    /// ICMPv6 echo requests received (pings).
    ICMP6_IN_ECHOS: counter "Icmp6_InEchos_total" in "{message}";
    /// ICMPv6 echo replies received.
    ICMP6_IN_ECHO_REPLIES: counter "Icmp6_InEchoReplies_total" in "{message}";
    /// ICMPv6 messages sent, including failed ones.
    ICMP6_OUT_MSGS: counter "Icmp6_OutMsgs_total" in "{message}";
    /// ICMPv6 messages that could not be sent.
    ICMP6_OUT_ERRORS: counter "Icmp6_OutErrors_total" in "{message}";
    /// ICMPv6 messages not sent because the host sends too many to one peer.
    ICMP6_OUT_RATE_LIMIT_HOST: counter "Icmp6_OutRateLimitHost_total" in "{message}";
    /// ICMPv6 messages sent about undeliverable packets.
    ICMP6_OUT_DEST_UNREACHS: counter "Icmp6_OutDestUnreachs_total" in "{message}";
    /// ICMPv6 messages sent about packets too large to be forwarded.
    ICMP6_OUT_PKT_TOO_BIGS: counter "Icmp6_OutPktTooBigs_total" in "{message}";
    /// ICMPv6 messages sent about expired packets.
    ICMP6_OUT_TIME_EXCDS: counter "Icmp6_OutTimeExcds_total" in "{message}";
    /// ICMPv6 messages sent that name a better router.
    ICMP6_OUT_REDIRECTS: counter "Icmp6_OutRedirects_total" in "{message}";
    /// ICMPv6 echo requests sent (pings).
    ICMP6_OUT_ECHOS: counter "Icmp6_OutEchos_total" in "{message}";
    /// ICMPv6 echo replies sent.
    ICMP6_OUT_ECHO_REPLIES: counter "Icmp6_OutEchoReplies_total" in "{message}";
    /// ICMP messages received about wrong headers.
    ICMP_IN_PARM_PROBS: counter "Icmp_InParmProbs_total" in "{message}";
    /// ICMP messages received that ask to send more slowly.
    ICMP_IN_SRC_QUENCHS: counter "Icmp_InSrcQuenchs_total" in "{message}";
    /// ICMP messages received that ask for the time.
    ICMP_IN_TIMESTAMPS: counter "Icmp_InTimestamps_total" in "{message}";
    /// ICMP messages received that reply with the time.
    ICMP_IN_TIMESTAMP_REPS: counter "Icmp_InTimestampReps_total" in "{message}";
    /// ICMP messages received that ask for the address mask.
    ICMP_IN_ADDR_MASKS: counter "Icmp_InAddrMasks_total" in "{message}";
    /// ICMP messages received that reply with the address mask.
    ICMP_IN_ADDR_MASK_REPS: counter "Icmp_InAddrMaskReps_total" in "{message}";
    /// ICMP messages sent about wrong headers.
    ICMP_OUT_PARM_PROBS: counter "Icmp_OutParmProbs_total" in "{message}";
    /// ICMP messages sent that ask to send more slowly.
    ICMP_OUT_SRC_QUENCHS: counter "Icmp_OutSrcQuenchs_total" in "{message}";
    /// ICMP messages sent that ask for the time.
    ICMP_OUT_TIMESTAMPS: counter "Icmp_OutTimestamps_total" in "{message}";
    /// ICMP messages sent that reply with the time.
    ICMP_OUT_TIMESTAMP_REPS: counter "Icmp_OutTimestampReps_total" in "{message}";
    /// ICMP messages sent that ask for the address mask.
    ICMP_OUT_ADDR_MASKS: counter "Icmp_OutAddrMasks_total" in "{message}";
    /// ICMP messages sent that reply with the address mask.
    ICMP_OUT_ADDR_MASK_REPS: counter "Icmp_OutAddrMaskReps_total" in "{message}";
    /// ICMP messages received, by `type` of RFC 792.
    ICMP_MSG_IN_TYPE: counter "IcmpMsg_InType_total" in "{message}" by {"type": "Number of the type of message"};
    /// ICMP messages sent, by `type` of RFC 792.
    ICMP_MSG_OUT_TYPE: counter "IcmpMsg_OutType_total" in "{message}" by {"type": "Number of the type of message"};
    /// ICMPv6 messages received about wrong headers.
    ICMP6_IN_PARM_PROBLEMS: counter "Icmp6_InParmProblems_total" in "{message}";
    /// ICMPv6 messages received that ask for members of multicast groups.
    ICMP6_IN_GROUP_MEMB_QUERIES: counter "Icmp6_InGroupMembQueries_total" in "{message}";
    /// ICMPv6 messages received that report members of multicast groups.
    ICMP6_IN_GROUP_MEMB_RESPONSES: counter "Icmp6_InGroupMembResponses_total" in "{message}";
    /// ICMPv6 messages received that report a member leaving a multicast group.
    ICMP6_IN_GROUP_MEMB_REDUCTIONS: counter "Icmp6_InGroupMembReductions_total" in "{message}";
    /// ICMPv6 messages received that ask for routers.
    ICMP6_IN_ROUTER_SOLICITS: counter "Icmp6_InRouterSolicits_total" in "{message}";
    /// ICMPv6 messages received that announce a router.
    ICMP6_IN_ROUTER_ADVERTISEMENTS: counter "Icmp6_InRouterAdvertisements_total" in "{message}";
    /// ICMPv6 messages received that ask for a neighbour, as ARP does in IPv4.
    ICMP6_IN_NEIGHBOR_SOLICITS: counter "Icmp6_InNeighborSolicits_total" in "{message}";
    /// ICMPv6 messages received that announce a neighbour, as replies of ARP do in IPv4.
    ICMP6_IN_NEIGHBOR_ADVERTISEMENTS: counter "Icmp6_InNeighborAdvertisements_total" in "{message}";
    /// ICMPv6 messages received that report members of multicast groups, version 2.
    ICMP6_IN_MLDV2_REPORTS: counter "Icmp6_InMLDv2Reports_total" in "{message}";
    /// ICMPv6 messages sent about wrong headers.
    ICMP6_OUT_PARM_PROBLEMS: counter "Icmp6_OutParmProblems_total" in "{message}";
    /// ICMPv6 messages sent that ask for members of multicast groups.
    ICMP6_OUT_GROUP_MEMB_QUERIES: counter "Icmp6_OutGroupMembQueries_total" in "{message}";
    /// ICMPv6 messages sent that report members of multicast groups.
    ICMP6_OUT_GROUP_MEMB_RESPONSES: counter "Icmp6_OutGroupMembResponses_total" in "{message}";
    /// ICMPv6 messages sent that report a member leaving a multicast group.
    ICMP6_OUT_GROUP_MEMB_REDUCTIONS: counter "Icmp6_OutGroupMembReductions_total" in "{message}";
    /// ICMPv6 messages sent that ask for routers.
    ICMP6_OUT_ROUTER_SOLICITS: counter "Icmp6_OutRouterSolicits_total" in "{message}";
    /// ICMPv6 messages sent that announce a router.
    ICMP6_OUT_ROUTER_ADVERTISEMENTS: counter "Icmp6_OutRouterAdvertisements_total" in "{message}";
    /// ICMPv6 messages sent that ask for a neighbour, as ARP does in IPv4.
    ICMP6_OUT_NEIGHBOR_SOLICITS: counter "Icmp6_OutNeighborSolicits_total" in "{message}";
    /// ICMPv6 messages sent that announce a neighbour, as replies of ARP do in IPv4.
    ICMP6_OUT_NEIGHBOR_ADVERTISEMENTS: counter "Icmp6_OutNeighborAdvertisements_total" in "{message}";
    /// ICMPv6 messages sent that report members of multicast groups, version 2.
    ICMP6_OUT_MLDV2_REPORTS: counter "Icmp6_OutMLDv2Reports_total" in "{message}";
    /// ICMPv6 messages received, by `type` of RFC 4443.
    ICMP6_IN_TYPE: counter "Icmp6_InType_total" in "{message}" by {"type": "Number of the type of message"};
    /// ICMPv6 messages sent, by `type` of RFC 4443.
    ICMP6_OUT_TYPE: counter "Icmp6_OutType_total" in "{message}" by {"type": "Number of the type of message"};
}
