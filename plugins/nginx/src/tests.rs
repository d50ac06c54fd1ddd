//! The plugin with scripted servers.

use gauged_plugin::testing::{
    Harness, Host, REQUEST_FAILURES, assert_failures, assert_readme, assert_reply_damage_is_contained, assert_settings,
    expect, response,
};
use gauged_plugin::{Capability, OsError, Value, http};

use super::*;

const URL: &str = "http://127.0.0.1:8080/stub_status";

const PAGE: &str = "Active connections: 291 \nserver accepts handled requests\n 16630948 16630945 31070465 \n\
                    Reading: 6 Writing: 179 Waiting: 106 \n";

fn nginx(page: &str) -> Harness<Nginx> {
    let mut host = Host::new();
    host.http(URL, response(200, page));
    Harness::start(host, "{}").expect("no configuration")
}

/// The failure in the next sample, and the last log message.
fn down(nginx: &mut Harness<Nginx>) -> (String, String) {
    let sample = nginx.tick().expect("down is a measurement");
    assert_eq!(sample[&format!("nginx.up{{url=\"{URL}\"}}")], false);
    assert_eq!(sample.len(), 3, "no other metrics: {sample:?}");
    let Value::Text(failure) = &sample[&format!("nginx.failure{{url=\"{URL}\"}}")] else { panic!("{sample:?}") };
    (failure.clone(), nginx.host().messages().last().expect("a line").clone())
}

#[test]
fn status_page_is_measured() {
    let mut nginx = nginx(PAGE);
    assert!(!nginx.tick().expect("a sample").contains_key(&format!("nginx.requests_per_second{{url=\"{URL}\"}}")));
    nginx.host().http(URL, response(200, PAGE.replace("31070465", "31070565")));
    expect![[r#"
        nginx.connections_accepted_total{url="http://127.0.0.1:8080/stub_status"} 16630948
        nginx.connections_active{url="http://127.0.0.1:8080/stub_status"} 291
        nginx.connections_handled_total{url="http://127.0.0.1:8080/stub_status"} 16630945
        nginx.connections_reading{url="http://127.0.0.1:8080/stub_status"} 6
        nginx.connections_waiting{url="http://127.0.0.1:8080/stub_status"} 106
        nginx.connections_writing{url="http://127.0.0.1:8080/stub_status"} 179
        nginx.requests_per_second{url="http://127.0.0.1:8080/stub_status"} 10
        nginx.requests_total{url="http://127.0.0.1:8080/stub_status"} 31070565
        nginx.up{url="http://127.0.0.1:8080/stub_status"} true
    "#]]
    .assert_eq(&nginx.tick().expect("a sample").render());
}

#[test]
fn restart_has_no_request_rate() {
    let mut nginx = nginx(PAGE);
    nginx.tick().expect("a sample");
    nginx.host().http(URL, response(200, PAGE.replace("31070465", "3")));
    nginx.allow_counter_reset();
    let sample = nginx.tick().expect("a sample");
    assert_eq!(sample.get(&format!("nginx.requests_per_second{{url=\"{URL}\"}}")), None);
}

#[test]
fn any_page_means_up() {
    let php_fpm = "pool:                 www\nprocess manager:      dynamic\naccepted conn:        6441\n\
                   idle processes:       54\nactive processes:     4\n";
    for page in ["", "<html><title>Welcome to nginx!</title>", "\u{0}\u{ff}", php_fpm, &"x ".repeat(10_000)] {
        let mut nginx = nginx(page);
        for _ in 0..2 {
            let sample = nginx.tick().expect("a sample");
            assert_eq!(sample[&format!("nginx.up{{url=\"{URL}\"}}")], true, "{page:?}");
            assert_eq!(sample.len(), 1, "no numbers: {sample:?}");
        }
        let why = "is a page without a status of nginx; enable stub_status there";
        let why = format!("WARN without all numbers: {URL} is malformed: {why}");
        assert_eq!(nginx.host().messages(), [why], "{page:?}");
    }
}

#[test]
fn damaged_line_costs_only_its_numbers() {
    let tengine = PAGE.replace("requests\n", "requests request_time\n").replace("31070465 ", "31070465 75806 ");
    let crlf = PAGE.replace('\n', "\r\n");
    for page in [PAGE, &tengine, &crlf] {
        let sample = |page: &[u8]| {
            let mut host = Host::new();
            host.http(URL, response(200, page));
            Harness::<Nginx>::start(host, "{}").expect("valid settings").tick().expect("a sample")
        };
        assert_reply_damage_is_contained(page.as_bytes(), sample, |line| {
            let metrics: &[&str] = match line.split([':', ' ']).next() {
                Some("") => &[],
                Some("Active") => &["connections_active{*"],
                Some("Reading") => &["connections_reading{*", "connections_writing{*", "connections_waiting{*"],
                // The names of the numbers, and the numbers.
                _ => &["connections_accepted_total{*", "connections_handled_total{*", "requests_total{*"],
            };
            metrics.iter().map(|&metric| metric.to_owned()).collect()
        });
    }
}

#[test]
fn impossible_number_is_left_out_and_reported_once() {
    // After a crash of a worker nginx counts below zero.
    let mut nginx = nginx(&PAGE.replace("179", "18446744073709551614"));
    for _ in 0..2 {
        let sample = nginx.tick().expect("a sample");
        assert_eq!(sample.get(&format!("nginx.connections_writing{{url=\"{URL}\"}}")), None);
        assert_eq!(sample[&format!("nginx.connections_waiting{{url=\"{URL}\"}}")], 106);
    }
    let why = "has no number, or an impossible one, for Writing";
    assert_eq!(nginx.host().messages(), [format!("WARN without Writing: {URL} is malformed: {why}")]);
}

#[test]
fn server_recovers_from_each_failure() {
    let mut nginx = nginx(PAGE);
    for (error, reason) in [
        (http::Error::Timeout, "timeout"),
        (http::Error::Refused(OsError::new("ECONNREFUSED", "Connection refused")), "connect"),
        (http::Error::Protocol("ended early".to_owned()), "protocol"),
        (http::Error::TooLarge(4 << 20), "too_large"),
    ] {
        let mut failing = Harness::<Nginx>::start(Host::new(), "{}").expect("valid settings");
        failing.host().http_fails(URL, error.clone());
        assert_eq!(down(&mut failing).0, reason);
        nginx.host().http_fails(URL, error);
        nginx.tick().expect("down is a measurement");
    }
    nginx.host().http(URL, response(404, "Not Found"));
    let sample = nginx.tick().expect("down is a measurement");
    assert_eq!(sample[&format!("nginx.failure{{url=\"{URL}\"}}")], "status");
    assert_eq!(sample.iter().filter(|(key, _)| key.contains("failures_total")).count(), 5);

    nginx.host().http(URL, response(200, PAGE));
    assert_eq!(nginx.tick().expect("a sample")[&format!("nginx.up{{url=\"{URL}\"}}")], true);
    assert_eq!(nginx.host().messages().last().expect("a line"), &format!("INFO {URL} is up again"));
}

#[test]
fn missing_grant_and_invalid_url_are_errors() {
    let mut host = Host::new();
    host.deny(&Capability::fetch("http://127.0.0.1:8080"));
    let denied = Harness::<Nginx>::start(host, "{}").expect("valid settings").tick();
    assert_eq!(denied, Err(Error::Denied(Need::fetch("http://127.0.0.1:8080", "read the status of nginx"))));

    let mut host = Host::new();
    host.http_fails("nginx", http::Error::InvalidRequest("the URL \"nginx\" has no scheme".to_owned()));
    let wrong = Harness::<Nginx>::start(host, r#"{"urls": ["nginx"]}"#).expect("only the agent rejects it").tick();
    assert_eq!(wrong, Err(Error::invalid("urls[0]", "the URL \"nginx\" has no scheme")));

    for (config, key, message) in [
        (r#"{"urls": []}"#, "urls", "has 0 URLs"),
        (r#"{"urls": ["http://a/", "http://b/", "http://a/"]}"#, "urls[2]", "is listed twice"),
        (r#"{"urls": ["http://a/u@b", "http://u:secret@a/"]}"#, "urls[1]", "must not have a user and a password"),
        (r#"{"url": "http://a/"}"#, "url", "unknown key"),
    ] {
        let Err(Error::InvalidConfig(errors)) = Harness::<Nginx>::start(Host::new(), config) else {
            panic!("{config} is valid");
        };
        assert_eq!(errors[0].key, key);
        assert!(errors[0].message.starts_with(message), "{config}: {}", errors[0].message);
    }
}

#[test]
fn status_is_fetched_from_a_unix_socket() {
    let mut host = Host::new();
    host.http("unix:/run/nginx.sock http://nginx/status", response(200, "Active connections: 3\n"));
    let config = r#"{"urls": ["http://nginx/status"], "unix_socket": "/run/nginx.sock"}"#;
    let mut nginx = Harness::<Nginx>::start(host, config).expect("valid");
    assert_eq!(nginx.needs()[0].capability, Capability::fetch_unix("/run/nginx.sock", Capability::READING));
    assert_eq!(nginx.tick().expect("a sample")[r#"nginx.connections_active{url="http://nginx/status"}"#], 3_u64);
}

#[test]
fn readme_lists_metrics_and_settings() {
    assert_readme::<Nginx>();
    assert_failures::<Nginx>(REQUEST_FAILURES);
}

#[test]
fn requests_that_jump_have_no_rate() {
    let mut server = nginx(PAGE);
    server.tick().expect("a sample");
    server.host().http(URL, response(200, PAGE.replace("31070465", "9223372036854775807")));
    let sample = server.tick().expect("a sample");
    let key = |metric: &str| format!("nginx.{metric}{{url=\"{URL}\"}}");
    assert_eq!((sample.get(&key("requests_per_second")), &sample[&key("up")]), (None, &Value::Boolean(true)));
}

#[test]
fn settings_are_declared_with_their_defaults() {
    assert_settings::<Nginx>("{}");
}
