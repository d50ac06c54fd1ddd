//! Messages that a bus and systemd send, for tests. They are encoded here by themselves, in either byte order: the plugin's own
//! code has no part in it. The agent's tests have this file as well.

/// The order of the bytes of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// The lowest byte first.
    Little,
    /// The highest byte first.
    Big,
}

/// Values as bytes.
#[derive(Debug, Clone)]
pub struct Bytes {
    pub bytes: Vec<u8>,
    order: ByteOrder,
}

impl Bytes {
    pub fn new(order: ByteOrder) -> Self {
        Self { bytes: Vec::new(), order }
    }

    pub fn pad(&mut self, alignment: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(alignment), 0);
    }

    /// A number of this many bytes.
    pub fn number(&mut self, value: u64, size: usize) {
        self.pad(size);
        match self.order {
            ByteOrder::Little => self.bytes.extend(&value.to_le_bytes()[..size]),
            ByteOrder::Big => self.bytes.extend(&value.to_be_bytes()[8 - size..]),
        }
    }

    pub fn text(&mut self, text: &str) {
        self.number(text.len() as u64, 4);
        self.bytes.extend(text.bytes());
        self.bytes.push(0);
    }

    pub fn signature(&mut self, text: &str) {
        self.number(text.len() as u64, 1);
        self.bytes.extend(text.bytes());
        self.bytes.push(0);
    }

    /// An array of elements with this alignment.
    pub fn array(&mut self, alignment: usize, fill: impl FnOnce(&mut Self)) {
        self.number(0, 4);
        let length_at = self.bytes.len() - 4;
        self.pad(alignment);
        let start = self.bytes.len();
        fill(self);
        let mut length = Self::new(self.order);
        length.number((self.bytes.len() - start) as u64, 4);
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.bytes);
    }
}

/// The body of a message, with its types.
#[derive(Debug, Clone)]
pub struct Body {
    pub signature: &'static str,
    pub bytes: Vec<u8>,
}

/// A unit of the list: its name, whether it is loaded, its state.
pub type Listed<'a> = (&'a str, &'a str, &'a str);

impl Body {
    pub fn new(order: ByteOrder, signature: &'static str, fill: impl FnOnce(&mut Bytes)) -> Self {
        let mut bytes = Bytes::new(order);
        fill(&mut bytes);
        Self { signature, bytes: bytes.bytes }
    }

    /// A property that is a text.
    pub fn text(order: ByteOrder, value: &str) -> Self {
        Self::new(order, "v", |body| {
            body.signature("s");
            body.text(value);
        })
    }

    /// A property that is a number of this type, `u` or `t`.
    pub fn number(order: ByteOrder, kind: &str, value: u64) -> Self {
        Self::new(order, "v", |body| {
            body.signature(kind);
            body.number(value, if kind == "u" { 4 } else { 8 });
        })
    }

    /// systemd's list of units.
    pub fn list(order: ByteOrder, units: &[Listed<'_>]) -> Self {
        Self::new(order, "a(ssssssouso)", |body| {
            body.array(8, |elements| {
                for (name, load_state, state) in units {
                    elements.pad(8);
                    for text in [*name, "A unit", *load_state, *state, "some", "", &path(name)] {
                        elements.text(text);
                    }
                    elements.number(0, 4);
                    elements.text("");
                    elements.text("/");
                }
            });
        })
    }
}

/// The path of a unit's object.
pub fn path(name: &str) -> String {
    let letters = name
        .bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("_{byte:02x}") });
    format!("/org/freedesktop/systemd1/unit/{}", letters.collect::<String>())
}

/// A message.
#[derive(Debug, Clone)]
pub struct Message {
    pub order: ByteOrder,
    /// 1 is a call, 2 a reply, 3 an error, 4 a signal.
    pub kind: u8,
    pub serial: u32,
    pub reply_to: Option<u32>,
    /// Fields of the header that are texts, by their codes: 1 the path, 2 the interface, 3 the member, 4 the name of an error, 6 the
    /// destination, 7 the sender.
    pub texts: Vec<(u8, String)>,
    pub body: Body,
}

impl Message {
    pub fn reply(order: ByteOrder, to: u32, body: Body) -> Self {
        Self { order, kind: 2, serial: to, reply_to: Some(to), texts: Vec::new(), body }
    }

    pub fn error(order: ByteOrder, to: u32, name: &str, why: &str) -> Self {
        let body = Body::new(order, "s", |body| body.text(why));
        Self { kind: 3, texts: vec![(4, name.to_owned())], ..Self::reply(order, to, body) }
    }

    /// The same with another field.
    pub fn with(mut self, code: u8, text: &str) -> Self {
        self.texts.push((code, text.to_owned()));
        self
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut message = Bytes::new(self.order);
        message.bytes.extend([if self.order == ByteOrder::Little { b'l' } else { b'B' }, self.kind, 1, 1]);
        message.number(self.body.bytes.len() as u64, 4);
        message.number(self.serial.into(), 4);
        message.array(8, |fields| {
            if let Some(serial) = self.reply_to {
                fields.bytes.push(5);
                fields.signature("u");
                fields.number(serial.into(), 4);
            }
            for (code, text) in &self.texts {
                fields.pad(8);
                fields.bytes.push(*code);
                fields.signature(if *code == 1 { "o" } else { "s" });
                fields.text(text);
            }
            if !self.body.signature.is_empty() {
                fields.pad(8);
                fields.bytes.push(8);
                fields.signature("g");
                fields.signature(self.body.signature);
            }
        });
        message.pad(8);
        message.bytes.extend(&self.body.bytes);
        message.bytes
    }
}
