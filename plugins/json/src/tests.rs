//! The plugin with scripted servers and files.

use std::fs;

use gauged_plugin::testing::{
    FILE_FAILURES, Harness, Host, REQUEST_FAILURES, SampleMap, assert_failures, assert_golden, assert_readme,
    assert_settings, response,
};
use gauged_plugin::{Capability, OsError, Value, files, http};

use super::*;
use crate::metric::{MAX_MATCHES, MAX_VALUES};

mod invalid;

const URL: &str = "http://app:8080/status";

/// A plugin with a document of one source, whose metrics are the rest of its settings in JSON.
fn plugin(host: Host, source: &str, rest: &str) -> Harness<Json> {
    let config = format!(r#"{{"documents": [{{"sources": ["{source}"], {rest}}}]}}"#);
    Harness::start(host, &config).unwrap_or_else(|error| panic!("{config}: {error:?}"))
}

/// The first sample of a server's body, with metrics in JSON, and the messages.
fn measure(body: &str, metrics: &str) -> (String, Vec<String>) {
    let mut host = Host::new();
    host.http(URL, response(200, body));
    let mut json = plugin(host, URL, &format!(r#""metrics": [{metrics}]"#));
    let sample = json.tick().expect("a sample");
    let state = ["json.failure", "json.up{", "json.values{"];
    let lines = sample.render();
    let lines = lines.lines().filter(|line| !state.iter().any(|own| line.starts_with(own)));
    let lines: Vec<String> = lines.map(|line| line.replace(&format!("source=\"{URL}\""), "@")).collect();
    (lines.join("\n"), json.host().messages().to_vec())
}

#[test]
fn documents_of_services_are_measured() {
    let mut services = 0;
    for directory in fs::read_dir("fixtures").expect("fixtures").map(|entry| entry.expect("readable").path()) {
        let read = |name: &str| fs::read_to_string(directory.join(name)).expect(name);
        let (config, bodies) = (read("config.json"), read("bodies.json"));
        let bodies = Document::parse("bodies.json", bodies.as_bytes()).expect("JSON");
        let mut host = Host::new();
        for (source, body) in bodies.root().table().expect("bodies by source") {
            let body = render(body.value().expect("a body"));
            if source.starts_with('/') {
                host.file(source, body)
            } else {
                host.http(source, response(200, body))
            };
        }
        let mut json = Harness::<Json>::start(host, &config).unwrap_or_else(|error| panic!("{directory:?}: {error:?}"));
        let sample = json.tick().expect("a sample");
        assert_eq!(json.host().warnings(), [""; 0], "{directory:?}");
        assert_golden(directory.join("expected").to_str().expect("text"), &sample.render());
        services += 1;
    }
    assert_eq!(services, 7);
}

/// A value as JSON.
fn render(value: &gauged_plugin::json::Value<'_>) -> String {
    use gauged_plugin::json::Value;
    let list = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Null => "null".to_owned(),
        Value::Boolean(value) => value.to_string(),
        Value::Natural(number) => number.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => format!("{text:?}"),
        Value::List(values) => format!("[{}]", list(values.iter().map(render).collect())),
        Value::Table(table) => {
            format!("{{{}}}", list(table.iter().map(|(key, value)| format!("{key:?}: {}", render(value))).collect()))
        }
    }
}

#[test]
fn values_have_their_types() {
    let body = r#"{"whole": 18446744073709551, "negative": -2, "fraction": 2.5, "yes": true, "text": " 12 ", "decimal": "-1.5",
        "long": "9223372036854775807", "null": null, "longer": 9223372036854775808, "longest": "18446744073709551615",
        "float": 18446744073709551616}"#;
    for (path, expected) in [
        ("whole", "json.whole{@} 18446744073709551"),
        ("negative", "json.negative{@} -2"),
        ("fraction", "json.fraction{@} 2.5"),
        ("yes", "json.yes{@} true"),
        ("text", "json.text{@} 12"),
        ("decimal", "json.decimal{@} -1.5"),
        ("long", "json.long{@} 9223372036854775807"),
        ("longer", "json.longer{@} 9223372036854776000"),
        ("longest", "json.longest{@} 18446744073709552000"),
        ("float", "json.float{@} 18446744073709552000"),
        ("null", ""),
    ] {
        assert_eq!(measure(body, &format!(r#"{{"path": "{path}"}}"#)), (expected.to_owned(), Vec::new()), "{path}");
    }
    let scaled = |path: &str| measure(body, &format!(r#"{{"path": "{path}", "scale": 0.5}}"#)).0;
    assert_eq!(
        [scaled("negative"), scaled("fraction"), scaled("text")],
        ["json.negative{@} -1", "json.fraction{@} 1.25", "json.text{@} 6"]
    );
    let text = |kind: &str, name: &str| {
        measure(body, &format!(r#"{{"path": "whole", "kind": "{kind}", "name": "{name}"}}"#)).0
    };
    assert_eq!(text("text", "t"), r#"json.t{@} "18446744073709551""#);
    assert_eq!(text("info", "t_info"), r#"json.t_info{@,value="18446744073709551"} 1"#);
}

#[test]
fn values_that_do_not_fit_are_reported_once() {
    let body = r#"{"list": [1], "word": "on", "down": -1, "long": "9999999999999999999999", "object": {"a": 1}, "nan": "NaN"}"#;
    for (metric, message) in [
        (r#"{"path": "list"}"#, "list: list is no number"),
        (r#"{"path": "object", "name": "x"}"#, "x: object is no number"),
        (
            r#"{"path": "word"}"#,
            "word: word is a text that is no number; set `values` to the numbers of its words, or kind = \"info\"",
        ),
        (r#"{"path": "word", "values": {"off": 0}}"#, "word: word is a text that is not in `values`"),
        (r#"{"path": "down", "kind": "counter"}"#, "down_total: down is negative, and so no counter"),
        (r#"{"path": "list", "kind": "info"}"#, "list_info: list is no text of at most 1024 bytes"),
        (
            r#"{"path": "object.*", "name": "x", "labels": {"l": "object"}}"#,
            "x: object is no label: write a path to a text",
        ),
    ] {
        let (sample, messages) = measure(body, metric);
        let (lost, why) = message.split_once(": ").expect("two parts");
        assert_eq!(
            (sample, messages),
            (String::new(), vec![format!("WARN without {lost}: {URL} is malformed: {why}")])
        );
    }
    let (sample, _) = measure(body, r#"{"path": "nan"}"#);
    assert_eq!(sample, "");
}

#[test]
fn path_without_a_value_is_reported_unless_optional() {
    let why = "has nothing at a.b; correct the path, or write optional = true if it is not always there";
    let (sample, messages) = measure(r#"{"a": {"c": 1}}"#, r#"{"path": "a.b"}"#);
    assert_eq!((sample, messages), (String::new(), vec![format!("WARN without b: {URL} is malformed: {why}")]));
    assert_eq!(measure("{}", r#"{"path": "a.*", "optional": true}"#), (String::new(), Vec::new()));
    // A list without elements is no error of the path, but cannot be told from one.
    assert_eq!(measure(r#"{"a": []}"#, r#"{"path": "a.{i}", "name": "x"}"#).1.len(), 1);
}

#[test]
fn last_key_makes_the_name() {
    for (body, path, expected) in [
        (r#"{"stats": {"cache.hits": 1}}"#, r#"stats["cache.hits"]"#, "json.cache_hits{@} 1"),
        (r#"{"a": {"b[0]": 2}}"#, r#"a["b[0]"]"#, "json.b_0{@} 2"),
        (r#"{"memstats": {"Alloc": 3}}"#, "memstats[*]", "json.alloc{@} 3"),
    ] {
        assert_eq!(measure(body, &format!("{{\"path\": {path:?}}}")), (expected.to_owned(), Vec::new()), "{path}");
    }
}

#[test]
fn last_star_makes_names_that_are_free() {
    let body = r#"{"a": {"heapInUse": 1, "up": 2, "ü": 3, "s": "text", "n": [4], "requests_total": 5}}"#;
    let (sample, messages) = measure(body, r#"{"path": "a.*"}"#);
    assert_eq!(sample, "json.heap_in_use{@} 1\njson.requests{@} 5");
    assert_eq!(messages.len(), 1, "up is the plugin's own, and there is no name in ü: {messages:?}");
    assert_eq!(measure(r#"{"a": {"x": 1}}"#, r#"{"path": "a.*", "kind": "counter"}"#).0, "json.x_total{@} 1");
    assert_eq!(
        measure(r#"{"a": {"x": "y"}}"#, r#"{"path": "a.*", "kind": "info"}"#).0,
        r#"json.x_info{@,value="y"} 1"#
    );
}

#[test]
fn labels_that_are_missing_are_left_out() {
    let body = r#"[{"n": "a", "v": 1}, {"v": 2}, {"n": null, "v": 3, "o": true}]"#;
    let metric = r#"{"path": "[{i}].v", "name": "x", "labels": {"n": "[*].n", "o": "[*].o"}}"#;
    let expected = "json.x{@,i=\"0\",n=\"a\"} 1\njson.x{@,i=\"1\"} 2\njson.x{@,i=\"2\",o=\"true\"} 3";
    assert_eq!(measure(body, metric), (expected.to_owned(), Vec::new()));
}

#[test]
fn metrics_are_bounded() {
    let elements = vec!["1"; MAX_VALUES + 7].join(",");
    let (sample, messages) = measure(&format!("[{elements}]"), r#"{"path": "[{i}]", "name": "x"}"#);
    assert_eq!(sample.lines().count(), MAX_VALUES);
    let why = "would make more than 18000 metrics with the other sources";
    assert_eq!(messages, [format!("WARN without x: {URL} is truncated: {why}")]);
    let long = format!(r#"{{"{}": 1, "b": 2}}"#, "k".repeat(2000));
    let (sample, messages) = measure(&long, r#"{"path": "{k}", "name": "x"}"#);
    assert_eq!((sample.as_str(), messages.len()), (r#"json.x{@,k="b"} 2"#, 1));
}

#[test]
fn values_that_do_not_fit_are_bounded() {
    let list = |value: &str, count: usize| format!("{{\"a\": [{}]}}", vec![value; count].join(","));
    let texts = list("\"x\"", MAX_MATCHES + 1);
    let metric = r#"{"path": "a.{i}", "name": "x"}"#;
    let (sample, messages) = measure(&texts, metric);
    assert_eq!((sample.as_str(), messages.len()), ("", 2), "{messages:?}");
    assert!(messages[0].contains("a[0] is a text that is no number"), "{messages:?}");
    let why = "has, with the other sources, more than 50000 values at the paths of metrics";
    assert_eq!(messages[1], format!("WARN without x: {URL} is truncated: {why}"));
    // A value of null is no error, and is looked at all the same.
    let nulls = format!("{metric}, {}", metric.replace('x', "y"));
    let (sample, messages) = measure(&list("null", MAX_MATCHES), &nulls);
    assert_eq!((sample.as_str(), messages.len()), ("", 1), "{messages:?}");
    assert!(messages[0].contains("without y"), "{messages:?}");
    // Each metric has an error of its own.
    let (sample, messages) = measure(r#"{"a": ["x", 1, true, "y"]}"#, &nulls);
    assert_eq!((sample.lines().count(), messages.len()), (4, 2), "{messages:?}");
}

/// The state of the only source.
fn state(sample: &SampleMap) -> (bool, Option<String>) {
    let find = |name: &str| sample.iter().find(|(key, _)| key.starts_with(name)).map(|(_, value)| value.clone());
    let failure = find("json.failure{").map(|failure| match failure {
        Value::Text(reason) => reason,
        other => panic!("{other:?}"),
    });
    (find("json.up{") == Some(Value::Boolean(true)), failure)
}

#[test]
fn source_without_document_is_down_with_a_reason() {
    let refused = || http::Error::Refused(OsError::new("ECONNREFUSED", "refused"));
    for (result, reason) in [
        (Ok(response(404, "{}")), "status"),
        (Ok(response(200, "")), "body"),
        (Ok(response(200, "<html>")), "body"),
        (Err(http::Error::Timeout), "timeout"),
        (Err(refused()), "connect"),
        (Err(http::Error::TooLarge(9)), "too_large"),
    ] {
        let mut host = Host::new();
        match result {
            Ok(response) => host.http(URL, response),
            Err(error) => host.http_fails(URL, error),
        };
        let mut json = plugin(host, URL, r#""metrics": [{"path": "a"}]"#);
        let sample = json.tick().expect("a sample");
        assert_eq!(state(&sample), (false, Some(reason.to_owned())));
        assert_eq!(sample.len(), 3, "with the number of failures: {sample:?}");
        json.host().http(URL, response(200, r#"{"a": 1}"#));
        assert_eq!(state(&json.tick().expect("a sample")), (true, None));
        assert!(json.host().messages().last().is_some_and(|line| line == &format!("INFO {URL} is up again")));
    }
}

#[test]
fn unreadable_file_is_down_with_a_reason() {
    let io = || files::Error::Io(OsError::new("EIO", "broken"));
    for (error, reason) in [
        (files::Error::NotFound, "missing"),
        (files::Error::Timeout, "timeout"),
        (files::Error::TooLarge(4 << 20), "too_large"),
        (gauged_plugin::testing::not_permitted(), "permission"),
        (io(), "read"),
        (files::Error::WrongType, "read"),
    ] {
        let mut host = Host::new();
        host.file_fails("/run/app.json", error);
        let mut json = plugin(host, "/run/app.json", r#""metrics": [{"path": "a"}]"#);
        assert_eq!(state(&json.tick().expect("a sample")), (false, Some(reason.to_owned())));
    }
    let mut host = Host::new();
    host.file("/run/app.json", "\u{feff}{\"a\": 1}\n");
    let mut json = plugin(host, "/run/app.json", r#""metrics": [{"path": "a"}]"#);
    assert_eq!(json.tick().expect("a sample")[r#"json.a{source="/run/app.json"}"#], 1);
}

#[test]
fn missing_grant_is_an_error_naming_the_need() {
    for (source, need) in [
        (URL, Need::fetch("http://app:8080", "read values from JSON")),
        ("/run/app.json", Need::read("/run/app.json", "read values from JSON")),
    ] {
        let mut host = Host::new();
        host.http_fails(URL, http::Error::Denied(Capability::fetch("http://app:8080")));
        host.file_fails("/run/app.json", files::Error::Denied(Capability::read("/run/app.json")));
        let mut json = plugin(host, source, r#""metrics": [{"path": "a"}]"#);
        assert_eq!(json.tick(), Err(Error::Denied(need)));
    }
    let metrics = r#""metrics": [{"path": "a"}]"#;
    let mut host = Host::new();
    host.http_fails(URL, http::Error::InvalidRequest("no such method".to_owned()));
    let mut rejected = plugin(host, URL, metrics);
    assert_eq!(rejected.tick(), Err(Error::invalid("documents[0].sources[0]", "no such method")));
    let needs = Harness::<Json>::start(
        Host::new(),
        &format!(r#"{{"documents": [{{"sources": ["{URL}", "{URL}?2", "/a"], {metrics}}}]}}"#),
    );
    assert_eq!(needs.expect("valid settings").needs().len(), 2, "one for each origin");
}

#[test]
fn requests_have_their_headers_and_body() {
    let mut host = Host::new();
    host.http(URL, response(201, "{}"));
    let rest = r#""headers": {"x-token": "t"}, "user": "Aladdin", "password": "open sesame", "body": "{}", "statuses": [201],
        "timeout_ms": 50, "metrics": [{"path": "a", "optional": true}]"#;
    let mut json = plugin(host, URL, rest);
    assert_eq!(state(&json.tick().expect("a sample")), (true, None));
    let request = json.host().requests()[0].clone();
    assert_eq!((&*request.method, &*request.body), ("POST", &b"{}"[..]));
    let header = |name: &str| request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value);
    assert_eq!(header("authorization"), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    assert_eq!((header("accept"), header("x-token")), (Some("application/json"), Some("t")));
}

#[test]
fn documents_are_fetched_from_unix_sockets() {
    let mut host = Host::new();
    host.http("unix:/run/app.sock http://app/status", response(200, r#"{"a": 1}"#));
    let rest = r#""unix_socket": "/run/app.sock", "metrics": [{"path": "a"}]"#;
    let mut json = plugin(host, "http://app/status", rest);
    assert_eq!(json.tick().expect("a sample")[r#"json.a{source="http://app/status"}"#], 1_u64);
    assert_eq!(json.needs()[0].capability.target, "unix:/run/app.sock");
    let json = plugin(Host::new(), "http://app/status", &format!(r#""body": "", {rest}"#));
    assert_eq!(json.needs()[0].capability.target, "unix:/run/app.sock POST");
}

#[test]
fn cut_document_is_down_and_has_no_values() {
    let body = fs::read("fixtures/rabbitmq/bodies.json").expect("a fixture");
    let body = body.trim_ascii_end();
    let tick = |body: &[u8]| {
        let mut host = Host::new();
        host.http(URL, response(200, body));
        let metrics = r#""metrics": [{"path": "*[*].messages", "labels": {"q": "*[*].name", "v": "*[*].vhost"}}]"#;
        plugin(host, URL, metrics).tick().expect("a sample")
    };
    assert_eq!(tick(body).len(), 5, "three queues");
    for end in 0..body.len() {
        assert_eq!(state(&tick(&body[..end])), (false, Some("body".to_owned())), "{end} bytes");
    }
    for at in 0..body.len() {
        // Whatever the damage, there is a sample, and no value more.
        let damaged = [&body[..at], b"\xff", &body[at + 1..]].concat();
        assert!(tick(&damaged).len() <= 5, "byte {at}");
    }
}

#[test]
fn settings_are_declared_with_their_defaults() {
    assert_settings::<Json>("{}");
}

#[test]
fn readme_lists_metrics_and_settings() {
    assert_readme::<Json>();
    assert_failures::<Json>(REQUEST_FAILURES);
    assert_failures::<Json>(FILE_FAILURES);
}
