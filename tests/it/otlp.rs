//! Requests of OTLP, read by `OpenTelemetry`'s own messages in Python.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use expect_test::expect;
use serde_json::Value;

use crate::harness::repository;
use crate::requirement::{self, Python};

/// A Python module of the package that reads requests.
const MESSAGES: &str = "opentelemetry.proto.collector.metrics.v1.metrics_service_pb2";

/// Python with these messages.
pub fn python() -> Option<Python> {
    requirement::python(MESSAGES)
}

/// The content of requests, compressed or not, as `otlp_decoder.py` prints it: `resources`, `schemas`, and `points` with all fields.
pub fn decode<'a>(python: &Python, bodies: impl IntoIterator<Item = &'a [u8]>) -> Vec<Value> {
    let script = repository().join("tests/it/otlp_decoder.py");
    let mut command = python.command(&[script.to_str().expect("text")]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = String::new();
    for body in bodies {
        body.iter().try_for_each(|byte| write!(lines, "{byte:02x}")).expect("a string grows");
        lines.push('\n');
    }
    let mut stdin = child.stdin.take().expect("piped");
    // It prints while it reads.
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", output.status);
    writer.join().expect("no panic").expect("it reads");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The request that a unit test compares with the encoder's.
fn request() -> Vec<u8> {
    let text = fs::read_to_string(repository().join("tests/fixtures/otlp/request.hex")).expect("readable");
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("text"), 16).expect("digits");
    digits.chunks(2).map(byte).collect()
}

#[test]
fn python_decodes_each_field_of_otlp() {
    let Some(python) = python() else { return };
    let mut decoded = decode(&python, [&*request(), &*request()]);
    assert_eq!(decoded.pop(), decoded.first().cloned());
    let mut text = String::new();
    for point in decoded[0]["points"].as_array().expect("points") {
        writeln!(text, "{point}").expect("a string grows");
    }
    expect![[r#"
        {"as_int":3,"attributes":{"disk":"sda"},"description":"A description.","flags":0,"kind":"gauge","name":"gauged_app_queue_length","schema":"","scope":"app","start":0,"time":100000000000,"unit":"{task}","version":"1.2.0"}
        {"as_double":2.5,"attributes":{"disk":"sdb"},"description":"A description.","flags":0,"kind":"gauge","name":"gauged_app_queue_length","schema":"","scope":"app","start":0,"time":100000000000,"unit":"{task}","version":"1.2.0"}
        {"as_double":1.8446744073709552e+19,"attributes":{"disk":"sda"},"description":"A description.","flags":0,"kind":"sum","monotonic":true,"name":"gauged_app_requests_total","schema":"","scope":"app","start":0,"temporality":"cumulative","time":100000000000,"unit":"{request}","version":"1.2.0"}
        {"as_int":7,"attributes":{"disk":"sdb"},"description":"A description.","flags":0,"kind":"sum","monotonic":true,"name":"gauged_app_requests_total","schema":"","scope":"app","start":0,"temporality":"cumulative","time":100000000000,"unit":"{request}","version":"1.2.0"}
        {"attributes":{"disk":"sda"},"bounds":[0.005,0.01,0.25],"bucket_counts":[2,0,5,1],"count":8,"description":"A description. Measured in ms, exposed in seconds.","flags":0,"kind":"histogram","name":"gauged_app_wait_seconds","schema":"","scope":"app","start":0,"sum":1.2,"temporality":"cumulative","time":100000000000,"unit":"s","version":"1.2.0"}
        {"attributes":{"disk":"sda"},"count":4,"description":"A description.","flags":0,"kind":"summary","name":"gauged_app_size_bytes","quantiles":[[0.5,10.0]],"schema":"","scope":"app","start":0,"sum":99.0,"time":100000000000,"unit":"By","version":"1.2.0"}
        {"as_int":-3,"attributes":{},"description":"A description.","flags":0,"kind":"gauge","name":"gauged_app_temperature_celsius","schema":"","scope":"app","start":0,"time":100000000000,"unit":"Cel","version":"1.2.0"}
        {"as_int":1,"attributes":{},"description":"The metric undescribed of the module app, which its collector does not describe.","flags":0,"kind":"gauge","name":"gauged_app_undescribed","schema":"","scope":"app","start":0,"time":100000000000,"unit":"","version":"1.2.0"}
        {"as_int":12,"attributes":{},"description":"Forks since boot.","flags":0,"kind":"sum","monotonic":true,"name":"gauged_kernel_forks_total","schema":"","scope":"kernel","start":5000000000,"temporality":"cumulative","time":100000000000,"unit":"{process}","version":"0.1.0"}
        {"as_double":60.0,"attributes":{},"description":"The metric start_time_seconds of the module agent, which its collector does not describe.","flags":0,"kind":"gauge","name":"gauged_agent_start_time_seconds","schema":"","scope":"agent","start":0,"time":100000000000,"unit":"","version":"0.1.0"}
        {"as_int":4,"attributes":{},"description":"Ticks.","flags":0,"kind":"sum","monotonic":true,"name":"gauged_agent_ticks_total","schema":"","scope":"agent","start":60000000000,"temporality":"cumulative","time":100000000000,"unit":"{tick}","version":"0.1.0"}
    "#]].assert_eq(&text);
    expect![[r#"[{"dc":"fra1","host.id":"0123456789abcdef0123456789abcdef","host.name":"web-1","os.type":"linux","service.instance.id":"2f1423a8-dc20-5c0e-839d-70474f2dc393","service.name":"gauged","service.version":"0.1.0"}]"#]].assert_eq(&decoded[0]["resources"].to_string());
    assert_eq!(decoded[0]["schemas"], serde_json::json!(["https://opentelemetry.io/schemas/1.44.0"]));
}
