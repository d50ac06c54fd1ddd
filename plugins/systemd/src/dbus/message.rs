//! Messages: calls that the plugin sends, and what comes back. Pure.

use super::reader::{Reader, Value};
use super::writer::Writer;
use super::{ByteOrder, Malformed};

/// The bytes of a message that say how long it is.
pub(crate) const PREFIX_BYTES: usize = 16;

/// The longest body: 10,000 units are 3 MB. D-Bus allows 128 MiB, which would not fit the plugin's memory.
pub(crate) const MAX_BODY_BYTES: usize = 16 << 20;

/// The longest header; those of buses have some 200 bytes.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// The version of the protocol.
const VERSION: u8 = 1;

/// The flag of a call that starts no service.
const NO_AUTO_START: u8 = 2;

const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;

// The fields of headers.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// A call of a method whose arguments are texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call<'a> {
    pub(crate) destination: &'a str,
    pub(crate) path: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) member: &'a str,
    pub(crate) arguments: &'a [&'a str],
}

impl Call<'_> {
    /// The call as a message with this number.
    pub(crate) fn encode(&self, serial: u32, order: ByteOrder) -> Vec<u8> {
        let mut body = Writer::new(order);
        for argument in self.arguments {
            body.text(argument);
        }
        let body = body.into_bytes();
        let mut message = Writer::new(order);
        for byte in [order.mark(), CALL, NO_AUTO_START, VERSION] {
            message.byte(byte);
        }
        message.u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
        message.u32(serial);
        // The length of the fields follows them.
        message.u32(0);
        let start = message.len();
        for (field, kind, value) in [
            (PATH, "o", self.path),
            (INTERFACE, "s", self.interface),
            (MEMBER, "s", self.member),
            (DESTINATION, "s", self.destination),
        ] {
            message.align(8);
            message.byte(field);
            message.signature(kind);
            message.text(value);
        }
        if !self.arguments.is_empty() {
            message.align(8);
            message.byte(SIGNATURE);
            message.signature("g");
            message.signature(&"s".repeat(self.arguments.len()));
        }
        let length = message.len() - start;
        message.set_u32(start - 4, u32::try_from(length).unwrap_or(u32::MAX));
        message.align(8);
        message.bytes(&body);
        message.into_bytes()
    }
}

/// The length of the message that begins with these bytes; none if they are too few to say so.
pub(crate) fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let Some(prefix) = bytes.get(..PREFIX_BYTES) else { return Ok(None) };
    let &mark = prefix.first().ok_or(Malformed("is empty"))?;
    let order = ByteOrder::from_mark(mark).ok_or(Malformed("does not begin as a message"))?;
    let mut reader = Reader::new(prefix, order);
    let [_mark, _kind, _flags, version] = [reader.byte()?, reader.byte()?, reader.byte()?, reader.byte()?];
    let [body, _serial, fields] = [reader.u32()?, reader.u32()?, reader.u32()?];
    let [body, fields] = [body, fields].map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    if version != VERSION {
        return Err(Malformed("is of another version of the protocol"));
    }
    if fields > MAX_HEADER_BYTES || body > MAX_BODY_BYTES {
        return Err(Malformed("is longer than 16 MiB"));
    }
    Ok(Some(PREFIX_BYTES + fields.next_multiple_of(8) + body))
}

/// A message that came back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// The reply to a call.
    Reply {
        /// The number of the call.
        serial: u32,
        result: Result<Body<'a>, ErrorReply>,
    },
    /// A signal, or a call of somebody else's.
    Other,
}

/// The values of a reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Body<'a> {
    signature: &'a str,
    bytes: &'a [u8],
    order: ByteOrder,
}

/// An error instead of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ErrorReply {
    /// The name, such as `org.freedesktop.DBus.Error.AccessDenied`.
    pub(crate) name: String,
    /// The cause; may be empty.
    pub(crate) text: String,
}

impl<'a> Body<'a> {
    /// A reader of the values, if they have these types.
    pub(crate) fn reader(&self, signature: &str) -> Result<Reader<'a>, Malformed> {
        if self.signature != signature {
            return Err(Malformed("has values of other types"));
        }
        Ok(Reader::new(self.bytes, self.order))
    }
}

impl<'a> Message<'a> {
    /// Reads a whole message of the length that [`length`] says.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let order = bytes.first().and_then(|&mark| ByteOrder::from_mark(mark));
        let order = order.ok_or(Malformed("does not begin as a message"))?;
        let mut reader = Reader::new(bytes, order);
        let [_mark, kind, _flags, _version] = [reader.byte()?, reader.byte()?, reader.byte()?, reader.byte()?];
        let [body_bytes, _serial] = [reader.u32()?, reader.u32()?];
        let mut fields = reader.array(b'(')?;
        let (mut reply_serial, mut error_name, mut signature) = (None, None, "");
        while !fields.is_empty() {
            fields.align(8)?;
            match fields.byte()? {
                SIGNATURE => {
                    if fields.signature()? != "g" {
                        return Err(Malformed("has a signature of another type"));
                    }
                    signature = fields.signature()?;
                }
                field => match (field, fields.variant()?) {
                    (REPLY_SERIAL, Value::Unsigned(serial)) => reply_serial = u32::try_from(serial).ok(),
                    (ERROR_NAME, Value::Text(name)) => error_name = Some(name),
                    (REPLY_SERIAL | ERROR_NAME, _) => return Err(Malformed("has a field of another type")),
                    _ => {}
                },
            }
        }
        reader.align(8)?;
        let body = Body { signature, bytes: reader.rest(), order };
        if usize::try_from(body_bytes).ok() != Some(body.bytes.len()) {
            return Err(Malformed("has another length than it says"));
        }
        let result = match (kind, error_name) {
            (RETURN, _) => Ok(body),
            (ERROR, Some(name)) => Err(ErrorReply { name: name.to_owned(), text: first_text(&body).to_owned() }),
            (ERROR, None) => return Err(Malformed("is an error without a name")),
            _ => return Ok(Self::Other),
        };
        let serial = reply_serial.ok_or(Malformed("is a reply to no call"))?;
        Ok(Self::Reply { serial, result })
    }
}

/// The text of an error.
fn first_text<'a>(body: &Body<'a>) -> &'a str {
    let is_text = body.signature.starts_with('s');
    let text = is_text.then(|| Reader::new(body.bytes, body.order).text().ok()).flatten();
    text.unwrap_or_default()
}
