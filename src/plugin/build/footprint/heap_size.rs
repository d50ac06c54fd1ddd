//! How much memory a value takes once it is decoded, estimated by serialising it: each number, text and list is counted with
//! what it takes in a structure and on the heap.

use std::fmt;

use serde::ser::{self, Serialize};

/// A number or an index, with its padding.
const WORD_BYTES: u64 = 8;

/// A variant without content.
const VARIANT_BYTES: u64 = 16;

/// The tag of a variant with content, and the space that larger variants need.
const TAG_BYTES: u64 = 24;

/// A vector, text or map without its content: pointer, length, capacity.
const LIST_BYTES: u64 = 24;

/// The heap's overhead for an allocation, which it rounds up.
const ALLOCATION_BYTES: u64 = 24;

/// The index of a map, for each entry.
const ENTRY_BYTES: u64 = 24;

/// Estimates the memory of a value.
pub(super) fn heap_size(value: &impl Serialize) -> u64 {
    let mut size = HeapSize(0);
    // It fails only by values that cannot be serialised, and these were decoded before.
    let _ = value.serialize(&mut size);
    size.0
}

/// The bytes so far.
struct HeapSize(u64);

impl HeapSize {
    fn add(&mut self, bytes: u64) -> &mut Self {
        self.0 = self.0.saturating_add(bytes);
        self
    }

    fn list(&mut self) -> &mut Self {
        self.add(LIST_BYTES + ALLOCATION_BYTES)
    }

    fn tagged(&mut self) -> &mut Self {
        self.add(TAG_BYTES)
    }
}

/// An error of a value's own code.
#[derive(Debug)]
struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value cannot be serialised")
    }
}

impl std::error::Error for Failed {}

impl ser::Error for Failed {
    fn custom<T: fmt::Display>(_message: T) -> Self {
        Self
    }
}

macro_rules! words {
    ($($name:ident: $number:ty),*) => {
        $(fn $name(self, _value: $number) -> Result<(), Failed> {
            self.add(WORD_BYTES);
            Ok(())
        })*
    };
}

impl ser::Serializer for &mut HeapSize {
    type Ok = ();
    type Error = Failed;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    words!(
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_f32: f32,
        serialize_f64: f64, serialize_char: char
    );

    fn serialize_str(self, text: &str) -> Result<(), Failed> {
        self.list().add(text.len() as u64);
        Ok(())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Failed> {
        self.list().add(bytes.len() as u64);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Failed> {
        self.add(WORD_BYTES);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Failed> {
        value.serialize(self.tagged())
    }

    fn serialize_unit(self) -> Result<(), Failed> {
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Failed> {
        Ok(())
    }

    fn serialize_unit_variant(self, _name: &'static str, _at: u32, _variant: &'static str) -> Result<(), Failed> {
        self.add(VARIANT_BYTES);
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Result<(), Failed> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _at: u32,
        _variant: &'static str,
        value: &T,
    ) -> Result<(), Failed> {
        value.serialize(self.tagged())
    }

    fn serialize_seq(self, _length: Option<usize>) -> Result<Self, Failed> {
        Ok(self.list())
    }

    fn serialize_tuple(self, _length: usize) -> Result<Self, Failed> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _name: &'static str, _length: usize) -> Result<Self, Failed> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _at: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Self, Failed> {
        Ok(self.tagged())
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Self, Failed> {
        Ok(self.list())
    }

    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<Self, Failed> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _at: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Self, Failed> {
        Ok(self.tagged())
    }
}

macro_rules! parts {
    ($($part:ident: $method:ident),*) => {
        $(impl ser::$part for &mut HeapSize {
            type Ok = ();
            type Error = Failed;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failed> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), Failed> {
                Ok(())
            }
        })*
    };
}

parts!(
    SerializeSeq: serialize_element, SerializeTuple: serialize_element, SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field
);

macro_rules! fields {
    ($($part:ident),*) => {
        $(impl ser::$part for &mut HeapSize {
            type Ok = ();
            type Error = Failed;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, _name: &'static str, value: &T) -> Result<(), Failed> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), Failed> {
                Ok(())
            }
        })*
    };
}

fields!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for &mut HeapSize {
    type Ok = ();
    type Error = Failed;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Failed> {
        key.serialize(self.add(ENTRY_BYTES))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failed> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), Failed> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Serialize;

    use super::*;

    #[derive(Debug, Clone, Serialize)]
    enum Shape {
        Nothing,
        Number(u64),
        Named { name: String, numbers: Vec<u32> },
    }

    fn shape() -> impl Strategy<Value = Shape> {
        prop_oneof![
            Just(Shape::Nothing),
            any::<u64>().prop_map(Shape::Number),
            ("[a-z]{0,40}", prop::collection::vec(any::<u32>(), 0..20))
                .prop_map(|(name, numbers)| Shape::Named { name, numbers }),
        ]
    }

    /// The size of a shape's own structure and of its two blocks on the heap.
    fn actual(shape: &Shape) -> usize {
        size_of::<Shape>()
            + match shape {
                Shape::Named { name, numbers } => name.len() + numbers.len() * size_of::<u32>(),
                _ => 0,
            }
    }

    #[test]
    fn parts_are_counted() {
        assert_eq!(heap_size(&7_u8), WORD_BYTES);
        assert_eq!(heap_size(&"abc"), LIST_BYTES + ALLOCATION_BYTES + 3);
        assert_eq!(heap_size(&vec![1_u32; 10]), LIST_BYTES + ALLOCATION_BYTES + 10 * WORD_BYTES);
        assert_eq!(heap_size(&(None::<u8>, Some(1_u8))), 2 * WORD_BYTES + TAG_BYTES);
        assert_eq!(heap_size(&Shape::Nothing), VARIANT_BYTES);
        let map = BTreeMap::from([(1_u8, 2_u8)]);
        assert_eq!(heap_size(&map), LIST_BYTES + ALLOCATION_BYTES + ENTRY_BYTES + 2 * WORD_BYTES);
    }

    proptest! {
        /// The structures of small variants are as large as those of large ones: a list of both is estimated too small, by less
        /// than four times.
        #[test]
        fn lists_are_estimated_within_a_factor(shapes in prop::collection::vec(shape(), 1..50)) {
            let actual: usize = shapes.iter().map(actual).sum();
            let estimate = usize::try_from(heap_size(&shapes)).expect("small");
            prop_assert!(estimate * 4 >= actual, "{estimate} of {actual}");
            prop_assert!(estimate <= 64 + actual * 4, "{estimate} of {actual}");
        }
    }
}
