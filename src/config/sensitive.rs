//! Sensitive texts among the settings of a plugin: values of names such as `password`, and the users of URLs. They are known by the
//! names of settings, and hidden in the settings and in the plugin's texts.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

use serde_json::Value;

use super::redaction::{self, HIDDEN};

/// Parts of the names of settings that are not shown, in lower case.
const SENSITIVE: [&str; 11] = [
    "passw",
    "passphrase",
    "secret",
    "token",
    "credential",
    "apikey",
    "api_key",
    "private_key",
    "access_key",
    "auth_key",
    "authorization",
];

/// Last words of such names, in lower case. Within other words they are harmless: bypass, author.
const SENSITIVE_WORDS: [&str; 6] = ["pass", "pwd", "auth", "bearer", "cookie", "cookies"];

/// Ends of the names of settings that tell where a sensitive text is, or for how long it is good.
const HARMLESS_ENDS: [&str; 6] = ["file", "path", "directory", "ttl", "timeout", "seconds"];

/// The fewest characters of a sensitive value that is hidden in other texts: shorter ones are in many, such as `on`, and guessed anyway.
const MIN_CHARACTERS: usize = 4;

/// The forms in which a plugin's texts may have the sensitive values of its settings. Made at the first text: denials are many.
#[derive(Default)]
pub(crate) struct SensitiveForms(OnceLock<Vec<String>>);

impl SensitiveForms {
    /// The forms for these settings, which are always the same.
    pub(super) fn forms(&self, config: &str) -> impl Iterator<Item = &str> {
        let make = || {
            let mut values = Vec::new();
            find_sensitive_values(&serde_json::from_str(config).unwrap_or_default(), &mut values);
            values.retain(|value| value.chars().count() >= MIN_CHARACTERS);
            values.iter().flat_map(|value| redaction::forms(value)).collect()
        };
        self.0.get_or_init(make).iter().map(String::as_str)
    }
}

impl fmt::Debug for SensitiveForms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// The settings of a copy may be changed.
impl Clone for SensitiveForms {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// They follow from the settings.
impl PartialEq for SensitiveForms {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Whether a setting with this name is not shown.
pub(super) fn is_sensitive(name: &str) -> bool {
    let lower = name.to_lowercase().replace('-', "_");
    let is_named = SENSITIVE.iter().any(|part| lower.contains(part))
        || SENSITIVE_WORDS.iter().any(|word| last_word(name).eq_ignore_ascii_case(word));
    is_named && !HARMLESS_ENDS.iter().any(|end| lower.ends_with(end))
}

/// The last word of a name such as `user-pass`, `user_pass` or `userPass`.
fn last_word(name: &str) -> &str {
    let (mut start, mut is_after_small) = (0, false);
    for (at, character) in name.char_indices() {
        if !character.is_alphanumeric() {
            start = at + character.len_utf8();
        } else if is_after_small && character.is_uppercase() {
            start = at;
        }
        is_after_small = character.is_lowercase();
    }
    name.get(start..).unwrap_or_default()
}

/// Hides sensitive values, and those in URLs.
pub(super) fn hide(value: &mut Value) {
    match value {
        Value::Object(table) => {
            for (name, value) in table {
                if is_sensitive(name) { *value = HIDDEN.into() } else { hide(value) }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::String(text) if text.contains("://") => *text = without_sensitive_query(&without_users(text)),
        _ => {}
    }
}

/// The place of the first user, with a password, that a URL in a text has.
fn user(text: &str) -> Option<Range<usize>> {
    text.match_indices("://").find_map(|(at, mark)| {
        let start = at + mark.len();
        let rest = &text[start..];
        let is_end = |character: char| matches!(character, '/' | '?' | '#' | '"' | '\\') || character.is_whitespace();
        let authority = &rest[..rest.find(is_end).unwrap_or(rest.len())];
        authority.rfind('@').map(|length| start..start + length)
    })
}

/// A URL without the values of sensitive names in its query.
fn without_sensitive_query(url: &str) -> String {
    let Some((address, query)) = url.split_once('?') else { return url.to_owned() };
    let hidden = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if is_sensitive(name) => format!("{name}={HIDDEN}"),
        _ => pair.to_owned(),
    };
    let pairs: Vec<String> = query.split('&').map(hidden).collect();
    format!("{address}?{}", pairs.join("&"))
}

/// Finds the values of sensitive names: texts, numbers, and those in lists.
pub(super) fn find_clear_texts(value: &Value, path: &str, found: &mut Vec<String>) {
    let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(table) => {
            for (name, value) in table {
                if is_sensitive(name) {
                    find_values(value, &join(name), found);
                }
                find_clear_texts(value, &join(name), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find_clear_texts(item, &join(&index.to_string()), found);
            }
        }
        _ => {}
    }
}

/// Finds the texts and numbers in a value that is no table.
fn find_values(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Number(_) => found.push(path.to_owned()),
        Value::String(text) if !text.is_empty() => found.push(path.to_owned()),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find_values(item, &format!("{path}.{index}"), found);
            }
        }
        _ => {}
    }
}

/// Finds the values of sensitive names, in the settings and in the queries of URLs, and the passwords of URLs.
fn find_sensitive_values(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(table) => {
            for (name, value) in table {
                if is_sensitive(name) { find_all_values(value, found) } else { find_sensitive_values(value, found) }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| find_sensitive_values(item, found)),
        Value::String(text) => find_in_url(text, found),
        _ => {}
    }
}

/// Finds the texts and numbers in a value.
fn find_all_values(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(table) => table.values().for_each(|value| find_all_values(value, found)),
        Value::Array(items) => items.iter().for_each(|item| find_all_values(item, found)),
        Value::String(text) => found.push(text.clone()),
        Value::Number(number) => found.push(number.to_string()),
        Value::Null | Value::Bool(_) => {}
    }
}

/// Finds the password of a URL and the values of sensitive names in its query, as they are written and decoded.
fn find_in_url(url: &str, found: &mut Vec<String>) {
    let Some(user) = user(url) else { return find_in_query(url, found) };
    let (_, password) = url[user].split_once(':').unwrap_or_default();
    push_decoded(password, found);
    find_in_query(url, found);
}

fn find_in_query(url: &str, found: &mut Vec<String>) {
    let Some((_, query)) = url.split_once('?').filter(|_| url.contains("://")) else { return };
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        if is_sensitive(name) {
            push_decoded(value, found);
        }
    }
}

fn push_decoded(text: &str, found: &mut Vec<String>) {
    found.push(text.to_owned());
    found.push(percent_decoded(text));
}

/// A text with bytes in place of `%` and two digits.
pub(super) fn percent_decoded(text: &str) -> String {
    let (mut decoded, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        let code = code.filter(|_| byte == b'%').and_then(|code| u8::from_str_radix(code, 16).ok());
        decoded.push(code.unwrap_or(byte));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// A text without the user and password of any URL in it.
pub(super) fn without_users(text: &str) -> Cow<'_, str> {
    let (mut shown, mut rest) = (String::new(), text);
    while let Some(user) = user(rest) {
        shown += &rest[..user.start];
        shown += HIDDEN;
        rest = &rest[user.end..];
    }
    if shown.is_empty() { text.into() } else { (shown + rest).into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::PluginConfig;

    #[test]
    fn sensitive_names_and_queries_are_known() {
        for name in
            ["pass", "user_pass", "userPass", "DB-PWD", "auth", "Bearer", "Set-Cookie", "x-auth-key", "pin_token"]
        {
            assert!(is_sensitive(name), "{name}");
        }
        for name in ["bypass", "author", "auth_type", "cookie_count", "passive", "password_file", "token_ttl", "", "é"]
        {
            assert!(!is_sensitive(name), "{name}");
        }
        let config = r#"{"url":"http://h/?db=1&password=pw&x=pass","headers":{"Cookie":"a=b"},"pwd":7,"token":[]}"#;
        let mut settings: Value = serde_json::from_str(config).expect("JSON");
        let mut found = Vec::new();
        find_clear_texts(&settings, "", &mut found);
        assert_eq!(found, ["headers.Cookie", "pwd"]);
        hide(&mut settings);
        assert_eq!(
            settings.to_string(),
            r#"{"headers":{"Cookie":"…"},"pwd":"…","token":"…","url":"http://h/?db=1&password=…&x=pass"}"#
        );
    }

    #[test]
    fn sensitive_values_are_hidden_in_texts() {
        let config = r#"{"targets":[{"url":"http://me:s3cr%3Ft@u.example:80/?token=t0ken%20x"}],"auth":{"password":"hunter2"},"pwd":12345,
            "token":"on","dsn":"postgres://user@h/db"}"#;
        let plugin = PluginConfig { config: config.to_owned(), ..PluginConfig::default() };
        for (text, shown) in [
            ("cannot read http://me:s3cr%3Ft@u.example:80/: no", "cannot read http://…@u.example:80/: no"),
            ("\"http://other:x@h/\" and <http://a@b@c>, a@b", "\"http://…@h/\" and <http://…@c>, a@b"),
            ("password s3cr?t, not s3cr%3Ft", "password …, not …"),
            ("token t0ken x, hunter2, 12345, on", "token …, …, …, on"),
            ("http://h/@x", "http://h/@x"),
            ("dsn postgres://user@h/db", "dsn postgres://…@h/db"),
        ] {
            assert_eq!(plugin.redact(text), shown);
        }
        let changed = PluginConfig { config: r#"{"password":"other"}"#.to_owned(), ..plugin.clone() };
        assert_eq!(changed.redact("other, hunter2"), "…, hunter2");
    }

    proptest! {
        #[test]
        fn password_of_a_url_is_never_shown(password in "[a-z%:@!]{4,8}", around in "[ a-z\"]{0,8}") {
            let config = serde_json::json!({ "url": format!("https://me:{password}@host/path") }).to_string();
            let plugin = PluginConfig { config, ..PluginConfig::default() };
            let shown = plugin.redact(&format!("{around}https://me:{password}@host/path{around}")).into_owned();
            prop_assert_eq!(shown, format!("{around}https://…@host/path{around}").replace(&*password, "…"));
        }

        #[test]
        fn users_are_hidden_in_any_text(text in "([a:/@%é \"]|://){0,20}") {
            let mut found = Vec::new();
            find_in_url(&text, &mut found);
            prop_assert_eq!(found.len(), if user(&text).is_some() { 2 } else { 0 }, "as it is written and decoded");
            prop_assert!(found.first().is_none_or(|written| text.contains(&**written)));
            let shown = without_users(&text);
            let mut rest = &*shown;
            while let Some(user) = user(rest) {
                prop_assert_eq!(&rest[user.clone()], HIDDEN);
                rest = &rest[user.end..];
            }
        }
    }
}
