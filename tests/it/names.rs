//! What names lead to, as the system's own resolver finds it out: from a server that answers, that answers nonsense, and
//! that does not answer.

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::mount::{MountFlags, mount, mount_bind};
use serde_json::Value;

use crate::apart::{Refused, apart};
use crate::guest::Guest;
use crate::harness::{Host, Sample, about};
use crate::http::{self, Fetch};
use crate::net::{DENIED, FINE, RESOLVE, TIMEOUT, conversing_as, outcome_of};
use crate::run::ends_in_time;
use crate::server::{Server, request};

/// The machine's address besides the loopback ones; one of those that belong to nobody (RFC 5737).
const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Where clouds tell a machine about itself.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// A resolver cannot be told another port.
const NAME_SERVER: &str = "127.0.0.53:53";

/// The name that leads to [`OWN`].
const KNOWN: &str = "known.internal";

/// How many operations of one plugin are stuck that asks for one name again and again.
const ONE_NAME: f64 = 1.0;

/// What a name server says.
enum Says {
    /// These addresses.
    Addresses(&'static [Ipv4Addr]),
    /// This error, and no addresses.
    Code(u8),
    /// What ends in the midst of an address.
    HalfAnAddress,
    /// What looks like an answer by its number only.
    Noise,
}

/// What the machine's name server says of each name.
fn says(name: &str) -> Says {
    match name {
        KNOWN => Says::Addresses(&[OWN]),
        "mixed.internal" => Says::Addresses(&[Ipv4Addr::LOCALHOST, OWN]),
        "local.internal" => Says::Addresses(&[Ipv4Addr::LOCALHOST]),
        "metadata.internal" => Says::Addresses(&[METADATA]),
        "empty.internal" => Says::Addresses(&[]),
        "failing.internal" => Says::Code(2),
        "refused.internal" => Says::Code(5),
        "half.internal" => Says::HalfAnAddress,
        "noise.internal" => Says::Noise,
        // There is no such name.
        _ => Says::Code(3),
    }
}

/// An address of the name that was asked for, which follows.
const RECORD: &[u8] = &[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4];

/// The answer to a question, in the form of RFC 1035.
fn answer(question: &[u8]) -> Vec<u8> {
    let (mut name, mut at) = (Vec::new(), 12);
    while question[at] > 0 {
        let end = at + 1 + usize::from(question[at]);
        name.push(String::from_utf8_lossy(&question[at + 1..end]).to_lowercase());
        at = end;
    }
    let asked = &question[12..at + 5];
    let is_of_version_four = asked.ends_with(&[0, 1, 0, 1]);
    let (code, addresses) = match says(&name.join(".")) {
        Says::Addresses(addresses) if is_of_version_four => (0, addresses),
        Says::Addresses(_) => (0, [].as_slice()),
        Says::Code(code) => (code, [].as_slice()),
        Says::HalfAnAddress => return [&head(question, 0, 1), asked, RECORD, &[192, 0]].concat(),
        Says::Noise => return [&question[..2], &[0x5a; 100]].concat(),
    };
    let records = addresses.iter().flat_map(|address| [RECORD, &address.octets()].concat());
    [&head(question, code, addresses.len() as u8), asked].concat().into_iter().chain(records).collect()
}

/// The beginning of an answer to one question.
fn head(question: &[u8], code: u8, records: u8) -> [u8; 12] {
    [question[0], question[1], 0x81, 0x80 | code, 0, 1, 0, records, 0, 0, 0, 0]
}

/// What somebody asks, and where the answer is to go.
type Question = (Vec<u8>, SocketAddr);

/// The machine's name server.
struct Names {
    socket: Arc<UdpSocket>,
    /// What it has been asked and not answered; none when it answers.
    unanswered: Arc<Mutex<Option<Vec<Question>>>>,
}

impl Names {
    /// Gives the machine an address, a name server and, in this directory, what of `/etc` has to do with names.
    fn serve(etc: &Path, options: &str) -> Result<Self, Refused> {
        for arguments in ["link set lo up".to_owned(), format!("address add {OWN}/32 dev lo")] {
            let output = Command::new("ip").args(arguments.split(' ')).output();
            let output = output.map_err(|error| Refused(format!("failed to run ip: {error}")))?;
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
        // Where the libraries are.
        let _ = fs::copy("/etc/ld.so.cache", etc.join("ld.so.cache"));
        let refused = |error| Refused(format!("mount: {error}"));
        mount_bind(etc, "/etc").map_err(refused)?;
        // It would answer from what the machine's own resolver knows.
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
                    None => drop(socket.send_to(&answer(&bytes[..length]), from)),
                }
            }
        });
        Ok(names)
    }

    /// Answers nothing from now on.
    fn fall_silent(&self) {
        *self.unanswered.lock().expect("not poisoned") = Some(Vec::new());
    }

    /// Answers everything, what it was asked before too.
    fn speak(&self) {
        for (question, from) in self.unanswered.lock().expect("not poisoned").take().into_iter().flatten() {
            // Who asked may have given up.
            let _ = self.socket.send_to(&answer(&question), from);
        }
    }
}

/// A plugin's table, with a grant of these.
fn table(plugin: &str, timeout: &str, grant: &str, granted: &[&str]) -> String {
    format!("[plugins.{plugin}]\ntimeout = \"{timeout}\"\n{grant} = {granted:?}\n")
}

/// An HTTP server at an address.
fn http_server(address: IpAddr) -> Server {
    Server::start_at((address, 0).into(), |mut stream| {
        request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine");
    })
}

#[test]
fn a_name_leads_where_it_resolves_to_and_is_granted() {
    apart("names::a_name_leads_where_it_resolves_to_and_is_granted", || {
        let host = Host::new();
        let _names = Names::serve(&host.path("etc"), "timeout:1 attempts:1")?;
        let (web, local) = (http_server(OWN.into()), Server::echoing());
        let server = Server::echoing_at((OWN, 0).into());
        let port = server.port();
        // Who connects to this one went where it may not.
        let trap = Server::echoing_at((Ipv4Addr::LOCALHOST, port).into());
        let granted_itself = format!("127.0.0.1:{}", local.port());

        let line = |address: &str| Value::from(format!("connect = [\"{address}:{port}\"]"));
        let fails = || (RESOLVE, Value::from("failed to lookup address information"));
        let cases = [
            ("listed", (FINE, "ping".into())),
            ("known", (FINE, "ping".into())),
            ("mixed", (FINE, "ping".into())),
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
            conversing_as(plugin, &address, None).install(&host.plugin(&format!("{plugin}.wasm")));
        }
        let address = format!("local.internal:{}", local.port());
        configuration.push_str(&table("granted", "20s", "connect", &[&address, &granted_itself]));
        conversing_as("granted", &address, None).install(&host.plugin("granted.wasm"));
        let origin = format!("http://{KNOWN}:{}", web.port());
        configuration.push_str(&table("fetcher", "20s", "fetch", &[&origin]));
        Fetch::get(&*origin).guest().install(&host.plugin("fetcher.wasm"));
        fs::write(host.path("gauged.toml"), configuration).expect("written");

        let (sample, log) = host.once();
        for (plugin, (case, says)) in &cases {
            let (found, said) = outcome_of(&sample, plugin).unwrap_or_else(|| panic!("{plugin}: {sample:?}\n{log}"));
            let said = said.as_str().unwrap_or_default();
            assert!(
                found == *case && says.as_str().is_some_and(|says| said.contains(says)),
                "{plugin}: {found} {said}"
            );
        }
        assert_eq!(outcome_of(&sample, "granted"), Some((FINE, "ping".into())), "{log}");
        assert_eq!(http::outcome(&sample), Some((200, "fine".into())), "{log}");
        assert_eq!(trap.connections(), 0);
        Ok(())
    });
}

#[test]
fn a_resolver_that_does_not_answer_holds_up_only_who_asks_it() {
    apart("names::a_resolver_that_does_not_answer_holds_up_only_who_asks_it", || {
        let host = Host::new();
        let names = Names::serve(&host.path("etc"), "timeout:30 attempts:5")?;
        let (web, server) = (http_server(OWN.into()), Server::echoing_at((OWN, 0).into()));
        let (origin, address) = (format!("http://{KNOWN}:{}", web.port()), format!("{KNOWN}:{}", server.port()));
        let configuration = "interval = \"250ms\"\n".to_owned()
            + &table("caller", "500ms", "connect", &[&address])
            + &table("fetcher", "500ms", "fetch", &[&origin]);
        fs::write(host.path("gauged.toml"), configuration).expect("written");
        Guest::new("able").install(&host.plugin("able.wasm"));
        conversing_as("caller", &address, None).install(&host.plugin("caller.wasm"));
        Fetch::get(&*origin).guest().install(&host.plugin("fetcher.wasm"));

        let outcomes = |sample: &Sample| (outcome_of(sample, "caller"), http::outcome(sample));
        let late = (Some((TIMEOUT, 0.into())), Some((http::TIMEOUT, 0.into())));
        let stuck = |sample: &Sample, count: f64| {
            let of = |plugin| about(sample, "plugin_stuck_operations", plugin);
            of("caller") == Some(count) && of("fetcher") == Some(count)
        };
        names.fall_silent();
        let mut agent = host.start(&[]);
        for _ in 0..4 {
            agent.wait(|sample| stuck(sample, ONE_NAME) && outcomes(sample) == late);
        }
        assert_eq!((web.connections(), server.connections()), (0, 0));

        names.speak();
        let fine = (Some((FINE, "ping".into())), Some((200, "fine".into())));
        agent.wait(|sample| stuck(sample, 0.0) && outcomes(sample) == fine);

        names.fall_silent();
        agent.wait(|sample| stuck(sample, ONE_NAME));
        agent.assert_undisturbed(&["able"]);
        ends_in_time(agent);
        Ok(())
    });
}
