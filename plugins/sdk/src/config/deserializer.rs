//! A deserialiser of settings whose errors name the key. The usual one, `serde_json`, would make a plugin more than twice as
//! large, mostly for exact floats and for line and column numbers, which the agent's JSON does not need.

use std::borrow::Cow;

use serde_core::de::value::{CowStrDeserializer, MapAccessDeserializer};
use serde_core::de::{self, DeserializeOwned, DeserializeSeed, Visitor};

use super::error::Error;
use crate::json::reader::{Malformed, Reader, Token};

impl From<Malformed> for Error {
    fn from(Malformed { at }: Malformed) -> Self {
        Self::at("", format!("is not valid JSON at byte {at}"))
    }
}

/// Deserialises a whole document.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let mut reader = Reader::new(text);
    let value = T::deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Reads the end of a list or table.
fn end(reader: &mut Reader<'_>, end: u8) -> Result<(), Error> {
    match reader.peek() {
        Some(b',') => Err(Error::at("", "has too many elements".to_owned())),
        _ => Ok(reader.expect(end)?),
    }
}

impl<'de> de::Deserializer<'de> for &mut Reader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.token()? {
            Token::Null => visitor.visit_unit(),
            Token::Boolean(value) => visitor.visit_bool(value),
            Token::Unsigned(value) => visitor.visit_u64(value),
            Token::Signed(value) => visitor.visit_i64(value),
            Token::Float(value, _) if value.is_finite() => visitor.visit_f64(value),
            Token::Float(..) => Err(Malformed { at: self.at() }.into()),
            Token::Text(Cow::Borrowed(value)) => visitor.visit_borrowed_str(value),
            Token::Text(Cow::Owned(value)) => visitor.visit_string(value),
            Token::List => {
                let value = visitor.visit_seq(Elements { reader: self, read: 0 })?;
                end(self, b']')?;
                Ok(value)
            }
            Token::Table => {
                let value = visitor.visit_map(Members { reader: self, key: None })?;
                end(self, b'}')?;
                Ok(value)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.peek() == Some(b'n') { self.deserialize_any(visitor) } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// `"variant"`, or `{"variant": content}`.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.token()? {
            Token::Text(variant) => visitor.visit_enum(CowStrDeserializer::new(variant)),
            Token::Table => {
                let members = Members { reader: self, key: None };
                let value = visitor.visit_enum(MapAccessDeserializer::new(members))?;
                end(self, b'}')?;
                Ok(value)
            }
            _ => Err(Error::at("", "is neither a string nor a table".to_owned())),
        }
    }

    serde_core::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// The elements of a list.
struct Elements<'a, 'de> {
    reader: &'a mut Reader<'de>,
    read: usize,
}

impl<'de> de::SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if !self.reader.has_next(b']', self.read == 0)? {
            return Ok(None);
        }
        let index = self.read;
        self.read += 1;
        seed.deserialize(&mut *self.reader).map(Some).map_err(|error| error.within(&format!("[{index}]")))
    }
}

/// The members of a table.
struct Members<'a, 'de> {
    reader: &'a mut Reader<'de>,
    /// The key read last.
    key: Option<Cow<'de, str>>,
}

impl<'de> de::MapAccess<'de> for Members<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if !self.reader.has_next(b'}', self.key.is_none())? {
            return Ok(None);
        }
        self.reader.peek();
        let key = self.reader.string()?;
        self.reader.expect(b':')?;
        self.key = Some(key.clone());
        seed.deserialize(CowStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let value = seed.deserialize(&mut *self.reader);
        value.map_err(|error| error.within(self.key.as_deref().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    #[test]
    fn json_values_match_serde_json() {
        for text in [
            "null",
            " true\n",
            "0",
            "-0",
            "-12",
            "18446744073709551615",
            "-9223372036854775808",
            "0.5",
            "-1.25e2",
            "1E-3",
            "12345678901234567890123",
            "\"\"",
            r#""a\"\\\/\b\f\n\r\t\u00e4\ud83d\ude00ä""#,
            "[]",
            "[ 1 , [ 2 ] ]",
            "{}",
            r#"{ "a" : { "b" : [ null , { } ] } , "\u0063" : "d" }"#,
        ] {
            let (ours, expected): (Value, Value) = (read(text).expect(text), serde_json::from_str(text).expect(text));
            // serde_json keeps the sign of zero.
            assert_eq!(ours.as_f64(), expected.as_f64(), "{text}");
            assert!(ours == expected || ours.as_f64() == Some(0.0), "{text}: {ours:?}");
        }
        for text in [
            "",
            "nul",
            "nulll",
            "tru",
            "01",
            "-",
            "+1",
            ".5",
            "1.",
            "1e",
            "1.e5",
            "0x10",
            "Infinity",
            "1e999",
            "\"",
            "\"\\x\"",
            "\"\n\"",
            r#""\u12""#,
            r#""\ud800""#,
            r#""\ud800\u0041""#,
            r#""\udc00""#,
            r#""\u+123""#,
            "[",
            "[1",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{1:2}",
            "1 2",
            "[]]",
        ] {
            assert!(serde_json::from_str::<Value>(text).is_err(), "{text}");
            assert!(read::<Value>(text).is_err(), "{text}");
        }
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Everything {
        name: String,
        port: u16,
        ratio: f64,
        pair: (u8, u8),
        mode: Mode,
        modes: Vec<Mode>,
        #[serde(default)]
        maybe: Option<i64>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        Plain,
        Scaled(f64),
        Named { name: String },
    }

    const WHOLE: &str = r#"{"name": "x", "port": 80, "ratio": 2, "pair": [1, 2], "mode": "plain",
        "modes": [{"scaled": 0.5}, {"named": {"name": "y"}}], "maybe": null}"#;

    #[test]
    fn settings_of_every_type_are_read() {
        let whole: Everything = read(WHOLE).expect("valid settings");
        let modes = vec![Mode::Scaled(0.5), Mode::Named { name: "y".to_owned() }];
        let (name, mode) = ("x".to_owned(), Mode::Plain);
        assert_eq!(whole, Everything { name, port: 80, ratio: 2.0, pair: (1, 2), mode, modes, maybe: None });
    }

    #[test]
    fn settings_error_names_the_key() {
        for (original, replacement, key, message) in [
            (
                r#""name": "x""#,
                r#""nane": "x""#,
                "nane",
                "unknown key; remove it, or use one of name, port, ratio, pair, mode, modes, maybe",
            ),
            (r#""name": "x", "#, "", "name", "is missing"),
            (r#""name": "x""#, r#""name": "x", "name": "y""#, "name", "is set twice"),
            ("80", "70000", "port", "is 70000; expected u16"),
            ("80", "-1", "port", "is -1; expected u16"),
            ("80", "0.5", "port", "is a fraction; expected u16"),
            ("80", r#""http""#, "port", "is \"http\"; expected u16"),
            ("80", "[80]", "port", "is a list; expected u16"),
            ("[1, 2]", "[1]", "pair", "has 1 elements; expected a tuple of size 2"),
            ("[1, 2]", "[1, 2, 3]", "pair", "has too many elements"),
            ("[1, 2]", "[1, true]", "pair[1]", "is true; expected u8"),
            (r#""plain""#, r#""fancy""#, "mode", "is \"fancy\"; use one of plain, scaled, named"),
            (r#""plain""#, "1", "mode", "is neither a string nor a table"),
            ("0.5", "null", "modes[0].scaled", "is null; expected f64"),
            (r#""y""#, "{}", "modes[1].named.name", "is a table; expected a string"),
        ] {
            let text = WHOLE.replacen(original, replacement, 1);
            assert_eq!(read::<Everything>(&text), Err(Error::at(key, message.to_owned())), "{text}");
        }
    }
}
