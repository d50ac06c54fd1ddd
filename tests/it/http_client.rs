//! The table `[client]`: proxies, authorities and certificates of plugins' requests and of sinks.

mod plugin_table;

use std::fs;
use std::io::Write as _;
use std::sync::mpsc;

use rustix::process::Signal;

use crate::harness::Setup;
use crate::http::tls::tls_server;
use crate::http::{DENIED, Fetch, PROXY, TLS, outcome};
use crate::http_server::security::{Authority, write_secret};
use crate::server::{Server, read_request};

/// A proxy that answers each request itself, and shows it.
fn proxy() -> (Server, mpsc::Receiver<String>) {
    let (sender, requests) = mpsc::channel();
    let server = Server::start(move |mut stream| {
        let _ = sender.send(read_request(&mut stream));
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nby proxy!");
    });
    (server, requests)
}

/// A setup whose guest may ask `http://metrics.invalid:9100`, with this table `[client]`.
fn setup_with(client: &str) -> Setup {
    let grants = "[plugins.fetcher]\ntimeout = \"10s\"\nfetch = [\"http://metrics.invalid:9100\"]\n";
    Setup::with_config(&format!("{client}\n{grants}"))
}

#[test]
fn plugin_requests_go_through_the_proxy() {
    let (server, requests) = proxy();
    let setup = setup_with(&format!("[client]\nproxy = \"http://me:hunter2@{}\"", server.address));
    let fetch = |url: &str| {
        Fetch::get(url).guest().install(&setup.plugin("fetcher.wasm"));
        let (sample, log) = setup.once();
        assert!(!log.contains("hunter2"), "{log}");
        outcome(&sample).unwrap_or_else(|| panic!("{sample:?}\n{log}"))
    };
    assert_eq!(fetch("http://metrics.invalid:9100/m?x"), (200, "by proxy!".into()));
    let request = requests.recv().expect("a request");
    assert!(request.starts_with("GET http://metrics.invalid:9100/m?x HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("host: metrics.invalid:9100\r\n"), "{request}");
    assert!(request.contains("proxy-authorization: Basic bWU6aHVudGVyMg==\r\n"), "{request}");
    // The grant is for the server, not for the proxy.
    let connections = server.connections();
    assert_eq!(fetch("http://other.invalid/").0, DENIED);
    assert_eq!(fetch(&format!("http://{}/", server.address)).0, DENIED);
    assert_eq!(server.connections(), connections);
}

#[test]
fn environment_names_the_proxy_of_plugins() {
    let (server, requests) = proxy();
    let setup = setup_with("");
    Fetch::get("http://metrics.invalid:9100/").guest().install(&setup.plugin("fetcher.wasm"));
    let fetch = |variables: &[(&str, &str)]| {
        let output = setup.command(&["--once"]).envs(variables.iter().copied()).output().expect("it runs");
        outcome(&crate::harness::parse(&String::from_utf8(output.stdout).expect("text"))).expect("a result")
    };
    let address = server.address.to_string();
    assert_eq!(fetch(&[("http_proxy", &address)]), (200, "by proxy!".into()));
    assert!(requests.recv().expect("a request").starts_with("GET http://metrics.invalid:9100/ HTTP/1.1\r\n"));
    let connections = server.connections();
    let (case, message) = fetch(&[("http_proxy", "socks5://h:1")]);
    let message = message.as_str().unwrap_or_default();
    assert!(case == PROXY && message.contains("the environment variable http_proxy does not begin"), "{message}");
    let output = setup.command(&["check"]).env("http_proxy", "socks5://h:1").output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success() && text.contains("note: the environment variable http_proxy does not"), "{text}");
    assert_eq!(server.connections(), connections);
}

#[test]
fn reload_changes_whom_plugins_trust() {
    let setup = Setup::new();
    let server = tls_server(&setup, 2035);
    let origin = format!("https://localhost:{}", server.port());
    let write = |client: &str| {
        let text =
            format!("interval = \"200ms\"\n{client}\n[plugins.fetcher]\ntimeout = \"10s\"\nfetch = [{origin:?}]\n");
        fs::write(setup.path("gauged.toml"), text).expect("written");
    };
    let other = Authority::new();
    fs::write(setup.path("other.pem"), other.pem()).expect("written");
    write(&format!("[client]\nca_file = {:?}", setup.path("other.pem")));
    Fetch::get(&*origin).guest().install(&setup.plugin("fetcher.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| outcome(sample).is_some_and(|(case, _)| case == TLS));
    write(&format!("[client]\nca_file = {:?}", setup.path("authority.pem")));
    agent.signal(Signal::HUP);
    agent.wait(|sample| outcome(sample) == Some((200, "secret".into())));
    let log = agent.log();
    assert!(!log.contains("plugin reconfigured"), "without a trial: {log}");
}

#[test]
fn check_shows_network_sinks_without_secrets() {
    let setup = Setup::new();
    let authority = Authority::new();
    let (certificate, key) = authority.issue_until("host-1", 2020);
    fs::write(setup.path("client.pem"), certificate).expect("written");
    write_secret(&setup.path("client.key"), &key);
    write_secret(&setup.path("password"), "hunter2");
    let path = |name: &str| setup.path(name).display().to_string();
    let text = format!(
        "[client]\ncertificate = {:?}\nkey = {:?}\nproxy = \"http://me:hunter2@p:1\"\n\
         [sinks.vm]\nkind = \"remote_write\"\nurl = \"https://vm.invalid/api?auth_key=hunter2\"\nusername = \"me\"\npassword_file = {:?}\n",
        path("client.pem"),
        path("client.key"),
        path("password"),
    );
    fs::write(setup.path("gauged.toml"), text).expect("written");
    let output = setup.run(&["check"]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success() && text.contains(" to remote_write at https://vm.invalid/api; plugins"), "{text}");
    // Of `[client]` only: the sink has no own one.
    let notes: Vec<&str> = text.lines().filter(|line| line.contains("a certificate that expired at 2020")).collect();
    assert!(notes.len() == 1 && notes[0].starts_with("note: client.certificate: "), "{text}");
    let output = setup.run(&["check", "--effective"]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("url = \"https://vm.invalid/api?auth_key=…\" # gauged.toml:7\n"), "{text}");
    assert!(text.contains("proxy = \"http://…@p:1\" # gauged.toml:4\n") && !text.contains("hunter2"), "{text}");
}
