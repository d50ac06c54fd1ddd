//! The plugin `nginx` against Debian's nginx.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use super::{Daemon, assert_well, host, metric, number, own_address, silent, wait_for};
use crate::harness::wait_until;
use crate::requirement::{self, Program};
use crate::server::Server;

/// Starts nginx in a directory of its own, as one process, so that it can be stopped as a whole. `/` is empty, `/page` has
/// a body, `/stub_status` has the status; any other path is missing.
pub(super) fn start(program: &Program, directory: &Path, address: SocketAddr) -> Daemon {
    let here = directory.display();
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let temporary =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|of| format!("{of}_temp_path {here}/{of};"));
    let configuration = format!(
        "{user} daemon off; master_process off; pid {here}/nginx.pid; error_log {here}/error.log;\n\
         events {{}}\n\
         http {{ access_log off; {temporary}\n\
         server {{ listen {address}; default_type text/plain;\n\
         location = / {{ return 204; }}\n\
         location = /page {{ return 200 \"all is well\"; }}\n\
         location = /stub_status {{ stub_status; }}\n\
         location / {{ return 404; }} }} }}\n",
        temporary = temporary.concat()
    );
    fs::write(directory.join("nginx.conf"), configuration).expect("written");
    let mut command = program.command();
    command.arg("-p").arg(directory).arg("-c").arg(directory.join("nginx.conf"));
    command.arg("-e").arg(directory.join("error.log"));
    Daemon::start(command, address)
}

/// Sends a request on an open connection, and reads the head of the response.
fn request(stream: &mut TcpStream) {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).expect("a response"), 1, "{}", String::from_utf8_lossy(&head));
        head.extend_from_slice(&byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 204"), "{}", String::from_utf8_lossy(&head));
}

#[test]
fn nginx_counters_match_the_requests_made() {
    let Some(program) = requirement::program("nginx") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let address = own_address();
    let _nginx = start(&program, directory.path(), address);
    let url = format!("http://{address}/stub_status");
    let labels = format!("url=\"{url}\"");
    let setup = host(
        &["nginx"],
        &format!("[plugins.nginx]\nfetch = [\"http://{address}\"]\nconfig = {{ urls = [\"{url}\"] }}\n"),
    );
    let mut agent = setup.start(&[]);
    let before = wait_for(&mut agent, "nginx", &labels, None);
    let at = agent.samples().len();
    let rate = agent.wait(|sample| metric(sample, "nginx.requests_per_second", &labels).is_some());
    assert!(number(&rate, "nginx.requests_per_second", &labels) > 0.0, "the plugin's own requests");

    for _ in 0..100 {
        request(&mut TcpStream::connect(address).expect("accepted"));
    }
    let mut kept: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(address).expect("accepted")).collect();
    for stream in &mut kept {
        request(stream);
        request(stream);
    }
    let grown = |sample: &_, name: &str| number(sample, name, &labels) - number(&before, name, &labels);
    let after = agent.wait(|sample| {
        let is_there = metric(sample, "nginx.requests_total", &labels).is_some();
        is_there && grown(sample, "nginx.requests_total") >= 106.0
    });
    // One request and one connection a tick are the plugin's own. A tick that the machine lost has none.
    let own = (agent.samples().len() - at) as f64 + 1.0;
    let requests = grown(&after, "nginx.requests_total");
    assert!((106.0..=106.0 + own).contains(&requests), "{requests} with {own} of its own");
    for counter in ["nginx.connections_accepted_total", "nginx.connections_handled_total"] {
        let connections = grown(&after, counter);
        assert!((103.0..=103.0 + own).contains(&connections), "{counter}: {connections} with {own} of its own");
    }
    let quiet = agent.wait(|sample| metric(sample, "nginx.connections_waiting", &labels) == Some(&3.into()));
    assert!(number(&quiet, "nginx.connections_active", &labels) >= 4.0, "those that wait, and the plugin's");
    assert!(number(&quiet, "nginx.connections_writing", &labels) >= 1.0, "the page itself");
    drop(kept);
    agent.wait(|sample| metric(sample, "nginx.connections_waiting", &labels) == Some(&0.into()));
    assert_well(&mut agent, &["nginx"]);
}

#[test]
fn hung_or_stopped_nginx_is_reported_down() {
    let Some(program) = requirement::program("nginx") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let address = own_address();
    let nginx = start(&program, directory.path(), address);
    let url = format!("http://{address}/stub_status");
    let labels = format!("url=\"{url}\"");
    let setup = host(
        &["nginx"],
        &format!(
            "[plugins.nginx]\ntimeout = \"400ms\"\nfetch = [\"http://{address}\"]\nconfig = {{ urls = [\"{url}\"] }}\n"
        ),
    );
    let mut agent = setup.start(&[]);
    wait_for(&mut agent, "nginx", &labels, None);

    nginx.hang();
    let down = wait_for(&mut agent, "nginx", &labels, Some("timeout"));
    assert_eq!(metric(&down, "nginx.requests_total", &labels), None, "nothing of the time before");
    nginx.resume();
    wait_for(&mut agent, "nginx", &labels, None);

    drop(nginx);
    wait_for(&mut agent, "nginx", &labels, Some("connect"));
    let _nginx = start(&program, directory.path(), address);
    let back = wait_for(&mut agent, "nginx", &labels, None);
    assert!(number(&back, "nginx.failures_total", &format!("{labels},reason=\"timeout\"")) >= 1.0);
    assert!(number(&back, "nginx.failures_total", &format!("{labels},reason=\"connect\"")) >= 1.0);
    wait_until("two recoveries in the log", || agent.log().matches(" is up again").count() >= 2);
    assert_well(&mut agent, &["nginx"]);
}

#[test]
fn nginx_failures_have_different_reasons() {
    let Some(program) = requirement::program("nginx") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let address = own_address();
    let _nginx = start(&program, directory.path(), address);
    let garbage = Server::responding("SSH-2.0-OpenSSH_9.9\r\n");
    let half = Server::responding("HTTP/1.1 200 OK\r\nContent-Length: 97\r\n\r\nActive connections: 1 \nserver");
    let silent = silent();
    let urls = [
        (format!("http://{address}/stub_status"), None),
        (format!("http://{address}/nowhere"), Some("status")),
        // A server that returns a page is up, without the numbers of its status.
        (format!("http://{address}/page"), None),
        (format!("http://{}/", garbage.address), Some("protocol")),
        (format!("http://{}/", half.address), Some("protocol")),
        (format!("http://{}/", silent.address), Some("timeout")),
    ];
    let listed: Vec<&str> = urls.iter().map(|(url, _)| url.as_str()).collect();
    let origins = [address, garbage.address, half.address, silent.address].map(|address| format!("http://{address}"));
    let toml = format!("[plugins.nginx]\ntimeout = \"2s\"\nfetch = {origins:?}\nconfig = {{ urls = {listed:?} }}\n");
    let setup = host(&["nginx"], &toml);
    let mut agent = setup.start(&[]);
    for (url, failure) in &urls {
        wait_for(&mut agent, "nginx", &format!("url=\"{url}\""), *failure);
    }
    assert_well(&mut agent, &["nginx"]);
}
