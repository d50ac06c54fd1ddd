//! Files and figures that are damaged in ways of their own, with what is still right.

use super::*;

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
