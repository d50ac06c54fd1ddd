//! Files and figures that are damaged in ways of their own, with what is still right.

use super::*;

/// Parts of replicas and databases that are not understood. Right: the others, and a report of each by the server's own name for it.
#[test]
fn odd_parts_are_reported_by_their_own_names() {
    let address = |at: u32| format!("ip=10.0.0.{at},port=6379");
    for (line, lost, kept, field, value) in [
        ("slave1:garbage".to_owned(), "", "", "slave1", "garbage"),
        (
            format!("slave1:{},state=weird,offset=7,lag=0", address(1)),
            "replica_online",
            "replica_lag_seconds",
            "slave1",
            "weird",
        ),
        (
            format!("slave1:{},state=online,offset=7,lag=99999999999", address(1)),
            "replica_lag_seconds",
            "replica_online",
            "slave1",
            "lag=99999999999",
        ),
        (
            format!("slave1:{},state=online,offset=x,lag=0", address(1)),
            "replica_offset_bytes",
            "replica_online",
            "slave1",
            "offset=x",
        ),
        ("db0:keys=x,expires=2,avg_ttl=5".to_owned(), "keys", "keys_expiring", "db0", "keys=x"),
        ("db0:garbage".to_owned(), "keys", "", "db0", "garbage"),
        ("master_1_link_status:weird".to_owned(), "master_link_up", "", "master_1_link_status", "weird"),
        ("latest_fork_usec:long".to_owned(), "latest_fork_seconds", "", "latest_fork_usec", "long"),
    ] {
        let mut server = redis([info_reply(&format!("{SMALL}{line}\r\n"))]);
        let sample = server.tick().expect("a sample");
        let has = |metric: &str| sample.keys().any(|key| key.starts_with(&format!("redis.{metric}{{")));
        assert!(lost.is_empty() || !has(lost), "{line}");
        assert!(kept.is_empty() || has(kept), "{line}");
        let why = format!(
            "WARN without the metrics of {field}: {ADDRESS} is malformed: {field}:{value} is impossible or not understood"
        );
        assert_eq!(server.host().warnings(), [why], "{line}");
    }
    for release in ["2.8", "7.0-master", "7.0-replica", "garnet", "keydb-two-masters", "kvrocks", "dragonfly", "pika"] {
        let text = std::fs::read_to_string(format!("fixtures/{release}/info")).expect("there").replace('\n', "\r\n");
        let mut server = redis([info_reply(&text)]);
        server.tick().expect("a sample");
        let parts = ["slave", "db", "latest_fork"].map(|part| format!("WARN without the metrics of {part}"));
        let is_of_part = |warning: &&str| parts.iter().any(|part| warning.starts_with(part));
        assert!(!server.host().warnings().iter().any(is_of_part), "{release}: {:?}", server.host().warnings());
    }
}
