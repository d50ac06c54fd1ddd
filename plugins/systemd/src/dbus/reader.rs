//! Reads values from bytes that a peer sent. Every length is checked against what is there, so that no input reads beyond its
//! bytes, allocates, or takes longer than its length. Pure.

use super::signature::{MAX_DEPTH, alignment, split};
use super::{ByteOrder, Malformed};

/// The bytes of values, and the place of the next one. Alignment counts from the first byte.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    order: ByteOrder,
}

/// The value of a variant, as far as properties have one that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    Unsigned(u64),
    /// Of another type.
    Other,
}

const CUT: Malformed = Malformed("ends within a value");

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], order: ByteOrder) -> Self {
        Self { bytes, at: 0, order }
    }

    /// Whether all values are read.
    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The bytes that are not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Skips the padding before a value with this alignment.
    pub(crate) fn align(&mut self, alignment: usize) -> Result<(), Malformed> {
        let padding = self.take(self.at.next_multiple_of(alignment) - self.at)?;
        if padding.iter().all(|&byte| byte == 0) { Ok(()) } else { Err(Malformed("has padding that is not zero")) }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(length).ok_or(CUT)?;
        let taken = self.bytes.get(self.at..end).ok_or(CUT)?;
        self.at = end;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.align(N)?;
        let mut number: [u8; N] = self.take(N)?.try_into().map_err(|_| CUT)?;
        if self.order == ByteOrder::Big {
            number.reverse();
        }
        Ok(number)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        self.number().map(u8::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.number().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.number().map(u64::from_le_bytes)
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        // Longer than any message is longer than what is left.
        self.u32().map(|length| usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// A text or the path of an object.
    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        let length = self.length()?;
        self.terminated(length)
    }

    pub(crate) fn signature(&mut self) -> Result<&'a str, Malformed> {
        let length = self.byte()?;
        self.terminated(length.into())
    }

    /// A text of this length, with the zero byte after it.
    fn terminated(&mut self, length: usize) -> Result<&'a str, Malformed> {
        let text = self.take(length)?;
        if self.take(1)? != [0] || text.contains(&0) {
            return Err(Malformed("has a text without its end"));
        }
        std::str::from_utf8(text).map_err(|_| Malformed("has a text that is not UTF-8"))
    }

    /// The elements of an array whose type begins with this letter.
    pub(crate) fn array(&mut self, element: u8) -> Result<Self, Malformed> {
        let length = self.length()?;
        self.align(alignment(element))?;
        let start = self.at;
        self.take(length)?;
        Ok(Self { bytes: self.bytes.get(..self.at).ok_or(CUT)?, at: start, order: self.order })
    }

    /// A variant.
    pub(crate) fn variant(&mut self) -> Result<Value<'a>, Malformed> {
        self.variant_within(MAX_DEPTH)
    }

    fn variant_within(&mut self, depth: u32) -> Result<Value<'a>, Malformed> {
        let signature = self.signature()?.as_bytes();
        let Some((kind, [])) = split(signature) else {
            return Err(Malformed("has a variant without one type"));
        };
        match kind {
            b"s" | b"o" => self.text().map(Value::Text),
            b"y" => self.byte().map(|value| Value::Unsigned(value.into())),
            b"q" => self.number().map(u16::from_le_bytes).map(|value| Value::Unsigned(value.into())),
            b"u" => self.u32().map(|value| Value::Unsigned(value.into())),
            b"t" => self.u64().map(Value::Unsigned),
            _ => self.skip(kind, depth).map(|()| Value::Other),
        }
    }

    /// Skips a value of a complete type.
    fn skip(&mut self, kind: &[u8], depth: u32) -> Result<(), Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed("is nested too deep"))?;
        let &code = kind.first().ok_or(Malformed("has a value without a type"))?;
        match code {
            b's' | b'o' => self.text().map(drop),
            b'g' => self.signature().map(drop),
            b'v' => self.variant_within(depth).map(drop),
            b'a' => {
                let &element = kind.get(1).ok_or(Malformed("has an array without a type"))?;
                self.array(element).map(drop)
            }
            b'(' => {
                self.align(8)?;
                let mut fields = kind.get(1..kind.len() - 1).unwrap_or_default();
                while let Some((field, rest)) = split(fields) {
                    self.skip(field, depth)?;
                    fields = rest;
                }
                Ok(())
            }
            _ => {
                let size = if code == b'y' { 1 } else { alignment(code) };
                self.align(size)?;
                self.take(size).map(drop)
            }
        }
    }
}
