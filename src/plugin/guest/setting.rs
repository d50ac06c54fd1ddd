//! The settings that a plugin describes: for people who write its table. The plugin itself checks what they wrote.

use std::collections::HashSet;

use crate::escape::is_plain;
use crate::plugin::guest::bindings::exports::gauged::plugin::collector as wit;

/// The most settings that a plugin may describe.
const MAX_SETTINGS: usize = 500;

/// The longest key of a setting, in bytes: several names.
const KEY_BYTES: usize = 256;

/// The longest type of a setting, in bytes: a few words.
const TYPE_BYTES: usize = 64;

/// The longest default of a setting, in bytes: a list of patterns.
const DEFAULT_BYTES: usize = 4096;

/// The longest meaning of a setting, in bytes: a sentence.
const MEANING_BYTES: usize = 1024;

/// A setting that a plugin has described.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setting {
    /// Dotted where nested; `[]` is an element of a list, and `*` a key that the operator chooses.
    pub(crate) key: Box<str>,
    /// The type, in words.
    pub(crate) value_type: Box<str>,
    /// The value without the setting.
    pub(crate) default: Option<serde_json::Value>,
    /// A sentence about it.
    pub(crate) meaning: Box<str>,
    /// Whether its table must have it.
    pub(crate) is_required: bool,
    /// Whether it belongs into a file of its own.
    pub(crate) is_secret: bool,
}

impl From<wit::Setting> for Setting {
    /// A setting that was checked.
    fn from(setting: wit::Setting) -> Self {
        let wit::Setting { key, value_type, default_value, meaning, required, secret } = setting;
        Self {
            key: key.into(),
            value_type: value_type.into(),
            default: default_value.and_then(|json| serde_json::from_str(&json).ok()),
            meaning: meaning.into(),
            is_required: required,
            is_secret: secret,
        }
    }
}

/// Checks that settings can be shown and are consistent.
///
/// # Errors
///
/// The first problem: the end of a sentence that begins with the file.
pub(super) fn check_settings(settings: &[wit::Setting]) -> Result<(), String> {
    if settings.len() > MAX_SETTINGS {
        return Err(format!("describes more than {MAX_SETTINGS} settings"));
    }
    let mut described = HashSet::new();
    for wit::Setting { key, value_type, default_value, meaning, required, .. } in settings {
        if key.len() > KEY_BYTES || !key.split('.').all(is_segment) {
            return Err(format!("describes the setting {key:?}, whose key breaks the rules"));
        }
        let fail = |why: &str| Err(format!("describes the setting {key} with {why}"));
        if value_type.is_empty() || value_type.len() > TYPE_BYTES || !value_type.chars().all(is_plain) {
            return fail(&format!("a type that is not 1 to {TYPE_BYTES} printable characters"));
        }
        if meaning.len() > MEANING_BYTES {
            return fail(&format!("a meaning of more than {MEANING_BYTES} bytes"));
        }
        if let Some(json) = default_value {
            if json.len() > DEFAULT_BYTES {
                return fail(&format!("a default of more than {DEFAULT_BYTES} bytes"));
            }
            match serde_json::from_str(json) {
                Err(_) => return fail("a default that is not JSON"),
                // TOML has none.
                Ok(value) if has_null(&value) => return fail("null in its default"),
                Ok(_) => {}
            }
            if *required {
                return fail("a default, though it is required");
            }
        }
        if !described.insert(key) {
            return Err(format!("describes the setting {key} twice"));
        }
    }
    Ok(())
}

/// Whether a part of a key is a name, `*`, or one of them with `[]` behind it, once for each list.
fn is_segment(segment: &str) -> bool {
    let mut name = segment;
    while let Some(rest) = name.strip_suffix("[]") {
        name = rest;
    }
    name == "*"
        || !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn has_null(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Null => true,
        serde_json::Value::Array(elements) => elements.iter().any(has_null),
        serde_json::Value::Object(members) => members.values().any(has_null),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(key: &str) -> wit::Setting {
        wit::Setting {
            key: key.to_owned(),
            value_type: "text".to_owned(),
            default_value: None,
            meaning: "It.".to_owned(),
            required: false,
            secret: false,
        }
    }

    fn rejection(setting: wit::Setting) -> String {
        check_settings(&[setting]).expect_err("inconsistent")
    }

    #[test]
    fn keys_of_nested_settings_are_accepted() {
        for key in ["a", "a.b", "servers[].address", "groups.*.command", "a-b_1[][].c", "*.a", "*[].b"] {
            assert_eq!(check_settings(&[setting(key)]), Ok(()), "{key}");
        }
        for key in ["", ".", "a.", "a b", "[]", "a[0]", "ä", "a..b", &"x".repeat(KEY_BYTES + 1)] {
            assert!(rejection(setting(key)).contains("whose key breaks the rules"), "{key}");
        }
    }

    #[test]
    fn inconsistent_settings_are_rejected() {
        let with = |default: &str| wit::Setting { default_value: Some(default.to_owned()), ..setting("a") };
        for json in ["1", "\"x\"", "[]", "{\"a\": [1.5, true]}"] {
            assert_eq!(check_settings(&[with(json)]), Ok(()), "{json}");
        }
        assert!(rejection(with("x")).ends_with("a default that is not JSON"));
        assert!(rejection(with("[{\"a\": null}]")).ends_with("null in its default"));
        assert!(
            rejection(with(&format!("\"{}\"", "x".repeat(DEFAULT_BYTES))))
                .contains("a default of more than 4096 bytes")
        );
        assert!(rejection(wit::Setting { required: true, ..with("1") }).ends_with("a default, though it is required"));
        assert!(rejection(wit::Setting { value_type: String::new(), ..setting("a") }).contains("a type that is not"));
        assert!(
            rejection(wit::Setting { value_type: "a\nb".to_owned(), ..setting("a") }).contains("a type that is not")
        );
        assert!(
            rejection(wit::Setting { meaning: "x".repeat(1025), ..setting("a") })
                .contains("a meaning of more than 1024")
        );
        let twice = check_settings(&[setting("a"), setting("a")]).expect_err("inconsistent");
        assert!(twice.ends_with("the setting a twice"));
        let many: Vec<_> = (0..=MAX_SETTINGS).map(|at| setting(&format!("a{at}"))).collect();
        assert!(check_settings(&many).expect_err("too many").contains("more than 500 settings"));
    }
}
