//! The fields of the line `MPTcpExt` of `/proc/net/netstat`: Multipath TCP, in the order of Linux 6.17. See the kernel's
//! `net/mptcp/mib.h`.

gauged_plugin::metrics! {
    module "netstat" since boot;
    /// SYNs received that ask for Multipath TCP.
    MPTCP_EXT_MPCAPABLE_SYNRX: counter "MPTcpExt_MPCapableSYNRX_total" in "{segment}";
    /// SYNs sent that ask for Multipath TCP.
    MPTCP_EXT_MPCAPABLE_SYNTX: counter "MPTcpExt_MPCapableSYNTX_total" in "{segment}";
    /// SYN/ACKs received that agree to Multipath TCP.
    MPTCP_EXT_MPCAPABLE_SYNACKRX: counter "MPTcpExt_MPCapableSYNACKRX_total" in "{segment}";
    /// Third segments of handshakes received with Multipath TCP.
    MPTCP_EXT_MPCAPABLE_ACKRX: counter "MPTcpExt_MPCapableACKRX_total" in "{segment}";
    /// Connections that fell back to TCP at the third segment of the handshake, as server.
    MPTCP_EXT_MPCAPABLE_FALLBACK_ACK: counter "MPTcpExt_MPCapableFallbackACK_total" in "{connection}";
    /// Connections that fell back to TCP because the server does not know Multipath TCP.
    MPTCP_EXT_MPCAPABLE_FALLBACK_SYNACK: counter "MPTcpExt_MPCapableFallbackSYNACK_total" in "{connection}";
    /// Connections that fell back to TCP because SYNs that ask for Multipath TCP were lost.
    MPTCP_EXT_MPCAPABLE_SYNTXDROP: counter "MPTcpExt_MPCapableSYNTXDrop_total" in "{connection}";
    /// Connections begun without Multipath TCP because it was taken to be blocked on the path.
    MPTCP_EXT_MPCAPABLE_SYNTXDISABLED: counter "MPTcpExt_MPCapableSYNTXDisabled_total" in "{connection}";
    /// Connections refused because they were for an address that is only for further subflows.
    MPTCP_EXT_MPCAPABLE_ENDP_ATTEMPT: counter "MPTcpExt_MPCapableEndpAttempt_total" in "{connection}";
    /// Connections that fell back to TCP for lack of a token.
    MPTCP_EXT_MPFALLBACK_TOKEN_INIT: counter "MPTcpExt_MPFallbackTokenInit_total" in "{connection}";
    /// Segments of Multipath TCP sent again, possibly on another subflow.
    MPTCP_EXT_MPTCPRETRANS: counter "MPTcpExt_MPTCPRetrans_total" in "{segment}";
    /// Subflows refused because their token belongs to no connection.
    MPTCP_EXT_MPJOIN_NO_TOKEN_FOUND: counter "MPTcpExt_MPJoinNoTokenFound_total" in "{subflow}";
    /// SYNs received that ask for a further subflow.
    MPTCP_EXT_MPJOIN_SYN_RX: counter "MPTcpExt_MPJoinSynRx_total" in "{subflow}";
    /// SYNs received that ask for a further subflow as backup.
    MPTCP_EXT_MPJOIN_SYN_BACKUP_RX: counter "MPTcpExt_MPJoinSynBackupRx_total" in "{subflow}";
    /// SYN/ACKs received for further subflows.
    MPTCP_EXT_MPJOIN_SYN_ACK_RX: counter "MPTcpExt_MPJoinSynAckRx_total" in "{subflow}";
    /// SYN/ACKs received for further subflows as backup.
    MPTCP_EXT_MPJOIN_SYN_ACK_BACKUP_RX: counter "MPTcpExt_MPJoinSynAckBackupRx_total" in "{subflow}";
    /// SYN/ACKs received for further subflows with a wrong authentication code.
    MPTCP_EXT_MPJOIN_SYN_ACK_HMAC_FAILURE: counter "MPTcpExt_MPJoinSynAckHMacFailure_total" in "{subflow}";
    /// Third segments of handshakes received for further subflows.
    MPTCP_EXT_MPJOIN_ACK_RX: counter "MPTcpExt_MPJoinAckRx_total" in "{subflow}";
    /// Third segments received for further subflows with a wrong authentication code.
    MPTCP_EXT_MPJOIN_ACK_HMAC_FAILURE: counter "MPTcpExt_MPJoinAckHMacFailure_total" in "{subflow}";
    /// Subflows refused by the path manager.
    MPTCP_EXT_MPJOIN_REJECTED: counter "MPTcpExt_MPJoinRejected_total" in "{subflow}";
    /// SYNs sent that ask for a further subflow.
    MPTCP_EXT_MPJOIN_SYN_TX: counter "MPTcpExt_MPJoinSynTx_total" in "{subflow}";
    /// Subflows not begun because no socket could be created.
    MPTCP_EXT_MPJOIN_SYN_TX_CREAT_SK_ERR: counter "MPTcpExt_MPJoinSynTxCreatSkErr_total" in "{subflow}";
    /// Subflows not begun because their address could not be bound.
    MPTCP_EXT_MPJOIN_SYN_TX_BIND_ERR: counter "MPTcpExt_MPJoinSynTxBindErr_total" in "{subflow}";
    /// Subflows not begun because connecting failed.
    MPTCP_EXT_MPJOIN_SYN_TX_CONNECT_ERR: counter "MPTcpExt_MPJoinSynTxConnectErr_total" in "{subflow}";
    /// Segments received whose mapping to the data differs from the one before.
    MPTCP_EXT_DSSNOT_MATCHING: counter "MPTcpExt_DSSNotMatching_total" in "{segment}";
    /// Connections that fell back to TCP because a mapping to the data was wrong.
    MPTCP_EXT_DSSCORRUPTION_FALLBACK: counter "MPTcpExt_DSSCorruptionFallback_total" in "{connection}";
    /// Subflows reset because a mapping to the data was wrong.
    MPTCP_EXT_DSSCORRUPTION_RESET: counter "MPTcpExt_DSSCorruptionReset_total" in "{subflow}";
    /// Options sent that end the mapping of data: the connection falls back to TCP.
    MPTCP_EXT_INFINITE_MAP_TX: counter "MPTcpExt_InfiniteMapTx_total" in "{message}";
    /// Options received that end the mapping of data: the connection falls back to TCP.
    MPTCP_EXT_INFINITE_MAP_RX: counter "MPTcpExt_InfiniteMapRx_total" in "{message}";
    /// Segments received whose mapping does not fit the sequence number of TCP.
    MPTCP_EXT_DSSNO_MATCH_TCP: counter "MPTcpExt_DSSNoMatchTCP_total" in "{segment}";
    /// Segments received with a wrong checksum of Multipath TCP.
    MPTCP_EXT_DATA_CSUM_ERR: counter "MPTcpExt_DataCsumErr_total" in "{segment}";
    /// Segments appended to the end of the queue of early data.
    MPTCP_EXT_OFOQUEUE_TAIL: counter "MPTcpExt_OFOQueueTail_total" in "{segment}";
    /// Segments received early and queued.
    MPTCP_EXT_OFOQUEUE: counter "MPTcpExt_OFOQueue_total" in "{segment}";
    /// Segments merged into the queue of early data.
    MPTCP_EXT_OFOMERGE: counter "MPTcpExt_OFOMerge_total" in "{segment}";
    /// Segments received outside of the window of the connection.
    MPTCP_EXT_NO_DSSIN_WINDOW: counter "MPTcpExt_NoDSSInWindow_total" in "{segment}";
    /// Segments received with data that another subflow had brought.
    MPTCP_EXT_DUPLICATE_DATA: counter "MPTcpExt_DuplicateData_total" in "{segment}";
    /// Options received that announce an address.
    MPTCP_EXT_ADD_ADDR: counter "MPTcpExt_AddAddr_total" in "{option}";
    /// Options sent that announce an address.
    MPTCP_EXT_ADD_ADDR_TX: counter "MPTcpExt_AddAddrTx_total" in "{option}";
    /// Options not sent that announce an address.
    MPTCP_EXT_ADD_ADDR_TX_DROP: counter "MPTcpExt_AddAddrTxDrop_total" in "{option}";
    /// Options received that confirm an announced address.
    MPTCP_EXT_ECHO_ADD: counter "MPTcpExt_EchoAdd_total" in "{option}";
    /// Options sent that confirm an announced address.
    MPTCP_EXT_ECHO_ADD_TX: counter "MPTcpExt_EchoAddTx_total" in "{option}";
    /// Options not sent that confirm an announced address.
    MPTCP_EXT_ECHO_ADD_TX_DROP: counter "MPTcpExt_EchoAddTxDrop_total" in "{option}";
    /// Options received that announce an address with a port.
    MPTCP_EXT_PORT_ADD: counter "MPTcpExt_PortAdd_total" in "{option}";
    /// Options received and dropped that announce an address.
    MPTCP_EXT_ADD_ADDR_DROP: counter "MPTcpExt_AddAddrDrop_total" in "{option}";
    /// SYNs received for further subflows to an announced port.
    MPTCP_EXT_MPJOIN_PORT_SYN_RX: counter "MPTcpExt_MPJoinPortSynRx_total" in "{subflow}";
    /// SYN/ACKs received for further subflows to an announced port.
    MPTCP_EXT_MPJOIN_PORT_SYN_ACK_RX: counter "MPTcpExt_MPJoinPortSynAckRx_total" in "{subflow}";
    /// Third segments received for further subflows to an announced port.
    MPTCP_EXT_MPJOIN_PORT_ACK_RX: counter "MPTcpExt_MPJoinPortAckRx_total" in "{subflow}";
    /// SYNs received for further subflows to a port that was not announced.
    MPTCP_EXT_MISMATCH_PORT_SYN_RX: counter "MPTcpExt_MismatchPortSynRx_total" in "{subflow}";
    /// Third segments received for further subflows to a port that was not announced.
    MPTCP_EXT_MISMATCH_PORT_ACK_RX: counter "MPTcpExt_MismatchPortAckRx_total" in "{subflow}";
    /// Options received that withdraw an address.
    MPTCP_EXT_RM_ADDR: counter "MPTcpExt_RmAddr_total" in "{option}";
    /// Options received and dropped that withdraw an address.
    MPTCP_EXT_RM_ADDR_DROP: counter "MPTcpExt_RmAddrDrop_total" in "{option}";
    /// Options sent that withdraw an address.
    MPTCP_EXT_RM_ADDR_TX: counter "MPTcpExt_RmAddrTx_total" in "{option}";
    /// Options not sent that withdraw an address.
    MPTCP_EXT_RM_ADDR_TX_DROP: counter "MPTcpExt_RmAddrTxDrop_total" in "{option}";
    /// Subflows removed.
    MPTCP_EXT_RM_SUBFLOW: counter "MPTcpExt_RmSubflow_total" in "{subflow}";
    /// Options sent that change the priority of a subflow.
    MPTCP_EXT_MPPRIO_TX: counter "MPTcpExt_MPPrioTx_total" in "{option}";
    /// Options received that change the priority of a subflow.
    MPTCP_EXT_MPPRIO_RX: counter "MPTcpExt_MPPrioRx_total" in "{option}";
    /// Options sent that report a wrong checksum.
    MPTCP_EXT_MPFAIL_TX: counter "MPTcpExt_MPFailTx_total" in "{option}";
    /// Options received that report a wrong checksum.
    MPTCP_EXT_MPFAIL_RX: counter "MPTcpExt_MPFailRx_total" in "{option}";
    /// Options sent that close a connection at once.
    MPTCP_EXT_MPFASTCLOSE_TX: counter "MPTcpExt_MPFastcloseTx_total" in "{option}";
    /// Options received that close a connection at once.
    MPTCP_EXT_MPFASTCLOSE_RX: counter "MPTcpExt_MPFastcloseRx_total" in "{option}";
    /// Options sent with the reason for a reset.
    MPTCP_EXT_MPRST_TX: counter "MPTcpExt_MPRstTx_total" in "{option}";
    /// Options received with the reason for a reset.
    MPTCP_EXT_MPRST_RX: counter "MPTcpExt_MPRstRx_total" in "{option}";
    /// Subflows no longer used because they do not make progress.
    MPTCP_EXT_SUBFLOW_STALE: counter "MPTcpExt_SubflowStale_total" in "{subflow}";
    /// Subflows used again after they had made no progress.
    MPTCP_EXT_SUBFLOW_RECOVER: counter "MPTcpExt_SubflowRecover_total" in "{subflow}";
    /// Send windows taken over from another subflow.
    MPTCP_EXT_SND_WND_SHARED: counter "MPTcpExt_SndWndShared_total" in "{window}";
    /// Receive windows taken over from another subflow.
    MPTCP_EXT_RCV_WND_SHARED: counter "MPTcpExt_RcvWndShared_total" in "{window}";
    /// Receive windows that another subflow had moved meanwhile, and that were updated.
    MPTCP_EXT_RCV_WND_CONFLICT_UPDATE: counter "MPTcpExt_RcvWndConflictUpdate_total" in "{window}";
    /// Receive windows that another subflow had moved meanwhile.
    MPTCP_EXT_RCV_WND_CONFLICT: counter "MPTcpExt_RcvWndConflict_total" in "{window}";
    /// Connections of Multipath TCP that are established now.
    MPTCP_EXT_MPCURR_ESTAB: gauge "MPTcpExt_MPCurrEstab" in "{connection}";
    /// Times that Multipath TCP was taken to be blocked on the path.
    MPTCP_EXT_BLACKHOLE: counter "MPTcpExt_Blackhole_total" in "{connection}";
    /// Connections that fell back to TCP at the first data.
    MPTCP_EXT_MPCAPABLE_DATA_FALLBACK: counter "MPTcpExt_MPCapableDataFallback_total" in "{connection}";
    /// Connections that fell back to TCP because they use MD5 signatures.
    MPTCP_EXT_MD5_SIG_FALLBACK: counter "MPTcpExt_MD5SigFallback_total" in "{connection}";
    /// Connections that fell back to TCP because of a missing or wrong mapping to the data.
    MPTCP_EXT_DSS_FALLBACK: counter "MPTcpExt_DssFallback_total" in "{connection}";
    /// Connections that fell back to TCP because both ends began at once.
    MPTCP_EXT_SIMULT_CONNECT_FALLBACK: counter "MPTcpExt_SimultConnectFallback_total" in "{connection}";
    /// Connections that could no longer fall back to TCP.
    MPTCP_EXT_FALLBACK_FAILED: counter "MPTcpExt_FallbackFailed_total" in "{connection}";
    /// Segments sent to ask for a window.
    MPTCP_EXT_WIN_PROBE: counter "MPTcpExt_WinProbe_total" in "{segment}";
}
