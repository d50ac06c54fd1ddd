//! Certificates that somebody has to look after: those that expire, and those of the wrong kind.

use std::fs;

use super::peer::{HttpAgent, own_address};
use super::security::{Authority, write_secret};
use crate::harness::Setup;

const METRIC: &str = "http_certificate_expiry_timestamp_seconds";

/// The keys for TLS with a certificate that expired in 2020, by an authority of which clients are expected, too.
fn expired(setup: &Setup, authority: &Authority) -> String {
    let (certificate, key) = authority.issue_until("localhost", 2020);
    fs::write(setup.path("tls.pem"), &certificate).expect("written");
    fs::write(setup.path("leaf.pem"), authority.issue("scraper").0).expect("written");
    write_secret(&setup.path("tls.key"), &key);
    let line = |key: &str, file: &str| format!("{key} = \"{}\"\n", setup.path(file).display());
    line("tls_certificate", "tls.pem") + &line("tls_key", "tls.key") + &line("tls_client_ca", "leaf.pem")
}

#[test]
fn check_notes_expired_certificates() {
    let (setup, authority) = (Setup::new(), Authority::new());
    let keys = expired(&setup, &authority);
    let notes = || {
        let output = HttpAgent::configure(&setup, own_address(), &keys).run(&["check"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("text").replace(setup.path("").to_str().expect("text"), "");
        text.lines().filter(|line| line.starts_with("note: http")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        notes().join("\n"),
        "note: http.tls_certificate: tls.pem has a certificate that expired at 2020-01-01T00:00:00Z; renew it, and reload the \
         configuration\n\
         note: http.tls_client_ca: leaf.pem has a certificate that is no authority (CA:FALSE); name the certificates of the \
         authorities that sign those of clients"
    );
    authority.write(&setup);
    fs::write(setup.path("leaf.pem"), authority.pem()).expect("written");
    assert_eq!(notes(), [""; 0]);
}

#[test]
fn expired_certificates_are_warnings_with_metric() {
    let (setup, authority, address) = (Setup::new(), Authority::new(), own_address());
    let keys = expired(&setup, &authority);
    let agent = HttpAgent::configure(&setup, address, &keys).start(&[]);
    let mut server = HttpAgent { setup, agent, address };
    let lines = server.agent.wait_log_lines("WARN HTTP certificate needs attention", 2);
    assert!(lines[0].contains("key=http.tls_certificate") && lines[0].contains("expired at 2020-01-01"), "{lines:?}");
    assert!(lines[1].contains("key=http.tls_client_ca") && lines[1].contains("CA:FALSE"), "{lines:?}");
    server.agent.wait(|sample| sample["agent"].get(METRIC) == Some(&1_577_836_800.into()));
    // Again, as long as nobody has renewed it.
    server.reload_files();
    server.agent.wait_log_lines("WARN HTTP certificate needs attention", 4);
    authority.write(&server.setup);
    fs::write(server.setup.path("leaf.pem"), authority.pem()).expect("written");
    server.reload_files();
    server.agent.wait(|sample| sample["agent"][METRIC].as_u64() > Some(1_577_836_800));
    server.reload(address, "");
    server.agent.wait(|sample| !sample["agent"].contains_key(METRIC));
    assert_eq!(server.agent.log().matches("needs attention").count(), 4, "{}", server.agent.log());
}
