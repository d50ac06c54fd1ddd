//! The plugin `redis` against Debian's Redis.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use super::{Daemon, assert_well, host, metric, number, own_address, silent, wait_for};
use crate::requirement::{self, Program};
use crate::server::Server;

/// Starts Redis in a directory of its own, where it listens on the socket `socket` as well.
fn start(program: &Program, directory: &Path, address: SocketAddr, options: &[&str]) -> Daemon {
    let mut command = program.command();
    command.current_dir(directory).args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()]);
    command.arg("--unixsocket").arg(directory.join("socket")).args(["--save", ""]).args(options);
    Daemon::start(command, address)
}

/// A client of Redis.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).expect("accepted")))
    }

    /// Sends a command as a user types it, and returns the first line of the reply. A text in the reply is skipped.
    fn send(&mut self, command: &str) -> String {
        self.0.get_mut().write_all(format!("{command}\r\n").as_bytes()).expect("sent");
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a reply");
        if let Some(length @ 0..) = line.strip_prefix('$').and_then(|length| length.trim().parse::<i64>().ok()) {
            self.0.read_exact(&mut vec![0; length as usize + 2]).expect("a text");
        }
        line.trim_end().to_owned()
    }
}

fn labels(address: impl std::fmt::Display) -> String {
    format!("server=\"{address}\"")
}

/// The plugin's configuration for these servers, each an address and further lines.
fn configuration(timeout: &str, servers: &[(&str, &str)]) -> String {
    let addresses: Vec<&str> = servers.iter().map(|(address, _)| *address).collect();
    let mut toml = format!("[plugins.redis]\ntimeout = \"{timeout}\"\nconnect = {addresses:?}\n");
    for (address, rest) in servers {
        let _ = write!(toml, "[[plugins.redis.config.servers]]\naddress = \"{address}\"\n{rest}\n");
    }
    toml
}

#[test]
fn redis_counters_match_the_commands_sent() {
    let Some(program) = requirement::program("redis-server") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let address = own_address();
    let _redis = start(&program, directory.path(), address, &["--requirepass", "of everybody", "--maxmemory", "100mb"]);
    let mut client = Client::connect(address);
    assert_eq!(client.send("AUTH \"of everybody\""), "+OK");
    assert_eq!(client.send("ACL SETUSER monitor on \">of its own\" -@all +info"), "+OK");

    let (tcp, unix) = (address.to_string(), format!("unix:{}", directory.path().join("socket").display()));
    let monitor = "username = \"monitor\"\npassword = \"of its own\"";
    let setup = host(&["redis"], &configuration("2s", &[(&tcp, "password = \"of everybody\""), (&unix, monitor)]));
    let mut agent = setup.start(&[]);
    let (tcp, unix) = (labels(tcp), labels(unix));
    let before = wait_for(&mut agent, "redis", &tcp, None);
    wait_for(&mut agent, "redis", &unix, None);

    for key in 0..100 {
        assert_eq!(client.send(&format!("SET key{key} value EX 1000")), "+OK");
        assert_eq!(client.send(&format!("GET key{key}")), "$5");
    }
    for _ in 0..25 {
        assert_eq!(client.send("GET nothing"), "$-1");
    }
    let held: Vec<Client> = (0..5).map(|_| Client::connect(address)).collect();
    let after = agent.wait(|sample| {
        let is_there = |labels: &str| metric(sample, "redis.keys", &format!("{labels},db=\"0\"")) == Some(&100.into());
        is_there(&tcp) && is_there(&unix) && number(sample, "redis.connected_clients", &tcp) >= 8.0
    });
    let grown = |name: &str| number(&after, name, &tcp) - number(&before, name, &tcp);
    assert_eq!(grown("redis.keyspace_hits_total"), 100.0);
    assert_eq!(grown("redis.keyspace_misses_total"), 25.0);
    assert!(grown("redis.commands_processed_total") >= 225.0);
    assert!(grown("redis.net_input_bytes_total") > 3000.0);
    assert!(grown("redis.cpu_user_seconds_total") + grown("redis.cpu_system_seconds_total") > 0.0);
    assert_eq!(number(&after, "redis.keys_expiring", &format!("{tcp},db=\"0\"")), 100.0);
    assert!((900.0..=1000.0).contains(&number(&after, "redis.keys_average_ttl_seconds", &format!("{tcp},db=\"0\""))));
    assert_eq!(number(&after, "redis.memory_max_bytes", &tcp), f64::from(100 << 20));
    let used = number(&after, "redis.memory_used_bytes", &tcp);
    assert!((5e5..1e8).contains(&used), "{used}");
    assert!((used / f64::from(1 << 20) - number(&after, "redis.memory_used_percent", &tcp)).abs() < 0.01);
    assert_eq!(metric(&after, "redis.role", &tcp), Some(&"master".into()));
    for name in ["redis.version", "redis.memory_max_bytes", "redis.keyspace_hits_total"] {
        assert_eq!(metric(&after, name, &tcp), metric(&after, name, &unix), "one server at two addresses");
    }

    // Each address has one connection, which is kept.
    let connections = number(&after, "redis.connections_received_total", &tcp);
    for _ in 0..5 {
        agent.next();
    }
    let later = wait_for(&mut agent, "redis", &tcp, None);
    assert_eq!(number(&later, "redis.connections_received_total", &tcp), connections);
    // A connection that the server closes is replaced within the same call.
    assert_eq!(client.send("CLIENT KILL TYPE normal SKIPME yes"), ":7");
    drop(held);
    agent.wait(|sample| {
        metric(sample, "redis.connections_received_total", &tcp)
            .is_some_and(|now| now.as_f64() >= Some(connections + 2.0))
    });
    assert_eq!(agent.plugin_log("redis").iter().filter(|line| line.contains(" is down")).count(), 0, "{}", agent.log());
    assert_well(&mut agent, &["redis"]);
}

#[test]
fn a_replica_is_measured_on_both_ends() {
    let Some(program) = requirement::program("redis-server") else { return };
    let directories = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
    let addresses = [(); 2].map(|()| own_address());
    let (ip, port) = (addresses[0].ip().to_string(), addresses[0].port().to_string());
    let _master = start(&program, directories[0].path(), addresses[0], &["--repl-diskless-sync-delay", "0"]);
    let _replica = start(&program, directories[1].path(), addresses[1], &["--replicaof", &ip, &port]);
    let [master, replica] = addresses.map(|address| address.to_string());
    let setup = host(&["redis"], &configuration("2s", &[(&master, ""), (&replica, "")]));
    let mut agent = setup.start(&[]);
    let of_replica = format!("{},replica=\"127.0.0.1:{}\"", labels(&master), addresses[1].port());
    let sample = agent.wait(|sample| {
        let is_online = metric(sample, "redis.replica_online", &of_replica) == Some(&true.into());
        is_online && metric(sample, "redis.master_link_up", &labels(&replica)) == Some(&true.into())
    });
    assert_eq!(metric(&sample, "redis.role", &labels(&replica)), Some(&"slave".into()));
    assert_eq!(metric(&sample, "redis.master", &labels(&replica)), Some(&false.into()));
    assert_eq!(number(&sample, "redis.connected_replicas", &labels(&master)), 1.0);
    assert_eq!(number(&sample, "redis.full_syncs_total", &labels(&master)), 1.0);

    Client::connect(addresses[0]).send("SET key value");
    agent.wait(|sample| {
        let keys = |server: &str| metric(sample, "redis.keys", &format!("{},db=\"0\"", labels(server)));
        keys(&master) == Some(&1.into()) && keys(&replica) == Some(&1.into())
    });
    assert_well(&mut agent, &["redis"]);
}

#[test]
fn hung_or_stopped_redis_is_reported_down() {
    let Some(program) = requirement::program("redis-server") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let address = own_address();
    let redis = start(&program, directory.path(), address, &[]);
    let setup = host(&["redis"], &configuration("400ms", &[(&address.to_string(), "")]));
    let mut agent = setup.start(&[]);
    let labels = labels(address);
    wait_for(&mut agent, "redis", &labels, None);

    redis.hang();
    let down = wait_for(&mut agent, "redis", &labels, Some("timeout"));
    assert_eq!(metric(&down, "redis.uptime_seconds", &labels), None, "nothing of the time before");
    redis.resume();
    wait_for(&mut agent, "redis", &labels, None);

    drop(redis);
    wait_for(&mut agent, "redis", &labels, Some("connect"));
    let _redis = start(&program, directory.path(), address, &[]);
    wait_for(&mut agent, "redis", &labels, None);
    assert_well(&mut agent, &["redis"]);
}

#[test]
fn redis_failures_have_different_reasons() {
    let Some(program) = requirement::program("redis-server") else { return };
    let directories = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
    let [open, closed] = [(); 2].map(|()| own_address());
    let _open = start(&program, directories[0].path(), open, &[]);
    let _closed = start(&program, directories[1].path(), closed, &["--requirepass", "secret"]);
    let server_with = |reply: &'static str| {
        Server::start(move |mut stream| {
            let _ = stream.read(&mut [0; 64]).and_then(|_| stream.write_all(reply.as_bytes()));
        })
    };
    let garbage = server_with("HTTP/1.1 400 Bad Request\r\n\r\n");
    let half = server_with("$5000\r\n# Server\r\nredis_version:7.0");
    let denied = Server::start(|mut stream| {
        let _ = stream.write_all(b"-DENIED Redis is running in protected mode\r\n");
    });
    let silent = silent();
    let others = [garbage.address, half.address, denied.address, silent.address].map(|address| address.to_string());
    let (open, closed, unix) =
        (open.to_string(), closed.to_string(), format!("unix:{}", directories[1].path().join("socket").display()));
    let servers = [
        (open.as_str(), "", None),
        (&closed, "", Some("auth")),
        (&unix, "password = \"guessed\"", Some("auth")),
        (&others[0], "", Some("protocol")),
        (&others[1], "", Some("closed")),
        (&others[2], "", Some("protected")),
        (&others[3], "", Some("timeout")),
    ];
    let listed: Vec<(&str, &str)> = servers.iter().map(|&(address, rest, _)| (address, rest)).collect();
    let setup = host(&["redis"], &configuration("2s", &listed));
    let mut agent = setup.start(&[]);
    for (address, _, failure) in servers {
        wait_for(&mut agent, "redis", &labels(address), failure);
    }
    agent.wait_log("a password is required; set `password` in the configuration (NOAUTH");
    let log = agent.log();
    assert!(!log.contains("guessed"), "{log}");
    assert_well(&mut agent, &["redis"]);
}
