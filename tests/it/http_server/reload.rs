//! Addresses that come, go, or cannot be had, while the agent runs.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;

use super::peer::{HttpAgent, connect, own_address, read_all, read_response};
use crate::harness::{Setup, wait_until};
use crate::skip;

const REQUEST: &[u8] = b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn unchanged_address_keeps_its_connections() {
    let mut server = HttpAgent::start("");
    let address = server.address;
    let (mut kept, added) = (connect(address), own_address());
    let ask = |stream: &mut TcpStream| {
        stream.write_all(REQUEST).expect("sent");
        assert_eq!(read_response(stream).status, 200);
    };
    ask(&mut kept);
    for (count, listen) in [format!("\"{address}\", \"{added}\""), format!("\"{address}\"")].into_iter().enumerate() {
        HttpAgent::write(&server.setup, &format!("[http]\nlisten = [{listen}]"));
        server.reload_files();
        // Requests meanwhile are answered, on new connections and on the old one.
        wait_until("the reloading configuration", || {
            ask(&mut connect(address));
            ask(&mut kept);
            server.agent.log().matches("configuration reloaded changed=http").count() == count + 1
        });
        if count == 0 {
            let mut other = connect(added);
            ask(&mut other);
            kept.write_all(REQUEST).expect("sent");
            assert_eq!(read_response(&mut kept).status, 200);
        }
    }
    wait_until("the address is closed", || TcpStream::connect(added).is_err());
    kept.write_all(REQUEST).expect("sent");
    assert_eq!(read_response(&mut kept).status, 200);
}

#[test]
fn connections_end_with_their_address() {
    let mut server = HttpAgent::start("");
    let (mut idle, added) = (connect(server.address), own_address());
    idle.write_all(REQUEST).expect("sent");
    assert_eq!(read_response(&mut idle).status, 200);
    server.reload(added, "");
    server.agent.wait_log("configuration reloaded changed=http");
    assert_eq!(read_all(&mut idle), b"");
    server.address = added;
    server.expect_scrapes();
}

#[test]
fn address_in_use_refuses_the_change() {
    let mut server = HttpAgent::start("");
    let taken = own_address();
    let other = TcpListener::bind(taken).expect("free");
    server.reload(taken, "hosts = [\"a\"]");
    let lines = server.agent.wait_log_lines("HTTP server not changed", 1);
    assert!(
        lines[0].contains(&taken.to_string()) && lines[0].contains("remedy=\"end the other program"),
        "{}",
        lines[0]
    );
    let lines = server.agent.wait_log_lines("configuration reloaded in part", 1);
    assert!(lines[0].contains("refused=http"), "{}", lines[0]);
    server.agent.wait(|sample| sample["agent"]["config_reload_success"] == 0);
    server.expect_scrapes();
    assert!(!server.get("/v1/config").text().contains("hosts = [\"a\"]"), "the table before is in effect");

    drop(other);
    server.reload_files();
    server.agent.wait_log("configuration reloaded changed=http");
    server.address = taken;
    server.expect_scrapes();
    assert!(server.get("/v1/config").text().contains("hosts = [\"a\"]"));
}

#[test]
fn unavailable_address_does_not_refuse_other_changes() {
    let (setup, address, taken) = (Setup::new(), own_address(), own_address());
    let other = TcpListener::bind(taken).expect("free");
    let listen = |keys: &str| format!("[http]\nlisten = [\"{address}\", \"{taken}\"]\n{keys}");
    HttpAgent::write(&setup, &listen(""));
    let agent = setup.start(&[]);
    let mut server = HttpAgent { setup, agent, address };
    server.agent.wait_log_lines("WARN HTTP address not opened", 1);
    server.agent.next();
    HttpAgent::write(&server.setup, &listen("hosts = [\"a\"]"));
    server.reload_files();
    server.agent.wait_log("configuration reloaded changed=http");
    assert!(server.get("/v1/config").text().contains("hosts = [\"a\"]"));
    assert_eq!(server.agent.log().matches("HTTP address not opened").count(), 1, "it is reported once");
    drop(other);
    server.agent.wait_log(&format!("HTTP address opened address={taken}"));
}

#[test]
fn wildcards_of_both_families_share_a_port() {
    let Ok(free) = TcpListener::bind("[::]:0") else {
        skip::skip("wildcards_of_both_families_share_a_port", "no IPv6");
        return;
    };
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let setup = Setup::new();
    let listen = |list: &str| HttpAgent::write(&setup, &format!("[http]\nlisten = [{list}]"));
    let [v4, v6] = ["0.0.0.0", "[::]"].map(|ip| format!("\"{ip}:{port}\""));
    listen(&format!("{v4}, {v6}"));
    let mut agent = setup.start(&[]);
    agent.wait_log_lines("INFO HTTP address opened", 2);
    agent.next();
    let peers = ["127.0.0.1", "::1"].map(|ip| SocketAddr::new(ip.parse().expect("an address"), port));
    let mut server = HttpAgent { agent, address: peers[0], setup: Setup::new() };
    let expect_both = |server: &mut HttpAgent| {
        for peer in peers {
            server.address = peer;
            server.expect_scrapes();
        }
    };
    expect_both(&mut server);
    // Alone it is both, also where it was not before.
    listen(&v6);
    server.reload_files();
    server.agent.wait_log_lines("INFO HTTP address opened", 3);
    expect_both(&mut server);
    listen(&format!("{v4}, {v6}"));
    server.reload_files();
    server.agent.wait_log_lines("INFO HTTP address opened", 5);
    expect_both(&mut server);
    assert!(!server.agent.log().contains("not opened"), "{}", server.agent.log());
}

#[test]
fn unavailable_address_is_tried_again() {
    let setup = Setup::new();
    let address = own_address();
    let socket = setup.path("http.sock");
    let (tcp, unix) = (TcpListener::bind(address).expect("free"), UnixListener::bind(&socket).expect("free"));
    let listen = format!("\"{address}\", \"unix:{}\"", socket.display());
    HttpAgent::write(&setup, &format!("[http]\nlisten = [{listen}]"));
    let mut agent = setup.start(&[]);
    let lines = agent.wait_log_lines("WARN HTTP address not opened", 2);
    assert!(lines.iter().all(|line| line.contains("remedy=\"end the other program")), "{lines:?}");
    agent.next();
    drop((tcp, unix));
    agent.wait_log_lines("INFO HTTP address opened", 2);
    HttpAgent { setup, agent, address }.expect_scrapes();
}

#[test]
fn dead_socket_of_another_agent_is_replaced() {
    let setup = Setup::new();
    let socket = setup.path("http.sock");
    drop(UnixListener::bind(&socket).expect("bound"));
    HttpAgent::write(&setup, &format!("[http]\nlisten = [\"unix:{}\"]", socket.display()));
    let mut agent = setup.start(&[]);
    agent.wait_log("INFO HTTP address opened");
    std::fs::remove_file(&socket).expect("removed");
    // It is looked after.
    agent.wait_log_lines("INFO HTTP address opened", 2);
    assert!(socket.exists());
}

#[test]
fn server_is_added_and_removed() {
    let setup = Setup::new();
    HttpAgent::write(&setup, "");
    let address = own_address();
    let agent = setup.start(&[]);
    let mut server = HttpAgent { setup, agent, address };
    server.agent.wait(|sample| !sample["agent"].contains_key("http_connections"));
    server.reload(address, "");
    server.agent.wait_log("configuration reloaded changed=http");
    server.agent.wait(|sample| sample["agent"].contains_key("http_connections"));
    server.expect_scrapes();
    HttpAgent::write(&server.setup, "");
    server.reload_files();
    server.agent.wait_log_lines("configuration reloaded changed=http", 2);
    wait_until("the address is closed", || TcpStream::connect(address).is_err());
    server.agent.wait(|sample| !sample["agent"].contains_key("http_connections"));
}

#[test]
fn wider_address_takes_over_its_port() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("free").local_addr().expect("bound").port();
    let narrow = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let setup = Setup::new();
    let agent = HttpAgent::configure(&setup, narrow, "").start(&[]);
    let mut server = HttpAgent { setup, agent, address: narrow };
    server.agent.wait_log("HTTP address opened");
    server.agent.next();
    server.reload(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), "");
    server.agent.wait_log("configuration reloaded changed=http");
    server.agent.wait_log(&format!("HTTP address opened address=0.0.0.0:{port}"));
    server.expect_scrapes();
}
