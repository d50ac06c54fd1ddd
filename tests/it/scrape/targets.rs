//! Targets that fail, and expositions with odd parts: each costs only its own metrics.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::thread;

use super::pages::{Pages, TEXT};
use crate::harness::{Sample, plugin_metric};
use crate::server::{Server, closed_port, read_request};
use crate::services::{assert_well, host, metric, number, silent, wait_for};

const GOOD: &[u8] = b"# TYPE good counter\ngood 1\n";

fn labels(name: &str) -> String {
    format!("target=\"{name}\"")
}

/// The table of a target of another server.
fn target_at(name: &str, address: SocketAddr, rest: &str) -> String {
    format!("[[plugins.prometheus.config.targets]]\nname = {name:?}\nurl = \"http://{address}/\"\n{rest}\n")
}

fn has(sample: &Sample, target: &str) -> bool {
    sample.contains_key(&format!("prometheus_{target}"))
}

#[test]
fn failing_targets_leave_the_others() {
    let pages = Pages::start();
    pages.set("/metrics", TEXT, GOOD);
    pages.set("/page", "text/html", b"<html></html>\n");
    pages.set("/text", TEXT, b"<html>\n</html>\n");
    pages.set_response("/gzip", b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\n\x1f");
    pages.set_response("/cut", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ngood 1\n");
    let garbage = Server::responding("SSH-2.0-OpenSSH_9.9\r\n");
    let endless = Server::endless("HTTP/1.1 200 OK\r\n\r\n", "good 1\n");
    let silent = silent();
    let closed: SocketAddr = ([127, 0, 0, 1], closed_port()).into();
    let servers = [
        ("garbage", garbage.address, "", "protocol"),
        ("endless", endless.address, "", "too_large"),
        ("silent", silent.address, "timeout_ms = 300", "timeout"),
        ("closed", closed, "", "connect"),
    ];
    let paths =
        [("page", "content"), ("text", "content"), ("gzip", "encoding"), ("cut", "protocol"), ("missing", "status")];
    let mut origins = vec![pages.origin()];
    origins.extend(servers.iter().map(|(_, address, ..)| format!("http://{address}")));
    let mut toml = format!("[plugins.prometheus]\ntimeout = \"10s\"\nfetch = {origins:?}\n");
    toml += &pages.target("good", "/metrics", "");
    for (name, address, rest, _) in servers {
        toml += &target_at(name, address, rest);
    }
    for (name, _) in paths {
        toml += &pages.target(name, &format!("/{name}"), "");
    }
    toml += &pages.target("better", "/metrics", "");
    let setup = host(&["prometheus"], &toml);
    let mut agent = setup.start(&[]);
    for (name, reason) in servers.map(|(name, _, _, reason)| (name, reason)).into_iter().chain(paths) {
        let sample = wait_for(&mut agent, "prometheus", &labels(name), Some(reason));
        assert!(!has(&sample, name), "{name}: {sample:?}");
        assert!(has(&sample, "good") && has(&sample, "better"), "{name}: {sample:?}");
    }
    let sample = wait_for(&mut agent, "prometheus", &labels("good"), None);
    assert!(number(&sample, "prometheus.scrape_duration_seconds", &labels("good")) > 0.0);
    assert_eq!(number(&sample, "prometheus.response_bytes", &labels("good")), GOOD.len() as f64);
    assert_eq!(metric(&sample, "prometheus.scraped_metrics", &labels("cut")), None);
    assert_well(&mut agent, &["prometheus"]);
}

#[test]
fn metrics_come_and_go_with_their_target() {
    let pages = Pages::start();
    pages.set("/a", TEXT, GOOD);
    pages.set("/b", TEXT, GOOD);
    let targets = pages.target("a", "/a", "") + &pages.target("b", "/b", "");
    let toml = format!("[plugins.prometheus]\ntimeout = \"10s\"\nfetch = [{:?}]\n{targets}", pages.origin());
    let setup = host(&["prometheus"], &toml);
    let mut agent = setup.start(&[]);
    agent.wait(|sample| has(sample, "a") && has(sample, "b"));
    pages.set_response("/a", b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n");
    let sample = agent.wait(|sample| has(sample, "b") && !has(sample, "a"));
    assert_eq!(metric(&sample, "prometheus.failure", &labels("a")), Some(&"status".into()));
    // A metric that its target does not have any more.
    pages.set("/b", TEXT, b"other 1\n");
    agent.wait(|sample| sample.get("prometheus_b").is_some_and(|own| own.keys().all(|key| key.starts_with("other"))));
    pages.set("/a", TEXT, GOOD);
    agent.wait(|sample| has(sample, "a") && has(sample, "b"));
    agent.wait_log("a is up again");
    assert_well(&mut agent, &["prometheus"]);
}

#[test]
fn odd_parts_of_an_exposition_cost_only_themselves() {
    let pages = Pages::start();
    let body = b"# TYPE first counter\nfirst 1\nfirst 2\n# TYPE first gauge\nbroken{ 1\nodd NaN\nbad{a=\"\xff\"} 1\n\
        # TYPE h histogram\nh_bucket{le=\"1\"} 5\nh_bucket{le=\"+Inf\"} 4\nlast 3\nended 4";
    pages.set("/metrics", TEXT, body);
    let toml = format!("[plugins.prometheus]\nfetch = [{:?}]\n{}", pages.origin(), pages.target("odd", "/metrics", ""));
    let setup = host(&["prometheus"], &toml);
    let mut agent = setup.start(&[]);
    let sample = agent.wait(|sample| has(sample, "odd"));
    let instance = pages.origin().replace("http://", "");
    let expected = ["ended", "first", "last"].map(|name| format!("{name}{{instance=\"{instance}\"}}"));
    assert_eq!(sample["prometheus_odd"].keys().collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
    assert_eq!(sample["prometheus_odd"][&expected[0]], 4.0, "the last line may be without its end");
    assert_eq!(sample["prometheus_odd"][&expected[1]], 1.0, "the first of two");
    let own = |name: &str| number(&sample, &format!("prometheus.{name}"), &labels("odd"));
    // The type, the labels, the text and the histogram.
    assert_eq!((own("skipped_lines"), own("not_finite_values")), (4.0, 1.0));
    assert_eq!(plugin_metric(&sample, "plugin_dropped_metrics_total", "prometheus"), Some(1.0));
    for text in ["left_out=broken", "left_out=h", "left_out=\"its type\""] {
        agent.wait_log(text);
    }
    assert_well(&mut agent, &["prometheus"]);
}

#[test]
fn targets_may_listen_on_unix_sockets() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let socket = directory.path().join("app.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let response = format!("HTTP/1.1 200 OK\r\nContent-Type: {TEXT}\r\nContent-Length: {}\r\n\r\n", GOOD.len());
    let response = [response.as_bytes(), GOOD].concat();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let request = read_request(&mut stream);
            assert!(request.starts_with("GET /metrics HTTP/1.1\r\n"), "{request}");
            // The client may close the connection before it has read everything.
            let _ = stream.write_all(&response);
        }
    });
    let path = socket.display();
    let toml = format!(
        "[plugins.prometheus]\nfetch = [\"unix:{path}\"]\n[[plugins.prometheus.config.targets]]\nname = \"local\"\n\
         url = \"http://localhost/metrics\"\nunix_socket = \"{path}\"\n"
    );
    let setup = host(&["prometheus"], &toml);
    let mut agent = setup.start(&[]);
    let sample = agent.wait(|sample| has(sample, "local"));
    assert_eq!(sample["prometheus_local"][&format!("good{{instance=\"{path}\"}}")], 1.0);
    std::fs::remove_file(&socket).expect("removed");
    let sample = wait_for(&mut agent, "prometheus", &labels("local"), Some("connect"));
    assert!(!has(&sample, "local"));
    assert_well(&mut agent, &["prometheus"]);
}
