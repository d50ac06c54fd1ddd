//! Damaged replies to INFO: a line costs the metrics that it gives, and no other.

use gauged_plugin::testing::assert_reply_damage_is_contained;

use super::*;

/// The metrics that a line gives, as patterns.
fn given(line: &str) -> Vec<String> {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    let mut metrics: Vec<String> = METRICS
        .iter()
        .filter(|metric| !metric.source.is_empty() && metric.source == name)
        .map(|metric| format!("{}{{*", metric.name))
        .collect();
    let is_indexed = |kind: &str| name.strip_prefix(kind).is_some_and(|index| index.parse::<u32>().is_ok());
    let derived: &[&str] = match name {
        "redis_version" => &["version{*"],
        "role" => &["role{*", "master{*"],
        "latest_fork_usec" => &["latest_fork_seconds{*"],
        "maxmemory" => &["memory_used_percent{*"],
        "used_memory" => &["memory_used_percent{*", "memory_dataset_bytes{*"],
        // Servers with offsets and lags of other units.
        "kvrocks_version" | "dragonfly_version" | "garnet_version" | "pika_version" => {
            &["replication_offset_bytes{*", "replica_*"]
        }
        // Of several masters the worst counts.
        _ if name.starts_with("master_") => {
            &["master_link_up{*", "master_last_io_seconds{*", "master_sync_in_progress{*"]
        }
        _ => &[],
    };
    metrics.extend(derived.iter().map(|&metric| metric.to_owned()));
    if is_indexed("db") {
        metrics.push(format!("keys*db=\"{}\"*", &name["db".len()..]));
    } else if is_indexed("slave") {
        let field = |key: &str| value.split(',').find_map(|field| field.trim().strip_prefix(key)).unwrap_or("*");
        metrics.push(format!("replica_*replica=\"{}:{}\"*", field("ip="), field("port=")));
    }
    metrics
}

#[test]
fn damaged_line_costs_only_its_metrics() {
    for release in ["2.8", "7.0-replica", "keydb-two-masters", "dragonfly", "kvrocks"] {
        let text = std::fs::read_to_string(format!("fixtures/{release}/info")).expect("there").replace('\n', "\r\n");
        let sample = |text: &[u8]| {
            let reply = [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat();
            redis([ScriptedConnection::new().expects(INFO).replies(reply)]).tick().expect("a sample")
        };
        assert_reply_damage_is_contained(text.as_bytes(), sample, given);
    }
}

/// Proxies and forks wrap INFO in other forms of a reply: without a length that fits, with data after it, or with a verbatim
/// string.
#[test]
fn reply_of_every_form_means_up() {
    let text = "redis_version:7.2.4\r\nrole:master\r\nconnected_clients:5\r\n";
    for reply in [
        bulk(text),
        format!("={}\r\ntxt:{text}\r\n", text.len() + 4),
        bulk(text) + "+OK\r\n",
        bulk(&text.replace("\r\n", "\n")),
        bulk(&text.replace("role", "\u{feff}role")),
    ] {
        let sample = redis([ScriptedConnection::new().expects(INFO).replies(&reply)]).tick().expect("a sample");
        assert_eq!(
            (&sample[&key("up")], &sample[&key("connected_clients")]),
            (&Value::Boolean(true), &Value::Natural(5)),
            "{reply:?}"
        );
    }
}
