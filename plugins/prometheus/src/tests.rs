//! The plugin with scripted targets.

use gauged_plugin::http::{self, Response};
use gauged_plugin::testing::{
    Harness, Host, REQUEST_FAILURES, SampleMap, assert_failures, assert_golden, assert_readme, assert_settings, expect,
    response,
};
use gauged_plugin::{Capability, OsError};

use super::*;

const URL: &str = "http://localhost:9100/metrics";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn start(host: Host, config: &str) -> Harness<Prometheus> {
    Harness::start(host, config).unwrap_or_else(|error| panic!("{config}: {error:?}"))
}

fn typed(content_type: &str, body: impl Into<Vec<u8>>) -> Response {
    let headers = vec![("content-type".to_owned(), content_type.to_owned())];
    Response { headers, ..response(200, body) }
}

/// A plugin with a target that returns this, and has these further settings.
fn single(settings: &str, result: Result<Response, http::Error>) -> Harness<Prometheus> {
    let mut host = Host::new();
    match result {
        Ok(response) => host.http(URL, response),
        Err(error) => host.http_fails(URL, error),
    };
    start(host, &format!(r#"{{"targets": [{{"url": "{URL}", "name": "app"{settings}}}]}}"#))
}

/// The metrics of the target.
fn scraped(sample: &SampleMap) -> Vec<&str> {
    sample.keys().filter_map(|key| key.strip_prefix("prometheus_app.")).collect()
}

#[test]
fn targets_are_measured_independently() {
    let mut host = Host::new();
    host.http(URL, typed(TEXT, "# TYPE a_total counter\na_total{x=\"1\"} 7\nb 2\n"));
    host.http("https://db.example:443/m", typed(OPENMETRICS, "# TYPE c counter\nc_total 9\nodd {\n# EOF\n"));
    host.http("http://localhost:8080/metrics", response(503, "busy"));
    let config = format!(
        r#"{{"targets": [{{"url": "{URL}"}},
            {{"url": "https://db.example:443/m", "name": "db", "labels": {{"job": "database"}}}},
            {{"url": "http://localhost:8080/metrics", "name": "busy"}},
            {{"url": "http://localhost:1/metrics", "name": "gone"}}]}}"#
    );
    let mut prometheus = start(host, &config);
    expect![[r#"
        prometheus.excess_samples{target="db"} 0
        prometheus.excess_samples{target="localhost:9100"} 0
        prometheus.excluded_metrics{target="db"} 0
        prometheus.excluded_metrics{target="localhost:9100"} 0
        prometheus.failures_total{target="busy",reason="status"} 1
        prometheus.failures_total{target="gone",reason="connect"} 1
        prometheus.failure{target="busy"} "status"
        prometheus.failure{target="gone"} "connect"
        prometheus.not_finite_values{target="db"} 0
        prometheus.not_finite_values{target="localhost:9100"} 0
        prometheus.response_bytes{target="busy"} 4
        prometheus.response_bytes{target="db"} 39
        prometheus.response_bytes{target="localhost:9100"} 44
        prometheus.scrape_duration_seconds{target="busy"} 0.002
        prometheus.scrape_duration_seconds{target="db"} 0.002
        prometheus.scrape_duration_seconds{target="localhost:9100"} 0.002
        prometheus.scraped_metrics{target="db"} 1
        prometheus.scraped_metrics{target="localhost:9100"} 2
        prometheus.skipped_lines{target="db"} 1
        prometheus.skipped_lines{target="localhost:9100"} 0
        prometheus.up{target="busy"} false
        prometheus.up{target="db"} true
        prometheus.up{target="gone"} false
        prometheus.up{target="localhost:9100"} true
        prometheus_db.c_total{job="database",instance="db.example:443"} 9
        prometheus_localhost_9100.a_total{x="1",instance="localhost:9100"} 7
        prometheus_localhost_9100.b{instance="localhost:9100"} 2
    "#]]
    .assert_eq(&prometheus.tick().expect("a sample").render());
    expect![["
        WARN without odd: db line 3 is malformed: does not begin with the name of a label
        WARN busy is down: http://localhost:8080/metrics returned status 503, expected 200
        WARN gone is down: failed to reach http://localhost:1/metrics: Connection refused (ECONNREFUSED)
    "]]
    .assert_eq(&(prometheus.host().messages().join("\n") + "\n"));
    let needs: Vec<String> = prometheus.needs().into_iter().map(|need| need.capability.target).collect();
    let origins = ["http://localhost:9100", "https://db.example:443", "http://localhost:8080", "http://localhost:1"];
    assert_eq!(needs, origins);
}

#[test]
fn metrics_end_with_their_target() {
    let mut prometheus = single("", Ok(typed(TEXT, "a 1\n")));
    assert_eq!(scraped(&prometheus.tick().expect("a sample")), ["a{instance=\"localhost:9100\"}"]);
    prometheus.host().http_fails(URL, http::Error::Timeout);
    let sample = prometheus.tick().expect("a sample");
    assert_eq!(scraped(&sample), [""; 0]);
    assert_eq!(sample["prometheus.failure{target=\"app\"}"], "timeout");
    prometheus.host().http(URL, typed(TEXT, "a 1\n"));
    assert_eq!(scraped(&prometheus.tick().expect("a sample")).len(), 1);
    let down = format!("WARN app is down: {URL} did not respond in time");
    assert_eq!(prometheus.host().messages(), [down, "INFO app is up again".to_owned()]);
}

#[test]
fn failures_have_different_reasons() {
    let os = || OsError::new("EIO", "broken");
    let gzip = vec![("content-encoding".to_owned(), "gzip".to_owned())];
    for (result, reason) in [
        (Err(http::Error::Refused(os())), "connect"),
        (Err(http::Error::Timeout), "timeout"),
        (Err(http::Error::TooLarge(4 << 20)), "too_large"),
        (Err(http::Error::Protocol("cut".to_owned())), "protocol"),
        (Ok(response(404, "no page")), "status"),
        (Ok(response(301, "")), "status"),
        (Ok(Response { headers: gzip, ..response(200, "\x1f") }), "encoding"),
        (Ok(typed("text/html", "<html>\n")), "content"),
        (Ok(typed("application/json", "{}\n")), "content"),
        (Ok(typed(TEXT, "<html>\n<body>\n")), "content"),
        (Ok(typed("", "{\"a\": 1}\n")), "content"),
    ] {
        let mut prometheus = single("", result);
        let sample = prometheus.tick().expect("a sample");
        assert_eq!(sample["prometheus.failure{target=\"app\"}"], reason);
        assert_eq!(sample["prometheus.up{target=\"app\"}"], false);
        assert_eq!(scraped(&sample), [""; 0]);
    }
}

#[test]
fn types_of_plain_text_are_read() {
    for content_type in ["", "text/plain", "TEXT/PLAIN;version=0.0.4", "text/metrics", "Application/OpenMetrics-Text"] {
        let mut prometheus = single("", Ok(typed(content_type, "a 1\n# EOF\n")));
        assert_eq!(scraped(&prometheus.tick().expect("a sample")).len(), 1, "{content_type}");
    }
    // The last line may be without its end, as for Prometheus.
    let mut prometheus = single("", Ok(typed(TEXT, "a 1\nb 2")));
    assert_eq!(scraped(&prometheus.tick().expect("a sample")).len(), 2);
    // Nothing is no failure: nothing was measured yet.
    let mut prometheus = single("", Ok(typed(TEXT, "# nothing\n")));
    assert_eq!(prometheus.tick().expect("a sample")["prometheus.up{target=\"app\"}"], true);
}

#[test]
fn request_asks_for_formats_and_authorizes() {
    for (settings, authorization) in [
        (r#", "username": "u", "password": "p""#, "Basic dTpw"),
        (r#", "bearer_token": "secret""#, "Bearer secret"),
        (r#", "headers": {"authorization": "Own x"}"#, "Own x"),
    ] {
        let mut prometheus = single(&format!("{settings}, \"timeout_ms\": 50"), Ok(typed(TEXT, "a 1\n")));
        prometheus.tick().expect("a sample");
        let request = &prometheus.host().requests()[0];
        let header = |name: &str| {
            let found = request.headers.iter().find(|(header, _)| header == name);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(header("authorization"), Some(authorization));
        assert_eq!(header("accept-encoding"), Some("identity"));
        let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let timeout_ms = request.options.as_ref().and_then(|options| options.timeout_ms);
        assert_eq!((header("accept"), timeout_ms), (Some(accept), Some(50)));
    }
}

#[test]
fn unix_sockets_are_scraped() {
    let mut host = Host::new();
    host.http("unix:/run/app.sock http://localhost/metrics", typed(TEXT, "a 1\n"));
    let config = r#"{"targets": [{"url": "http://localhost/metrics", "unix_socket": "/run/app.sock"}]}"#;
    let mut prometheus = start(host, config);
    let sample = prometheus.tick().expect("a sample");
    assert!(sample.contains_key("prometheus__run_app_sock.a{instance=\"/run/app.sock\"}"), "{sample:?}");
    assert_eq!(sample["prometheus.up{target=\"/run/app.sock\"}"], true);
    assert_eq!(prometheus.needs()[0].capability.target, "unix:/run/app.sock");
}

#[test]
fn labels_are_added() {
    let body = "a{instance=\"own\",x=\"y\"} 1\nb{instance=\"own\",exported_instance=\"other\"} 2\nc 3\n";
    for (settings, expected) in [
        (
            "",
            r#"
            a{exported_instance="own",x="y",instance="localhost:9100"}
            b{exported_exported_instance="own",exported_instance="other",instance="localhost:9100"}
            c{instance="localhost:9100"}"#,
        ),
        (
            r#", "honor_labels": true"#,
            r#"
            a{instance="own",x="y"}
            b{instance="own",exported_instance="other"}
            c{instance="localhost:9100"}"#,
        ),
        (
            r#", "labels": {"exported_instance": "added"}"#,
            r#"
            a{exported_exported_instance="own",x="y",exported_instance="added",instance="localhost:9100"}
            b{exported_exported_instance="own",exported_exported_exported_instance="other",exported_instance="added",instance="localhost:9100"}
            c{exported_instance="added",instance="localhost:9100"}"#,
        ),
        (
            r#", "labels": {"instance": "", "dc": "fra"}"#,
            r#"
            a{instance="own",x="y",dc="fra"}
            b{instance="own",exported_instance="other",dc="fra"}
            c{dc="fra"}"#,
        ),
    ] {
        let mut prometheus = single(settings, Ok(typed(TEXT, body)));
        let expected: Vec<&str> = expected.split_ascii_whitespace().collect();
        assert_eq!(scraped(&prometheus.tick().expect("a sample")), expected, "{settings}");
    }
}

#[test]
fn metrics_are_selected_by_name() {
    let body = "# TYPE go_a gauge\ngo_a 1\ngo_a{b=\"1\"} 2\n# TYPE h histogram\nh_count 1\ngo_c 1\nd 1\n";
    for (settings, names, excluded) in [
        (r#", "include": ["go_*"], "exclude": ["*_c"]"#, ["go_a", "go_a"].as_slice(), 3_u64),
        (r#", "exclude": ["go_*"]"#, &["d", "h"], 3),
        (r#", "include": ["h"]"#, &["h"], 4),
    ] {
        let mut prometheus = single(settings, Ok(typed(TEXT, body)));
        let sample = prometheus.tick().expect("a sample");
        let found: Vec<&str> = scraped(&sample).iter().map(|key| key.split('{').next().unwrap_or_default()).collect();
        assert_eq!(found, names, "{settings}");
        assert_eq!(sample["prometheus.excluded_metrics{target=\"app\"}"], excluded);
        assert_eq!(sample["prometheus.scraped_metrics{target=\"app\"}"], names.len() as u64);
    }
}

#[test]
fn losses_are_counted_and_reported() {
    let body = "a 1\nb NaN\nc +Inf\nodd\nd{x=\"\u{ff}\"} 2\ne 1\nf 1\n";
    let mut body = body.as_bytes().to_vec();
    let at = body.iter().position(|&byte| byte == 0xc3).expect("it has one");
    body[at] = 0xff;
    let mut prometheus = single(r#", "max_samples": 4"#, Ok(typed(TEXT, body)));
    let sample = prometheus.tick().expect("a sample");
    assert_eq!(scraped(&sample).len(), 2, "{sample:?}");
    let count = |name: &str| &sample[&*format!("prometheus.{name}{{target=\"app\"}}")];
    assert!(
        *count("not_finite_values") == 2_u64 && *count("skipped_lines") == 2_u64 && *count("excess_samples") == 1_u64
    );
    expect![["
        WARN without odd: app line 4 is malformed: is neither labels nor a value
        WARN without its metric: app line 5 is malformed: is not UTF-8
        WARN without the others: app is truncated: has more than 4 samples; raise `max_samples`, and `limits.metrics` with it, or exclude some
    "]]
    .assert_eq(&(prometheus.host().messages().join("\n") + "\n"));
}

#[test]
fn real_expositions_match_their_golden_files() {
    for (name, content_type) in [("node_exporter", TEXT), ("prometheus", TEXT), ("python", OPENMETRICS)] {
        let body = std::fs::read(format!("fixtures/{name}.txt")).expect("readable");
        let mut prometheus = single("", Ok(typed(content_type, body)));
        let sample = prometheus.tick().expect("a sample");
        assert_golden(&format!("fixtures/{name}.expected"), &sample.render());
        assert_eq!(prometheus.host().messages(), [""; 0]);
    }
}

#[test]
fn all_targets_denied_is_an_error() {
    let config = format!(r#"{{"targets": [{{"url": "{URL}"}}, {{"url": "http://b:80/metrics", "name": "b"}}]}}"#);
    let mut host = Host::new();
    host.http(URL, typed(TEXT, "a 1\n")).deny(&Capability::fetch("http://b:80"));
    let mut prometheus = start(host, &config);
    assert!(
        prometheus.tick().expect("a sample").contains_key("prometheus_localhost_9100.a{instance=\"localhost:9100\"}")
    );
    prometheus.host().deny(&Capability::fetch("http://localhost:9100"));
    let denied = Error::Denied(Need::fetch("http://localhost:9100", "scrape localhost:9100"));
    assert_eq!(prometheus.tick(), Err(denied));
}

#[test]
fn invalid_requests_name_their_target() {
    let mut prometheus = single("", Err(http::Error::InvalidRequest("the URL has a blank".to_owned())));
    assert_eq!(prometheus.tick(), Err(Error::invalid("targets[0]", "the URL has a blank")));
    assert_eq!(prometheus.host().messages(), ["WARN app is down: the URL has a blank"]);
    // The other targets are measured.
    let mut host = Host::new();
    host.http_fails(URL, http::Error::InvalidRequest("the URL has a blank".to_owned()));
    host.http("http://b:80/metrics", typed(TEXT, "a 1\n"));
    let config = format!(r#"{{"targets": [{{"url": "{URL}", "name": "app"}}, {{"url": "http://b:80/metrics"}}]}}"#);
    let sample = start(host, &config).tick().expect("a sample");
    assert!(sample.contains_key("prometheus_b_80.a{instance=\"b:80\"}"), "{sample:?}");
    assert_eq!(sample["prometheus.up{target=\"app\"}"], false);
    assert_eq!(sample["prometheus.failure{target=\"app\"}"], "request");
    assert_eq!(sample["prometheus.failures_total{target=\"app\",reason=\"request\"}"], 1_u64);
}

#[test]
fn invalid_settings_are_rejected() {
    let key = |config: &str| match Harness::<Prometheus>::start(Host::new(), config) {
        Err(Error::InvalidConfig(errors)) => errors[0].key.clone(),
        result => panic!("{config}: {result:?}"),
    };
    let target = |settings: &str| key(&format!(r#"{{"targets": [{{"url": "{URL}"{settings}}}]}}"#));
    assert_eq!(key("{}"), "targets");
    let many: Vec<String> = (0..100).map(|number| format!(r#"{{"url": "http://a:{number}/"}}"#)).collect();
    assert_eq!(key(&format!(r#"{{"targets": [{}]}}"#, many.join(","))), "targets");
    assert_eq!(key(r#"{"targets": [{"url": "localhost"}]}"#), "targets[0].url");
    assert_eq!(key(r#"{"targets": [{"url": "http:///x"}]}"#), "targets[0].name");
    assert_eq!(key(r#"{"targets": [{"url": "http://u:secret@a/x", "name": "a"}]}"#), "targets[0].url");
    start(Host::new(), r#"{"targets": [{"url": "http://a/x@y"}, {"url": "http://b?x@y"}]}"#);
    assert_eq!(key(&format!(r#"{{"targets": [{{"url": "{URL}"}}, {{"url": "{URL}?x"}}]}}"#)), "targets[1].name");
    let same_module =
        format!(r#"{{"targets": [{{"url": "{URL}", "name": "a-b"}}, {{"url": "{URL}", "name": "a.b"}}]}}"#);
    assert_eq!(key(&same_module), "targets[1].name");
    assert_eq!(target(r#", "labels": {"a b": "c"}"#), "targets[0].labels.a b");
    assert_eq!(target(r#", "labels": {"le": "c"}"#), "targets[0].labels.le");
    assert_eq!(target(&format!(r#", "labels": {{"a": "{}"}}"#, "x".repeat(5000))), "targets[0].labels.a");
    let labels: Vec<String> = (0..9).map(|number| format!(r#""l{number}": "x""#)).collect();
    assert_eq!(target(&format!(r#", "labels": {{{}}}"#, labels.join(","))), "targets[0].labels");
    assert_eq!(target(r#", "unix_socket": "run/app.sock""#), "targets[0].unix_socket");
    assert_eq!(target(r#", "timeout_ms": 0"#), "targets[0].timeout_ms");
    assert_eq!(target(r#", "max_samples": 0"#), "targets[0].max_samples");
    assert_eq!(target(r#", "username": "a", "bearer_token": "b""#), "targets[0].bearer_token");
    assert_eq!(target(r#", "password": "a""#), "targets[0].password");
}

#[test]
fn settings_and_readme_are_complete() {
    assert_settings::<Prometheus>("{}");
    assert_readme::<Prometheus>();
    assert_failures::<Prometheus>(REQUEST_FAILURES);
}
