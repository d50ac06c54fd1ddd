//! Values of settings in forms that several plugins have.

use std::fmt;

use serde_core::de::{Deserialize, Deserializer, Error, MapAccess, Unexpected, Visitor};

/// Texts by name, in the configured order: headers, labels.
///
/// ```
/// use gauged_plugin::{Configuration, Texts};
///
/// let headers = Texts::from_json(r#"{"accept": "text/plain", "host": "a"}"#)?;
/// assert_eq!(headers.0[1], ("host".to_owned(), "a".to_owned()));
/// # Ok::<(), gauged_plugin::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts(pub Vec<(String, String)>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of texts: { name = \"value\" }")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = map.next_entry()? {
            texts.push(text);
        }
        Ok(Texts(texts))
    }
}

/// Deserialises a setting that is written as a text, or as a whole number: `80`, `"udp:53"`. `expected` is for the error of one that
/// `parse` does not take.
///
/// ```
/// use gauged_plugin::{Configuration, Error, parse_setting};
/// use serde::{Deserialize, Deserializer};
///
/// #[derive(Debug, PartialEq)]
/// struct Port(u16);
///
/// impl<'de> Deserialize<'de> for Port {
///     fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
///         let parse = |text: &str| text.trim_start_matches("tcp:").parse().ok().map(Port);
///         parse_setting(deserializer, "a port such as 80 or \"tcp:80\"", parse)
///     }
/// }
///
/// assert_eq!((Port::from_json("80")?, Port::from_json("\"tcp:80\"")?), (Port(80), Port(80)));
/// let error = Error::invalid("", "is 70000; expected a port such as 80 or \"tcp:80\"");
/// assert_eq!(Port::from_json("70000"), Err(error));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
///
/// The value is none of the two, or `parse` does not take it.
pub fn parse_setting<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expected: &str,
    parse: fn(&str) -> Option<T>,
) -> Result<T, D::Error> {
    deserializer.deserialize_any(ParsedVisitor { expected, parse })
}

struct ParsedVisitor<'e, T> {
    expected: &'e str,
    parse: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for ParsedVisitor<'_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        (self.parse)(&number.to_string()).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}
