//! The plugin with scripted servers.

use gauged_plugin::http::{self, Times};
use gauged_plugin::testing::{
    FIRST_TICK_UNIX_SECONDS, Harness, Host, REQUEST_FAILURES, assert_failures, assert_readme,
    assert_reply_damage_is_contained, assert_settings, expect, response, tls_session,
};
use gauged_plugin::{Capability, OsError, TlsSession, Value};

use super::*;

const SHOP: &str = "https://shop.example.org/health";
const API: &str = "http://127.0.0.1:8080/ping";

fn start(host: Host, config: &str) -> Harness<HttpCheck> {
    Harness::start(host, config).unwrap_or_else(|error| panic!("{config}: {error:?}"))
}

/// A plugin with a single target that returns this result.
fn single_target(config: &str, result: Result<Response, http::Error>) -> Harness<HttpCheck> {
    let mut host = Host::new();
    match result {
        Ok(response) => host.http(API, response),
        Err(error) => host.http_fails(API, error),
    };
    start(host, &format!(r#"{{"targets": [{{"name": "api", "url": "{API}"{config}}}]}}"#))
}

fn encrypted(session: TlsSession) -> Response {
    Response { tls: Some(session), ..response(200, "") }
}

/// The timeouts of the requests so far.
fn timeouts(checks: &mut Harness<HttpCheck>) -> Vec<Option<u32>> {
    let requests = checks.host().requests().iter();
    requests.map(|request| request.options.as_ref().and_then(|options| options.timeout_ms)).collect()
}

#[test]
fn targets_are_measured_independently() {
    let mut host = Host::new();
    let (now, day) = (FIRST_TICK_UNIX_SECONDS.cast_signed(), 86_400);
    let times = Times {
        resolve_ns: Some(3_000_000),
        connect_ns: 1_000_000,
        tls_ns: Some(4_000_000),
        first_byte_ns: 1_500_000,
        total_ns: 10_000_000,
    };
    let encrypted =
        Response { times, tls: Some(tls_session(now - day, now + 30 * day)), ..response(200, "all is well") };
    host.http(SHOP, Response { remote_address: "192.0.2.7:443".to_owned(), ..encrypted });
    host.http(API, response(503, "busy"));
    let config = format!(
        r#"{{"targets": [
            {{"name": "shop", "url": "{SHOP}", "contains": "well", "headers": {{"authorization": "Bearer x"}}}},
            {{"url": "{API}", "method": "POST", "timeout_ms": 100}},
            {{"name": "gone", "url": "http://127.0.0.1:1/"}}]}}"#
    );
    let mut checks = start(host, &config);
    expect![[r#"
        http_check.certificate_age_seconds{target="shop"} 86400
        http_check.certificate_expires_in_seconds{target="shop"} 2592000
        http_check.certificate_issuer{target="shop"} "CN=Example CA"
        http_check.certificate_subject{target="shop"} "CN=www.example.org"
        http_check.connect_seconds{target="http://127.0.0.1:8080/ping"} 0.001
        http_check.connect_seconds{target="shop"} 0.001
        http_check.failures_total{target="gone",reason="connect"} 1
        http_check.failures_total{target="http://127.0.0.1:8080/ping",reason="status"} 1
        http_check.failure{target="gone"} "connect"
        http_check.failure{target="http://127.0.0.1:8080/ping"} "status"
        http_check.first_byte_seconds{target="http://127.0.0.1:8080/ping"} 0.0005
        http_check.first_byte_seconds{target="shop"} 0.0015
        http_check.receive_seconds{target="http://127.0.0.1:8080/ping"} 0.0005
        http_check.receive_seconds{target="shop"} 0.0005
        http_check.remote_address{target="http://127.0.0.1:8080/ping"} "192.0.2.1:80"
        http_check.remote_address{target="shop"} "192.0.2.7:443"
        http_check.resolve_seconds{target="shop"} 0.003
        http_check.response_bytes{target="http://127.0.0.1:8080/ping"} 4
        http_check.response_bytes{target="shop"} 11
        http_check.status_code{target="http://127.0.0.1:8080/ping"} 503
        http_check.status_code{target="shop"} 200
        http_check.tls_seconds{target="shop"} 0.004
        http_check.tls_version{target="shop"} "1.3"
        http_check.total_seconds{target="http://127.0.0.1:8080/ping"} 0.002
        http_check.total_seconds{target="shop"} 0.01
        http_check.up{target="gone"} false
        http_check.up{target="http://127.0.0.1:8080/ping"} false
        http_check.up{target="shop"} true
    "#]]
    .assert_eq(&checks.tick().expect("a sample").render());

    let requests = checks.host().requests().to_vec();
    assert_eq!(requests[0].headers, [("authorization".to_owned(), "Bearer x".to_owned())]);
    assert_eq!((requests[1].method.as_str(), timeouts(&mut checks)[1]), ("POST", Some(100)));
    let origins: Vec<_> = checks.needs().into_iter().map(|need| need.capability.grant_line()).collect();
    let expected = ["https://shop.example.org", "http://127.0.0.1:8080", "http://127.0.0.1:1"];
    assert_eq!(origins, expected.map(|origin| format!("fetch = [\"{origin}\"]")));
    assert_eq!(
        checks.host().messages(),
        [
            "WARN http://127.0.0.1:8080/ping is down: http://127.0.0.1:8080/ping returned status 503, expected 200-299",
            "WARN gone is down: failed to reach http://127.0.0.1:1/: Connection refused (ECONNREFUSED)",
        ]
    );
}

#[test]
fn failures_have_different_reasons() {
    let text = || "some reason".to_owned();
    for (error, reason) in [
        (http::Error::Resolve(text()), "resolve"),
        (http::Error::Refused(OsError::new("ECONNREFUSED", "")), "connect"),
        (http::Error::Tls(text()), "tls"),
        (http::Error::TooLarge(4 << 20), "too_large"),
        (http::Error::Timeout, "timeout"),
        (http::Error::Protocol(text()), "protocol"),
    ] {
        let sample = single_target("", Err(error)).tick().expect("down is a measurement");
        assert_eq!(sample["http_check.up{target=\"api\"}"], false);
        assert_eq!(sample["http_check.failure{target=\"api\"}"], reason);
        assert_eq!(sample.len(), 3, "no metrics of a response: {sample:?}");
    }
}

#[test]
fn expected_status_and_body_decide_up() {
    for (config, status, body, failure) in [
        ("", 200, "", None),
        ("", 299, "", None),
        ("", 301, "", Some("status")),
        (r#", "status": 301"#, 301, "", None),
        (r#", "status": "200-399""#, 301, "", None),
        (r#", "status": "401""#, 200, "", Some("status")),
        (r#", "contains": "ok""#, 200, "it is ok", None),
        (r#", "contains": "ok""#, 200, "o k", Some("body")),
        (r#", "contains": "ok""#, 200, "", Some("body")),
        (r#", "contains": "ok", "status": 500"#, 200, "ok", Some("status")),
    ] {
        let sample = single_target(config, Ok(response(status, body))).tick().expect("a sample");
        assert_eq!(sample["http_check.up{target=\"api\"}"], failure.is_none(), "{config}");
        let expected = failure.map(|failure| Value::Text(failure.to_owned()));
        assert_eq!(sample.get("http_check.failure{target=\"api\"}"), expected.as_ref(), "{config}");
    }
    // A body may be binary.
    let mut checks = single_target(r#", "contains": "\u00e4""#, Ok(response(200, b"\xff\xc3\xa4\x00".to_vec())));
    assert_eq!(checks.tick().expect("a sample")["http_check.up{target=\"api\"}"], true);
}

#[test]
fn any_body_with_an_expected_status_means_up() {
    for body in [&b""[..], b"\0", b"\xff\xfe<html>", b"HTTP/1.1 500 Internal Server Error\r\n\r\n", &[0x55; 10_000]] {
        for status in [200, 204, 299] {
            let headers = vec![("\u{fffd}".to_owned(), "\0\r\n".to_owned())];
            let times = Times { first_byte_ns: u64::MAX, total_ns: u64::MAX, ..response(status, "").times };
            let odd = Response { headers, times, ..response(status, body.to_vec()) };
            let sample = single_target("", Ok(odd)).tick().expect("a sample");
            assert_eq!(sample["http_check.up{target=\"api\"}"], true);
            assert_eq!(sample["http_check.response_bytes{target=\"api\"}"], body.len() as u64);
        }
    }
}

#[test]
fn damaged_body_costs_only_its_size() {
    let body = b"<html>\n<head><title>Shop 7</title></head>\n<body>12 orders: ok</body>\n</html>\n";
    let sample = |body: &[u8]| single_target("", Ok(response(200, body))).tick().expect("a sample");
    assert_reply_damage_is_contained(body, sample, |_| vec!["response_bytes{*".to_owned()]);
    // A text that is expected is in a line of its own, and other lines do not matter.
    let contains = |body: &[u8]| single_target(r#", "contains": "ok""#, Ok(response(200, [body, b"ok\n"].concat())));
    let sample = |body: &[u8]| contains(body).tick().expect("a sample");
    assert_reply_damage_is_contained(body, sample, |_| vec!["response_bytes{*".to_owned()]);
}

#[test]
fn recovered_target_keeps_its_failure_count() {
    let mut checks = single_target("", Err(http::Error::Timeout));
    for count in 1..=2_u64 {
        let sample = checks.tick().expect("a sample");
        assert_eq!(sample["http_check.failures_total{target=\"api\",reason=\"timeout\"}"], count);
    }
    checks.host().http(API, response(200, ""));
    let sample = checks.tick().expect("a sample");
    assert_eq!(sample["http_check.up{target=\"api\"}"], true);
    assert_eq!(sample.get("http_check.failure{target=\"api\"}"), None);
    assert_eq!(sample["http_check.failures_total{target=\"api\",reason=\"timeout\"}"], 2);
    let down = format!("WARN api is down: {API} did not respond in time");
    assert_eq!(checks.host().messages(), [down, "INFO api is up again".to_owned()]);
}

#[test]
fn targets_share_the_budget_equally() {
    let names: Vec<String> = (0..10).map(|at| format!(r#"{{"url": "http://h{at}/"}}"#)).collect();
    let mut checks = start(Host::new(), &format!("{{\"targets\": [{}]}}", names.join(",")));
    checks.tick().expect("a sample");
    let timeouts = timeouts(&mut checks);
    let is_equal = |timeout: &Option<u32>| matches!(timeout, Some(87..=88));
    assert!(timeouts.len() == 10 && timeouts.iter().all(is_equal), "without a clock: {timeouts:?}");
}

#[test]
fn certificate_expiry_is_relative_to_the_tick() {
    let now = FIRST_TICK_UNIX_SECONDS.cast_signed();
    for (not_before, not_after, [age, expiry]) in [
        (now - 50, now + 100, [50, 100]),
        (now + 7, now - 1, [-7, -1]),
        (i64::MIN, i64::MAX, [i64::MAX, i64::MAX - now]),
    ] {
        let mut checks = single_target("", Ok(encrypted(tls_session(not_before, not_after))));
        let sample = checks.tick().expect("a sample");
        assert_eq!(sample["http_check.certificate_age_seconds{target=\"api\"}"], age);
        assert_eq!(sample["http_check.certificate_expires_in_seconds{target=\"api\"}"], expiry);
    }
}

#[test]
fn long_names_in_certificates_are_cut() {
    let mut session = tls_session(0, 0);
    session.certificate.subject = "CN=".to_owned() + &"ä".repeat(30_000);
    let sample = single_target("", Ok(encrypted(session))).tick().expect("a sample");
    let expected = "CN=".to_owned() + &"ä".repeat(510);
    assert_eq!(sample["http_check.certificate_subject{target=\"api\"}"], &*expected);
    assert_eq!(sample["http_check.certificate_issuer{target=\"api\"}"], "CN=Example CA");
}

#[test]
fn targets_may_be_behind_unix_sockets() {
    let mut host = Host::new();
    let mut socket = response(200, "OK");
    (socket.times.connect_ns, socket.remote_address) = (20_000, "unix:/run/docker.sock".to_owned());
    host.http("unix:/run/docker.sock http://docker/_ping", socket);
    let target = r#""url": "http://docker/_ping", "unix_socket": "/run/docker.sock""#;
    let mut checks = start(
        host,
        &format!(r#"{{"targets": [{{"name": "docker", {target}}}, {{"name": "post", "method": "POST", {target}}}]}}"#),
    );
    let sample = checks.tick().expect("a sample");
    assert_eq!(sample["http_check.up{target=\"docker\"}"], true);
    assert_eq!(sample["http_check.remote_address{target=\"docker\"}"], "unix:/run/docker.sock");
    let grants: Vec<_> = checks.needs().into_iter().map(|need| need.capability.target).collect();
    assert_eq!(grants, ["unix:/run/docker.sock", "unix:/run/docker.sock POST"]);
    checks.host().deny(&Capability::fetch_unix("/run/docker.sock", &["POST"]));
    let sample = checks.tick().expect("the other target");
    assert!(sample.keys().all(|key| key.contains("docker")), "{sample:?}");
}

#[test]
fn missing_grant_affects_only_its_target() {
    let config = format!(r#"{{"targets": [{{"url": "{API}"}}, {{"url": "{SHOP}"}}]}}"#);
    let mut host = Host::new();
    host.http(SHOP, response(200, "")).deny(&Capability::fetch("http://127.0.0.1:8080"));
    let sample = start(host.clone(), &config).tick().expect("the granted target");
    assert!(sample.keys().all(|key| key.contains(SHOP)), "{sample:?}");
    host.deny(&Capability::fetch("https://shop.example.org"));
    let error = start(host, &config).tick().expect_err("nothing is granted");
    assert_eq!(error, Error::Denied(Need::fetch("http://127.0.0.1:8080", &format!("check {API}"))));
}

#[test]
fn invalid_settings_name_their_key() {
    let target = |rest: &str| format!(r#"{{"targets": [{{"url": "http://a/"}}, {{{rest}}}]}}"#);
    for (config, key, message) in [
        ("{}".to_owned(), "targets", "list at least one target"),
        (r#"{"targets": []}"#.to_owned(), "targets", "list at least one target"),
        (r#"{"target": []}"#.to_owned(), "target", "unknown key"),
        (target(""), "targets[1].url", "is missing"),
        (target(r#""url": "a:80""#), "targets[1].url", "must start with http:// or https://"),
        (
            target(r#""url": "http://u:secret@b/", "name": "b""#),
            "targets[1].url",
            "must not have a user and a password before the host, where labels and the log show them; write a header `authorization`",
        ),
        (target(r#""url": "http://a/""#), "targets[1].name", "is used twice"),
        (target(r#""url": "http://b/", "name": """#), "targets[1].name", "1 to 1024 characters"),
        (target(r#""url": "http://b/", "status": 99"#), "targets[1].status", "is 99; expected a status such as 200"),
        (target(r#""url": "http://b/", "status": "300-200""#), "targets[1].status", "is \"300-200\"; expected"),
        (target(r#""url": "http://b/", "status": "ok""#), "targets[1].status", "is \"ok\"; expected"),
        (target(r#""url": "http://b/", "contains": """#), "targets[1].contains", "is empty"),
        (target(r#""url": "http://b/", "contains": "x", "method": "HEAD""#), "targets[1].contains", "has no body"),
        (target(r#""url": "http://b/", "timeout_ms": 0"#), "targets[1].timeout_ms", "must be at least 1"),
        (target(r#""url": "http://b/", "header": {}"#), "targets[1].header", "unknown key"),
    ] {
        let Err(Error::InvalidConfig(errors)) = Harness::<HttpCheck>::start(Host::new(), &config) else {
            panic!("{config} is valid");
        };
        assert_eq!(errors[0].key, key, "{config}");
        assert!(errors[0].message.contains(message), "{config}: {}", errors[0].message);
    }
    let many: Vec<String> = (0..101).map(|at| format!(r#"{{"url": "http://h{at}/"}}"#)).collect();
    let many = Harness::<HttpCheck>::start(Host::new(), &format!("{{\"targets\": [{}]}}", many.join(",")));
    assert!(matches!(many, Err(Error::InvalidConfig(_))));
    // A URL that only the agent rejects.
    let why = "the URL \"http:// /\" has spaces".to_owned();
    let invalid = single_target("", Err(http::Error::InvalidRequest(why.clone()))).tick();
    assert_eq!(invalid, Err(Error::invalid("targets[0]", why)));
}

#[test]
fn readme_lists_metrics_and_settings() {
    assert_readme::<HttpCheck>();
    assert_failures::<HttpCheck>(REQUEST_FAILURES);
}

#[test]
fn settings_are_declared_with_their_defaults() {
    assert_settings::<HttpCheck>("{}");
}
