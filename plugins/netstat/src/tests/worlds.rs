//! Hosts that were reported to other agents. Each has its source, and the right values with their reason.

use gauged_plugin::testing::{assert_not_permitted, not_permitted};

use super::*;

/// gVisor counts a connection that was never established as closed. Reported in google/gvisor#1277. Right: no connections that
/// are established, which is a number below zero, and all else as ever.
#[test]
fn connections_below_zero_are_left_out() {
    let mut netstat = start("db-2", "{}");
    netstat.host().file(
        SNMP,
        "Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs \
         RetransSegs InErrs OutRsts InCsumErrors\n\
         Tcp: 1 200 120000 -1 8210 4284 1059 10844 18446744073709540830 0 742413 8453 0 344 0\n",
    );
    let sample = netstat.tick().expect("a sample");
    assert_eq!(sample.get("netstat.Tcp_CurrEstab"), None);
    assert_eq!(
        (&sample["netstat.Tcp_ActiveOpens_total"], &sample["netstat.Tcp_RetransSegs_total"]),
        (&Value::Natural(8210), &Value::Natural(8453))
    );
}

/// Android closes files below `/proc/net` to apps. Derived from giampaolo/psutil#2743 and nicolargo/glances#2111, which have
/// `/proc/net/dev`. Right: what is open, and a word on the rest; nothing open is an error with its reason.
#[test]
fn refused_counters_are_not_absent() {
    let mut netstat = start("db-2", "{}");
    for path in [SNMP, NETSTAT] {
        netstat.host().file_fails(path, not_permitted());
    }
    let sample = netstat.tick().expect("a sample");
    assert!(!sample.is_empty() && sample.keys().all(|key| key.starts_with("netstat.sockstat_")), "{sample:?}");
    assert!(netstat.host().messages()[0].starts_with("WARN without Ip, Icmp, Tcp and Udp: "));
    netstat.host().file_fails(SOCKSTAT, not_permitted());
    assert_not_permitted(&netstat.tick(), SNMP);
}
