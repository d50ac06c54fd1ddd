//! The table `client` of a plugin: what its requests trust and show, and those of others do not.

use std::fs;

use rustix::process::Signal;

use crate::harness::Setup;
use crate::http::facts::facts;
use crate::http::tls::{config_with_pem, self_signed_until, server_with, tls_server};
use crate::http::{Fetch, TLS, module_outcome, outcome};
use crate::http_server::security::{Authority, write_secret};

/// Writes the configuration: of the plugins `fetcher` and `other`, which may ask this origin, only the first has a table `client`.
fn write(setup: &Setup, origin: &str, common: &str, client: &str) {
    let plugin = |name: &str| format!("[plugins.{name}]\ntimeout = \"10s\"\nfetch = [{origin:?}]\n");
    let client = if client.is_empty() { String::new() } else { format!("[plugins.fetcher.client]\n{client}\n") };
    let text = format!("interval = \"200ms\"\n{common}\n{}{client}{}", plugin("fetcher"), plugin("other"));
    fs::write(setup.path("gauged.toml"), text).expect("written");
}

fn file_key(setup: &Setup, key: &str, file: &str) -> String {
    format!("{key} = \"{}\"\n", setup.path(file).display())
}

#[test]
fn plugin_trusts_its_own_authority() {
    let setup = Setup::new();
    let server = tls_server(&setup, 2035);
    let origin = format!("https://localhost:{}", server.port());
    fs::write(setup.path("other.pem"), Authority::new().pem()).expect("written");
    let common = format!("[client]\n{}", file_key(&setup, "ca_file", "other.pem"));
    write(&setup, &origin, &common, &file_key(&setup, "ca_file", "authority.pem"));
    Fetch::get(&*origin).guest().install(&setup.plugin("fetcher.wasm"));
    Fetch::get(&*origin).guest_as("other").install(&setup.plugin("other.wasm"));
    let (sample, log) = setup.once();
    assert_eq!(outcome(&sample), Some((200, "secret".into())), "{log}");
    assert_eq!(module_outcome(&sample, "other").map(|(case, _)| case), Some(TLS), "{sample:?}\n{log}");
}

#[test]
fn plugin_shows_its_own_certificate() {
    let (setup, authority) = (Setup::new(), Authority::new());
    fs::write(setup.path("ca.pem"), authority.pem()).expect("written");
    let (certificate, key) = authority.issue("gauged");
    fs::write(setup.path("client.pem"), certificate).expect("written");
    write_secret(&setup.path("client.key"), &key);
    let (certificate, key) = authority.issue("localhost");
    let server = server_with(config_with_pem(&certificate, &key, Some(&authority.pem())));
    let origin = format!("https://localhost:{}", server.port());
    let common = format!("[client]\n{}", file_key(&setup, "ca_file", "ca.pem"));
    let own = file_key(&setup, "certificate", "client.pem") + &file_key(&setup, "key", "client.key");
    write(&setup, &origin, &common, &own);
    Fetch::get(&*origin).guest().install(&setup.plugin("fetcher.wasm"));
    Fetch::get(&*origin).guest_as("other").install(&setup.plugin("other.wasm"));
    let (sample, log) = setup.once();
    assert_eq!(outcome(&sample), Some((200, "secret".into())), "with the authority of [client]: {log}");
    let (case, why) = module_outcome(&sample, "other").unwrap_or_else(|| panic!("{sample:?}\n{log}"));
    assert!(case == TLS && why.as_str().is_some_and(|why| why.contains("CertificateRequired")), "{why}");
}

#[test]
fn unverified_certificates_are_for_insecure_plugins_only() {
    let setup = Setup::new();
    let (certificate, key) = self_signed_until(2020);
    let server = server_with(config_with_pem(&certificate, &key, None));
    let origin = format!("https://localhost:{}", server.port());
    for off in ["", "insecure = false\n"] {
        write(&setup, &origin, "", off);
        Fetch::get(&*origin).guest().install(&setup.plugin("fetcher.wasm"));
        let (sample, log) = setup.once();
        assert_eq!(outcome(&sample).map(|(case, _)| case), Some(TLS), "{sample:?}\n{log}");
    }
    write(&setup, &origin, "", "insecure = true\n");
    Fetch::get(&*origin).guest_as("other").install(&setup.plugin("other.wasm"));
    let (sample, log) = setup.once();
    assert_eq!(outcome(&sample), Some((200, "secret".into())), "{log}");
    assert_eq!(module_outcome(&sample, "other").map(|(case, _)| case), Some(TLS), "{sample:?}\n{log}");
    let facts = facts(&setup, &Fetch::get(&*origin), &[]);
    assert_eq!((facts.number("not_before"), facts.number("not_after")), (1_546_300_800, 1_577_836_800));
    assert_eq!(["subject", "issuer", "version"].map(|name| facts.text(name)), ["CN=appliance", "CN=appliance", "1.3"]);
    facts.assert_ordered();
}

#[test]
fn reload_changes_the_client_of_one_plugin() {
    let setup = Setup::new();
    let server = tls_server(&setup, 2035);
    let origin = format!("https://localhost:{}", server.port());
    let authority = fs::read(setup.path("authority.pem")).expect("readable");
    fs::write(setup.path("ca.pem"), Authority::new().pem()).expect("written");
    write(&setup, &origin, "", &file_key(&setup, "ca_file", "ca.pem"));
    Fetch::get(&*origin).guest().install(&setup.plugin("fetcher.wasm"));
    let mut agent = setup.start(&[]);
    let is_rejected = |sample: &_| outcome(sample).is_some_and(|(case, _)| case == TLS);
    let is_fetched = |sample: &_| outcome(sample) == Some((200, "secret".into()));
    agent.wait(is_rejected);
    // Another content of the same file, another file, and another key.
    fs::write(setup.path("ca.pem"), &authority).expect("written");
    agent.signal(Signal::HUP);
    agent.wait(is_fetched);
    fs::write(setup.path("other.pem"), Authority::new().pem()).expect("written");
    write(&setup, &origin, "", &file_key(&setup, "ca_file", "other.pem"));
    agent.signal(Signal::HUP);
    agent.wait(is_rejected);
    write(&setup, &origin, "", "insecure = true\n");
    agent.signal(Signal::HUP);
    agent.wait(is_fetched);
    // Without the table, those of the system.
    write(&setup, &origin, "", "");
    agent.signal(Signal::HUP);
    agent.wait(is_rejected);
    let log = agent.log();
    assert!(log.contains("configuration reloaded changed=plugins.fetcher.client"), "{log}");
    assert!(!log.contains("plugin reconfigured"), "without a trial: {log}");
}

#[test]
fn check_reports_errors_in_plugin_client_tables() {
    let setup = Setup::new();
    fs::write(setup.path("ca.pem"), Authority::new().pem()).expect("written");
    let (certificate, key) = Authority::new().issue_until("gauged", 2020);
    fs::write(setup.path("client.pem"), certificate).expect("written");
    write_secret(&setup.path("client.key"), &key);
    let file = |key: &str, file: &str| file_key(&setup, key, file);
    let check = |text: &str| {
        fs::write(setup.path("gauged.toml"), text).expect("written");
        let output = setup.run(&["check"]);
        let [out, error] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
        (output.status.success(), out + &error)
    };
    for (client, line, expected) in [
        ("insecure = 1\n".to_owned(), 2, "client.insecure: is an integer; write true or false"),
        (
            "verify = false\n".to_owned(),
            2,
            "client.verify: unknown key; remove it, or use one of ca_file, certificate, key,",
        ),
        (file("ca_file", "ca.pem") + "insecure = true\n", 3, "client.insecure: trusts everybody, also without"),
        (file("certificate", "client.pem"), 1, "client: has one of certificate and key; write key, too"),
        (file("ca_file", "none.pem"), 2, "client.ca_file: "),
        ("proxy = \"socks5://p:1\"\n".to_owned(), 2, "client.proxy: "),
    ] {
        let (is_valid, text) = check(&format!("[plugins.a.client]\n{client}"));
        let expected = format!("gauged.toml:{line}: plugins.a.{expected}");
        assert!(!is_valid && text.contains(&expected), "{expected} in {text}");
    }
    let (is_valid, text) = check("[client]\ninsecure = true\n");
    assert!(!is_valid && text.contains("client.insecure: unknown key"), "for one plugin only: {text}");
    let own = file("certificate", "client.pem") + &file("key", "client.key");
    let (is_valid, text) = check(&format!("[plugins.a.client]\ninsecure = true\n{own}"));
    let note = "note: plugins.a.client.certificate: ";
    assert!(is_valid && text.contains(note) && text.contains("expired at 2020-01-01"), "{text}");
}
