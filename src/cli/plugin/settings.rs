//! The settings of a plugin as text, as JSON, and as a table of the configuration that is ready to be filled in.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cli::output;
use crate::escape::printable;
use crate::plugin::harness::Setting;

/// The directory of secrets in the table, which systemd's `LoadCredential=` and others fill.
const SECRETS: &str = "/run/credentials/gauged";

/// The settings as a table for people.
pub(super) fn settings_table(settings: &[Setting]) -> String {
    output::table(settings.iter().map(|setting| {
        let without = match &setting.default {
            Some(default) => toml(default),
            None if setting.is_required => "required".to_owned(),
            None => "none".to_owned(),
        };
        let secret = if setting.is_secret { ", secret" } else { "" };
        vec![setting.key.to_string(), format!("{}{secret}", setting.value_type), without, printable(&setting.meaning)]
    }))
}

/// A setting as JSON.
pub(super) fn setting_json(setting: &Setting) -> Value {
    let Setting { key, value_type, default, meaning, is_required, is_secret } = setting;
    json!({
        "key": key, "type": value_type, "default": default, "meaning": printable(meaning), "required": is_required,
        "secret": is_secret,
    })
}

/// The plugin's table of the configuration, with the lines of its grants and all settings. A setting with a default is a comment, so
/// that the table means the same as none until it is changed.
pub(super) fn configuration_table(plugin: &str, grants: &[String], settings: &[Setting]) -> String {
    let mut text = format!("[plugins.{plugin}]\n");
    for line in grants {
        let _ = writeln!(text, "{line}");
    }
    if settings.is_empty() {
        text += "# It has no settings.\n";
        return text;
    }
    let _ = write!(text, "\n[plugins.{plugin}.config]");
    for setting in settings {
        append(setting, &mut text);
    }
    let secrets: Vec<&Setting> = settings.iter().filter(|setting| setting.is_secret).collect();
    if !secrets.is_empty() {
        let _ = write!(text, "\n\n# Secrets, each in a file of its own.\n# [plugins.{plugin}.secrets]");
        for Setting { key, .. } in secrets {
            let path = key.replace("[]", ".0").replace('*', "NAME");
            let _ = write!(text, "\n# \"{path}\" = \"{SECRETS}/{}\"", path.rsplit('.').next().unwrap_or_default());
        }
    }
    text += "\n";
    text
}

fn append(setting: &Setting, to: &mut String) {
    let Setting { key, value_type, default, meaning, is_required, is_secret } = setting;
    let (meaning, mut facts) = (printable(meaning), value_type.to_string());
    for (fact, is_true) in [("required", *is_required), ("secret", *is_secret)] {
        if is_true {
            let _ = write!(facts, ", {fact}");
        }
    }
    // Within a list, or below a name that the operator chooses.
    let is_part = key.contains("[]") || key.split('.').any(|segment| segment == "*");
    let _ = match (is_part, default) {
        (true, None) => write!(to, "\n#     {key} ({facts}): {meaning}"),
        (true, Some(default)) => write!(to, "\n#     {key} ({facts}, default {}): {meaning}", toml(default)),
        (false, Some(default)) => write!(to, "\n\n# {meaning} ({facts})\n# {key} = {}", toml(default)),
        (false, None) => {
            let mark = if *is_required && !is_secret { "" } else { "# " };
            write!(to, "\n\n# {meaning} ({facts})\n{mark}{key} = {}", placeholder(value_type))
        }
    };
}

/// A value of a type that has no default.
fn placeholder(value_type: &str) -> &'static str {
    match value_type.split(' ').next().unwrap_or_default() {
        "integer" => "0",
        "number" => "0.0",
        "boolean" => "false",
        "list" => "[]",
        "table" => "{}",
        _ => "\"\"",
    }
}

/// A value in TOML, on one line.
fn toml(value: &Value) -> String {
    match value {
        // There is none: the agent rejects defaults with it.
        Value::Null => "\"\"".to_owned(),
        // A JSON string is a TOML string, and so are numbers and truth values.
        Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
        Value::Array(elements) => format!("[{}]", elements.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| format!("{} = {}", toml_key(key), toml(value));
            format!("{{ {} }}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
    }
}

fn toml_key(key: &str) -> String {
    let is_bare =
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if is_bare { key.to_owned() } else { Value::from(key).to_string() }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn setting(key: &str, value_type: &str, default: Option<Value>) -> Setting {
        let (meaning, is_required) = (format!("About {key}."), default.is_none());
        Setting {
            key: key.into(),
            value_type: value_type.into(),
            default,
            meaning: meaning.into(),
            is_required,
            is_secret: key.ends_with("word"),
        }
    }

    fn settings() -> Vec<Setting> {
        vec![
            setting("listen", "list of ports", None),
            setting("mounts.exclude", "list of patterns", Some(json!(["/boot", "/run/*"]))),
            setting("servers", "list of tables", Some(json!([{ "address": "127.0.0.1:1", "a b": 0.5 }, {}]))),
            setting("servers[].address", "text", None),
            setting("servers[].password", "text", None),
            setting("groups.*.limit", "integer", Some(json!(3))),
            setting("password", "text", None),
        ]
    }

    #[test]
    fn table_of_settings_is_ready_to_fill_in() {
        expect![[r#"
            [plugins.web]
            connect = ["a:1"]

            [plugins.web.config]

            # About listen. (list of ports, required)
            listen = []

            # About mounts.exclude. (list of patterns)
            # mounts.exclude = ["/boot", "/run/*"]

            # About servers. (list of tables)
            # servers = [{ "a b" = 0.5, address = "127.0.0.1:1" }, {}]
            #     servers[].address (text, required): About servers[].address.
            #     servers[].password (text, required, secret): About servers[].password.
            #     groups.*.limit (integer, default 3): About groups.*.limit.

            # About password. (text, required, secret)
            # password = ""

            # Secrets, each in a file of its own.
            # [plugins.web.secrets]
            # "servers.0.password" = "/run/credentials/gauged/password"
            # "password" = "/run/credentials/gauged/password"
        "#]]
        .assert_eq(&configuration_table("web", &["connect = [\"a:1\"]".to_owned()], &settings()));
        expect![[r"
            [plugins.web]
            # It has no settings.
        "]]
        .assert_eq(&configuration_table("web", &[], &[]));
    }

    #[test]
    fn settings_are_shown_with_their_defaults() {
        expect![[r#"
            settings
              listen          list of ports     required                                        About listen.
              mounts.exclude  list of patterns  ["/boot", "/run/*"]                             About mounts.exclude.
              servers         list of tables    [{ "a b" = 0.5, address = "127.0.0.1:1" }, {}]  About servers.
        "#]]
        .assert_eq(&format!("settings\n{}", settings_table(&settings()[..3])));
    }
}
