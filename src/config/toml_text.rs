//! Values as TOML on one line, without characters that a terminal takes for more than text.

use std::fmt::Write as _;

use serde_json::Value;

use crate::escape::is_plain;

/// A text in quotes. All characters that are not plain are escaped.
pub(super) fn toml_text(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            _ if is_plain(character) => quoted.push(character),
            _ => {
                let _ = write!(quoted, "\\U{:08x}", u32::from(character));
            }
        }
    }
    quoted.push('"');
    quoted
}

pub(super) fn toml_key(key: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !key.is_empty() && key.bytes().all(is_bare) { key.to_owned() } else { toml_text(key) }
}

/// A setting on one line.
pub(super) fn toml_value(value: &Value) -> String {
    match value {
        Value::String(text) => toml_text(text),
        Value::Array(items) => format!("[{}]", items.iter().map(toml_value).collect::<Vec<_>>().join(", ")),
        Value::Object(table) if table.is_empty() => "{}".to_owned(),
        Value::Object(table) => {
            let entries = table.iter().map(|(key, value)| format!("{} = {}", toml_key(key), toml_value(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        // There is no null in TOML.
        Value::Null => "\"\"".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_quoted_as_toml(text in any::<String>(), key in any::<String>()) {
            let line = format!("{} = {} # x\n", toml_key(&key), toml_text(&text));
            let table: toml::Table = toml::from_str(&line).expect("TOML");
            prop_assert_eq!(table.get(&key).and_then(toml::Value::as_str), Some(&*text));
            prop_assert!(line.trim_end().chars().all(is_plain));
        }
    }
}
