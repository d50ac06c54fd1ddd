//! The plugin with scripted servers: old and new ones, masters and replicas, and other programs.

use gauged_plugin::testing::{
    CONNECTION_FAILURES, Harness, Host, SampleMap, ScriptedConnection, assert_failures, assert_golden, assert_readme,
    assert_settings,
};
use gauged_plugin::{Capability, OsError, Value, net};

use super::*;

mod damage;
mod malformed;
mod worlds;

const ADDRESS: &str = "127.0.0.1:6379";
const INFO: &str = "*1\r\n$4\r\nINFO\r\n";
const SMALL: &str = "redis_version:7.0.15\r\nrole:master\r\nkeyspace_hits:0\r\nkeyspace_misses:0\r\n";

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// A connection with one INFO command.
fn info_reply(text: &str) -> ScriptedConnection {
    ScriptedConnection::new().expects(INFO).replies(bulk(text))
}

fn start(host: Host, config: &str) -> Harness<Redis> {
    Harness::start(host, config).unwrap_or_else(|error| panic!("{config}: {error:?}"))
}

/// A server that accepts these connections in order.
fn redis(connections: impl IntoIterator<Item = ScriptedConnection>) -> Harness<Redis> {
    let mut host = Host::new();
    for connection in connections {
        host.connection(ADDRESS, connection);
    }
    start(host, "{}")
}

fn key(metric: &str) -> String {
    format!("redis.{metric}{{server=\"{ADDRESS}\"}}")
}

/// The failure in the next sample, and the last log message.
fn down(redis: &mut Harness<Redis>) -> (String, String) {
    let sample = redis.tick().expect("down is a measurement");
    assert_eq!(sample[&key("up")], false);
    assert!(sample.keys().all(|key| ["up{", "failure{", "failures_total{"].iter().any(|name| key.contains(name))));
    let Value::Text(failure) = &sample[&key("failure")] else { panic!("{sample:?}") };
    (failure.clone(), redis.host().messages().last().expect("a line").clone())
}

#[test]
fn releases_match_their_golden_files() {
    let releases = ["2.8", "7.0-master", "7.0-replica"];
    let others = ["garnet", "keydb-two-masters", "kvrocks", "dragonfly", "pika"];
    for release in releases.into_iter().chain(others) {
        let text = std::fs::read_to_string(format!("fixtures/{release}/info")).expect("there").replace('\n', "\r\n");
        let sample = redis([info_reply(&text)]).tick().expect("a sample");
        assert_golden(&format!("fixtures/{release}/expected"), &sample.render());
    }
}

#[test]
fn connection_is_reused() {
    let twice = info_reply(SMALL).expects(INFO).replies(bulk(SMALL));
    let mut redis = redis([twice]);
    redis.tick().expect("a sample");
    assert_eq!(redis.tick().expect("on the same connection")[&key("up")], true);
}

#[test]
fn closed_connection_is_reopened_within_the_tick() {
    let broken = net::Error::Reset(OsError::new("ECONNRESET", "Connection reset by peer"));
    for end in [ScriptedConnection::closes, |connection: ScriptedConnection| connection.expects(INFO).closes()] {
        let mut redis = redis([end(info_reply(SMALL)), info_reply(SMALL)]);
        redis.tick().expect("a sample");
        assert_eq!(redis.tick().expect("a sample")[&key("up")], true);
        assert!(redis.host().messages().is_empty(), "no message");
    }
    let mut redis = redis([info_reply(SMALL).fails(broken), info_reply(SMALL)]);
    redis.tick().expect("a sample");
    assert_eq!(redis.tick().expect("a sample")[&key("up")], true);
}

#[test]
fn stopped_server_is_down_until_it_returns() {
    let mut redis = redis([info_reply(SMALL).closes()]);
    assert_eq!(redis.tick().expect("a sample")[&key("up")], true);
    for count in 1..=2_u64 {
        assert_eq!(down(&mut redis).0, "connect");
        let failures = format!("redis.failures_total{{server=\"{ADDRESS}\",reason=\"connect\"}}");
        redis.host().connection_fails(ADDRESS, net::Error::Refused(OsError::new("ECONNREFUSED", "Connection refused")));
        assert_eq!(redis.tick().expect("a sample")[&failures], count * 2);
    }
    redis.host().connection(ADDRESS, info_reply(SMALL));
    redis.allow_counter_reset();
    assert_eq!(redis.tick().expect("a sample")[&key("up")], true);
    let messages = redis.host().messages().to_vec();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert_eq!(messages[1], format!("INFO {ADDRESS} is up again"));
}

#[test]
fn hang_at_any_point_is_a_timeout() {
    let half = bulk(SMALL);
    for connection in [
        ScriptedConnection::new().expects(INFO),
        ScriptedConnection::new().fails(net::Error::Timeout),
        ScriptedConnection::new().expects(INFO).replies("$"),
        ScriptedConnection::new().expects(INFO).replies(&half[..half.len() / 2]),
        ScriptedConnection::new().expects(INFO).replies(&half[..half.len() - 1]),
    ] {
        let mut redis = redis([connection, info_reply(SMALL)]);
        assert_eq!(down(&mut redis).0, "timeout");
        assert_eq!(redis.tick().expect("on another connection")[&key("up")], true);
    }
    // A kept connection that hangs is not retried in the same tick, which would take twice as long.
    let mut redis = redis([info_reply(SMALL).expects(INFO), info_reply(SMALL)]);
    redis.tick().expect("a sample");
    assert_eq!(down(&mut redis).0, "timeout");
    assert_eq!(redis.tick().expect("on another connection")[&key("up")], true);
}

#[test]
fn reply_may_arrive_in_pieces() {
    let bytes = bulk(SMALL);
    let mut connection = ScriptedConnection::new().expects(INFO);
    for at in 0..bytes.len() {
        connection = connection.replies(&bytes[at..=at]);
    }
    assert_eq!(redis([connection]).tick().expect("a sample")[&key("up")], true);
}

#[test]
fn foreign_protocols_are_a_protocol_failure() {
    for (reply, reason) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(), "not a Redis reply: a reply starts with byte 0x48"),
        ("\0\u{1}\u{2}".to_owned(), "starts with byte 0x00"),
        ("$9999999999\r\n".to_owned(), "has the length \"9999999999\""),
    ] {
        let (failure, log) = down(&mut redis([ScriptedConnection::new().expects(INFO).replies(reply)]));
        assert_eq!(failure, "protocol");
        assert!(log.contains(reason), "{log}");
    }
    let (failure, log) = down(&mut redis([ScriptedConnection::new().expects(INFO).replies("$100\r\nredis").closes()]));
    assert!(failure == "closed" && log.contains("the connection was closed after 11 bytes of a reply"), "{log}");
}

#[test]
fn duplicate_field_counts_once() {
    for lines in ["used_memory:1\r\nused_memory:2\r\n", "used_memory:lots\r\nused_memory:1\r\nused_memory:2\r\n"] {
        let sample = redis([info_reply(&[SMALL, lines].concat())]).tick().expect("a sample");
        assert_eq!(sample[&key("memory_used_bytes")], 1);
    }
}

/// The sample of a server with these lines of INFO.
fn sample_of(lines: &str) -> SampleMap {
    redis([info_reply(&[SMALL, lines].concat())]).tick().expect("a sample")
}

#[test]
fn odd_value_costs_only_its_metric() {
    let rest = "total_commands_processed:50\r\n# keyspace\ndb0:keys=5,expires=1,avg_ttl=0\r\n";
    for (line, metric, value) in [
        ("used_memory:55332M ", "memory_used_bytes", None),
        ("used_memory:lots", "memory_used_bytes", None),
        ("used_memory:18446744073709551600", "memory_used_bytes", None),
        ("used_memory:99999999999999999999999", "memory_used_bytes", None),
        ("used_memory:1048576.00", "memory_used_bytes", Some(Value::Natural(1 << 20))),
        ("used_memory:1.2e+06", "memory_used_bytes", Some(Value::Natural(1_200_000))),
        ("used_memory: 1048576\t", "memory_used_bytes", Some(Value::Natural(1 << 20))),
        ("mem_fragmentation_ratio:-nan", "memory_fragmentation_ratio", None),
        ("mem_fragmentation_ratio:inf", "memory_fragmentation_ratio", None),
        ("mem_fragmentation_ratio:-1.08", "memory_fragmentation_ratio", None),
        ("mem_fragmentation_ratio:up", "memory_fragmentation_ratio", None),
        ("used_cpu_sys:1.2e-05", "cpu_system_seconds_total", Some(Value::Number(1.2e-05))),
        ("used_cpu_sys:1e999", "cpu_system_seconds_total", None),
        ("rdb_changes_since_last_save:-12", "rdb_changes_since_last_save", None),
        ("latest_fork_usec:-5", "latest_fork_seconds", None),
        ("maxclients:", "max_clients", None),
        ("maxclients:N/A", "max_clients", None),
        ("connected_clients:4294967295", "connected_clients", None),
        ("master_last_io_seconds_ago:-2", "master_last_io_seconds", None),
        ("master_last_io_seconds_ago:1584362701", "master_last_io_seconds", None),
        ("uptime_in_seconds:1584362701", "uptime_seconds", None),
        ("loading:2", "loading", None),
        ("loading:yes", "loading", None),
        ("rdb_last_bgsave_status:unknown", "rdb_last_bgsave_ok", None),
        ("rdb_last_bgsave_status:OK", "rdb_last_bgsave_ok", Some(Value::Boolean(true))),
        ("master_link_status:connecting", "master_link_up", Some(Value::Boolean(false))),
        ("master_link_status:1", "master_link_up", None),
    ] {
        let sample = sample_of(&format!("{line}\r\n{rest}"));
        assert_eq!(sample.get(&key(metric)), value.as_ref(), "{line}");
        assert_eq!(
            (&sample[&key("up")], &sample[&key("commands_processed_total")]),
            (&Value::Boolean(true), &Value::Natural(50))
        );
        assert_eq!(sample[&format!("redis.keys{{server=\"{ADDRESS}\",db=\"0\"}}")], 5, "{line}");
    }
}

#[test]
fn odd_values_are_reported_once() {
    let lines = "used_memory:55332M \r\nmaxmemory:N/A\r\nrdb_last_save_time:-1\r\nused_cpu_sys:1,5\r\n";
    let text = [SMALL, lines].concat();
    let mut redis = redis([info_reply(&text).expects(INFO).replies(bulk(&text))]);
    assert_eq!([redis.tick().is_ok(), redis.tick().is_ok()], [true, true]);
    let why = [("used_memory", "55332M"), ("used_cpu_sys", "1,5")].map(|(field, value)| {
        format!("WARN without the metrics of {field}: {ADDRESS} is malformed: {field}:{value} is impossible or not understood")
    });
    assert_eq!(redis.host().messages(), why);
}

#[test]
fn wrapped_dataset_is_left_out() {
    for (dataset, value) in [
        // A difference that is negative: in 64 bits, and in 32 bits.
        ("18446744073623858012", None),
        ("4209277000", None),
        ("551167305", None),
        ("551167304", Some(Value::Natural(551_167_304))),
        ("1000", Some(Value::Natural(1000))),
    ] {
        let sample = sample_of(&format!("used_memory:551167304\r\nused_memory_dataset:{dataset}\r\n"));
        assert_eq!(sample.get(&key("memory_dataset_bytes")), value.as_ref(), "{dataset}");
        assert_eq!(sample[&key("memory_used_bytes")], 551_167_304);
    }
}

#[test]
fn several_masters_report_the_worst() {
    let master = |prefix: &str, status: &str, ago: &str, syncing: &str| {
        format!(
            "{prefix}_host:10.0.0.1\r\n{prefix}_link_status:{status}\r\n{prefix}_last_io_seconds_ago:{ago}\r\n\
             {prefix}_sync_in_progress:{syncing}\r\n"
        )
    };
    let (up, down) = (Some(Value::Boolean(true)), Some(Value::Boolean(false)));
    let number = |number| Some(Value::Natural(number));
    for (first, second, link, last_io, syncing) in [
        (["up", "0", "0"], ["up", "7", "0"], &up, number(7), number(0)),
        (["up", "0", "0"], ["down", "-1", "1"], &down, None, number(1)),
        (["down", "-1", "1"], ["up", "0", "0"], &down, None, number(1)),
        (["up", "3", "0"], ["odd", "N/A", "no"], &None, None, None),
        (["odd", "", ""], ["down", "9", "1"], &down, None, number(1)),
    ] {
        for prefix in ["master", "master_1", "master_12"] {
            let lines = [("master", first), (prefix, second)]
                .map(|(prefix, [status, ago, syncing])| master(prefix, status, ago, syncing));
            let sample = sample_of(&lines.concat());
            let got = |metric| sample.get(&key(metric)).cloned();
            let all = (got("master_link_up"), got("master_last_io_seconds"), got("master_sync_in_progress"));
            assert_eq!(all, (link.clone(), last_io.clone(), syncing.clone()), "{first:?} {prefix} {second:?}");
        }
    }
}

#[test]
fn replica_lines_of_every_form_are_read() {
    let replica = |metric: &str, address: &str| format!("redis.{metric}{{server=\"{ADDRESS}\",replica=\"{address}\"}}");
    for (line, online, lag) in [
        ("slave0:ip=10.0.0.1,port=6379,state=online,offset=5,lag=1", Some(true), Some(1_u64)),
        ("slave0:ip=10.0.0.1, port=6379, state=wait_bgsave, offset=0, lag=0", Some(false), Some(0)),
        ("slave0:10.0.0.1,6379,online", Some(true), None),
        ("slave0:ip=10.0.0.1,port=6379,conn_fd=12,lag=(db0:0)", None, None),
        ("slave0:ip=10.0.0.1,port=6379,state=paused,lag=1487664888", None, None),
        ("slave0:ip=10.0.0.1,port=6379,state=online,lag=1ms", Some(true), None),
    ] {
        let sample = sample_of(&format!("{line}\r\n"));
        let got = |metric| sample.get(&replica(metric, "10.0.0.1:6379")).cloned();
        assert_eq!(got("replica_online"), online.map(Value::Boolean), "{line}");
        assert_eq!(got("replica_lag_seconds"), lag.map(Value::Natural), "{line}");
    }
    for line in ["slave0:", "slave0:ip=,port=6379", "slave0:10.0.0.1", "slave0:N/A"] {
        assert!(!sample_of(&format!("{line}\r\n")).keys().any(|key| key.contains("replica=")), "{line}");
    }
}

#[test]
fn any_reply_to_info_means_up() {
    let long = format!("redis_version:{0}\r\nrole:{0}\r\ndb{0}:keys=1\r\nslave0:ip={0},port=1\r\n", "7".repeat(9000));
    for text in ["", "hello", "\0\u{1}", ":\r\n::\r\n#:", "-ERR in the middle\r\n", "redis_version:", &long] {
        let sample = redis([info_reply(text)]).tick().expect("a sample");
        assert_eq!(sample[&key("up")], true, "{text:?}");
    }
    for reply in ["$-1\r\n", "_\r\n", "+hello\r\n", "=9\r\ntxt:a:b\r\n\r\n", "$2\r\n\u{7ff}\r\n"] {
        let sample = redis([ScriptedConnection::new().expects(INFO).replies(reply)]).tick().expect("a sample");
        assert_eq!(sample[&key("up")], true, "{reply:?}");
    }
}

#[test]
fn data_after_the_reply_costs_only_the_connection() {
    let chatty = ScriptedConnection::new().expects(INFO).replies(bulk(SMALL) + "+OK\r\n");
    let mut redis = redis([chatty, info_reply(SMALL)]);
    for _ in 0..2 {
        assert_eq!(redis.tick().expect("on a connection of its own")[&key("up")], true);
    }
    assert!(redis.host().messages().is_empty());
}

#[test]
fn excess_databases_and_replicas_are_left_out() {
    let lines = |at: u32| {
        let [.., third, fourth] = at.to_be_bytes();
        format!("db{at}:keys={at},expires=0\r\nslave{at}:ip=10.0.{third}.{fourth},port=6379,lag=1\r\n")
    };
    let mut text = (0..1000).map(lines).fold(SMALL.to_owned(), |text, lines| text + &lines);
    text += "db7:keys=1\r\nslave1000:ip=10.0.0.7,port=6379,lag=9\r\n";
    let twice = info_reply(&text).expects(INFO).replies(bulk(&text));
    let mut redis = redis([twice]);
    for _ in 0..2 {
        let sample = redis.tick().expect("a sample");
        let count = |metric: &str| sample.keys().filter(|key| key.starts_with(metric)).count();
        assert_eq!(
            (count("redis.keys{"), count("redis.replica_lag_seconds{")),
            (info::MAX_DATABASES, info::MAX_REPLICAS)
        );
        assert_eq!(sample[&format!("redis.keys{{server=\"{ADDRESS}\",db=\"7\"}}")], 7);
    }
    let why = "64 databases or 32 replicas";
    let warning = format!("WARN without further databases and replicas: {ADDRESS} is truncated: has more than {why}");
    assert_eq!(redis.host().messages(), [warning]);
}

#[test]
fn duplicate_databases_and_replicas_cause_no_warning() {
    let lines = "db0:keys=1\r\ndb0:keys=2\r\nslave0:ip=a,port=1,lag=3\r\nslave1:ip=a,port=1,lag=4\r\n";
    let mut redis = redis([info_reply(&format!("{SMALL}{lines}"))]);
    let sample = redis.tick().expect("a sample");
    assert_eq!(sample[&format!("redis.keys{{server=\"{ADDRESS}\",db=\"0\"}}")], 1);
    assert_eq!(sample[&format!("redis.replica_lag_seconds{{server=\"{ADDRESS}\",replica=\"a:1\"}}")], 3);
    assert!(redis.host().messages().is_empty());
}

#[test]
fn error_replies_have_a_reason_and_a_remedy() {
    for (error, reason, remedy) in [
        ("-NOAUTH Authentication required.\r\n", "auth", "set `password`"),
        ("-NOPERM this user has no permissions to run the 'info' command\r\n", "auth", "+info"),
        ("-LOADING Redis is loading the dataset in memory\r\n", "loading", "the dataset is being loaded"),
        ("-BUSY Redis is busy running a script.\r\n", "busy", "a script is running"),
        ("-ERR max number of clients reached\r\n", "error", "(ERR max number of clients reached)"),
    ] {
        let (failure, log) = down(&mut redis([ScriptedConnection::new().expects(INFO).replies(error)]));
        assert_eq!(failure, reason, "{error}");
        assert!(log.contains(remedy), "{log}");
    }
    let long = format!("-ERR {}\r\n", "x".repeat(3000));
    assert!(down(&mut redis([ScriptedConnection::new().expects(INFO).replies(long)])).1.len() < 400);
}

#[test]
fn password_is_sent_first_and_never_shown() {
    let config = |rest: &str| format!(r#"{{"servers": [{{"address": "{ADDRESS}", {rest}}}]}}"#);
    let auth = "*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n";
    let user = "*3\r\n$4\r\nAUTH\r\n$7\r\nmonitor\r\n$6\r\nsecret\r\n";
    for (rest, sent) in [(r#""password": "secret""#, auth), (r#""username": "monitor", "password": "secret""#, user)] {
        let mut host = Host::new();
        let accepts = ScriptedConnection::new().expects(sent).expects(INFO).replies("+OK\r\n").replies(bulk(SMALL));
        host.connection(ADDRESS, accepts.expects(INFO).replies(bulk(SMALL)));
        let mut redis = start(host, &config(rest));
        for _ in 0..2 {
            assert_eq!(redis.tick().expect("once is enough")[&key("up")], true);
        }
        for (error, remedy) in [
            ("-WRONGPASS invalid username-password pair or user is disabled.\r\n", "the password was rejected"),
            ("-ERR invalid password\r\n", "the password was rejected"),
            ("-ERR Client sent AUTH, but no password is set\r\n", "or remove both"),
        ] {
            let mut host = Host::new();
            let replies = format!("{error}-NOAUTH Authentication required.\r\n");
            host.connection(ADDRESS, ScriptedConnection::new().expects(sent).expects(INFO).replies(replies));
            let mut redis = start(host, &config(rest));
            let (failure, log) = down(&mut redis);
            assert!(failure == "auth" && log.contains(remedy), "{log}");
            assert!(!format!("{log}{:?}{:?}", redis.needs(), redis.plugin().servers[0].settings).contains("secret"));
        }
    }
}

#[test]
fn error_before_an_early_close_is_reported() {
    let denied = "-DENIED Redis is running in protected mode because protected mode is enabled\r\n";
    let (failure, log) = down(&mut redis([ScriptedConnection::new().expects(INFO).replies(denied).closes()]));
    assert!(failure == "protected" && log.contains("protected mode accepts local clients only"), "{log}");
}

#[test]
fn hit_ratio_covers_one_tick() {
    let lookups = |hits: u64, misses: u64| {
        bulk(&format!("redis_version:1\r\nkeyspace_hits:{hits}\r\nkeyspace_misses:{misses}\r\n"))
    };
    let mut connection = ScriptedConnection::new();
    for (hits, misses) in [(1000, 0), (1030, 10), (1030, 10), (5, 0), (u64::MAX, u64::MAX)] {
        connection = connection.expects(INFO).replies(lookups(hits, misses));
    }
    let mut redis = redis([connection]);
    let mut tick = || redis.tick().expect("a sample").get(&key("keyspace_hit_percent")).cloned();
    assert_eq!(tick(), None, "no previous values");
    assert_eq!(tick(), Some(Value::Number(75.0)));
    assert_eq!(tick(), None, "no lookups");
    redis.allow_counter_reset();
    assert_eq!(redis.tick().expect("a sample").get(&key("keyspace_hit_percent")), None, "restarted");
    let sample = redis.tick().expect("a sample");
    assert_eq!(
        (&sample[&key("up")], sample.get(&key("keyspace_hit_percent"))),
        (&Value::Boolean(true), None),
        "wrapped"
    );
}

#[test]
fn servers_are_polled_independently() {
    let config = r#"{"servers": [{"address": "a:1"}, {"address": "unix:/run/redis.sock"}, {"address": "c:1"}]}"#;
    let mut host = Host::new();
    host.connection("a:1", ScriptedConnection::new().expects(INFO))
        .connection("unix:/run/redis.sock", info_reply(SMALL));
    host.deny(&Capability::connect("c:1"));
    let mut redis = start(host, config);
    let sample = redis.tick().expect("the granted servers");
    assert_eq!(sample["redis.up{server=\"a:1\"}"], false);
    assert_eq!(sample["redis.up{server=\"unix:/run/redis.sock\"}"], true);
    assert_eq!(sample.get("redis.up{server=\"c:1\"}"), None);
    let needs: Vec<_> = redis.needs().iter().map(|need| need.capability.grant_line()).collect();
    assert_eq!(needs[1], "connect = [\"unix:/run/redis.sock\"]");
}

#[test]
fn invalid_settings_name_their_key() {
    let many: Vec<String> = (0..17).map(|at| format!(r#"{{"address": "h{at}:1"}}"#)).collect();
    let server = |settings: &str| format!(r#"{{"servers": [{{{settings}}}]}}"#);
    let no_user = "must not have a user and a password before the host";
    for (config, key, message) in [
        (r#"{"servers": []}"#.to_owned(), "servers", "has 0 servers"),
        (format!("{{\"servers\": [{}]}}", many.join(",")), "servers", "has 17 servers"),
        (server(r#""address": "a:1"}, {"address": "a:1""#), "servers[1].address", "is listed twice"),
        (server(r#""address": "u:secret@a:1""#), "servers[0].address", no_user),
        (server(r#""address": "unix:/u@a"}, {"address": "redis://:secret@a:1/0""#), "servers[1].address", no_user),
        (server(r#""address": "a:1", "username": "x""#), "servers[0].password", "is missing"),
        (server(r#""password": "x""#), "servers[0].address", "is missing"),
        (r#"{"server": "a:1"}"#.to_owned(), "server", "unknown key"),
    ] {
        let Err(Error::InvalidConfig(errors)) = Harness::<Redis>::start(Host::new(), &config) else {
            panic!("{config} is valid");
        };
        assert_eq!(errors[0].key, key, "{config}");
        assert!(errors[0].message.starts_with(message), "{config}: {}", errors[0].message);
    }
    let mut host = Host::new();
    host.connection_fails("redis", net::Error::InvalidAddress("it has no port".to_owned()));
    let wrong = start(host, r#"{"servers": [{"address": "redis"}]}"#).tick();
    assert_eq!(wrong, Err(Error::invalid("servers[0].address", "it has no port")));
    let mut host = Host::new();
    host.deny(&Capability::connect(ADDRESS));
    assert_eq!(start(host, "{}").tick(), Err(Error::Denied(Need::connect(ADDRESS, "query statistics with INFO"))));
}

#[test]
fn readme_lists_metrics_and_settings() {
    assert_readme::<Redis>();
    assert_failures::<Redis>(CONNECTION_FAILURES);
}

#[test]
fn settings_are_declared_with_their_defaults() {
    assert_settings::<Redis>("{}");
}
