//! A reader of protobuf messages: fields by number, without a schema.

/// An encoded message.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a>(pub &'a [u8]);

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<'a> {
    /// A varint, or four or eight bytes.
    Number(u64),
    /// A text, or another message.
    Bytes(&'a [u8]),
}

impl<'a> Message<'a> {
    /// All fields with their numbers, in their order.
    pub fn fields(&self) -> impl Iterator<Item = (u32, Field<'a>)> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            (!rest.is_empty()).then(|| {
                let key = varint(&mut rest);
                let field = match key & 7 {
                    0 => Field::Number(varint(&mut rest)),
                    1 => Field::Number(u64::from_le_bytes(take(&mut rest, 8).try_into().expect("eight bytes"))),
                    2 => {
                        let length = varint(&mut rest) as usize;
                        Field::Bytes(take(&mut rest, length))
                    }
                    5 => Field::Number(u32::from_le_bytes(take(&mut rest, 4).try_into().expect("four bytes")).into()),
                    other => panic!("no wire type: {other}"),
                };
                ((key >> 3) as u32, field)
            })
        })
    }

    fn by_number(&self, number: u32) -> impl Iterator<Item = Field<'a>> + use<'a> {
        self.fields().filter(move |(known, _)| *known == number).map(|(_, field)| field)
    }

    /// The messages in a repeated field.
    pub fn messages(&self, number: u32) -> impl Iterator<Item = Message<'a>> + use<'a> {
        self.by_number(number).map(move |field| match field {
            Field::Bytes(bytes) => Message(bytes),
            Field::Number(_) => panic!("field {number} is no message"),
        })
    }

    /// The text in a field; empty without it.
    pub fn text(&self, number: u32) -> String {
        self.messages(number).last().map_or_else(String::new, |text| String::from_utf8(text.0.to_vec()).expect("UTF-8"))
    }

    /// The number in a field. None without it.
    pub fn number(&self, number: u32) -> Option<u64> {
        self.by_number(number).last().map(|field| match field {
            Field::Number(value) => value,
            Field::Bytes(_) => panic!("field {number} is no number"),
        })
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at(length);
    *rest = left;
    taken
}

/// A number in groups of seven bits, the lowest first.
pub fn varint(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
    }
    panic!("a varint of more than ten bytes");
}

#[test]
fn messages_of_the_documentation_are_read() {
    // From "Encoding" in protobuf's documentation.
    let message = Message(&[0x08, 0x96, 0x01, 0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67, 0x1d, 1, 0, 0, 0]);
    assert_eq!((message.number(1), &*message.text(2), message.number(3)), (Some(150), "testing", Some(1)));
    assert_eq!((message.number(4), &*message.text(4)), (None, ""));
}
