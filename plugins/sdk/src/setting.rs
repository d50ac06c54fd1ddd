//! The settings of a plugin as operators see them. [`settings!`](crate::settings) makes the table, and
//! [`assert_settings`](crate::testing::assert_settings) compares it with the type that reads them.

use crate::bindings::exports::gauged::plugin::collector as wire;

/// A setting: a key of the table `config` of the plugin's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The key, dotted where nested. An element of a list is `[]`, and a key that the operator chooses is `*`.
    pub key: &'static str,
    /// The type of the value: `text`, `integer`, `number`, `boolean`, `list` or `table`, or such a word and more.
    pub value_type: &'static str,
    /// The value without the setting, in JSON.
    pub default: Option<&'static str>,
    /// One sentence for operators.
    pub meaning: &'static str,
    /// Whether its table must have it.
    pub is_required: bool,
    /// Whether its value is a secret.
    pub is_secret: bool,
}

impl Setting {
    #[doc(hidden)]
    #[must_use]
    pub const fn new(key: &'static str, value_type: &'static str, meaning: &'static str) -> Self {
        let meaning = meaning.trim_ascii();
        Self { key, value_type, default: None, meaning, is_required: false, is_secret: false }
    }

    #[doc(hidden)]
    #[must_use]
    pub const fn with_default(self, json: &'static str) -> Self {
        Self { default: Some(json), ..self }
    }

    #[doc(hidden)]
    #[must_use]
    pub const fn required(self) -> Self {
        assert!(self.default.is_none(), "a required setting has no default");
        Self { is_required: true, ..self }
    }

    #[doc(hidden)]
    #[must_use]
    pub const fn secret(self) -> Self {
        Self { is_secret: true, ..self }
    }

    pub(crate) fn to_wire(self) -> wire::Setting {
        wire::Setting {
            key: self.key.to_owned(),
            value_type: self.value_type.to_owned(),
            default_value: self.default.map(str::to_owned),
            meaning: self.meaning.to_owned(),
            required: self.is_required,
            secret: self.is_secret,
        }
    }
}

/// The length of [`json_list`] in bytes.
#[doc(hidden)]
#[must_use]
pub const fn json_list_bytes(texts: &[&str]) -> usize {
    // The brackets; the quotes of each text, and what separates it from the one before.
    let (mut bytes, mut at) = (2, 0);
    while at < texts.len() {
        bytes += texts[at].len() + if at == 0 { 2 } else { 4 };
        at += 1;
    }
    bytes
}

/// A list of texts as JSON.
#[doc(hidden)]
#[must_use]
pub const fn json_list<const N: usize>(texts: &[&str]) -> [u8; N] {
    let mut json = [b' '; N];
    json[0] = b'[';
    let (mut to, mut at) = (1, 0);
    while at < texts.len() {
        if at > 0 {
            json[to] = b',';
            to += 2;
        }
        json[to] = b'"';
        to += 1;
        let (text, mut byte) = (texts[at].as_bytes(), 0);
        while byte < text.len() {
            assert!(text[byte] >= b' ' && text[byte] != b'"' && text[byte] != b'\\', "a text that needs no escapes");
            json[to] = text[byte];
            (to, byte) = (to + 1, byte + 1);
        }
        json[to] = b'"';
        (to, at) = (to + 1, at + 1);
    }
    json[to] = b']';
    json
}

/// A constant list of texts as JSON, for the default of a setting.
///
/// ```
/// const EXCLUDED: [&str; 2] = ["loop*", "ram*"];
/// assert_eq!(gauged_plugin::json_list!(EXCLUDED), r#"["loop*", "ram*"]"#);
/// assert_eq!(gauged_plugin::json_list!([]), "[]");
/// ```
#[macro_export]
macro_rules! json_list {
    ($texts:expr) => {{
        const TEXTS: &[&str] = &$texts;
        const BYTES: [u8; $crate::setting::json_list_bytes(TEXTS)] = $crate::setting::json_list(TEXTS);
        const JSON: &str = match ::core::str::from_utf8(&BYTES) {
            Ok(json) => json,
            Err(_) => ::core::panic!("made of texts"),
        };
        JSON
    }};
}

/// Declares the settings of a plugin: the slice `SETTINGS`. The doc comment is the meaning that operators see, the text after `=`
/// the default in JSON, with which the plugin is configured where the operator has no value.
///
/// ```
/// gauged_plugin::settings! {
///     /// Servers to poll.
///     "servers": "list of tables" = r#"[{"address": "127.0.0.1:6379"}]"#;
///     /// Address: `host:port` or `unix:/path`.
///     "servers[].address": "text", required;
///     /// Password of the user.
///     "servers[].password": "text", secret;
///     /// Whether to measure each database.
///     "databases": "boolean" = "true";
/// }
///
/// assert_eq!(SETTINGS.len(), 4);
/// assert_eq!((SETTINGS[0].meaning, SETTINGS[3].default), ("Servers to poll.", Some("true")));
/// assert!(SETTINGS[1].is_required && SETTINGS[2].is_secret);
/// ```
#[doc(alias("config", "option", "flag"))]
#[macro_export]
macro_rules! settings {
    ($(
        $(#[doc = $meaning:literal])+
        $key:literal: $type:literal $(= $default:expr)? $(, $flag:ident)*;
    )*) => {
        /// All settings of this plugin.
        pub(crate) const SETTINGS: &[$crate::Setting] = &[$(
            $crate::Setting::new($key, $type, ::core::concat!($($meaning),+))$(.with_default($default))?$(.$flag())*,
        )*];
    };
}
