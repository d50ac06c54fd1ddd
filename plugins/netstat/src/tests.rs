//! The plugin on fixture machines: a new kernel, and an old one without IPv6.

use gauged_plugin::Value;
use gauged_plugin::files;
use gauged_plugin::testing::{
    Harness, Host, SampleMap, assert_damage_is_contained, assert_golden, assert_readme, assert_settings,
};

use super::*;

mod malformed;
mod worlds;

const SNMP: &str = "/proc/1/net/snmp";
const NETSTAT: &str = "/proc/1/net/netstat";
const SOCKSTAT: &str = "/proc/1/net/sockstat";

fn start(machine: &str, config: &str) -> Harness<Netstat> {
    Harness::start(Host::from_fixture(&format!("fixtures/{machine}")), config).expect("the configuration is right")
}

fn sample(machine: &str, config: &str) -> SampleMap {
    start(machine, config).tick().expect("a sample")
}

/// The field names in a sample, without sockets.
fn fields(sample: &SampleMap) -> Vec<&str> {
    let names = sample.keys().filter_map(|key| key.strip_prefix("netstat."));
    let names = names.filter(|name| !name.starts_with("sockstat_"));
    names.map(|name| name.strip_suffix("_total").unwrap_or(name)).collect()
}

#[test]
fn machines_match_their_golden_files() {
    for machine in ["web-1", "db-2"] {
        assert_golden(&format!("fixtures/{machine}/expected"), &sample(machine, "{}").render());
    }
}

#[test]
fn empty_selection_has_every_field() {
    for machine in ["web-1", "db-2"] {
        let all = sample(machine, r#"{"fields": {}}"#);
        let known = fields(&all);
        let read = |path: &str| std::fs::read_to_string(format!("fixtures/{machine}{path}")).unwrap_or_default();
        let text = read(SNMP) + &read(NETSTAT);
        let lines: Vec<_> = text.lines().step_by(2).filter_map(|line| line.split_once(": ")).collect();
        let mut names: Vec<String> = Vec::new();
        for (group, columns) in lines {
            names.extend(columns.split(' ').map(|name| format!("{group}_{name}")));
        }
        names.extend(read("/proc/1/net/snmp6").lines().map(|line| {
            let key = line.split_ascii_whitespace().next().expect("a key");
            key.replacen('6', "6_", 1)
        }));
        // Types of ICMP messages have the type as a label.
        let names = names.into_iter().map(|name| match name.split_once("Type") {
            Some((start, number)) => format!("{start}Type_total{{type=\"{number}\"}}"),
            None => name,
        });
        let unknown: Vec<_> = names.filter(|name| !known.contains(&&**name)).collect();
        assert!(unknown.is_empty(), "{machine}: {unknown:?}");
        assert_eq!(all.get("netstat.Tcp_MaxConn"), Some(&Value::Integer(-1)));
    }
}

#[test]
fn default_fields_cover_node_exporter_and_open_falcon() {
    let new = sample("web-1", "{}");
    let old = sample("db-2", "{}");
    let known: Vec<_> = fields(&new).into_iter().chain(fields(&old)).collect();
    // The fields of node_exporter.
    let groups = [
        ("Ip", "Forwarding"),
        ("IpExt", "InOctets OutOctets"),
        ("Ip6", "InOctets OutOctets"),
        ("Icmp", "InErrors InMsgs OutMsgs"),
        ("Icmp6", "InErrors InMsgs OutMsgs"),
        ("Tcp", "InErrs ActiveOpens InSegs OutSegs OutRsts PassiveOpens RetransSegs CurrEstab"),
        ("Udp", "InErrors InDatagrams OutDatagrams NoPorts RcvbufErrors SndbufErrors"),
        ("Udp6", "InErrors InDatagrams OutDatagrams NoPorts RcvbufErrors SndbufErrors"),
        ("UdpLite", "InErrors"),
        ("UdpLite6", "InErrors"),
        (
            "TcpExt",
            "ListenOverflows ListenDrops SyncookiesSent SyncookiesRecv SyncookiesFailed TCPSynRetrans TCPTimeouts",
        ),
        ("TcpExt", "TCPOFOQueue TCPRcvQDrop"),
        // The fields of Open-Falcon.
        ("TcpExt", "PruneCalled LockDroppedIcmps ArpFilter TW DelayedACKLocked ListenOverflows ListenDrops"),
        ("TcpExt", "TCPPrequeueDropped TCPTSReorder TCPDSACKUndo TCPLoss TCPLostRetransmit TCPLossFailures"),
        ("TcpExt", "TCPFastRetrans TCPTimeouts TCPSchedulerFailed TCPAbortOnMemory TCPAbortOnTimeout TCPAbortFailed"),
        ("TcpExt", "TCPMemoryPressures TCPSpuriousRTOs TCPBacklogDrop TCPMinTTLDrop"),
        ("Udp", "InCsumErrors IgnoredMulti MemErrors"),
    ];
    for (group, names) in groups {
        for name in names.split(' ').map(|name| format!("{group}_{name}")) {
            assert!(known.contains(&&*name), "{name}");
        }
    }
    for pattern in DEFAULT_FIELDS {
        let pattern_matches = |metric: &Descriptor| Pattern::new(pattern).matches(field_name(metric));
        assert!(METRICS.iter().take(FIELD_COUNT).any(pattern_matches), "{pattern} selects nothing");
    }
}

#[test]
fn settings_select_fields() {
    let chosen = sample("web-1", r#"{"fields": {"include": ["TcpExt_TCPSACK*", "Ip_*"], "exclude": ["Ip_Frag*"]}}"#);
    let names = fields(&chosen);
    assert!(names.contains(&"TcpExt_TCPSACKReneging") && names.contains(&"Ip_DefaultTTL"));
    assert!(!names.contains(&"Ip_FragOKs") && !names.contains(&"Tcp_InSegs"));
    assert!(chosen.contains_key("netstat.sockstat_TCP_inuse"));

    let more = sample("web-1", r#"{"more": ["TcpExt_*"]}"#);
    assert!(fields(&more).contains(&"TcpExt_TCPPureAcks") && fields(&more).contains(&"Tcp_InSegs"));
    assert!(!fields(&more).contains(&"Ip_FragOKs"));
}

#[test]
fn settings_without_matching_fields_are_rejected() {
    for (config, key, message) in [
        (r#"{"field": {}}"#, "field", "unknown key; remove it, or use one of fields, more, tcp_states"),
        (
            r#"{"more": ["TcpExt_*", "TcpExt_TCPLos"]}"#,
            "more[1]",
            "matches no field listed in the README.md of this plugin, such as TcpExt_TCPOFOMerge",
        ),
        (
            r#"{"fields": {"include": ["ListenDrops"]}}"#,
            "fields",
            "selects no fields; fields have names such as TcpExt_ListenDrops",
        ),
    ] {
        let started = Harness::<Netstat>::start(Host::new(), config);
        let Err(Error::InvalidConfig(errors)) = started else { panic!("{config} is valid") };
        assert_eq!((errors[0].key.as_str(), errors[0].message.as_str()), (key, message));
    }
}

#[test]
fn new_and_reordered_fields_are_accepted() {
    let mut netstat = start("db-2", "{}");
    let text = "TcpExt: TCPTimeouts TCPNewest ListenDrops SyncookiesSent\nTcpExt: 1 2 3 4\nNewExt: A\nNewExt: x\n";
    netstat.host().file(NETSTAT, text);
    let sample = netstat.tick().expect("a sample");
    assert_eq!(sample["netstat.TcpExt_TCPTimeouts_total"], 1);
    assert_eq!(sample["netstat.TcpExt_ListenDrops_total"], 3);
    assert_eq!(sample["netstat.TcpExt_SyncookiesSent_total"], 4);
    assert_eq!(netstat.tick().expect("a sample"), sample);
    // The names move between two ticks.
    netstat.host().file(NETSTAT, "NewExt: A\nNewExt: x\nTcpExt: ListenDrops TCPTimeouts\nTcpExt: 5 6\n");
    let sample = netstat.tick().expect("a sample");
    assert_eq!(sample["netstat.TcpExt_TCPTimeouts_total"], 6);
    assert_eq!(sample["netstat.TcpExt_ListenDrops_total"], 5);
    assert_eq!(sample.get("netstat.TcpExt_SyncookiesSent_total"), None);
}

#[test]
fn counter_reset_is_passed_on() {
    let mut netstat = start("db-2", "{}");
    netstat.tick().expect("a sample");
    netstat.allow_counter_reset();
    netstat.host().file(SNMP, "Tcp: ActiveOpens CurrEstab\nTcp: 1 2\n");
    let sample = netstat.tick().expect("a sample");
    assert_eq!(
        (&sample["netstat.Tcp_ActiveOpens_total"], &sample["netstat.Tcp_CurrEstab"]),
        (&Value::Natural(1), &Value::Natural(2))
    );
}

#[test]
fn negative_gauges_are_left_out_or_zero() {
    let mut netstat = start("db-2", "{}");
    netstat.host().file(SNMP, "Tcp: CurrEstab\nTcp: 18446744073709551615\n");
    netstat.host().file(SOCKSTAT, "TCP: inuse 5 orphan -1 tw 0 alloc 3 mem -2\n");
    let sample = netstat.tick().expect("a sample");
    assert_eq!(sample.get("netstat.Tcp_CurrEstab"), None);
    assert_eq!(sample["netstat.sockstat_TCP_orphan"], 0);
    assert_eq!(sample["netstat.sockstat_TCP_mem_pages"], 0);
    assert_eq!(sample["netstat.sockstat_TCP_closed"], 0);
}

#[test]
fn unreadable_group_costs_only_itself() {
    for (path, text, lost, why) in [
        (SNMP, "", "Tcp_InSegs_total", "snmp is truncated: is empty"),
        (SNMP, "Tcp: InSegs\n", "Tcp_InSegs_total", "snmp line 1 is truncated: the values of Tcp are missing"),
        (
            SNMP,
            "Tcp: InSegs OutSegs\nTcp: 1\n",
            "Tcp_InSegs_total",
            "line 2 is truncated: has 1 values for 2 names of Tcp",
        ),
        (SNMP, "Tcp: InSegs\nTcp: 1 2\n", "Tcp_InSegs_total", "line 2 is truncated: has 2 values for 1 names of Tcp"),
        (SNMP, "Tcp: InSegs\nUdp: 1\n", "Tcp_InSegs_total", "line 1 is truncated: the values of Tcp are missing"),
        (SNMP, "Tcp: InSegs\nTcp: 0x\n", "Tcp_InSegs_total", "line 2 is malformed: 0x is not a number (Tcp_InSegs)"),
        (NETSTAT, "TcpExt: TW\nTcpExt: -5\n", "TcpExt_TW_total", "line 2 is malformed: -5 is not a number (TcpExt_TW)"),
        (
            "/proc/1/net/snmp6",
            "Ip6InOctets 18446744073709551611\n",
            "Ip6_InOctets_total",
            "snmp6 line 1 is malformed: 18446744073709551611 is impossible (Ip6_InOctets)",
        ),
        ("/proc/1/net/snmp6", "Ip6InOctets\n", "Ip6_InOctets_total", "snmp6 line 1 is truncated: missing Ip6InOctets"),
        (SOCKSTAT, "TCP: inuse\n", "sockstat_TCP_inuse", "sockstat line 1 is truncated: missing inuse"),
        (SOCKSTAT, "TCP: inuse many\n", "sockstat_TCP_inuse", "many is not a number (inuse)"),
    ] {
        let mut netstat = start("db-2", "{}");
        netstat.host().file(path, text);
        let sample = netstat.tick().expect("a sample");
        assert_eq!(sample.get(&format!("netstat.{lost}")), None, "{path} {text:?}");
        let other = if path == SNMP { "netstat.TcpExt_ListenDrops_total" } else { "netstat.Tcp_CurrEstab" };
        assert!(sample.contains_key(other), "{path} {text:?}");
        let messages = netstat.host().messages();
        assert!(messages.iter().any(|message| message.contains(why)), "{messages:?}: {why}");
    }
}

#[test]
fn missing_files_cost_only_their_metrics() {
    for (path, kept) in [(SNMP, "TcpExt_ListenDrops_total"), (NETSTAT, "Tcp_CurrEstab"), (SOCKSTAT, "Tcp_CurrEstab")] {
        let mut netstat = start("db-2", "{}");
        netstat.host().file_fails(path, files::Error::NotFound);
        assert!(netstat.tick().expect("a sample").contains_key(&format!("netstat.{kept}")), "{path}");
        assert!(
            !netstat.host().messages().iter().any(|message| message.starts_with("WARN")),
            "expected on some kernels"
        );
    }
    let nothing = Harness::<Netstat>::start(Host::new(), "{}").expect("no configuration").tick();
    assert_eq!(nothing, Err(Error::Unavailable("/proc/1/net/snmp does not exist".to_owned())));
}

/// The columns of `IcmpMsg` are the types that have occurred, and change while the kernel runs.
#[test]
fn message_types_come_and_go() {
    let mut netstat = start("db-2", r#"{"fields": {}}"#);
    netstat.host().file(SNMP, "IcmpMsg: InType3 OutType3\nIcmpMsg: 2293 2746\n");
    let sample = netstat.tick().expect("a sample");
    assert_eq!(sample[r#"netstat.IcmpMsg_InType_total{type="3"}"#], 2293);
    netstat.host().file(SNMP, "IcmpMsg: InType3 InType8 OutType0 OutType3\nIcmpMsg: 2294 5 5 2746\n");
    let sample = netstat.tick().expect("a sample");
    assert_eq!(sample[r#"netstat.IcmpMsg_OutType_total{type="0"}"#], 5);
    assert_eq!(sample[r#"netstat.IcmpMsg_OutType_total{type="3"}"#], 2746);
}

/// A sandbox of gVisor: the names of `TcpExt` without values, and neither sockets nor IPv6.
#[test]
fn sandbox_has_the_groups_with_values() {
    let mut host = Host::new();
    host.file(SNMP, "Tcp: CurrEstab RetransSegs\nTcp: 17 3\nIcmpMsg:\nIcmpMsg:\nUdp: InDatagrams\nUdp: 310\n");
    host.file(NETSTAT, "TcpExt: SyncookiesSent ListenDrops\n");
    let sample = Harness::<Netstat>::start(host, "{}").expect("no configuration").tick().expect("a sample");
    let expected = "netstat.Tcp_CurrEstab 17\nnetstat.Tcp_RetransSegs_total 3\nnetstat.Udp_InDatagrams_total 310\n";
    assert_eq!(sample.render(), expected);
}

/// In a container of LXC `/proc/meminfo` is the container's and `/proc/vmstat` the host's.
#[test]
fn virtual_memory_files_leave_the_page_size_known() {
    let mut host = Host::from_fixture("fixtures/web-1");
    host.file("/proc/meminfo", "Active(anon): 12 kB\nActive(file): 0 kB\n");
    host.file("/sys/devices/system/node/node0/vmstat", "nr_active_anon 1000\n");
    host.file("/sys/devices/system/node/node0/meminfo", "Node 0 Active(anon):      4000 kB\n");
    let sample = Harness::<Netstat>::start(host, "{}").expect("no configuration").tick().expect("a sample");
    let (Value::Natural(pages), Value::Natural(bytes)) =
        (&sample["netstat.sockstat_TCP_mem_pages"], &sample["netstat.sockstat_TCP_mem_bytes"])
    else {
        panic!("numbers");
    };
    assert_eq!(*bytes, pages * 4096);
}

#[test]
fn closed_sockets_need_all_their_parts() {
    let mut netstat = start("web-1", "{}");
    netstat.host().file(SOCKSTAT, "TCP: inuse 5 orphan 0 tw x alloc 9 mem 1\n");
    let sample = netstat.tick().expect("a sample");
    assert_eq!(
        (&sample["netstat.sockstat_TCP_alloc"], sample.get("netstat.sockstat_TCP_closed")),
        (&Value::Natural(9), None)
    );
}

#[test]
fn damaged_file_costs_only_its_metrics() {
    for machine in ["web-1", "db-2"] {
        let config = r#"{"fields": {}}"#;
        assert_damage_is_contained::<Netstat>(&Host::from_fixture(&format!("fixtures/{machine}")), config, |path| {
            match path {
                SNMP => &["Ip_*", "Icmp_*", "IcmpMsg_*", "Tcp_*", "Udp_*", "UdpLite_*"][..],
                NETSTAT => &["TcpExt_*", "IpExt_*", "MPTcpExt_*"],
                "/proc/1/net/snmp6" => &["Ip6_*", "Icmp6_*", "Udp6_*", "UdpLite6_*"],
                SOCKSTAT => &["sockstat_*"],
                "/proc/1/net/sockstat6" => &["sockstat_*6_*", "sockstat_TCP_closed"],
                "/proc/vmstat" | "/proc/meminfo" => &["sockstat_*_mem_bytes"],
                _ => &[],
            }
        });
    }
}

#[test]
fn unknown_page_size_is_retried_once_a_minute() {
    let mut netstat = Harness::<Netstat>::start(Host::from_fixture("fixtures/web-1"), "{}").expect("no configuration");
    netstat.host().file("/proc/meminfo", "Active(file): 1 kB\n");
    let has_bytes = |after: u64, netstat: &mut Harness<Netstat>| {
        let sample = netstat.tick_after(std::time::Duration::from_secs(after)).expect("a sample");
        sample.keys().any(|key| key.ends_with("mem_bytes"))
    };
    assert!(!has_bytes(0, &mut netstat), "the files disagree");
    let meminfo = std::fs::read_to_string("fixtures/web-1/proc/meminfo").expect("readable");
    netstat.host().file("/proc/meminfo", meminfo);
    assert!(!has_bytes(59, &mut netstat), "no new attempt yet");
    assert!(has_bytes(1, &mut netstat));
}

#[test]
fn readme_lists_metrics_and_settings() {
    assert_readme::<Netstat>();
}

#[test]
fn settings_are_declared_with_their_defaults() {
    assert_settings::<Netstat>("{}");
}
