//! The content of each endpoint.

use std::io::{BufRead as _, BufReader, Write as _};

use serde_json::Value;

use super::peer::{HttpAgent, Response, connect};
use crate::guest::Guest;
use crate::harness::{Sample, Setup, plugin_metric, value};

/// A line of the agent's output with this tick.
fn printed(server: &mut HttpAgent, tick: &Value) -> Sample {
    let is_it = |sample: &Sample| sample["agent"]["timestamp"] == *tick;
    let known = server.agent.samples().iter().find(|sample| is_it(sample)).cloned();
    known.unwrap_or_else(|| server.agent.wait(is_it))
}

#[test]
fn sample_is_the_printed_one() {
    let mut server = HttpAgent::start("");
    let response = server.get("/v1/sample");
    assert_eq!(response.header("content-type"), Some("application/json"));
    let sample: Sample = serde_json::from_slice(&response.body).expect("a sample");
    assert_eq!(printed(&mut server, &sample["agent"]["timestamp"]), sample);
    let pretty = server.get("/v1/sample?pretty");
    assert!(pretty.text().starts_with("{\n  \"agent\": {\n"), "{}", pretty.text());
}

#[test]
fn stream_has_each_sample_as_an_event() {
    let mut server = HttpAgent::start("");
    let mut stream = connect(server.address);
    stream.write_all(b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let lines = BufReader::new(stream).lines().map(|line| line.expect("read"));
    let mut events = lines.filter_map(|line| Some(line.strip_prefix("data: ")?.to_owned()));
    for _ in 0..4 {
        let event: Sample = serde_json::from_str(&events.next().expect("an event")).expect("a sample");
        assert_eq!(printed(&mut server, &event["agent"]["timestamp"]), event);
    }
    drop(events);
    server.agent.wait(|sample| value_of(sample, "http_streams") == 0);
}

fn value_of(sample: &Sample, metric: &str) -> u64 {
    sample["agent"][metric].as_u64().expect("a count")
}

#[test]
fn streams_are_bounded() {
    let server = HttpAgent::start("");
    let streams: Vec<_> = (0..16)
        .map(|_| {
            let mut stream = connect(server.address);
            stream.write_all(b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
            let mut first = String::new();
            BufReader::new(&stream).read_line(&mut first).expect("read");
            assert_eq!(first, "HTTP/1.1 200 OK\r\n");
            stream
        })
        .collect();
    let refused = server.get("/v1/stream");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("10")));
    server.expect_scrapes();
    drop(streams);
}

#[test]
fn status_equals_the_sockets() {
    let mut server = HttpAgent::start("");
    let document = server.get("/v1/status").json();
    assert_eq!(document["format"], 1);
    assert_eq!(document["agent"]["pid"], server.agent.pid());
    let sample =
        printed(&mut server, &document["agent"]["tick"]["timestamp_seconds"].as_f64().map_or(Value::Null, whole));
    assert_eq!(document["agent"]["series"], sample["agent"]["series"]);
}

/// A number of seconds as samples have it.
fn whole(seconds: f64) -> Value {
    if seconds.fract() == 0.0 { Value::from(seconds as u64) } else { Value::from(seconds) }
}

#[test]
fn configuration_in_effect_has_no_secrets() {
    let server = HttpAgent::start("hosts = [\"web.example\"]\n[plugins.a.config]\npassword = \"hunter2\"\n");
    let text = server.get("/v1/config").text().to_owned();
    assert!(text.contains("hosts = [\"web.example\"]\n") && text.contains("interval = \"250ms\"\n"), "{text}");
    assert!(!text.contains("hunter2") && text.contains("config.password = \"…\""), "{text}");
}

#[test]
fn sensitive_settings_are_in_no_reason() {
    const URL: &str = "http://user:s3cr3tpass@u.example:80/";
    let setup = Setup::new();
    let message = format!("{URL} is no target, s3cr3tpass no password, hunter2 neither");
    Guest::new("echo").invalid_setting("targets.0.url", &message).install(&setup.plugin("echo.wasm"));
    let address = super::peer::own_address();
    let table = format!("[plugins.echo.config]\ntargets = [{{ url = \"{URL}\" }}]\nauth.password = \"hunter2\"");
    let agent = HttpAgent::configure(&setup, address, &table).start(&[]);
    let mut server = HttpAgent { setup, agent, address };
    let log = server.agent.wait_log_lines("plugin rejected plugin=echo", 1).join("\n");
    server.agent.wait(|sample| plugin_metric(sample, "plugin_up", "echo") == Some(0.0));
    let texts = ["/ready", "/v1/status", "/v1/config"].map(|path| server.get(path).text().to_owned());
    for text in texts[..2].iter().chain([&log]) {
        let reason = "targets.0.url: http://…@u.example:80/ is no target, … no password, … neither";
        assert!(text.contains(reason), "{text}");
    }
    for text in texts.iter().chain([&server.agent.log()]) {
        assert!(!text.contains("s3cr3t") && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn health_and_readiness_have_reasons() {
    let mut server = HttpAgent::start("[plugins.absent]\n");
    assert_eq!(server.get("/health").status, 200);
    server.agent.wait(|_| true);
    let ready = server.get("/ready");
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["is_well"], false);
    assert!(ready.json()["reasons"].to_string().contains("absent"), "{}", ready.text());

    let setup = Setup::new();
    let address = super::peer::own_address();
    let agent = HttpAgent::configure(&setup, address, "").start(&[]);
    let mut server = HttpAgent { setup, agent, address };
    server.agent.next();
    server.agent.wait_log("HTTP address opened");
    let ready = server.get("/ready");
    assert_eq!((ready.status, ready.json()["is_well"].clone()), (200, Value::Bool(true)), "{}", ready.text());
}

#[test]
fn requests_before_the_first_tick_get_503() {
    let setup = Setup::new();
    let address = super::peer::own_address();
    let configuration = format!("interval = \"1h\"\n[http]\nlisten = [\"{address}\"]\n");
    std::fs::write(setup.path("gauged.toml"), configuration).expect("written");
    let agent = setup.start(&[]);
    let mut server = HttpAgent { setup, agent, address };
    server.agent.wait_log("HTTP address opened");
    for path in ["/metrics", "/v1/sample"] {
        let response = server.get(path);
        assert_eq!((response.status, response.header("retry-after")), (503, Some("1")), "{path}");
        assert_eq!(response.text(), "there was no tick yet; ask again after the first one\n");
    }
    assert_eq!((server.get("/health").status, server.get("/ready").status), (200, 503));
    assert_eq!(server.get("/v1/status").json()["agent"]["tick"], Value::Null);
}

#[test]
fn unknown_requests_get_reason_and_remedy() {
    let server = HttpAgent::start("");
    let index = server.get("/");
    assert!(index.text().contains("/metrics ") && index.text().contains("/v1/stream "), "{}", index.text());
    let expect = |response: Response, status: u16, text: &str| {
        assert_eq!(response.status, status);
        assert!(response.text().contains(text), "{}", response.text());
        response
    };
    expect(server.get("/metric"), 404, "/metrics ");
    expect(server.get("/metrics?naming=otel"), 400, "unknown naming \"otel\"; known: gauged");
    expect(server.get("/metrics?collect[]=cpu"), 400, "unknown parameter \"collect[]\"; known: naming, module");
    expect(server.get("/version?pretty"), 400, "unknown parameter \"pretty\"; this endpoint has no parameters");
    expect(server.get("/metrics?module=%zz"), 400, "damaged escape");
    expect(server.get("/metrics?module="), 400, "the parameter module is empty");
    expect(server.get("/metrics?module=cpu&module=nope"), 404, "no module \"nope\"; it has agent, ");
    assert_eq!(server.get("/metrics?module=cpu&module=agent").status, 200);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"] {
        let target = if method == "CONNECT" { "localhost:80" } else { "/metrics" };
        let response =
            server.send(&format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        if method == "CONNECT" {
            assert!((400..500).contains(&response.status), "{}", response.head);
        } else {
            let response = expect(response, 405, "use GET, HEAD");
            assert_eq!(response.header("allow"), Some("get, head"));
        }
    }
    let head = server.send("HEAD /v1/sample HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(head.status == 200 && head.body.is_empty());
    assert!(head.header("content-length").is_some_and(|length| length != "0"), "{}", head.head);
    assert_eq!(head.header("access-control-allow-origin"), None);
}

#[test]
fn metrics_of_the_server_count() {
    let mut server = HttpAgent::start("");
    let sample = server.agent.next();
    let rejected: Vec<_> = sample["agent"].keys().filter(|key| key.starts_with("http_rejected_total{")).collect();
    assert_eq!(rejected.len(), 9, "{rejected:?}");
    let before = value_of(&sample, "http_requests_total");
    server.get("/nothing");
    server.get("/metrics");
    server.agent.wait(|sample| value_of(sample, "http_requests_total") == before + 2);
    server.wait_rejected("invalid", 1);
    let silent = Setup::new().once().0;
    assert!(value(&silent, "cpu").is_none() && !silent["agent"].contains_key("http_requests_total"));
}
