//! The settings of a plugin, with its secrets in them for the plugin, and without them and other sensitive texts for everybody
//! else.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::DeValue;

use super::plugin::{PluginConfig, PluginSecret};
use super::problem_list::ProblemList;
use super::redaction::{self, HIDDEN};
use super::secret::{ReadSecret, Secret};
use super::sensitive::{find_clear_texts, hide, without_users};

impl PluginConfig {
    /// Parses the table `secrets`. Each key is a path in `config`, and there is nothing else.
    pub(super) fn parse_secrets(
        &mut self,
        problems: &mut ProblemList<'_>,
        table_key: &str,
        value: Spanned<DeValue<'_>>,
        read_secret: &ReadSecret<'_>,
    ) {
        let mut settings: Value = serde_json::from_str(&self.config).unwrap_or_default();
        let mut entries = flattened(problems, table_key, value);
        // An error blames the later one of two.
        entries.sort_by_key(|(_, value)| value.span().start);
        let mut positions = BTreeMap::new();
        for (path, value) in entries {
            let (span, key) = (value.span(), format!("{table_key}.{path}"));
            let Some(file) = problems.value::<String>(&key, value, "a text in quotes: the name of a file") else {
                continue;
            };
            if let Some(first) = positions.get(&path) {
                problems.add_twice(span, &key, *first);
                continue;
            }
            positions.insert(path.clone(), span.start);
            if let Err(why) = place(&mut settings, &path, HIDDEN) {
                problems.add(span, &key, why);
                continue;
            }
            let content = read_secret(&file);
            if let (Err(why), true) = (&content, self.enabled) {
                problems.add(span, &key, why.clone());
            }
            self.secrets.insert(path, PluginSecret { file, content });
        }
    }

    /// The settings for the plugin, with its secrets. It is the only text that has them.
    pub(crate) fn settings(&self) -> Cow<'_, str> {
        if self.secrets.is_empty() {
            return Cow::Borrowed(&self.config);
        }
        let mut settings: Value = serde_json::from_str(&self.config).unwrap_or_default();
        for (path, secret) in &self.secrets {
            if let Ok(content) = &secret.content {
                // It has its place: the configuration is checked.
                let _ = place(&mut settings, path, content.expose());
            }
        }
        Cow::Owned(settings.to_string())
    }

    /// Checks that each secret was read, and has its place in settings that may have been changed since.
    ///
    /// # Errors
    ///
    /// The end of a sentence that begins with the plugin's table.
    pub(crate) fn check_secrets(&self) -> Result<(), String> {
        let mut settings: Value = serde_json::from_str(&self.config).unwrap_or_default();
        for (path, PluginSecret { content, .. }) in &self.secrets {
            let placed = place(&mut settings, path, HIDDEN);
            placed
                .and(content.as_ref().map(|_| ()).map_err(Clone::clone))
                .map_err(|why| format!("secrets.{path}: {why}"))?;
        }
        Ok(())
    }

    /// The settings as they are written, without sensitive texts.
    pub(super) fn written_settings(&self) -> Value {
        let mut settings = serde_json::from_str(&self.config).unwrap_or_default();
        hide(&mut settings);
        settings
    }

    /// The settings to be shown: without sensitive texts, and with a mark in place of each secret.
    pub(crate) fn shown_settings(&self) -> Value {
        let mut settings = self.written_settings();
        for path in self.secrets.keys() {
            let _ = place(&mut settings, path, HIDDEN);
        }
        settings
    }

    /// The paths in `config` of sensitive texts, which should be secrets.
    pub(crate) fn clear_texts(&self) -> Vec<String> {
        let mut found = Vec::new();
        find_clear_texts(&serde_json::from_str(&self.config).unwrap_or_default(), "", &mut found);
        found
    }

    /// A text of the plugin without its secrets, the sensitive texts of its settings, and the users of URLs.
    pub(crate) fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let secrets = self.secrets.values().filter_map(|secret| secret.content.as_ref().ok());
        let forms = secrets.flat_map(Secret::forms).chain(self.sensitive_forms.forms(&self.config));
        match redaction::redact(text, forms) {
            Cow::Borrowed(text) => without_users(text),
            Cow::Owned(text) => without_users(&text).into_owned().into(),
        }
    }

    /// The same configuration with marks in place of secrets and sensitive texts.
    pub(super) fn without_secrets(&self) -> Self {
        let hidden = |secret: &PluginSecret| PluginSecret {
            file: secret.shown_file().to_owned(),
            // Whether it can be read is no setting.
            content: Err(String::new()),
        };
        let secrets = self.secrets.iter().map(|(path, secret)| (path.clone(), hidden(secret))).collect();
        Self { config: self.shown_settings().to_string(), secrets, ..self.clone() }
    }
}

impl PluginSecret {
    /// The file to be shown. A text that names no file may be a secret in the wrong place.
    pub(super) fn shown_file(&self) -> &str {
        if self.content.is_ok() || self.file.starts_with('/') { &self.file } else { HIDDEN }
    }
}

/// The entries of a table, and of tables in it, each with its dotted path.
fn flattened<'i>(
    problems: &mut ProblemList<'_>,
    table_key: &str,
    value: Spanned<DeValue<'i>>,
) -> Vec<(String, Spanned<DeValue<'i>>)> {
    let mut entries = Vec::new();
    for (name, value) in problems.table(table_key, value).unwrap_or_default() {
        if value.get_ref().is_table() {
            let inner = flattened(problems, &format!("{table_key}.{}", name.get_ref()), value);
            entries.extend(inner.into_iter().map(|(path, value)| (format!("{}.{path}", name.get_ref()), value)));
        } else {
            // With the key's position: an error is about the key.
            let value = Spanned::new(name.span(), value.into_inner());
            entries.push((name.get_ref().to_string(), value));
        }
    }
    entries
}

/// Puts a text into settings, at a dotted path in which numbers count the elements of lists. Missing tables are made.
///
/// # Errors
///
/// Why there is no place for it: the end of a sentence that begins with the path.
fn place(settings: &mut Value, path: &str, text: &str) -> Result<(), String> {
    let mut current = settings;
    let mut parts = path.split('.').peekable();
    let mut way = "config".to_owned();
    while let Some(part) = parts.next() {
        if part.is_empty() {
            return Err("has an empty part; write a path in config, such as servers.0.password".to_owned());
        }
        current = match current {
            Value::Object(table) => {
                let is_last = parts.peek().is_none();
                let made = || if is_last { Value::Null } else { Value::Object(Map::new()) };
                table.entry(part).or_insert_with(made)
            }
            Value::Array(items) => {
                let (count, index) = (items.len(), part.parse::<usize>());
                let index = index.map_err(|_| format!("{way} is a list; write the number of an element, from 0"))?;
                let missing =
                    || format!("{way} has {count} elements, and none with the number {index}; the first is 0");
                items.get_mut(index).ok_or_else(missing)?
            }
            _ => return Err(format!("{way} is neither a table nor a list; correct the path")),
        };
        way = format!("{way}.{part}");
    }
    match current {
        Value::Null => {}
        // An element of a list has to be there, if only empty.
        Value::String(text) if text.is_empty() => {}
        Value::Object(_) | Value::Array(_) => return Err(format!("{way} is not one value; correct the path")),
        _ => return Err(format!("{way} is set, too; remove one of the two")),
    }
    *current = text.into();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn placed(settings: &str, path: &str) -> Result<String, String> {
        let mut settings: Value = serde_json::from_str(settings).expect("JSON");
        place(&mut settings, path, "x").map(|()| settings.to_string())
    }

    #[test]
    fn secret_is_placed_by_its_path() {
        let servers = r#"{"servers":[{"address":"a:1"}]}"#;
        assert_eq!(
            placed(servers, "servers.0.password").as_deref(),
            Ok(r#"{"servers":[{"address":"a:1","password":"x"}]}"#)
        );
        assert_eq!(placed("{}", "a.b.c").as_deref(), Ok(r#"{"a":{"b":{"c":"x"}}}"#));
        assert_eq!(placed("{}", "0.1").as_deref(), Ok(r#"{"0":{"1":"x"}}"#), "a number is a name in a table");
        assert_eq!(placed(r#"{"t":["","b"]}"#, "t.0").as_deref(), Ok(r#"{"t":["x","b"]}"#));
        for (settings, path, why) in [
            (
                servers,
                "servers.1.password",
                "config.servers has 1 elements, and none with the number 1; the first is 0",
            ),
            (servers, "servers.password", "config.servers is a list; write the number of an element, from 0"),
            (servers, "servers.0.address", "config.servers.0.address is set, too; remove one of the two"),
            (
                servers,
                "servers.0.address.x",
                "config.servers.0.address is neither a table nor a list; correct the path",
            ),
            (servers, "servers.0", "config.servers.0 is not one value; correct the path"),
            (servers, "a..b", "has an empty part; write a path in config, such as servers.0.password"),
        ] {
            assert_eq!(placed(settings, path).expect_err(path), why);
        }
    }

    #[test]
    fn equality_compares_the_contents_of_secrets() {
        let plugin = |content: &str| {
            let secret = PluginSecret { file: "/run/x".to_owned(), content: Ok(Secret::new(content)) };
            PluginConfig { secrets: BTreeMap::from([("a.b".to_owned(), secret)]), ..PluginConfig::default() }
        };
        assert_eq!(plugin("pw-1"), plugin("pw-1"));
        assert_ne!(plugin("pw-1"), plugin("two"));
        assert_eq!(plugin("pw-1").settings(), r#"{"a":{"b":"pw-1"}}"#);
        assert_eq!(plugin("pw-1").shown_settings().to_string(), r#"{"a":{"b":"…"}}"#);
        assert!(!format!("{:?}", plugin("pw-1")).contains("pw-1"));
        assert_eq!(plugin("pw-1").redact("user:pw-1@host"), "user:…@host");
    }

    #[test]
    fn sensitive_settings_are_not_shown() {
        let config = r#"{"servers":[{"Password":"pw","user":"me"}],"api-key":["k"],"url":"http://me:pw@h:1/a@b","token_file":"/t","db":1}"#;
        let plugin = PluginConfig { config: config.to_owned(), ..PluginConfig::default() };
        let shown = plugin.shown_settings().to_string();
        assert_eq!(
            shown,
            r#"{"api-key":"…","db":1,"servers":[{"Password":"…","user":"me"}],"token_file":"/t","url":"http://…@h:1/a@b"}"#
        );
        assert_eq!(plugin.clear_texts(), ["api-key.0", "servers.0.Password"]);
    }

    #[test]
    fn misplaced_secret_is_not_shown() {
        let secret = |file: &str, content| PluginSecret { file: file.to_owned(), content };
        let unread = || Err(String::new());
        assert_eq!(secret("hunter/2", unread()).shown_file(), "…");
        assert_eq!(secret("hunter2", unread()).shown_file(), "…");
        assert_eq!(secret("/run/x", unread()).shown_file(), "/run/x");
        assert_eq!(secret("redis", Ok(Secret::new("pw"))).shown_file(), "redis");
    }
}
