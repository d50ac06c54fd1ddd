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
        (&Value::Unsigned(8210), &Value::Unsigned(8453))
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

/// A file of IPv6 that is there, but empty, garbled or without TCP. Right: the number of closed sockets is not known, instead of all
/// sockets of IPv6 being closed; without the file there are none.
#[test]
fn closed_sockets_need_those_of_ipv6() {
    let closed = "netstat.sockstat_TCP_closed";
    for (text, has_closed) in [
        (Some(""), false),
        (Some("\n"), false),
        (Some("TCP6: inuse x\n"), false),
        (Some("\u{ff}\0 :: x=y -1\n"), false),
        (Some("UDP6: inuse 2\n"), false),
        (Some("TCP6: inuse 5\n"), true),
        (None, true),
    ] {
        let mut netstat = start("web-1", "{}");
        match text {
            Some(text) => netstat.host().file("/proc/1/net/sockstat6", text),
            None => netstat.host().file_fails("/proc/1/net/sockstat6", files::Error::NotFound),
        };
        let sample = netstat.tick().expect("a sample");
        assert_eq!(sample.contains_key(closed), has_closed, "{text:?}");
        assert!(sample.contains_key("netstat.sockstat_TCP_alloc"), "{text:?}");
        assert_eq!(netstat.host().warnings().is_empty(), has_closed, "{text:?}: {:?}", netstat.host().warnings());
    }
    // The parts of IPv4 that are not there at all.
    for text in ["TCP: orphan 0 tw 2 alloc 9 mem 1\n", "TCP: inuse 5 orphan 0 alloc 9 mem 1\n", "TCP: inuse 5 tw 2\n"] {
        let mut netstat = start("web-1", "{}");
        netstat.host().file(SOCKSTAT, text);
        assert!(!netstat.tick().expect("a sample").contains_key(closed), "{text}");
    }
}

/// A value that is no number, at the first place of its line. Right: that one is left out, with a report that names it, and not the group.
#[test]
fn odd_first_value_costs_only_itself() {
    for odd in ["x", "nan", "(unknown)", "99999999999999999999"] {
        let mut netstat = start("db-2", "{}");
        netstat.host().file(SNMP, format!("Tcp: CurrEstab RetransSegs\nTcp: {odd} 3\nUdp: InDatagrams\nUdp: {odd}\n"));
        let sample = netstat.tick().expect("a sample");
        assert_eq!(sample["netstat.Tcp_RetransSegs_total"], 3, "{odd}");
        assert_eq!(sample.get("netstat.Tcp_CurrEstab"), None, "{odd}");
        let warnings = netstat.host().warnings();
        for (field, line) in [("Tcp_CurrEstab", 2), ("Udp_InDatagrams", 4)] {
            let why = format!("without {field}: {SNMP} line {line} is malformed: {odd} is");
            assert!(warnings.iter().any(|warning| warning.contains(&why)), "{warnings:?}: {why}");
        }
    }
}
