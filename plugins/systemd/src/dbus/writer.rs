//! Writes values as D-Bus has them on the wire. Pure.

use super::ByteOrder;

/// Values, with alignment from the first byte on.
#[derive(Debug)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    order: ByteOrder,
}

impl Writer {
    pub(crate) fn new(order: ByteOrder) -> Self {
        Self { bytes: Vec::new(), order }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Adds the padding before a value with this alignment.
    pub(crate) fn align(&mut self, alignment: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(alignment), 0);
    }

    pub(crate) fn byte(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend(self.ordered(value.to_le_bytes()));
    }

    fn ordered<const N: usize>(&self, mut number: [u8; N]) -> [u8; N] {
        if self.order == ByteOrder::Big {
            number.reverse();
        }
        number
    }

    /// A text or the path of an object. The plugin's own are short.
    pub(crate) fn text(&mut self, text: &str) {
        self.u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    pub(crate) fn signature(&mut self, signature: &str) {
        self.byte(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.bytes.extend_from_slice(signature.as_bytes());
        self.bytes.push(0);
    }

    /// Adds bytes that are values already.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Replaces a number that was written before, at this place.
    pub(crate) fn set_u32(&mut self, at: usize, value: u32) {
        let number = self.ordered(value.to_le_bytes());
        if let Some(place) = self.bytes.get_mut(at..at + number.len()) {
            place.copy_from_slice(&number);
        }
    }
}
