//! The fields of the line `TcpExt` of `/proc/net/netstat`, in the order of the newest known kernel, with those of old
//! kernels at their old positions.

gauged_plugin::metrics! {
    module "netstat" since boot;
    /// SYN cookies sent, because the queue of half-open connections was full: a flood, or a listener too slow.
    TCP_EXT_SYNCOOKIES_SENT: counter "TcpExt_SyncookiesSent_total" in "{connection}";
    /// Valid SYN cookies received back: clients that got through although the queue was full.
    TCP_EXT_SYNCOOKIES_RECV: counter "TcpExt_SyncookiesRecv_total" in "{connection}";
    /// Invalid SYN cookies received: forged, or too old.
    TCP_EXT_SYNCOOKIES_FAILED: counter "TcpExt_SyncookiesFailed_total" in "{connection}";
    /// Connections that the client reset before they were established.
    TCP_EXT_EMBRYONIC_RSTS: counter "TcpExt_EmbryonicRsts_total" in "{connection}";
    /// Times that memory of a socket's receive queue had to be reclaimed, because it was over its limit.
    TCP_EXT_PRUNE_CALLED: counter "TcpExt_PruneCalled_total" in "{event}";
    /// Segments dropped from receive queues because reclaiming memory was not enough.
    TCP_EXT_RCV_PRUNED: counter "TcpExt_RcvPruned_total" in "{segment}";
    /// Segments that arrived early and were dropped to reclaim memory; the peer has to send them again.
    TCP_EXT_OFO_PRUNED: counter "TcpExt_OfoPruned_total" in "{segment}";
    /// ICMP errors ignored because they speak of data that is not on the way.
    TCP_EXT_OUT_OF_WINDOW_ICMPS: counter "TcpExt_OutOfWindowIcmps_total" in "{message}";
    /// ICMP errors dropped because a process was using the socket.
    TCP_EXT_LOCK_DROPPED_ICMPS: counter "TcpExt_LockDroppedIcmps_total" in "{message}";
    /// ARP requests ignored because the route to the sender is on another interface.
    TCP_EXT_ARP_FILTER: counter "TcpExt_ArpFilter_total" in "{packet}";
    /// Connections whose TIME_WAIT ended by time.
    TCP_EXT_TW: counter "TcpExt_TW_total" in "{connection}";
    /// Connections in TIME_WAIT that gave way to new ones of the same addresses.
    TCP_EXT_TW_RECYCLED: counter "TcpExt_TWRecycled_total" in "{connection}";
    /// Connections in TIME_WAIT that were ended early.
    TCP_EXT_TW_KILLED: counter "TcpExt_TWKilled_total" in "{connection}";
    /// Segments for listeners dropped because their timestamp was old.
    TCP_EXT_PAWS_PASSIVE: counter "TcpExt_PAWSPassive_total" in "{segment}";
    /// Segments dropped while connecting because their timestamp was old.
    TCP_EXT_PAWS_ACTIVE: counter "TcpExt_PAWSActive_total" in "{segment}";
    /// Segments of established connections dropped because their timestamp was old.
    TCP_EXT_PAWS_ESTAB: counter "TcpExt_PAWSEstab_total" in "{segment}";
    /// Segments dropped because they lie beyond the receive window.
    TCP_EXT_BEYOND_WINDOW: counter "TcpExt_BeyondWindow_total" in "{segment}";
    /// Segments dropped because they echo a timestamp that was never sent.
    TCP_EXT_TS_ECR_REJECTED: counter "TcpExt_TSEcrRejected_total" in "{segment}";
    /// Acknowledgements passed although their timestamp was old, since they carried nothing else.
    TCP_EXT_PAWS_OLD_ACK: counter "TcpExt_PAWSOldAck_total" in "{segment}";
    /// Segments for connections in TIME_WAIT dropped because their timestamp was old.
    TCP_EXT_PAWS_TIMEWAIT: counter "TcpExt_PAWSTimewait_total" in "{segment}";
    /// Acknowledgements sent late on purpose, in the hope of data to go with them.
    TCP_EXT_DELAYED_ACKS: counter "TcpExt_DelayedACKs_total" in "{segment}";
    /// Delayed acknowledgements put off once more because a process was using the socket.
    TCP_EXT_DELAYED_ACK_LOCKED: counter "TcpExt_DelayedACKLocked_total" in "{segment}";
    /// Segments that the peer sent again although they had been acknowledged: the acknowledgement was lost or late.
    TCP_EXT_DELAYED_ACK_LOST: counter "TcpExt_DelayedACKLost_total" in "{segment}";
    /// Connections dropped because the listener's accept queue was full: the server does not accept fast enough.
    TCP_EXT_LISTEN_OVERFLOWS: counter "TcpExt_ListenOverflows_total" in "{connection}";
    /// Connections dropped by a listener for any reason, including a full accept queue.
    TCP_EXT_LISTEN_DROPS: counter "TcpExt_ListenDrops_total" in "{connection}";
    /// Segments queued for the process that was waiting for them; in old kernels only.
    TCP_EXT_TCP_PREQUEUED: counter "TcpExt_TCPPrequeued_total" in "{segment}";
    /// Bytes copied to a process straight from the backlog; in old kernels only.
    TCP_EXT_TCP_DIRECT_COPY_FROM_BACKLOG: counter "TcpExt_TCPDirectCopyFromBacklog_total" in "By";
    /// Bytes copied to a process straight from its own queue; in old kernels only.
    TCP_EXT_TCP_DIRECT_COPY_FROM_PREQUEUE: counter "TcpExt_TCPDirectCopyFromPrequeue_total" in "By";
    /// Segments dropped from the queue of a waiting process; in old kernels only.
    TCP_EXT_TCP_PREQUEUE_DROPPED: counter "TcpExt_TCPPrequeueDropped_total" in "{segment}";
    /// Segments of data that took the fast path as the expected next ones.
    TCP_EXT_TCPHP_HITS: counter "TcpExt_TCPHPHits_total" in "{segment}";
    /// Segments of data that took the fast path to a waiting process; in old kernels only.
    TCP_EXT_TCPHP_HITS_TO_USER: counter "TcpExt_TCPHPHitsToUser_total" in "{segment}";
    /// Acknowledgements without data that took the slow path.
    TCP_EXT_TCP_PURE_ACKS: counter "TcpExt_TCPPureAcks_total" in "{segment}";
    /// Acknowledgements that took the fast path.
    TCP_EXT_TCPHP_ACKS: counter "TcpExt_TCPHPAcks_total" in "{segment}";
    /// Recoveries from loss on connections without selective acknowledgement.
    TCP_EXT_TCP_RENO_RECOVERY: counter "TcpExt_TCPRenoRecovery_total" in "{event}";
    /// Recoveries from loss on connections with selective acknowledgement.
    TCP_EXT_TCP_SACK_RECOVERY: counter "TcpExt_TCPSackRecovery_total" in "{event}";
    /// Times that a peer dropped selectively acknowledged data, for lack of memory.
    TCP_EXT_TCPSACK_RENEGING: counter "TcpExt_TCPSACKReneging_total" in "{event}";
    /// Reorderings found by forward acknowledgement; in old kernels only.
    TCP_EXT_TCPFACK_REORDER: counter "TcpExt_TCPFACKReorder_total" in "{event}";
    /// Reorderings found by selective acknowledgement: the network delivers out of order.
    TCP_EXT_TCPSACK_REORDER: counter "TcpExt_TCPSACKReorder_total" in "{event}";
    /// Reorderings found by repeated acknowledgements.
    TCP_EXT_TCP_RENO_REORDER: counter "TcpExt_TCPRenoReorder_total" in "{event}";
    /// Reorderings found by timestamps, when a gap was closed.
    TCP_EXT_TCPTS_REORDER: counter "TcpExt_TCPTSReorder_total" in "{event}";
    /// Recoveries undone in full: nothing had been lost, only late.
    TCP_EXT_TCP_FULL_UNDO: counter "TcpExt_TCPFullUndo_total" in "{event}";
    /// Recoveries undone in part: some packets thought lost were only late.
    TCP_EXT_TCP_PARTIAL_UNDO: counter "TcpExt_TCPPartialUndo_total" in "{event}";
    /// Recoveries undone because the peer reported every retransmission as a duplicate.
    TCP_EXT_TCPDSACK_UNDO: counter "TcpExt_TCPDSACKUndo_total" in "{event}";
    /// Recoveries from a timeout undone: the acknowledgement came after all.
    TCP_EXT_TCP_LOSS_UNDO: counter "TcpExt_TCPLossUndo_total" in "{event}";
    /// Segments lost during a recovery; in old kernels only.
    TCP_EXT_TCP_LOSS: counter "TcpExt_TCPLoss_total" in "{segment}";
    /// Retransmitted segments that were lost again.
    TCP_EXT_TCP_LOST_RETRANSMIT: counter "TcpExt_TCPLostRetransmit_total" in "{segment}";
    /// Timeouts during a recovery from loss without selective acknowledgement.
    TCP_EXT_TCP_RENO_FAILURES: counter "TcpExt_TCPRenoFailures_total" in "{event}";
    /// Timeouts during a recovery from loss with selective acknowledgement.
    TCP_EXT_TCP_SACK_FAILURES: counter "TcpExt_TCPSackFailures_total" in "{event}";
    /// Timeouts during a recovery from a timeout: the path is congested or broken.
    TCP_EXT_TCP_LOSS_FAILURES: counter "TcpExt_TCPLossFailures_total" in "{event}";
    /// Segments retransmitted without waiting for a timeout.
    TCP_EXT_TCP_FAST_RETRANS: counter "TcpExt_TCPFastRetrans_total" in "{segment}";
    /// Segments retransmitted ahead of proof that they were lost; in old kernels only.
    TCP_EXT_TCP_FORWARD_RETRANS: counter "TcpExt_TCPForwardRetrans_total" in "{segment}";
    /// Segments retransmitted while recovering from a timeout.
    TCP_EXT_TCP_SLOW_START_RETRANS: counter "TcpExt_TCPSlowStartRetrans_total" in "{segment}";
    /// Retransmission timeouts of any kind: peers do not respond, or the network loses many packets.
    TCP_EXT_TCP_TIMEOUTS: counter "TcpExt_TCPTimeouts_total" in "{event}";
    /// Segments sent to find out whether the last ones were lost.
    TCP_EXT_TCP_LOSS_PROBES: counter "TcpExt_TCPLossProbes_total" in "{segment}";
    /// Losses at the end of a transmission that a probe repaired.
    TCP_EXT_TCP_LOSS_PROBE_RECOVERY: counter "TcpExt_TCPLossProbeRecovery_total" in "{event}";
    /// Recoveries without selective acknowledgement that ended in a timeout.
    TCP_EXT_TCP_RENO_RECOVERY_FAIL: counter "TcpExt_TCPRenoRecoveryFail_total" in "{event}";
    /// Recoveries with selective acknowledgement that ended in a timeout.
    TCP_EXT_TCP_SACK_RECOVERY_FAIL: counter "TcpExt_TCPSackRecoveryFail_total" in "{event}";
    /// Acknowledgements delayed once more because the waiting process did not get to run; in old kernels only.
    TCP_EXT_TCP_SCHEDULER_FAILED: counter "TcpExt_TCPSchedulerFailed_total" in "{event}";
    /// Segments in receive queues merged to save memory.
    TCP_EXT_TCP_RCV_COLLAPSED: counter "TcpExt_TCPRcvCollapsed_total" in "{segment}";
    /// Segments merged while they waited for a socket that was in use.
    TCP_EXT_TCP_BACKLOG_COALESCE: counter "TcpExt_TCPBacklogCoalesce_total" in "{segment}";
    /// Duplicates of acknowledged data reported to peers.
    TCP_EXT_TCPDSACK_OLD_SENT: counter "TcpExt_TCPDSACKOldSent_total" in "{segment}";
    /// Duplicates of data that had arrived early reported to peers.
    TCP_EXT_TCPDSACK_OFO_SENT: counter "TcpExt_TCPDSACKOfoSent_total" in "{segment}";
    /// Reports from peers that acknowledged data reached them twice: something was retransmitted in vain.
    TCP_EXT_TCPDSACK_RECV: counter "TcpExt_TCPDSACKRecv_total" in "{event}";
    /// Reports from peers that data ahead of a gap reached them twice.
    TCP_EXT_TCPDSACK_OFO_RECV: counter "TcpExt_TCPDSACKOfoRecv_total" in "{event}";
    /// Connections reset because of a SYN in the middle; in old kernels only.
    TCP_EXT_TCP_ABORT_ON_SYN: counter "TcpExt_TCPAbortOnSyn_total" in "{connection}";
    /// Connections reset because data came after the process had closed, or because it chose to close so.
    TCP_EXT_TCP_ABORT_ON_DATA: counter "TcpExt_TCPAbortOnData_total" in "{connection}";
    /// Connections reset because the process closed with data unread.
    TCP_EXT_TCP_ABORT_ON_CLOSE: counter "TcpExt_TCPAbortOnClose_total" in "{connection}";
    /// Connections reset because there were too many without a process, or no memory for them.
    TCP_EXT_TCP_ABORT_ON_MEMORY: counter "TcpExt_TCPAbortOnMemory_total" in "{connection}";
    /// Connections given up because the peer did not respond for too long.
    TCP_EXT_TCP_ABORT_ON_TIMEOUT: counter "TcpExt_TCPAbortOnTimeout_total" in "{connection}";
    /// Connections reset because the time to linger after closing was over.
    TCP_EXT_TCP_ABORT_ON_LINGER: counter "TcpExt_TCPAbortOnLinger_total" in "{connection}";
    /// Resets that could not be sent for lack of memory.
    TCP_EXT_TCP_ABORT_FAILED: counter "TcpExt_TCPAbortFailed_total" in "{connection}";
    /// Times that all of TCP came under memory pressure, and buffers were cut.
    TCP_EXT_TCP_MEMORY_PRESSURES: counter "TcpExt_TCPMemoryPressures_total" in "{event}";
    /// Time that all of TCP spent under memory pressure.
    TCP_EXT_TCP_MEMORY_PRESSURES_CHRONO: counter "TcpExt_TCPMemoryPressuresChrono_total" in "ms";
    /// Selective acknowledgements ignored because they make no sense.
    TCP_EXT_TCPSACK_DISCARD: counter "TcpExt_TCPSACKDiscard_total" in "{block}";
    /// Reports of duplicates ignored because they are old.
    TCP_EXT_TCPDSACK_IGNORED_OLD: counter "TcpExt_TCPDSACKIgnoredOld_total" in "{block}";
    /// Reports of duplicates ignored because nothing had been retransmitted.
    TCP_EXT_TCPDSACK_IGNORED_NO_UNDO: counter "TcpExt_TCPDSACKIgnoredNoUndo_total" in "{block}";
    /// Timeouts that turned out to be needless: the path has become slower.
    TCP_EXT_TCP_SPURIOUS_RTOS: counter "TcpExt_TCPSpuriousRTOs_total" in "{event}";
    /// Segments dropped because they lack the MD5 signature that is expected.
    TCP_EXT_TCPMD5_NOT_FOUND: counter "TcpExt_TCPMD5NotFound_total" in "{segment}";
    /// Segments dropped because they have an unexpected MD5 signature.
    TCP_EXT_TCPMD5_UNEXPECTED: counter "TcpExt_TCPMD5Unexpected_total" in "{segment}";
    /// Segments dropped because their MD5 signature is wrong.
    TCP_EXT_TCPMD5_FAILURE: counter "TcpExt_TCPMD5Failure_total" in "{segment}";
    /// Selectively acknowledged data shifted into the buffer before.
    TCP_EXT_TCP_SACK_SHIFTED: counter "TcpExt_TCPSackShifted_total" in "{event}";
    /// Selectively acknowledged buffers merged into one.
    TCP_EXT_TCP_SACK_MERGED: counter "TcpExt_TCPSackMerged_total" in "{event}";
    /// Selectively acknowledged data that could not be shifted.
    TCP_EXT_TCP_SACK_SHIFT_FALLBACK: counter "TcpExt_TCPSackShiftFallback_total" in "{event}";
    /// Segments dropped because too many waited for a socket that was in use.
    TCP_EXT_TCP_BACKLOG_DROP: counter "TcpExt_TCPBacklogDrop_total" in "{segment}";
    /// Packets dropped because they held memory that is reserved for freeing memory.
    TCP_EXT_PF_MEMALLOC_DROP: counter "TcpExt_PFMemallocDrop_total" in "{packet}";
    /// Segments dropped because they came from further away than the socket allows.
    TCP_EXT_TCP_MIN_TTL_DROP: counter "TcpExt_TCPMinTTLDrop_total" in "{segment}";
    /// Acknowledgements dropped because the listener waits for data before it accepts.
    TCP_EXT_TCP_DEFER_ACCEPT_DROP: counter "TcpExt_TCPDeferAcceptDrop_total" in "{segment}";
    /// Packets dropped because their source is not reached by the interface that they came in by.
    TCP_EXT_IP_REVERSE_PATH_FILTER: counter "TcpExt_IPReversePathFilter_total" in "{packet}";
    /// Connections closed without TIME_WAIT because there were too many in it.
    TCP_EXT_TCP_TIME_WAIT_OVERFLOW: counter "TcpExt_TCPTimeWaitOverflow_total" in "{connection}";
    /// Connections accepted by a SYN cookie because the queue of half-open ones was full.
    TCP_EXT_TCP_REQ_Q_FULL_DO_COOKIES: counter "TcpExt_TCPReqQFullDoCookies_total" in "{connection}";
    /// Connections dropped because the queue of half-open ones was full and cookies were off.
    TCP_EXT_TCP_REQ_Q_FULL_DROP: counter "TcpExt_TCPReqQFullDrop_total" in "{connection}";
    /// Retransmissions that the host itself could not send.
    TCP_EXT_TCP_RETRANS_FAIL: counter "TcpExt_TCPRetransFail_total" in "{segment}";
    /// Segments merged in receive queues as they came in.
    TCP_EXT_TCP_RCV_COALESCE: counter "TcpExt_TCPRcvCoalesce_total" in "{segment}";
    /// Segments that came early and were queued until the gap before them was closed.
    TCP_EXT_TCPOFO_QUEUE: counter "TcpExt_TCPOFOQueue_total" in "{segment}";
    /// Segments that came early and were dropped for lack of memory.
    TCP_EXT_TCPOFO_DROP: counter "TcpExt_TCPOFODrop_total" in "{segment}";
    /// Segments that came early and overlapped with others.
    TCP_EXT_TCPOFO_MERGE: counter "TcpExt_TCPOFOMerge_total" in "{segment}";
    /// Acknowledgements sent to find out whether a doubtful segment was the peer's.
    TCP_EXT_TCP_CHALLENGE_ACK: counter "TcpExt_TCPChallengeACK_total" in "{segment}";
    /// Doubtful SYNs in established connections.
    TCP_EXT_TCPSYN_CHALLENGE: counter "TcpExt_TCPSYNChallenge_total" in "{segment}";
    /// Connections that sent data with the SYN, and got it acknowledged.
    TCP_EXT_TCP_FAST_OPEN_ACTIVE: counter "TcpExt_TCPFastOpenActive_total" in "{connection}";
    /// Connections that sent data with the SYN in vain.
    TCP_EXT_TCP_FAST_OPEN_ACTIVE_FAIL: counter "TcpExt_TCPFastOpenActiveFail_total" in "{connection}";
    /// Connections accepted with data in the SYN.
    TCP_EXT_TCP_FAST_OPEN_PASSIVE: counter "TcpExt_TCPFastOpenPassive_total" in "{connection}";
    /// Connections not accepted with data in the SYN, because the cookie was wrong or the server could not.
    TCP_EXT_TCP_FAST_OPEN_PASSIVE_FAIL: counter "TcpExt_TCPFastOpenPassiveFail_total" in "{connection}";
    /// Connections not accepted with data in the SYN, because too many were pending.
    TCP_EXT_TCP_FAST_OPEN_LISTEN_OVERFLOW: counter "TcpExt_TCPFastOpenListenOverflow_total" in "{connection}";
    /// Clients that asked for a cookie, to send data with the SYN next time.
    TCP_EXT_TCP_FAST_OPEN_COOKIE_REQD: counter "TcpExt_TCPFastOpenCookieReqd_total" in "{connection}";
    /// Times that data in SYNs was given up because a network on the way swallows it.
    TCP_EXT_TCP_FAST_OPEN_BLACKHOLE: counter "TcpExt_TCPFastOpenBlackhole_total" in "{event}";
    /// Retransmissions spared because the original had not even left the host.
    TCP_EXT_TCP_SPURIOUS_RTX_HOST_QUEUES: counter "TcpExt_TCPSpuriousRtxHostQueues_total" in "{segment}";
    /// Packets that a process received by polling the device.
    TCP_EXT_BUSY_POLL_RX_PACKETS: counter "TcpExt_BusyPollRxPackets_total" in "{packet}";
    /// Small writes held back to be sent together.
    TCP_EXT_TCP_AUTO_CORKING: counter "TcpExt_TCPAutoCorking_total" in "{segment}";
    /// Times that a closed receive window was opened again.
    TCP_EXT_TCP_FROM_ZERO_WINDOW_ADV: counter "TcpExt_TCPFromZeroWindowAdv_total" in "{event}";
    /// Times that a receive window was closed: the process does not read fast enough.
    TCP_EXT_TCP_TO_ZERO_WINDOW_ADV: counter "TcpExt_TCPToZeroWindowAdv_total" in "{event}";
    /// Times that a receive window stayed open because an offered window must not shrink.
    TCP_EXT_TCP_WANT_ZERO_WINDOW_ADV: counter "TcpExt_TCPWantZeroWindowAdv_total" in "{event}";
    /// SYNs retransmitted: peers do not respond, or replies are lost.
    TCP_EXT_TCP_SYN_RETRANS: counter "TcpExt_TCPSynRetrans_total" in "{segment}";
    /// Segments with data sent for the first time, for comparison with retransmissions.
    TCP_EXT_TCP_ORIG_DATA_SENT: counter "TcpExt_TCPOrigDataSent_total" in "{segment}";
    /// Slow starts ended because acknowledgements came in long trains.
    TCP_EXT_TCP_HYSTART_TRAIN_DETECT: counter "TcpExt_TCPHystartTrainDetect_total" in "{event}";
    /// Sum of the congestion windows at which slow starts ended because of long trains.
    TCP_EXT_TCP_HYSTART_TRAIN_CWND: counter "TcpExt_TCPHystartTrainCwnd_total" in "{segment}";
    /// Slow starts ended because the round trip became longer.
    TCP_EXT_TCP_HYSTART_DELAY_DETECT: counter "TcpExt_TCPHystartDelayDetect_total" in "{event}";
    /// Sum of the congestion windows at which slow starts ended because of longer round trips.
    TCP_EXT_TCP_HYSTART_DELAY_CWND: counter "TcpExt_TCPHystartDelayCwnd_total" in "{segment}";
    /// Acknowledgements not sent, to limit their rate, on half-open connections.
    TCP_EXT_TCPACK_SKIPPED_SYN_RECV: counter "TcpExt_TCPACKSkippedSynRecv_total" in "{segment}";
    /// Acknowledgements of segments with old timestamps not sent, to limit their rate.
    TCP_EXT_TCPACK_SKIPPED_PAWS: counter "TcpExt_TCPACKSkippedPAWS_total" in "{segment}";
    /// Acknowledgements of segments outside the window not sent, to limit their rate.
    TCP_EXT_TCPACK_SKIPPED_SEQ: counter "TcpExt_TCPACKSkippedSeq_total" in "{segment}";
    /// Acknowledgements not sent, to limit their rate, on connections in FIN_WAIT_2.
    TCP_EXT_TCPACK_SKIPPED_FIN_WAIT2: counter "TcpExt_TCPACKSkippedFinWait2_total" in "{segment}";
    /// Acknowledgements not sent, to limit their rate, on connections in TIME_WAIT.
    TCP_EXT_TCPACK_SKIPPED_TIME_WAIT: counter "TcpExt_TCPACKSkippedTimeWait_total" in "{segment}";
    /// Acknowledgements of doubtful segments not sent, to limit their rate.
    TCP_EXT_TCPACK_SKIPPED_CHALLENGE: counter "TcpExt_TCPACKSkippedChallenge_total" in "{segment}";
    /// Segments sent to find out whether the peer's closed receive window has opened.
    TCP_EXT_TCP_WIN_PROBE: counter "TcpExt_TCPWinProbe_total" in "{segment}";
    /// Segments sent to find out whether the peer is still there.
    TCP_EXT_TCP_KEEP_ALIVE: counter "TcpExt_TCPKeepAlive_total" in "{segment}";
    /// Attempts at larger segments that did not get through.
    TCP_EXT_TCPMTUP_FAIL: counter "TcpExt_TCPMTUPFail_total" in "{event}";
    /// Attempts at larger segments that got through.
    TCP_EXT_TCPMTUP_SUCCESS: counter "TcpExt_TCPMTUPSuccess_total" in "{event}";
    /// Segments that peers acknowledged, retransmitted ones included.
    TCP_EXT_TCP_DELIVERED: counter "TcpExt_TCPDelivered_total" in "{segment}";
    /// Segments that peers acknowledged as marked by a congested router.
    TCP_EXT_TCP_DELIVERED_CE: counter "TcpExt_TCPDeliveredCE_total" in "{segment}";
    /// Acknowledgements spared because a later one said as much.
    TCP_EXT_TCP_ACK_COMPRESSED: counter "TcpExt_TCPAckCompressed_total" in "{segment}";
    /// Segments dropped because the receive window was closed.
    TCP_EXT_TCP_ZERO_WINDOW_DROP: counter "TcpExt_TCPZeroWindowDrop_total" in "{segment}";
    /// Segments dropped because the receive queue was full.
    TCP_EXT_TCP_RCV_Q_DROP: counter "TcpExt_TCPRcvQDrop_total" in "{segment}";
    /// Segments not split because the send queue was over its limit.
    TCP_EXT_TCP_WQUEUE_TOO_BIG: counter "TcpExt_TCPWqueueTooBig_total" in "{event}";
    /// Connections accepted with data in the SYN by the cookie's second key.
    TCP_EXT_TCP_FAST_OPEN_PASSIVE_ALT_KEY: counter "TcpExt_TCPFastOpenPassiveAltKey_total" in "{connection}";
    /// Times that a connection took another path because of a timeout.
    TCP_EXT_TCP_TIMEOUT_REHASH: counter "TcpExt_TcpTimeoutRehash_total" in "{event}";
    /// Times that a connection took another path because the peer sent data again.
    TCP_EXT_TCP_DUPLICATE_DATA_REHASH: counter "TcpExt_TcpDuplicateDataRehash_total" in "{event}";
    /// Segments that peers reported as duplicates.
    TCP_EXT_TCPDSACK_RECV_SEGS: counter "TcpExt_TCPDSACKRecvSegs_total" in "{segment}";
    /// Reports of duplicates ignored because they speak of more than was retransmitted.
    TCP_EXT_TCPDSACK_IGNORED_DUBIOUS: counter "TcpExt_TCPDSACKIgnoredDubious_total" in "{block}";
    /// Half-open connections handed from a closed listener to another one.
    TCP_EXT_TCP_MIGRATE_REQ_SUCCESS: counter "TcpExt_TCPMigrateReqSuccess_total" in "{connection}";
    /// Half-open connections that could not be handed to another listener.
    TCP_EXT_TCP_MIGRATE_REQ_FAILURE: counter "TcpExt_TCPMigrateReqFailure_total" in "{connection}";
    /// Times that a connection took another path because of congestion.
    TCP_EXT_TCPPLB_REHASH: counter "TcpExt_TCPPLBRehash_total" in "{event}";
    /// Segments dropped because they lack the authentication that is required.
    TCP_EXT_TCPAO_REQUIRED: counter "TcpExt_TCPAORequired_total" in "{segment}";
    /// Segments dropped because their authentication is wrong.
    TCP_EXT_TCPAO_BAD: counter "TcpExt_TCPAOBad_total" in "{segment}";
    /// Segments dropped because the key of their authentication is unknown.
    TCP_EXT_TCPAO_KEY_NOT_FOUND: counter "TcpExt_TCPAOKeyNotFound_total" in "{segment}";
    /// Segments whose authentication is right.
    TCP_EXT_TCPAO_GOOD: counter "TcpExt_TCPAOGood_total" in "{segment}";
    /// ICMP errors ignored because the connection is authenticated.
    TCP_EXT_TCPAO_DROPPED_ICMPS: counter "TcpExt_TCPAODroppedIcmps_total" in "{message}";
}
