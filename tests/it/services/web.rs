//! The plugin `http_check` against Debian's nginx and servers of the tests' own.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use super::{assert_well, host, metric, nginx, number, own_address, silent, wait_for};
use crate::harness::Agent;
use crate::http::tls::tls_server;
use crate::requirement;
use crate::server::{Server, closed_port};

fn target(name: &str, url: &str, rest: &str) -> String {
    format!("[[plugins.http_check.config.targets]]\nname = \"{name}\"\nurl = \"{url}\"\n{rest}\n")
}

fn labels(name: &str) -> String {
    format!("target=\"{name}\"")
}

#[test]
fn http_check_failures_have_different_reasons() {
    let Some(program) = requirement::program("nginx") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let address = own_address();
    let _nginx = nginx::start(&program, directory.path(), address);
    let garbage = Server::responding("SSH-2.0-OpenSSH_9.9\r\n");
    let endless = Server::endless("HTTP/1.1 200 OK\r\n\r\n", "x");
    let silent = silent();
    let closed = format!("127.0.0.1:{}", closed_port());
    let at = |path: &str| format!("http://{address}{path}");
    let of = |address| format!("http://{address}/");
    let targets = [
        ("empty", at("/"), "", None),
        ("page", at("/page"), "contains = \"is well\"", None),
        ("other page", at("/page"), "contains = \"is not\"", Some("body")),
        ("head", at("/page"), "method = \"HEAD\"", None),
        ("missing", at("/nowhere"), "", Some("status")),
        ("rightly missing", at("/nowhere"), "status = 404", None),
        ("garbage", of(garbage.address), "", Some("protocol")),
        ("endless", of(endless.address), "", Some("too_large")),
        ("closed", format!("http://{closed}/"), "", Some("connect")),
        ("silent", of(silent.address), "timeout_ms = 300", Some("timeout")),
    ];
    let origins =
        [address, garbage.address, endless.address, silent.address].map(|address| format!("http://{address}"));
    let mut toml = format!(
        "[plugins.http_check]\ntimeout = \"5s\"\nfetch = {:?}\n",
        [&origins[..], &[format!("http://{closed}")]].concat()
    );
    for (name, url, rest, _) in &targets {
        toml += &target(name, url, rest);
    }
    let setup = host(&["http_check"], &toml);
    let mut agent = setup.start(&[]);
    for (name, _, _, failure) in &targets {
        wait_for(&mut agent, "http_check", &labels(name), *failure);
    }
    let sample = wait_for(&mut agent, "http_check", &labels("page"), None);
    assert_eq!(metric(&sample, "http_check.status_code", &labels("page")), Some(&200.into()));
    assert_eq!(metric(&sample, "http_check.response_bytes", &labels("page")), Some(&11.into()));
    assert_eq!(metric(&sample, "http_check.certificate_expires_in_seconds", &labels("page")), None);
    assert_eq!(metric(&sample, "http_check.status_code", &labels("rightly missing")), Some(&404.into()));
    let [connect, first_byte, total] = ["connect", "first_byte", "total"]
        .map(|of| number(&sample, &format!("http_check.{of}_seconds"), &labels("page")));
    assert!(0.0 < connect && 0.0 < first_byte && connect + first_byte <= total && total < 5.0);
    assert_well(&mut agent, &["http_check"]);
}

#[test]
fn hanging_target_does_not_delay_other_targets() {
    let Some(program) = requirement::program("nginx") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let address = own_address();
    let real = nginx::start(&program, directory.path(), address);
    let silent = silent();
    let mut toml = format!(
        "[plugins.http_check]\ntimeout = \"2s\"\nfetch = [\"http://{address}\", \"http://{}\"]\n",
        silent.address
    );
    for number in 0..3 {
        toml += &target(&format!("silent{number}"), &format!("http://{}/{number}", silent.address), "");
        toml += &target(&format!("nginx{number}"), &format!("http://{address}/"), "");
    }
    let setup = host(&["http_check"], &toml);
    let mut agent = setup.start(&[]);
    let are_up = |agent: &mut Agent, up: bool| {
        agent.wait(|sample| {
            (0..3).all(|number| {
                let is_up = |name| metric(sample, "http_check.up", &labels(&format!("{name}{number}")));
                is_up("nginx") == Some(&up.into()) && is_up("silent") == Some(&false.into())
            })
        })
    };
    are_up(&mut agent, true);
    real.hang();
    are_up(&mut agent, false);
    real.resume();
    are_up(&mut agent, true);
    drop(real);
    are_up(&mut agent, false);
    let _back = nginx::start(&program, directory.path(), address);
    are_up(&mut agent, true);
    assert_well(&mut agent, &["http_check"]);
}

#[test]
fn endless_target_does_not_delay_other_targets() {
    let good = Server::responding("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let endless = Server::endless("", "HTTP/1.1 103 Early Hints\r\n\r\n");
    let urls = [&good, &endless].map(|server| format!("http://{}", server.address));
    let mut toml = format!("[plugins.http_check]\nfetch = {urls:?}\n");
    for number in 0..3 {
        toml += &target(&format!("endless{number}"), &format!("{}/{number}", urls[1]), "");
        toml += &target(&format!("good{number}"), &urls[0], "");
    }
    let setup = host(&["http_check"], &toml);
    let mut agent = setup.start(&[]);
    for number in 0..3 {
        wait_for(&mut agent, "http_check", &labels(&format!("endless{number}")), Some("too_large"));
        wait_for(&mut agent, "http_check", &labels(&format!("good{number}")), None);
    }
    for _ in 0..5 {
        let sample = wait_for(&mut agent, "http_check", &labels("endless0"), Some("too_large"));
        for number in 0..3 {
            let up = metric(&sample, "http_check.up", &labels(&format!("good{number}")));
            assert_eq!(up, Some(&true.into()), "{sample:?}");
        }
        agent.next();
    }
    assert_well(&mut agent, &["http_check"]);
}

#[test]
fn certificate_expiry_is_measured() {
    let setup = host(&["http_check"], "");
    let expired = tls_server(&setup, 2020);
    let mut authorities = fs::read(setup.path("authority.pem")).expect("written");
    let valid = tls_server(&setup, 2035);
    authorities.extend(fs::read(setup.path("authority.pem")).expect("written"));
    fs::write(setup.path("authorities.pem"), authorities).expect("written");
    let urls = [&valid, &expired].map(|server| format!("https://localhost:{}", server.port()));
    let mut toml = format!("interval = \"200ms\"\n[plugins.http_check]\ntimeout = \"5s\"\nfetch = {urls:?}\n");
    for (name, url) in ["valid", "expired"].iter().zip(&urls) {
        toml += &target(name, url, "contains = \"secret\"");
    }
    fs::write(setup.path("gauged.toml"), &toml).expect("written");
    let mut command = setup.command(&[]);
    command.env("SSL_CERT_FILE", setup.path("authorities.pem")).env_remove("SSL_CERT_DIR");
    let mut agent = Agent::start(command);
    let sample = wait_for(&mut agent, "http_check", &labels("valid"), None);
    let left = number(&sample, "http_check.certificate_expires_in_seconds", &labels("valid"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    assert!((2_051_308_800.0 - now - left).abs() < 60.0, "{left}");

    let sample = wait_for(&mut agent, "http_check", &labels("expired"), Some("tls"));
    assert_eq!(metric(&sample, "http_check.certificate_expires_in_seconds", &labels("expired")), None);
    agent.wait_log("expired is down: failed to reach");
    // Both are seen by a plugin that verifies neither.
    fs::write(setup.path("gauged.toml"), toml + "[plugins.http_check.client]\ninsecure = true\n").expect("written");
    agent.signal(Signal::HUP);
    let sample = wait_for(&mut agent, "http_check", &labels("expired"), None);
    assert!(number(&sample, "http_check.certificate_expires_in_seconds", &labels("expired")) < 0.0, "{sample:?}");
    for (name, value) in [("tls_version", "1.3"), ("certificate_subject", "CN=localhost")] {
        assert_eq!(metric(&sample, &format!("http_check.{name}"), &labels("valid")), Some(&value.into()));
    }
    let phases = ["resolve", "connect", "tls", "first_byte", "receive"];
    let phases = phases.map(|phase| metric(&sample, &format!("http_check.{phase}_seconds"), &labels("valid")));
    assert_eq!(phases[0], None, "localhost is not resolved");
    let sum: f64 = phases.iter().flatten().filter_map(|phase| phase.as_f64()).sum();
    let total = number(&sample, "http_check.total_seconds", &labels("valid"));
    assert!((sum - total).abs() < 1e-6, "{sum} {total}");
    assert_well(&mut agent, &["http_check"]);
}
