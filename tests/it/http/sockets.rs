//! Requests of guests to unix sockets: who may send which, and what is told of them.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use super::facts::facts;
use super::tls::{serve, tls_config};
use super::{DENIED, FORBIDDEN, Fetch, INVALID_REQUEST, NOT_FOUND, REFUSED, contains, fetch_from, granting, outcome};
use crate::guest::Guest;
use crate::harness::Setup;
use crate::server::{Server, read_request, unix_server};

/// A measured host with the socket `/run/open/socket`, whose server responds with this text, and shows the requests.
fn host_with(response: &'static str) -> (tempfile::TempDir, PathBuf, mpsc::Receiver<String>) {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().canonicalize().expect("it exists");
    fs::create_dir_all(root.join("run/open")).expect("created");
    let (sender, requests) = mpsc::channel();
    unix_server(&root.join("run/open/socket"), move |mut stream| {
        let request = read_request(&mut stream);
        if !request.is_empty() {
            let _ = sender.send(request);
            let _ = stream.write_all(response.as_bytes());
        }
    });
    (directory, root, requests)
}

const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfine";

#[test]
fn unix_socket_grant_is_for_reading() {
    let (_host, root, requests) = host_with(FINE);
    let root = root.to_str().expect("text");
    let fetch = |grant: &str, method: &'static str| {
        let setup = granting(&[grant]);
        let request =
            Fetch { method, body: "hello", unix_socket: Some("/run/open/socket"), ..Fetch::get("http://docker/v1?x") };
        request.guest().install(&setup.plugin("fetcher.wasm"));
        let (sample, log) = setup.once_with(&["--root", root]);
        (outcome(&sample).unwrap_or_else(|| panic!("{sample:?}\n{log}")), log)
    };
    let glob = "unix:/run/*/socket";
    assert_eq!(fetch(glob, "GET").0, (200, "fine".into()));
    let request = requests.recv().expect("a request");
    assert!(request.starts_with("GET /v1?x HTTP/1.1\r\n") && request.contains("\r\nhost: docker\r\n"), "{request}");
    assert_eq!(fetch(glob, "HEAD").0.0, 200);
    // Each run sends two: one is the trial.
    while requests.try_recv().is_ok() {}

    for (grant, method, missing) in [
        (glob, "POST", "unix:/run/open/socket POST"),
        ("unix:/run/open/socket POST", "GET", "unix:/run/open/socket"),
        ("unix:/run/open/socket POST", "DELETE", "unix:/run/open/socket DELETE"),
        ("unix:/run/open/other", "GET", "unix:/run/open/socket"),
        ("http://docker", "GET", "unix:/run/open/socket"),
    ] {
        let (result, log) = fetch(grant, method);
        assert_eq!(result, (DENIED, missing.into()), "{grant}");
        let line = format!("write under [plugins.fetcher]: fetch = [\\\"{grant}\\\", \\\"{missing}\\\"], and reload");
        assert!(log.contains(&line), "{line} in {log}");
    }
    assert!(requests.try_recv().is_err(), "nothing was sent");
    assert_eq!(fetch("unix:/run/open/socket GET HEAD POST", "POST").0, (200, "fine".into()));
    let request = requests.recv().expect("a request");
    assert!(request.starts_with("POST /v1?x HTTP/1.1\r\n") && request.ends_with("\r\n\r\nhello"), "{request}");
    let ((case, message), _) = fetch(glob, "post");
    assert!(case == INVALID_REQUEST && contains(&message, "write it like GET"), "{message}");
}

#[test]
fn request_socket_path_is_checked_against_grants() {
    let (_host, root, _requests) = host_with(FINE);
    fs::create_dir_all(root.join("run/closed")).expect("created");
    unix_server(&root.join("run/closed/socket"), drop);
    fs::write(root.join("run/open/file"), "").expect("written");
    symlink("socket", root.join("run/open/within")).expect("linked");
    symlink("../closed/socket", root.join("run/open/out")).expect("linked");
    symlink("/run/open/socket", root.join("run/open/absolute")).expect("linked");
    let magic = format!("/proc/{}/root{}/run/open/socket", std::process::id(), root.display());
    symlink(magic, root.join("run/open/magic")).expect("linked");
    let setup = granting(&["unix:/run/open/*"]);
    let fetch = |path: &str| {
        let request = Fetch { unix_socket: Some(path), ..Fetch::get("http://localhost/") };
        request.guest().install(&setup.plugin("fetcher.wasm"));
        let (sample, log) = setup.once_with(&["--root", root.to_str().expect("text")]);
        outcome(&sample).unwrap_or_else(|| panic!("{sample:?}\n{log}"))
    };
    assert_eq!(fetch("/run/open/within"), (200, "fine".into()));
    assert_eq!(fetch("/run/open/absolute"), (200, "fine".into()), "the link is that host's");
    assert_eq!(fetch("/run/open/out"), (DENIED, "unix:/run/closed/socket".into()));
    assert_eq!(fetch("/run/open/file"), (REFUSED, "the file is not a socket".into()));
    for path in ["/run/open/none", "/run/open/magic"] {
        assert_eq!(fetch(path), (NOT_FOUND, 0.into()), "{path}: that host has no processes");
    }
    for (path, expected, text) in [
        ("/proc/self/cwd/x", FORBIDDEN, "the agent's own process"),
        ("run/open/socket", INVALID_REQUEST, "is not absolute"),
        ("/run/open/../closed/socket", INVALID_REQUEST, "segment; write it without"),
    ] {
        let (case, message) = fetch(path);
        assert!(case == expected && contains(&message, text), "{path}: {case} {message}");
    }
    let own_root = granting(&[&format!("unix:{}/run/open/*", root.display())]);
    let path = root.join("run/open/magic");
    let (case, message) =
        fetch_from(&own_root, &Fetch { unix_socket: path.to_str(), ..Fetch::get("http://localhost/") });
    assert!(case == FORBIDDEN && contains(&message, "magic link"), "{case} {message}");
}

#[test]
fn redirect_of_a_unix_socket_is_not_followed() {
    let (_host, root, _requests) =
        host_with("HTTP/1.1 307 Temporary\r\nLocation: http://docker/other\r\nContent-Length: 4\r\n\r\naway");
    let proxy = Server::responding(FINE);
    let setup = Setup::with_config(&format!(
        "[client]\nproxy = \"http://{}\"\n[plugins.fetcher]\ntimeout = \"10s\"\n\
         fetch = [\"unix:/run/open/socket\", \"http://docker\"]\n",
        proxy.address
    ));
    let request = Fetch { unix_socket: Some("/run/open/socket"), ..Fetch::get("http://docker/") };
    request.guest().install(&setup.plugin("fetcher.wasm"));
    let (sample, log) = setup.once_with(&["--root", root.to_str().expect("text")]);
    assert_eq!(outcome(&sample), Some((307, "away".into())), "{log}");
    assert_eq!(proxy.connections(), 0, "no proxy leads to a unix socket");
}

#[test]
fn unix_socket_has_times_and_may_be_encrypted() {
    let (_host, root, _requests) = host_with(FINE);
    let setup = Setup::new();
    let config = Arc::new(tls_config(&setup, 2035));
    unix_server(&root.join("run/open/tls"), move |stream| serve(&config, stream));
    let table = format!(
        "[client]\nca_file = {:?}\n[plugins.fetcher]\ntimeout = \"10s\"\nfetch = [\"unix:/run/open/*\"]\n",
        setup.path("authority.pem")
    );
    fs::write(setup.path("gauged.toml"), table).expect("written");
    for (socket, url, body) in
        [("/run/open/socket", "http://a/", "fine"), ("/run/open/tls", "https://localhost/", "secret")]
    {
        let request = Fetch { unix_socket: Some(socket), ..Fetch::get(url) };
        let facts = facts(&setup, &request, &["--root", root.to_str().expect("text")]);
        assert_eq!((facts.text("body"), facts.text("remote")), (body, &*format!("unix:{socket}")));
        let encrypted = u64::from(url.starts_with("https"));
        assert_eq!((facts.number("has_resolve"), facts.number("has_tls")), (0, encrypted), "{facts:?}");
        facts.assert_ordered();
    }
}

#[test]
fn invalid_fetch_grants_are_reported_by_check() {
    let setup = Setup::with_config(
        "[plugins.a]\nfetch = [\n  \"unix:/run/a.sock get\",\n  \"http://a POST\",\n  \"unix:run/a.sock\",\n  \
         \"unix:/run/a.sock GET HEAD POST\",\n]\n",
    );
    let output = setup.run(&["check"]);
    let [out, error] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
    let text = out + &error;
    for (line, expected) in [
        (
            3,
            "plugins.a.fetch: \"unix:/run/a.sock get\" has \"get\" where a method is expected; write methods like GET after",
        ),
        (4, "plugins.a.fetch: \"http://a POST\" has \"POST\" after the origin; write \"http://a\": only a grant"),
        (5, "plugins.a.fetch: \"unix:run/a.sock\" is not absolute; begin it with /"),
    ] {
        let expected = format!("gauged.toml:{line}: {expected}");
        assert!(text.contains(&expected), "{expected} in {text}");
    }
    assert!(!output.status.success() && !text.contains("gauged.toml:6"), "{text}");
}

#[test]
fn needs_of_unix_sockets_are_compared_by_method() {
    let setup = Setup::with_config("[plugins.a]\nfetch = [\"unix:/run/*.sock\"]\n");
    let log = |need: &str| {
        Guest::new("a").needs("fetch", need, "ask").install(&setup.plugin("a.wasm"));
        setup.once().1
    };
    assert!(!log("unix:/run/docker.sock").contains("grants missing"));
    let line =
        "write under [plugins.a]: fetch = [\\\"unix:/run/*.sock\\\", \\\"unix:/run/docker.sock GET POST\\\"], and";
    let missing = log("unix:/run/docker.sock GET POST");
    assert!(missing.contains("grants missing plugin=a count=1") && missing.contains(line), "{missing}");
    let impossible = log("unix:/run/docker.sock get");
    assert!(impossible.contains("plugin needs impossible grants") && impossible.contains("like GET"), "{impossible}");
}
