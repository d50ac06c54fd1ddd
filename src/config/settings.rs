//! The settings of a plugin as they are shown: without sensitive texts.

use serde_json::Value;

use super::plugin::PluginConfig;

/// Text in place of a sensitive one.
const HIDDEN: &str = "…";

/// Parts of the names of settings that are not shown, in lower case.
const SENSITIVE: [&str; 10] = [
    "passw",
    "passphrase",
    "secret",
    "token",
    "credential",
    "apikey",
    "api_key",
    "private_key",
    "access_key",
    "authorization",
];

/// Ends of the names of settings that tell where a sensitive text is.
const LOCATIONS: [&str; 3] = ["file", "path", "directory"];

impl PluginConfig {
    /// The settings as they are written, without sensitive texts.
    pub(crate) fn written_settings(&self) -> Value {
        let mut settings = serde_json::from_str(&self.config).unwrap_or_default();
        hide(&mut settings);
        settings
    }
}

/// Whether a setting with this name is not shown.
fn is_sensitive(name: &str) -> bool {
    let name = name.to_lowercase().replace('-', "_");
    SENSITIVE.iter().any(|part| name.contains(part)) && !LOCATIONS.iter().any(|end| name.ends_with(end))
}

/// Hides sensitive values, and the user of URLs.
fn hide(value: &mut Value) {
    match value {
        Value::Object(table) => {
            for (name, value) in table {
                if is_sensitive(name) { *value = HIDDEN.into() } else { hide(value) }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::String(text) => {
            if let Some(hidden) = without_user(text) {
                *text = hidden;
            }
        }
        _ => {}
    }
}

/// A URL without its user and password; none if it has none.
fn without_user(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (_, host) = rest[..end].rsplit_once('@')?;
    Some(format!("{scheme}://{HIDDEN}@{host}{}", &rest[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sensitive_settings_are_not_shown() {
        let config = r#"{"servers":[{"Password":"pw","user":"me"}],"api-key":["k"],"url":"http://me:pw@h:1/a@b","token_file":"/t","db":1}"#;
        let plugin = PluginConfig { config: config.to_owned(), ..PluginConfig::default() };
        let shown = plugin.written_settings().to_string();
        assert_eq!(
            shown,
            r#"{"api-key":"…","db":1,"servers":[{"Password":"…","user":"me"}],"token_file":"/t","url":"http://…@h:1/a@b"}"#
        );
    }
}
