//! The plugin and servers that answer, that do not, and that answer something else.

use gauged_plugin::testing::{Host, Running, expect, hold_readme, response};
use gauged_plugin::{Capability, Value, http};

use super::*;

const URL: &str = "http://127.0.0.1:8080/stub_status";

const PAGE: &str = "Active connections: 291 \nserver accepts handled requests\n 16630948 16630945 31070465 \n\
                    Reading: 6 Writing: 179 Waiting: 106 \n";

fn nginx(page: &str) -> Running<Nginx> {
    let mut host = Host::new();
    host.http(URL, response(200, page));
    Running::start(host, "{}").expect("it needs no configuration")
}

/// Why it is down, and what the log says of it.
fn down(nginx: &mut Running<Nginx>) -> (String, String) {
    let sample = nginx.tick().expect("down is a measurement");
    assert_eq!(sample[&format!("nginx.up{{url=\"{URL}\"}}")], false);
    assert_eq!(sample.len(), 3, "there is nothing else to be known: {sample:?}");
    let Value::Text(failure) = &sample[&format!("nginx.failure{{url=\"{URL}\"}}")] else { panic!("{sample:?}") };
    (failure.clone(), nginx.host().messages().last().expect("a line").clone())
}

#[test]
fn a_page_is_measured() {
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
fn a_restart_has_no_rate() {
    let mut nginx = nginx(PAGE);
    nginx.tick().expect("a sample");
    nginx.host().http(URL, response(200, PAGE.replace("31070465", "3")));
    nginx.restarted();
    let sample = nginx.tick().expect("a sample");
    assert_eq!(sample.get(&format!("nginx.requests_per_second{{url=\"{URL}\"}}")), None);
}

#[test]
fn what_others_add_is_passed_over() {
    let page = PAGE.replace("requests\n", "requests request_time\n").replace("31070465 ", "31070465 75806 ");
    let sample = nginx(&(page + "More: 1\n")).tick().expect("a sample");
    assert_eq!(sample[&format!("nginx.requests_total{{url=\"{URL}\"}}")], 31_070_465_u64);
}

#[test]
fn what_is_not_its_status_is_told() {
    for (page, why) in [
        ("", "ends too early"),
        ("<html><title>Welcome to nginx!</title>", "has \"<html><title>Welcome\" where Active should be"),
        ("Active connections: many\n", "many is not a number (active connections)"),
        ("Active connections: 1\nserver accepts\n", "ends before handled"),
        ("Active connections: 1\nserver accepts handled requests\n 1 1\n", "ends before connections and requests"),
        ("Active connections: 1\nserver accepts handled requests\n 1 1 1\n", "ends too early"),
        ("Active connections: 1\nserver accepts handled requests\n 1 1 1\nReading: -1", "-1 is not a number"),
        (
            "Active connections: 1\nserver accepts handled requests\n 1 1 1\nReading: 0 Writing: 1",
            "ends before Waiting",
        ),
        (&PAGE.replace("291", "99999999999999999999"), "99999999999999999999 is not a number"),
        ("\u{0}\u{ff}", "where Active should be"),
    ] {
        let (failure, log) = down(&mut nginx(page));
        assert_eq!(failure, "protocol", "{page:?}");
        assert!(log.contains(&format!("this is not stub_status: {URL}")) && log.contains(why), "{log}");
    }
}

#[test]
fn a_server_that_is_down_comes_back() {
    let mut nginx = nginx(PAGE);
    for (error, reason) in [
        (http::Error::Timeout, "timeout"),
        (http::Error::Connect("Connection refused".to_owned()), "connect"),
        (http::Error::Protocol("ended early".to_owned()), "protocol"),
        (http::Error::TooLarge(4 << 20), "too_large"),
    ] {
        let mut hung = Running::<Nginx>::start(Host::new(), "{}").expect("right");
        hung.host().http_fails(URL, error.clone());
        assert_eq!(down(&mut hung).0, reason);
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
fn a_missing_grant_and_a_wrong_url_are_told() {
    let mut host = Host::new();
    host.deny(&Capability::Fetch("http://127.0.0.1:8080".to_owned()));
    let denied = Running::<Nginx>::start(host, "{}").expect("right").tick();
    assert_eq!(denied, Err(Error::Denied(Need::fetch("http://127.0.0.1:8080", "ask nginx for its status"))));

    let mut host = Host::new();
    host.http_fails("nginx", http::Error::InvalidRequest("the URL \"nginx\" has no scheme".to_owned()));
    let wrong = Running::<Nginx>::start(host, r#"{"urls": ["nginx"]}"#).expect("only the agent can tell").tick();
    assert_eq!(wrong, Err(Error::invalid("urls", "the URL \"nginx\" has no scheme")));

    for (config, key) in [
        (r#"{"urls": []}"#, "urls"),
        (r#"{"urls": ["http://a/", "http://b/", "http://a/"]}"#, "urls[2]"),
        (r#"{"url": "http://a/"}"#, "url"),
    ] {
        let Err(Error::InvalidConfig(errors)) = Running::<Nginx>::start(Host::new(), config) else {
            panic!("{config} is right");
        };
        assert_eq!(errors[0].key, key);
    }
}

#[test]
fn the_readme_tells_what_is_measured() {
    hold_readme::<Nginx>();
}
