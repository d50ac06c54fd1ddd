//! The facts about a request beside its response: the times of its phases, and what was connected to.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::{Fetch, PROTOCOL, contains, get, granting};
use crate::guest::{HOST_RESULT, SECOND_VALUE};
use crate::harness::{Setup, wait_until};
use crate::server::{Server, read_request};
use crate::shipped::guests::{measuring, number, text};

/// The facts by their names.
#[derive(Debug)]
pub struct Facts(BTreeMap<String, Value>);

impl Facts {
    pub fn number(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap_or_else(|| panic!("{name} in {self:?}"))
    }

    pub fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_else(|| panic!("{name} in {self:?}"))
    }

    /// Asserts that the phases are parts of the whole.
    pub fn assert_ordered(&self) {
        let phases = ["resolve_ns", "connect_ns", "tls_ns", "first_byte_ns"].map(|name| self.number(name));
        assert!(phases.iter().sum::<u64>() <= self.number("total_ns"), "{self:?}");
        assert!(phases[1] > 0 && phases[3] > 0, "{self:?}");
    }
}

/// The facts about a request that succeeds.
pub fn facts(setup: &Setup, request: &Fetch<'_>, arguments: &[&str]) -> Facts {
    const OFFSETS: [(&str, u32); 9] = [
        ("has_resolve", 32),
        ("resolve_ns", 40),
        ("connect_ns", 48),
        ("has_tls", 56),
        ("tls_ns", 64),
        ("first_byte_ns", 72),
        ("total_ns", 80),
        ("not_before", 112),
        ("not_after", 120),
    ];
    const TEXTS: [(&str, u32); 5] = [("body", 20), ("remote", 88), ("version", 104), ("subject", 128), ("issuer", 136)];
    let (guest, [case, values @ ..]) = measuring::<15>(
        "fetcher",
        [
            "case",
            OFFSETS[0].0,
            OFFSETS[1].0,
            OFFSETS[2].0,
            OFFSETS[3].0,
            OFFSETS[4].0,
            OFFSETS[5].0,
            OFFSETS[6].0,
            OFFSETS[7].0,
            OFFSETS[8].0,
            TEXTS[0].0,
            TEXTS[1].0,
            TEXTS[2].0,
            TEXTS[3].0,
            TEXTS[4].0,
        ],
    );
    let (numbers, texts) = values.split_at(OFFSETS.len());
    let mut show = String::new();
    for (value, (name, offset)) in numbers.iter().zip(OFFSETS) {
        let load = if name.starts_with("has_") { "i64.load8_u" } else { "i64.load" };
        show += &number(*value, &format!("({load} (i32.const {}))", HOST_RESULT + offset));
    }
    // Absent texts have an address and a length of any value.
    let is_encrypted = format!("(i32.load8_u (i32.const {}))", HOST_RESULT + 96);
    for (value, (_, offset)) in texts.iter().zip(TEXTS) {
        let shown = text(*value, HOST_RESULT + offset);
        let shown = if offset > 96 { format!("(if {is_encrypted} (then {shown}))") } else { shown };
        show += &shown;
    }
    let request = Fetch { show, ..request.clone() };
    let shown_case = number(case, &format!("(i64.load (i32.const {}))", SECOND_VALUE + 8));
    request.sent_by(guest).after_collect(&shown_case).install(&setup.plugin("fetcher.wasm"));
    let (sample, log) = setup.once_with(arguments);
    let facts =
        Facts(sample.get("fetcher").unwrap_or_else(|| panic!("{sample:?}\n{log}")).clone().into_iter().collect());
    assert_eq!(facts.number("case"), 200, "{facts:?}\n{log}");
    facts
}

#[test]
fn times_are_those_of_consecutive_phases() {
    let server = Server::start(|mut stream| {
        read_request(&mut stream);
        thread::sleep(Duration::from_millis(200));
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsl");
        thread::sleep(Duration::from_millis(100));
        let _ = stream.write_all(b"ow");
    });
    let origin = format!("http://{}", server.address);
    let setup = granting(&[&origin]);
    // Where the agent had to wait for a processor, it saw the first byte later than the server sent it.
    wait_until("a first byte that is seen at once", || {
        let facts = facts(&setup, &Fetch::get(&*origin), &[]);
        facts.assert_ordered();
        assert_eq!((facts.text("body"), facts.text("remote")), ("slow", &*server.address.to_string()));
        assert_eq!(["has_resolve", "has_tls"].map(|name| facts.number(name)), [0, 0], "{facts:?}");
        assert!(facts.number("first_byte_ns") >= 200_000_000, "{facts:?}");
        let requested = facts.number("total_ns") - facts.number("connect_ns");
        assert!(requested >= 300_000_000, "{facts:?}");
        requested - facts.number("first_byte_ns") >= 100_000_000
    });
}

#[test]
fn proxied_request_has_the_proxys_remote_address() {
    let proxy = Server::responding("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nby proxy!");
    let setup = Setup::with_config(&format!(
        "[client]\nproxy = \"http://{}\"\n[plugins.fetcher]\ntimeout = \"10s\"\nfetch = [\"http://web.invalid\"]\n",
        proxy.address
    ));
    let facts = facts(&setup, &Fetch::get("http://web.invalid/x"), &[]);
    assert_eq!((facts.text("body"), facts.text("remote")), ("by proxy!", &*proxy.address.to_string()));
    assert_eq!(facts.number("has_resolve"), 0, "the proxy resolves the name");
    facts.assert_ordered();
}

#[test]
fn switched_protocol_is_an_error() {
    let server = Server::responding("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n");
    let (case, message) = get(&server);
    assert!(case == PROTOCOL && contains(&message, "status 101"), "{case} {message}");
}

#[test]
fn interim_responses_are_left_out() {
    for interim in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\ncontent-length: 7\r\n\r\n",
        "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n",
    ] {
        let server = Server::responding(format!("{interim}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"));
        let origin = format!("http://{}", server.address);
        let facts = facts(&granting(&[&origin]), &Fetch::get(&*origin), &[]);
        assert_eq!(facts.text("body"), "fine", "{interim:?}");
        facts.assert_ordered();
    }
}
