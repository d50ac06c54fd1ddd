//! The plugin with scripted servers: old and new ones, masters and replicas, and other programs.

use gauged_plugin::testing::{Harness, Host, ScriptedConnection, assert_golden, assert_readme_metrics};
use gauged_plugin::{Capability, Value, net};

use super::*;

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
    for release in ["2.8", "7.0-master", "7.0-replica"] {
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
    let broken = net::Error::Io("Connection reset by peer (os error 104)".to_owned());
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
        redis.host().connection_fails(ADDRESS, net::Error::Connect("Connection refused".to_owned()));
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
        (bulk("hello"), "the reply to INFO has no redis_version"),
        (
            bulk("redis_version:7.0.15\r\nused_memory:lots\r\n"),
            "the reply to INFO has an invalid value: used_memory:lots",
        ),
        (
            bulk("redis_version:7.0.15\r\nlatest_fork_usec:-5\r\n"),
            "the reply to INFO has an invalid value: latest_fork_usec:-5",
        ),
        (
            bulk("redis_version:7.0.15\r\nused_cpu_sys:1e9\r\n"),
            "the reply to INFO has an invalid value: used_cpu_sys:1e9",
        ),
        (bulk(SMALL) + "+OK\r\n", "more data than was requested"),
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
    let text = format!("{SMALL}used_memory:1\r\nused_memory:2\r\n");
    assert_eq!(redis([info_reply(&text)]).tick().expect("a sample")[&key("memory_used_bytes")], 1);
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
    let warning = format!("WARN {ADDRESS} has more than 64 databases or 32 replicas; the others are left out");
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
    assert_eq!(tick(), Some(Value::Float(75.0)));
    assert_eq!(tick(), None, "no lookups");
    redis.allow_counter_reset();
    assert_eq!(redis.tick().expect("a sample").get(&key("keyspace_hit_percent")), None, "restarted");
    let nonsense = redis.tick().expect("a sample").get(&key("keyspace_hit_percent")).cloned();
    assert!(matches!(nonsense, Some(Value::Float(percent)) if percent <= 100.0), "{nonsense:?}");
}

#[test]
fn servers_are_polled_independently() {
    let config = r#"{"servers": [{"address": "a:1"}, {"address": "unix:/run/redis.sock"}, {"address": "c:1"}]}"#;
    let mut host = Host::new();
    host.connection("a:1", ScriptedConnection::new().expects(INFO))
        .connection("unix:/run/redis.sock", info_reply(SMALL));
    host.deny(&Capability::Connect("c:1".to_owned()));
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
    for (config, key) in [
        (r#"{"servers": []}"#.to_owned(), "servers"),
        (format!("{{\"servers\": [{}]}}", many.join(",")), "servers"),
        (r#"{"servers": [{"address": "a:1"}, {"address": "a:1"}]}"#.to_owned(), "servers[1].address"),
        (r#"{"servers": [{"address": "a:1", "username": "x"}]}"#.to_owned(), "servers[0].password"),
        (r#"{"servers": [{"password": "x"}]}"#.to_owned(), "servers[0].address"),
        (r#"{"server": "a:1"}"#.to_owned(), "server"),
    ] {
        let Err(Error::InvalidConfig(errors)) = Harness::<Redis>::start(Host::new(), &config) else {
            panic!("{config} is valid");
        };
        assert_eq!(errors[0].key, key, "{config}");
    }
    let mut host = Host::new();
    host.connection_fails("redis", net::Error::InvalidAddress("it has no port".to_owned()));
    let wrong = start(host, r#"{"servers": [{"address": "redis"}]}"#).tick();
    assert_eq!(wrong, Err(Error::invalid("servers[0].address", "it has no port")));
    let mut host = Host::new();
    host.deny(&Capability::Connect(ADDRESS.to_owned()));
    assert_eq!(start(host, "{}").tick(), Err(Error::Denied(Need::connect(ADDRESS, "query statistics with INFO"))));
}

#[test]
fn readme_lists_the_metrics() {
    assert_readme_metrics::<Redis>();
}
