//! Name resolution by the system's own resolver: from a name server that responds, that sends nonsense, and that stays
//! silent.

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::mount::{MountFlags, mount, mount_bind};
use serde_json::Value;

use crate::guest::Guest;
use crate::harness::{Sample, Setup, plugin_metric};
use crate::http::facts::facts;
use crate::http::{self, Fetch};
use crate::namespaces::{Refused, run_in_namespaces};
use crate::net::{DENIED, RESOLVE, SUCCESS, TIMEOUT, module_outcome, ping_guest_as};
use crate::requirement::{self, Program};
use crate::run::assert_ends_in_time;
use crate::server::{Server, read_request};

/// The machine's address besides the loopback ones; one of those that belong to nobody (RFC 5737).
const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The metadata service of clouds.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// The name server; a resolver always uses port 53.
const NAME_SERVER: &str = "127.0.0.53:53";

/// The name that leads to [`OWN`].
const KNOWN: &str = "known.internal";

/// The stuck operations of a plugin that resolves one name repeatedly.
const ONE_NAME: f64 = 1.0;

/// A name server's response.
enum Response {
    /// These addresses.
    Addresses(&'static [Ipv4Addr]),
    /// This error, and no addresses.
    Code(u8),
    /// A message that ends in the middle of an address.
    HalfAnAddress,
    /// A message with the question's number and nothing else that is valid.
    Noise,
}

/// The response of the machine's name server for each name.
fn response(name: &str) -> Response {
    match name {
        KNOWN => Response::Addresses(&[OWN]),
        "mixed.internal" => Response::Addresses(&[Ipv4Addr::LOCALHOST, OWN]),
        "local.internal" => Response::Addresses(&[Ipv4Addr::LOCALHOST]),
        "metadata.internal" => Response::Addresses(&[METADATA]),
        "empty.internal" => Response::Addresses(&[]),
        "failing.internal" => Response::Code(2),
        "refused.internal" => Response::Code(5),
        "half.internal" => Response::HalfAnAddress,
        "noise.internal" => Response::Noise,
        // There is no such name.
        _ => Response::Code(3),
    }
}

/// The head of a record with an address of the name in the question; the address follows.
const RECORD: &[u8] = &[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4];

/// The message that responds to a question, in the form of RFC 1035.
fn dns_response(question: &[u8]) -> Vec<u8> {
    let (mut name, mut at) = (Vec::new(), 12);
    while question[at] > 0 {
        let end = at + 1 + usize::from(question[at]);
        name.push(String::from_utf8_lossy(&question[at + 1..end]).to_lowercase());
        at = end;
    }
    let asked = &question[12..at + 5];
    let is_of_version_four = asked.ends_with(&[0, 1, 0, 1]);
    let (code, addresses) = match response(&name.join(".")) {
        Response::Addresses(addresses) if is_of_version_four => (0, addresses),
        Response::Addresses(_) => (0, [].as_slice()),
        Response::Code(code) => (code, [].as_slice()),
        Response::HalfAnAddress => return [&head(question, 0, 1), asked, RECORD, &[192, 0]].concat(),
        Response::Noise => return [&question[..2], &[0x5a; 100]].concat(),
    };
    let records = addresses.iter().flat_map(|address| [RECORD, &address.octets()].concat());
    [&head(question, code, addresses.len() as u8), asked].concat().into_iter().chain(records).collect()
}

/// The head of a message that responds to one question.
fn head(question: &[u8], code: u8, records: u8) -> [u8; 12] {
    [question[0], question[1], 0x81, 0x80 | code, 0, 1, 0, records, 0, 0, 0, 0]
}

/// A question and its sender.
type Question = (Vec<u8>, SocketAddr);

/// The machine's name server.
struct Names {
    socket: Arc<UdpSocket>,
    /// The questions without a response so far; none while it responds.
    unanswered: Arc<Mutex<Option<Vec<Question>>>>,
}

impl Names {
    /// Gives the machine an address, a name server, and an `/etc` in this directory with the files about names.
    fn serve(ip: &Program, etc: &Path, options: &str) -> Result<Self, Refused> {
        for arguments in ["link set lo up".to_owned(), format!("address add {OWN}/32 dev lo")] {
            let output = ip.command().args(arguments.split(' ')).stderr(Stdio::piped()).output().expect("it runs");
            if !output.status.success() {
                return Err(Refused(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr))));
            }
        }
        fs::create_dir(etc).expect("created");
        let server = NAME_SERVER.split(':').next().expect("an address");
        for (file, content) in [
            ("resolv.conf", format!("nameserver {server}\noptions {options}\n")),
            ("nsswitch.conf", "hosts: files dns\n".to_owned()),
            ("hosts", format!("127.0.0.1 localhost\n{OWN} listed.internal\n")),
        ] {
            fs::write(etc.join(file), content).expect("written");
        }
        // The list of libraries.
        let _ = fs::copy("/etc/ld.so.cache", etc.join("ld.so.cache"));
        let refused = |error| Refused(format!("mount: {error}"));
        mount_bind(etc, "/etc").map_err(refused)?;
        // It would respond with names that the machine's own resolver knows.
        let cache = Path::new("/run/nscd");
        if cache.is_dir() {
            mount("none", cache, "tmpfs", MountFlags::empty(), None).map_err(refused)?;
        }

        let socket = Arc::new(UdpSocket::bind(NAME_SERVER).expect("nobody else is here"));
        let names = Self { socket: Arc::clone(&socket), unanswered: Arc::default() };
        let unanswered = Arc::clone(&names.unanswered);
        thread::spawn(move || {
            let mut bytes = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut bytes) {
                match unanswered.lock().expect("not poisoned").as_mut() {
                    Some(unanswered) => unanswered.push((bytes[..length].to_owned(), from)),
                    None => drop(socket.send_to(&dns_response(&bytes[..length]), from)),
                }
            }
        });
        Ok(names)
    }

    /// Stops responding.
    fn fall_silent(&self) {
        *self.unanswered.lock().expect("not poisoned") = Some(Vec::new());
    }

    /// Responds again, to earlier questions too.
    fn resume(&self) {
        for (question, from) in self.unanswered.lock().expect("not poisoned").take().into_iter().flatten() {
            // The sender may have given up.
            let _ = self.socket.send_to(&dns_response(&question), from);
        }
    }
}

/// A plugin's table with one kind of grant.
fn table(plugin: &str, timeout: &str, grant: &str, granted: &[&str]) -> String {
    format!("[plugins.{plugin}]\ntimeout = \"{timeout}\"\n{grant} = {granted:?}\n")
}

/// An HTTP server at an address.
fn http_server(address: IpAddr) -> Server {
    Server::start_at((address, 0).into(), |mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine");
    })
}

#[test]
fn resolved_name_reaches_only_granted_addresses() {
    let Some(ip) = requirement::program("ip") else { return };
    run_in_namespaces("name_resolution::resolved_name_reaches_only_granted_addresses", || {
        let setup = Setup::new();
        let _names = Names::serve(&ip, &setup.path("etc"), "timeout:1 attempts:1")?;
        let (web, local) = (http_server(OWN.into()), Server::echo());
        let server = Server::echo_at((OWN, 0).into());
        let port = server.port();
        // No plugin may connect to this one.
        let trap = Server::echo_at((Ipv4Addr::LOCALHOST, port).into());
        let granted_itself = format!("127.0.0.1:{}", local.port());

        let line = |address: &str| Value::from(format!("{address}:{port}"));
        let fails = || (RESOLVE, Value::from("failed to lookup address information"));
        let cases = [
            ("listed", (SUCCESS, "ping".into())),
            ("known", (SUCCESS, "ping".into())),
            ("mixed", (SUCCESS, "ping".into())),
            ("local", (DENIED, line("127.0.0.1"))),
            ("metadata", (DENIED, line("169.254.169.254"))),
            ("nobody", fails()),
            ("empty", fails()),
            ("failing", fails()),
            ("refused", fails()),
            ("half", fails()),
            ("noise", fails()),
        ];
        let mut configuration = String::new();
        for (plugin, _) in &cases {
            let address = format!("{plugin}.internal:{port}");
            configuration.push_str(&table(plugin, "20s", "connect", &[&address]));
            ping_guest_as(plugin, &address, None).install(&setup.plugin(&format!("{plugin}.wasm")));
        }
        let address = format!("local.internal:{}", local.port());
        configuration.push_str(&table("granted", "20s", "connect", &[&address, &granted_itself]));
        ping_guest_as("granted", &address, None).install(&setup.plugin("granted.wasm"));
        let origin = format!("http://{KNOWN}:{}", web.port());
        configuration.push_str(&table("fetcher", "20s", "fetch", &[&origin]));
        Fetch::get(&*origin).guest().install(&setup.plugin("fetcher.wasm"));
        fs::write(setup.path("gauged.toml"), configuration).expect("written");

        let (sample, log) = setup.once();
        for (plugin, (case, expected)) in &cases {
            let (found, text) =
                module_outcome(&sample, plugin).unwrap_or_else(|| panic!("{plugin}: {sample:?}\n{log}"));
            let text = text.as_str().unwrap_or_default();
            assert!(
                found == *case && expected.as_str().is_some_and(|expected| text.contains(expected)),
                "{plugin}: {found} {text}"
            );
        }
        assert_eq!(module_outcome(&sample, "granted"), Some((SUCCESS, "ping".into())), "{log}");
        assert_eq!(http::outcome(&sample), Some((200, "fine".into())), "{log}");
        assert_eq!(trap.connections(), 0);

        let facts = facts(&setup, &Fetch::get(&*origin), &[]);
        assert_eq!(facts.text("remote"), web.address.to_string());
        assert!(facts.number("has_resolve") == 1 && facts.number("resolve_ns") > 0, "{facts:?}");
        facts.assert_ordered();
        Ok(())
    });
}

#[test]
fn silent_resolver_blocks_only_plugins_that_use_it() {
    let Some(ip) = requirement::program("ip") else { return };
    run_in_namespaces("name_resolution::silent_resolver_blocks_only_plugins_that_use_it", || {
        let setup = Setup::new();
        let names = Names::serve(&ip, &setup.path("etc"), "timeout:30 attempts:5")?;
        let (web, server) = (http_server(OWN.into()), Server::echo_at((OWN, 0).into()));
        let (origin, address) = (format!("http://{KNOWN}:{}", web.port()), format!("{KNOWN}:{}", server.port()));
        let configuration = "interval = \"250ms\"\n".to_owned()
            + &table("caller", "500ms", "connect", &[&address])
            + &table("fetcher", "500ms", "fetch", &[&origin]);
        fs::write(setup.path("gauged.toml"), configuration).expect("written");
        Guest::new("able").install(&setup.plugin("able.wasm"));
        ping_guest_as("caller", &address, None).install(&setup.plugin("caller.wasm"));
        Fetch::get(&*origin).guest().install(&setup.plugin("fetcher.wasm"));

        let outcomes = |sample: &Sample| (module_outcome(sample, "caller"), http::outcome(sample));
        let late = (Some((TIMEOUT, 0.into())), Some((http::TIMEOUT, 0.into())));
        let stuck = |sample: &Sample, count: f64| {
            let of = |plugin| plugin_metric(sample, "plugin_stuck_operations", plugin);
            of("caller") == Some(count) && of("fetcher") == Some(count)
        };
        names.fall_silent();
        let mut agent = setup.start(&[]);
        for _ in 0..4 {
            agent.wait(|sample| stuck(sample, ONE_NAME) && outcomes(sample) == late);
        }
        assert_eq!((web.connections(), server.connections()), (0, 0));

        names.resume();
        let fine = (Some((SUCCESS, "ping".into())), Some((200, "fine".into())));
        agent.wait(|sample| stuck(sample, 0.0) && outcomes(sample) == fine);

        names.fall_silent();
        agent.wait(|sample| stuck(sample, ONE_NAME));
        agent.assert_undisturbed(&["able"]);
        assert_ends_in_time(agent);
        Ok(())
    });
}
