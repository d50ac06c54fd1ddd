//! The plugin and servers of every kind: old and new ones, masters and replicas, and those that are none.

use gauged_plugin::testing::{Conversation, Host, Running, hold_file, hold_readme};
use gauged_plugin::{Capability, Value, net};

use super::*;

const ADDRESS: &str = "127.0.0.1:6379";
const INFO: &str = "*1\r\n$4\r\nINFO\r\n";
const SMALL: &str = "redis_version:7.0.15\r\nrole:master\r\nkeyspace_hits:0\r\nkeyspace_misses:0\r\n";

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// A conversation in which INFO is asked for once.
fn answering(text: &str) -> Conversation {
    Conversation::new().expects(INFO).answers(bulk(text))
}

fn start(host: Host, config: &str) -> Running<Redis> {
    Running::start(host, config).unwrap_or_else(|error| panic!("{config}: {error:?}"))
}

/// A server on which these conversations take place, one a connection.
fn redis(conversations: impl IntoIterator<Item = Conversation>) -> Running<Redis> {
    let mut host = Host::new();
    for conversation in conversations {
        host.connection(ADDRESS, conversation);
    }
    start(host, "{}")
}

fn key(metric: &str) -> String {
    format!("redis.{metric}{{server=\"{ADDRESS}\"}}")
}

/// Why it is down, and what the log says of it.
fn down(redis: &mut Running<Redis>) -> (String, String) {
    let sample = redis.tick().expect("down is a measurement");
    assert_eq!(sample[&key("up")], false);
    assert!(sample.keys().all(|key| ["up{", "failure{", "failures_total{"].iter().any(|name| key.contains(name))));
    let Value::Text(failure) = &sample[&key("failure")] else { panic!("{sample:?}") };
    (failure.clone(), redis.host().messages().last().expect("a line").clone())
}

#[test]
fn releases_are_measured_as_their_fixtures_say() {
    for release in ["2.8", "7.0-master", "7.0-replica"] {
        let text = std::fs::read_to_string(format!("fixtures/{release}/info")).expect("there").replace('\n', "\r\n");
        let sample = redis([answering(&text)]).tick().expect("a sample");
        hold_file(&format!("fixtures/{release}/expected"), &sample.render());
    }
}

#[test]
fn a_connection_is_kept() {
    let twice = answering(SMALL).expects(INFO).answers(bulk(SMALL));
    let mut redis = redis([twice]);
    redis.tick().expect("a sample");
    assert_eq!(redis.tick().expect("on the same connection")[&key("up")], true);
}

#[test]
fn one_that_was_closed_is_made_anew_within_the_tick() {
    let broken = net::Error::Io("Connection reset by peer (os error 104)".to_owned());
    for end in [Conversation::closes, |conversation: Conversation| conversation.expects(INFO).closes()] {
        let mut redis = redis([end(answering(SMALL)), answering(SMALL)]);
        redis.tick().expect("a sample");
        assert_eq!(redis.tick().expect("a sample")[&key("up")], true);
        assert!(redis.host().messages().is_empty(), "nobody has to know");
    }
    let mut redis = redis([answering(SMALL).fails(broken), answering(SMALL)]);
    redis.tick().expect("a sample");
    assert_eq!(redis.tick().expect("a sample")[&key("up")], true);
}

#[test]
fn one_that_stops_is_down_and_comes_back() {
    let mut redis = redis([answering(SMALL).closes()]);
    assert_eq!(redis.tick().expect("a sample")[&key("up")], true);
    for count in 1..=2_u64 {
        assert_eq!(down(&mut redis).0, "connect");
        let failures = format!("redis.failures_total{{server=\"{ADDRESS}\",reason=\"connect\"}}");
        redis.host().connection_fails(ADDRESS, net::Error::Connect("Connection refused".to_owned()));
        assert_eq!(redis.tick().expect("a sample")[&failures], count * 2);
    }
    redis.host().connection(ADDRESS, answering(SMALL));
    redis.restarted();
    assert_eq!(redis.tick().expect("a sample")[&key("up")], true);
    let messages = redis.host().messages().to_vec();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert_eq!(messages[1], format!("INFO {ADDRESS} is up again"));
}

#[test]
fn it_hangs_at_any_point() {
    let half = bulk(SMALL);
    for conversation in [
        Conversation::new().expects(INFO),
        Conversation::new().fails(net::Error::Timeout),
        Conversation::new().expects(INFO).answers("$"),
        Conversation::new().expects(INFO).answers(&half[..half.len() / 2]),
        Conversation::new().expects(INFO).answers(&half[..half.len() - 1]),
    ] {
        let mut redis = redis([conversation, answering(SMALL)]);
        assert_eq!(down(&mut redis).0, "timeout");
        assert_eq!(redis.tick().expect("on another connection")[&key("up")], true);
    }
    // One that was kept and hangs is not asked twice in a tick: that would take twice as long.
    let mut redis = redis([answering(SMALL).expects(INFO), answering(SMALL)]);
    redis.tick().expect("a sample");
    assert_eq!(down(&mut redis).0, "timeout");
    assert_eq!(redis.tick().expect("on another connection")[&key("up")], true);
}

#[test]
fn an_answer_may_come_in_pieces() {
    let bytes = bulk(SMALL);
    let mut drops = Conversation::new().expects(INFO);
    for at in 0..bytes.len() {
        drops = drops.answers(&bytes[at..=at]);
    }
    assert_eq!(redis([drops]).tick().expect("a sample")[&key("up")], true);
}

#[test]
fn what_is_not_redis_is_told() {
    for (answer, why) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(), "this is not Redis: a reply begins with the byte 0x48"),
        ("\0\u{1}\u{2}".to_owned(), "begins with the byte 0x00"),
        ("$9999999999\r\n".to_owned(), "announces \"9999999999\" bytes"),
        (bulk("hello"), "INFO is answered without a redis_version"),
        (bulk("redis_version:7.0.15\r\nused_memory:lots\r\n"), "INFO is answered with used_memory:lots"),
        (bulk("redis_version:7.0.15\r\nlatest_fork_usec:-5\r\n"), "INFO is answered with latest_fork_usec:-5"),
        (bulk("redis_version:7.0.15\r\nused_cpu_sys:1e9\r\n"), "INFO is answered with used_cpu_sys:1e9"),
        (bulk(SMALL) + "+OK\r\n", "it says more than it is asked"),
    ] {
        let (failure, log) = down(&mut redis([Conversation::new().expects(INFO).answers(answer)]));
        assert_eq!(failure, "protocol");
        assert!(log.contains(why), "{log}");
    }
    let (failure, log) = down(&mut redis([Conversation::new().expects(INFO).answers("$100\r\nredis").closes()]));
    assert!(failure == "closed" && log.contains("closes the connection after 11 bytes of a reply"), "{log}");
}

#[test]
fn twice_the_same_figure_is_one() {
    let text = format!("{SMALL}used_memory:1\r\nused_memory:2\r\n");
    assert_eq!(redis([answering(&text)]).tick().expect("a sample")[&key("memory_used_bytes")], 1);
}

#[test]
fn databases_and_replicas_are_few_and_each_is_told_once() {
    let lines = |at: u32| {
        let [.., third, fourth] = at.to_be_bytes();
        format!("db{at}:keys={at},expires=0\r\nslave{at}:ip=10.0.{third}.{fourth},port=6379,lag=1\r\n")
    };
    let mut text = (0..1000).map(lines).fold(SMALL.to_owned(), |text, lines| text + &lines);
    text += "db7:keys=1\r\nslave1000:ip=10.0.0.7,port=6379,lag=9\r\n";
    let twice = answering(&text).expects(INFO).answers(bulk(&text));
    let mut redis = redis([twice]);
    for _ in 0..2 {
        let sample = redis.tick().expect("a sample");
        let count = |metric: &str| sample.keys().filter(|key| key.starts_with(metric)).count();
        assert_eq!(
            (count("redis.keys{"), count("redis.replica_lag_seconds{")),
            (info::DATABASES, info::LISTED_REPLICAS)
        );
        assert_eq!(sample[&format!("redis.keys{{server=\"{ADDRESS}\",db=\"7\"}}")], 7);
    }
    let why = format!("WARN {ADDRESS} has more than 64 databases or 32 replicas, and the others are left out");
    assert_eq!(redis.host().messages(), [why]);
}

#[test]
fn one_that_is_there_twice_leaves_nothing_out() {
    let lines = "db0:keys=1\r\ndb0:keys=2\r\nslave0:ip=a,port=1,lag=3\r\nslave1:ip=a,port=1,lag=4\r\n";
    let mut redis = redis([answering(&format!("{SMALL}{lines}"))]);
    let sample = redis.tick().expect("a sample");
    assert_eq!(sample[&format!("redis.keys{{server=\"{ADDRESS}\",db=\"0\"}}")], 1);
    assert_eq!(sample[&format!("redis.replica_lag_seconds{{server=\"{ADDRESS}\",replica=\"a:1\"}}")], 3);
    assert!(redis.host().messages().is_empty());
}

#[test]
fn what_it_refuses_has_a_name_and_a_remedy() {
    for (error, reason, remedy) in [
        ("-NOAUTH Authentication required.\r\n", "auth", "set `password`"),
        ("-NOPERM this user has no permissions to run the 'info' command\r\n", "auth", "+info"),
        ("-LOADING Redis is loading the dataset in memory\r\n", "loading", "reading its data"),
        ("-BUSY Redis is busy running a script.\r\n", "busy", "a script"),
        ("-ERR max number of clients reached\r\n", "error", "(ERR max number of clients reached)"),
    ] {
        let (failure, log) = down(&mut redis([Conversation::new().expects(INFO).answers(error)]));
        assert_eq!(failure, reason, "{error}");
        assert!(log.contains(remedy), "{log}");
    }
    let long = format!("-ERR {}\r\n", "x".repeat(3000));
    assert!(down(&mut redis([Conversation::new().expects(INFO).answers(long)])).1.len() < 400);
}

#[test]
fn a_password_is_sent_before_anything_else_and_never_shown() {
    let config = |rest: &str| format!(r#"{{"servers": [{{"address": "{ADDRESS}", {rest}}}]}}"#);
    let auth = "*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n";
    let user = "*3\r\n$4\r\nAUTH\r\n$7\r\nmonitor\r\n$6\r\nsecret\r\n";
    for (rest, sent) in [(r#""password": "secret""#, auth), (r#""username": "monitor", "password": "secret""#, user)] {
        let mut host = Host::new();
        let accepts = Conversation::new().expects(sent).expects(INFO).answers("+OK\r\n").answers(bulk(SMALL));
        host.connection(ADDRESS, accepts.expects(INFO).answers(bulk(SMALL)));
        let mut redis = start(host, &config(rest));
        for _ in 0..2 {
            assert_eq!(redis.tick().expect("once is enough")[&key("up")], true);
        }
        for (error, remedy) in [
            ("-WRONGPASS invalid username-password pair or user is disabled.\r\n", "does not accept the password"),
            ("-ERR invalid password\r\n", "does not accept the password"),
            ("-ERR Client sent AUTH, but no password is set\r\n", "or remove both"),
        ] {
            let mut host = Host::new();
            let answers = format!("{error}-NOAUTH Authentication required.\r\n");
            host.connection(ADDRESS, Conversation::new().expects(sent).expects(INFO).answers(answers));
            let mut redis = start(host, &config(rest));
            let (failure, log) = down(&mut redis);
            assert!(failure == "auth" && log.contains(remedy), "{log}");
            assert!(!format!("{log}{:?}{:?}", redis.needs(), redis.plugin().servers[0].access).contains("secret"));
        }
    }
}

#[test]
fn one_that_hangs_up_before_it_is_asked_is_heard() {
    let denied = "-DENIED Redis is running in protected mode because protected mode is enabled\r\n";
    let (failure, log) = down(&mut redis([Conversation::new().expects(INFO).answers(denied).closes()]));
    assert!(failure == "protected" && log.contains("in protected mode"), "{log}");
}

#[test]
fn the_hit_ratio_is_that_of_the_tick() {
    let lookups = |hits: u64, misses: u64| {
        bulk(&format!("redis_version:1\r\nkeyspace_hits:{hits}\r\nkeyspace_misses:{misses}\r\n"))
    };
    let mut conversation = Conversation::new();
    for (hits, misses) in [(1000, 0), (1030, 10), (1030, 10), (5, 0), (u64::MAX, u64::MAX)] {
        conversation = conversation.expects(INFO).answers(lookups(hits, misses));
    }
    let mut redis = redis([conversation]);
    let mut tick = || redis.tick().expect("a sample").get(&key("keyspace_hit_percent")).cloned();
    assert_eq!(tick(), None, "the first has nothing to be compared with");
    assert_eq!(tick(), Some(Value::Float(75.0)));
    assert_eq!(tick(), None, "nothing was looked up");
    redis.restarted();
    assert_eq!(redis.tick().expect("a sample").get(&key("keyspace_hit_percent")), None, "it has restarted");
    let nonsense = redis.tick().expect("a sample").get(&key("keyspace_hit_percent")).cloned();
    assert!(matches!(nonsense, Some(Value::Float(percent)) if percent <= 100.0), "{nonsense:?}");
}

#[test]
fn several_are_asked_each_by_itself() {
    let config = r#"{"servers": [{"address": "a:1"}, {"address": "unix:/run/redis.sock"}, {"address": "c:1"}]}"#;
    let mut host = Host::new();
    host.connection("a:1", Conversation::new().expects(INFO)).connection("unix:/run/redis.sock", answering(SMALL));
    host.deny(&Capability::Connect("c:1".to_owned()));
    let mut redis = start(host, config);
    let sample = redis.tick().expect("those that are granted");
    assert_eq!(sample["redis.up{server=\"a:1\"}"], false);
    assert_eq!(sample["redis.up{server=\"unix:/run/redis.sock\"}"], true);
    assert_eq!(sample.get("redis.up{server=\"c:1\"}"), None);
    let needs: Vec<_> = redis.needs().iter().map(|need| need.capability.grant()).collect();
    assert_eq!(needs[1], "connect = [\"unix:/run/redis.sock\"]");
}

#[test]
fn what_is_wrong_in_the_configuration_is_told() {
    let many: Vec<String> = (0..17).map(|at| format!(r#"{{"address": "h{at}:1"}}"#)).collect();
    for (config, key) in [
        (r#"{"servers": []}"#.to_owned(), "servers"),
        (format!("{{\"servers\": [{}]}}", many.join(",")), "servers"),
        (r#"{"servers": [{"address": "a:1"}, {"address": "a:1"}]}"#.to_owned(), "servers[1].address"),
        (r#"{"servers": [{"address": "a:1", "username": "x"}]}"#.to_owned(), "servers[0].password"),
        (r#"{"servers": [{"password": "x"}]}"#.to_owned(), "servers[0].address"),
        (r#"{"server": "a:1"}"#.to_owned(), "server"),
    ] {
        let Err(Error::InvalidConfig(errors)) = Running::<Redis>::start(Host::new(), &config) else {
            panic!("{config} is right");
        };
        assert_eq!(errors[0].key, key, "{config}");
    }
    let mut host = Host::new();
    host.connection_fails("redis", net::Error::InvalidAddress("it has no port".to_owned()));
    let wrong = start(host, r#"{"servers": [{"address": "redis"}]}"#).tick();
    assert_eq!(wrong, Err(Error::invalid("servers[0].address", "it has no port")));
    let mut host = Host::new();
    host.deny(&Capability::Connect(ADDRESS.to_owned()));
    assert_eq!(start(host, "{}").tick(), Err(Error::Denied(Need::connect(ADDRESS, "ask Redis for its figures"))));
}

#[test]
fn the_readme_tells_what_is_measured() {
    hold_readme::<Redis>();
}
