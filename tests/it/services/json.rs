//! The plugin `json` on documents of web servers, unix sockets and files.

use std::fs;
use std::io::Write as _;

use serde_json::json;

use super::{assert_well, host, metric, number, silent, wait_for};
use crate::scrape::pages::Pages;
use crate::server::{Server, closed_port, read_request, unix_server};

const BODY: &[u8] =
    br#"{"state": "yellow", "jobs": [{"name": "mail", "age": 7}, {"name": "sync", "age": 2.5}], "ratio": 1e-310}"#;

fn labels(source: &str) -> String {
    format!("source=\"{source}\"")
}

/// The table of a document of one source. Its metrics are in the module `app`.
fn document(source: &str, rest: &str) -> String {
    format!(
        "[[plugins.json.config.documents]]\nsources = [{source:?}]\nmodule = \"app\"\n{rest}\nmetrics = [\n\
         {{ path = \"state\", values = {{ green = 0, yellow = 1 }} }},\n\
         {{ path = \"ratio\" }},\n\
         {{ path = \"jobs[*].age\", name = \"job_age_seconds\", unit = \"s\", labels = {{ job = \"jobs[*].name\" }} }},\n]\n"
    )
}

#[test]
fn documents_of_servers_sockets_and_files_are_measured() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (socket, file) = (directory.path().join("app.sock"), directory.path().join("app.json"));
    fs::write(&file, BODY).expect("written");
    let pages = Pages::start();
    pages.set("/status", "application/json", BODY);
    unix_server(&socket, |mut stream| {
        let request = read_request(&mut stream);
        let is_login = request.contains("authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n");
        let is_right = request.starts_with("POST /status HTTP/1.1\r\n") && is_login && request.ends_with("\r\n\r\n{}");
        let status = if is_right { "200 OK" } else { "400 Bad Request" };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", BODY.len());
        // The client may close the connection before it has read everything.
        let _ = stream.write_all(&[head.as_bytes(), BODY].concat());
    });
    let (socket, file) = (socket.to_str().expect("text"), file.to_str().expect("text"));
    let url = format!("{}/status", pages.origin());
    let login = "user = \"Aladdin\"\npassword = \"open sesame\"\nbody = \"{}\"";
    let toml = [
        format!(
            "[plugins.json]\ntimeout = \"10s\"\nfetch = [{:?}, \"unix:{socket} POST\"]\nread = [{file:?}]\n",
            pages.origin()
        ),
        document(&url, ""),
        document("http://app/status", &format!("unix_socket = {socket:?}\n{login}")),
        document(file, ""),
    ];
    let setup = host(&["json"], &toml.concat());
    let mut agent = setup.start(&[]);
    for source in [&*url, "http://app/status", file] {
        let sample = wait_for(&mut agent, "json", &labels(source), None);
        assert_eq!(metric(&sample, "app.state", &labels(source)), Some(&json!(1.0)), "{sample:?}");
        assert_eq!(metric(&sample, "app.ratio", &labels(source)), Some(&json!(1e-310)), "{sample:?}");
        assert_eq!(metric(&sample, "json.values", &labels(source)), Some(&json!(4)), "{sample:?}");
        for (job, age) in [("mail", 7.0), ("sync", 2.5)] {
            let labels = format!("{},job=\"{job}\"", labels(source));
            assert_eq!(number(&sample, "app.job_age_seconds", &labels), age);
        }
    }
    fs::remove_file(socket).expect("removed");
    let sample = wait_for(&mut agent, "json", &labels("http://app/status"), Some("connect"));
    assert_eq!(metric(&sample, "app.state", &labels("http://app/status")), None);
    fs::remove_file(file).expect("removed");
    let sample = wait_for(&mut agent, "json", &labels(file), Some("missing"));
    assert_eq!(metric(&sample, "app.state", &labels(&url)), Some(&json!(1.0)), "the other source");
    assert_well(&mut agent, &["json"]);
}

#[test]
fn failing_sources_leave_the_others() {
    let pages = Pages::start();
    pages.set("/status", "application/json", BODY);
    pages.set("/page", "text/html", b"<html></html>");
    let garbage = Server::responding("SSH-2.0-OpenSSH_9.9\r\n");
    let silent = silent();
    let closed = format!("127.0.0.1:{}", closed_port());
    let of = |address: &str| format!("http://{address}/");
    let sources = [
        (format!("{}/page", pages.origin()), "body"),
        (format!("{}/missing", pages.origin()), "status"),
        (of(&garbage.address.to_string()), "protocol"),
        (of(&silent.address.to_string()), "timeout"),
        (of(&closed), "connect"),
        // The agent rejects it.
        ("http://localhost:99999/".to_owned(), "request"),
    ];
    let good = format!("{}/status", pages.origin());
    let origins = [pages.origin(), of(&garbage.address.to_string()), of(&silent.address.to_string()), of(&closed)];
    let origins = origins.map(|origin| origin.trim_end_matches('/').to_owned());
    let mut toml = format!("[plugins.json]\ntimeout = \"10s\"\nfetch = {origins:?}\n");
    for (source, reason) in &sources {
        toml += &document(source, if *reason == "timeout" { "timeout_ms = 300" } else { "" });
    }
    toml += &document(&good, "");
    let setup = host(&["json"], &toml);
    let mut agent = setup.start(&[]);
    for (source, reason) in &sources {
        let sample = wait_for(&mut agent, "json", &labels(source), Some(*reason));
        assert_eq!(metric(&sample, "app.state", &labels(source)), None, "{sample:?}");
        assert_eq!(metric(&sample, "app.state", &labels(&good)), Some(&json!(1.0)), "{sample:?}");
    }
    assert_well(&mut agent, &["json"]);
}

/// A document of hundreds of thousands of values, none of which fits. Right: one warning, and the other sources are measured.
#[test]
fn unusable_values_leave_other_sources_measured() {
    let pages = Pages::start();
    pages.set("/status", "application/json", BODY);
    let texts = vec!["\"x\""; 400_000].join(",");
    pages.set("/texts", "application/json", format!("{{\"jobs\": [{texts}]}}").as_bytes());
    let (good, odd) = (format!("{}/status", pages.origin()), format!("{}/texts", pages.origin()));
    let toml = format!(
        "[plugins.json]\ntimeout = \"30s\"\nfetch = [{:?}]\n{}[[plugins.json.config.documents]]\nsources = [{odd:?}]\n\
         metrics = [{{ path = \"jobs.{{job}}\", name = \"jobs\" }}]\n",
        pages.origin(),
        document(&good, "")
    );
    let setup = host(&["json"], &toml);
    let mut agent = setup.start(&[]);
    let sample = wait_for(&mut agent, "json", &labels(&odd), None);
    assert_eq!(metric(&sample, "json.values", &labels(&odd)), Some(&json!(0)), "{sample:?}");
    wait_for(&mut agent, "json", &labels(&good), None);
    agent.wait_log("more than 50000 values");
    assert_eq!(agent.log().matches("is a text that is no number").count(), 1, "{}", agent.log());
    assert_well(&mut agent, &["json"]);
}
