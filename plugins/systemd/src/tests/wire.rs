//! The wire format: written as the specification has it, read in both byte orders, and never believed.

use super::message::{self, Body, Bytes};
use super::peer::{error, list, signal, text};
use super::*;
use crate::dbus::ByteOrder;
use crate::dbus::message::{Call, Message, length};
use crate::dbus::reader::{Reader, Value};

/// The byte orders, as the plugin and as the messages of tests have them.
const ORDERS: [(ByteOrder, message::ByteOrder); 2] =
    [(ByteOrder::Little, message::ByteOrder::Little), (ByteOrder::Big, message::ByteOrder::Big)];

/// Numbers from a fixed seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).expect("53 bits") % limit
    }

    /// A complete type.
    fn kind(&mut self, depth: usize) -> String {
        const BASIC: &[u8] = b"ybnqiuxtdhsog";
        let basic = char::from(BASIC[self.below(BASIC.len())]);
        match self.below(if depth == 0 { 1 } else { 5 }) {
            1 => format!("a{}", self.kind(depth - 1)),
            2 => format!("a{{{basic}{}}}", self.kind(depth - 1)),
            3 => {
                let fields: Vec<String> = (0..=self.below(3)).map(|_| self.kind(depth - 1)).collect();
                format!("({})", fields.concat())
            }
            4 => "v".to_owned(),
            _ => basic.to_string(),
        }
    }

    /// Writes a value of a complete type.
    fn value(&mut self, kind: &str, depth: usize, bytes: &mut Bytes) {
        match kind.as_bytes()[0] {
            b'y' => bytes.number(self.below(256) as u64, 1),
            b'n' | b'q' => bytes.number(self.below(1 << 16) as u64, 2),
            b'b' | b'i' | b'u' | b'h' => bytes.number(self.below(1 << 32) as u64, 4),
            b'x' | b't' | b'd' => bytes.number(self.0, 8),
            b's' | b'o' => bytes.text(&"aé".repeat(self.below(5))),
            b'g' => bytes.signature("a{sv}"),
            b'v' => {
                let kind = self.kind(depth.saturating_sub(1));
                bytes.signature(&kind);
                self.value(&kind, depth.saturating_sub(1), bytes);
            }
            b'a' => {
                let element = &kind[1..];
                let alignment = match element.as_bytes()[0] {
                    b'n' | b'q' => 2,
                    b'b' | b'i' | b'u' | b'h' | b's' | b'o' | b'a' => 4,
                    b'x' | b't' | b'd' | b'(' | b'{' => 8,
                    _ => 1,
                };
                let count = self.below(4);
                bytes.array(alignment, |bytes| {
                    for _ in 0..count {
                        self.value(element, depth, bytes);
                    }
                });
            }
            // A structure, or an entry of a dictionary.
            _ => {
                bytes.pad(8);
                let mut fields = &kind[1..kind.len() - 1];
                while !fields.is_empty() {
                    let (first, rest) = crate::dbus::signature::split(fields.as_bytes()).expect("complete");
                    self.value(std::str::from_utf8(first).expect("text"), depth, bytes);
                    fields = std::str::from_utf8(rest).expect("text");
                }
            }
        }
    }
}

#[test]
fn call_has_the_bytes_of_the_specification() {
    let call = Call { destination: "d.e", path: "/o", interface: "i.j", member: "M", arguments: &["ab", ""] };
    let expected = [
        &b"l\x01\x02\x01"[..],             // Little-endian, a call that starts nothing, version 1.
        b"\x0d\0\0\0\x07\0\0\0\x48\0\0\0", // 13 bytes of values; number 7; 72 bytes of fields.
        b"\x01\x01o\0\x02\0\0\0/o\0\0\0\0\0\0",
        b"\x02\x01s\0\x03\0\0\0i.j\0\0\0\0\0",
        b"\x03\x01s\0\x01\0\0\0M\0\0\0\0\0\0\0",
        b"\x06\x01s\0\x03\0\0\0d.e\0\0\0\0\0",
        b"\x08\x01g\0\x02ss\0",
        b"\x02\0\0\0ab\0\0\0\0\0\0\0",
    ]
    .concat();
    let encoded = call.encode(7, ByteOrder::Little);
    assert_eq!(encoded, expected);
    assert_eq!(length(&encoded), Ok(Some(encoded.len())));
    assert_eq!(&call.encode(7, ByteOrder::Big)[..12], b"B\x01\x02\x01\0\0\0\x0d\0\0\0\x07");
}

#[test]
fn any_value_is_skipped_exactly() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..4000 {
        let (order, written) = ORDERS[round % 2];
        let kind = random.kind(4);
        let mut bytes = Bytes::new(written);
        bytes.signature(&kind);
        random.value(&kind, 4, &mut bytes);
        let whole = bytes.bytes.len();
        bytes.number(0xfeed, 4);
        let mut reader = Reader::new(&bytes.bytes, order);
        assert!(reader.variant().is_ok(), "{kind}: {:?}", bytes.bytes);
        assert_eq!((reader.u32(), reader.is_empty()), (Ok(0xfeed), true), "{kind}");
        // Cut anywhere, it is no value.
        let cut = random.below(whole);
        assert!(Reader::new(&bytes.bytes[..cut], order).variant().is_err(), "{kind}: {cut}");
        // With any other byte, it is a value or an error.
        let at = random.below(whole);
        bytes.bytes[at] ^= 1 << random.below(8);
        let _ = Reader::new(&bytes.bytes, order).variant();
    }
}

#[test]
fn values_are_read_in_both_byte_orders() {
    for (order, written) in ORDERS {
        let mut bytes = Bytes::new(written);
        for (kind, value, size) in [("y", 7, 1), ("q", 700, 2), ("u", 70_000, 4), ("t", u64::MAX - 1, 8)] {
            bytes.signature(kind);
            bytes.number(value, size);
        }
        bytes.signature("s");
        bytes.text("text");
        bytes.signature("i");
        bytes.number(1, 4);
        let mut reader = Reader::new(&bytes.bytes, order);
        let values: Vec<_> = (0..6).map(|_| reader.variant().expect("a value")).collect();
        let numbers = [7, 700, 70_000, u64::MAX - 1].map(Value::Unsigned);
        assert_eq!((&values[..4], &values[4..]), (&numbers[..], &[Value::Text("text"), Value::Other][..]));
    }
}

#[test]
fn malformed_values_are_rejected() {
    fn read(bytes: &[u8]) -> Result<Value<'_>, &'static str> {
        Reader::new(bytes, ByteOrder::Little).variant().map_err(|malformed| malformed.0)
    }
    assert_eq!(read(b"\x01s\0\0\x01\0\0\0a\0"), Ok(Value::Text("a")));
    for (bytes, why) in [
        (&b""[..], "ends within a value"),
        (b"\x01s", "ends within a value"),
        (b"\x02ss\0\0\0\0\0\0", "has a variant without one type"),
        (b"\x00\0\0\0", "has a variant without one type"),
        (b"\x01z\0\0\0\0\0\0", "has a variant without one type"),
        (b"\x01s\0\0\x05\0\0\0a\0", "ends within a value"),
        (b"\x01s\0\0\xff\xff\xff\xffa\0", "ends within a value"),
        (b"\x01s\0\x01\x01\0\0\0a\0", "has padding that is not zero"),
        (b"\x01s\0\0\x01\0\0\0ab", "has a text without its end"),
        (b"\x01s\0\0\x02\0\0\0a\0\0", "has a text without its end"),
        (b"\x01s\0\0\x01\0\0\0\xff\0", "has a text that is not UTF-8"),
        (b"\x02as\0\0\0\0\xff\0\0\0", "ends within a value"),
    ] {
        assert_eq!(read(bytes), Err(why), "{bytes:?}");
    }
    let nested = b"\x01v\0".repeat(70);
    assert_eq!(read(&nested), Err("is nested too deep"));
}

#[test]
fn replies_errors_and_signals_are_told_apart() {
    for (_, order) in ORDERS {
        let bytes = text(order, 5, "running");
        assert_eq!(length(&bytes), Ok(Some(bytes.len())));
        let Ok(Message::Reply { serial: 5, result: Ok(body) }) = Message::decode(&bytes) else { panic!("a reply") };
        assert_eq!(body.reader("v").and_then(|mut values| values.variant()), Ok(Value::Text("running")));
        assert_eq!(body.reader("s").expect_err("another type").0, "has values of other types");
    }
    let bytes = error(6, "org.example.Error", "why");
    let Ok(Message::Reply { serial: 6, result: Err(error) }) = Message::decode(&bytes) else { panic!("an error") };
    assert_eq!((&*error.name, &*error.text), ("org.example.Error", "why"));
    assert_eq!(Message::decode(&signal()), Ok(Message::Other));
}

#[test]
fn malformed_messages_are_rejected() {
    let length_of = |bytes: &[u8]| length(bytes).map_err(|malformed| malformed.0);
    assert_eq!(length_of(b"l\x02\0\x01"), Ok(None));
    assert_eq!(length_of(b"HTTP/1.1 400 Bad"), Err("does not begin as a message"));
    assert_eq!(length_of(b"l\x02\0\x02\0\0\0\0\x01\0\0\0\0\0\0\0"), Err("is of another version of the protocol"));
    assert_eq!(length_of(b"l\x02\0\x01\x01\0\0\x01\x01\0\0\0\0\0\0\0"), Err("is longer than 16 MiB"));
    assert_eq!(length_of(b"l\x02\0\x01\0\0\0\0\x01\0\0\0\xff\xff\xff\xff"), Err("is longer than 16 MiB"));

    let decode = |sent: message::Message| Message::decode(&sent.to_bytes()).expect_err("malformed").0;
    let order = message::ByteOrder::Little;
    let reply = message::Message::reply(order, 1, Body::text(order, "a"));
    assert_eq!(decode(message::Message { reply_to: None, ..reply.clone() }), "is a reply to no call");
    assert_eq!(decode(message::Message { kind: 3, ..reply }), "is an error without a name");
    let mut long = text(order, 1, "a");
    long.push(0);
    assert_eq!(Message::decode(&long).expect_err("malformed").0, "has another length than it says");
}

/// Of any flipped bits and cuts, none reads beyond the bytes or is a panic: a message has its length, and its texts are
/// within it.
#[test]
fn damaged_messages_are_messages_or_errors() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let units = [("a.service", "loaded", "active"), ("b.timer", "loaded", "failed"), ("c.mount", "loaded", "active")];
    for round in 0..20_000 {
        let (_, order) = ORDERS[round % 2];
        let mut bytes = match random.below(4) {
            0 => list(order, 3, &units),
            1 => text(order, 3, "running"),
            2 => error(3, "org.example.Error", "why"),
            _ => {
                let body = Body::new(order, "a{sv}", |body| random.value("a{sv}", 3, body));
                message::Message::reply(order, 3, body).to_bytes()
            }
        };
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            bytes[at] = u8::try_from(random.below(256)).expect("a byte");
        }
        let cut = random.below(bytes.len() + 1);
        if random.below(3) == 0 {
            bytes.truncate(cut);
        }
        let Ok(message) = Message::decode(&bytes) else { continue };
        if let Ok(length) = length(&bytes) {
            assert_eq!(length, Some(bytes.len()), "{bytes:?}");
        }
        let Message::Reply { result: Ok(body), .. } = message else { continue };
        let sent = String::from_utf8_lossy(&bytes);
        if let Ok(Value::Text(text)) = body.reader("v").and_then(|mut values| values.variant()) {
            assert!(sent.contains(text), "{text:?} in {bytes:?}");
        }
        if let Ok(units) = body.reader("a(ssssssouso)").and_then(|list| Units::read(list, &Selection::all(), 2)) {
            assert!(units.selected.iter().all(|unit| sent.contains(&unit.name)), "{units:?} in {bytes:?}");
            assert!(units.selected.len() + units.left_out <= 3 && units.selected.len() <= 2, "{units:?} in {bytes:?}");
        }
    }
}
