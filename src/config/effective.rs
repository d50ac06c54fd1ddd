//! The effective configuration as TOML, each value with its source: `gauged check --effective`. A secret is shown as the file that
//! it is read from, and a sensitive text as a mark.

mod values;

use std::fmt::Write as _;

use rustix::process::geteuid;
use serde_json::Value;

use self::values::{SinkValue, agent_value, plugin_value, sink_value};
use super::http::HTTP_TABLE;
use super::key::{DefaultValue, Key, PLUGIN_CLIENT_TABLE, PLUGIN_LIMITS_TABLE, PLUGIN_TABLE, SINK_TABLE, written_size};
use super::keys::KEYS;
use super::limits::Limit;
use super::plugin::PluginConfig;
use super::sink::SinkConfig;
use super::toml_text::{toml_key, toml_text, toml_value};
use super::{Config, HOSTNAME_VARIABLE, KeyPlaces, LOG_VARIABLE, Overrides, Place, Reading, location, state, variable};
use crate::escape::push_escaped;

const DEFAULT: &str = "default";

const COMMAND_LINE: &str = "command line";

/// The text, and the configuration that it shows.
struct Writer<'a> {
    config: &'a Config,
    /// Where the keys are in the files; none for a text without sources.
    places: Option<&'a KeyPlaces>,
    text: String,
}

impl Reading {
    /// The whole configuration, of which the command line has overridden these values.
    pub(crate) fn effective(&self, overrides: &Overrides) -> String {
        let mut writer = Writer { config: &self.config, places: Some(&self.places), text: String::new() };
        writer.comment("The effective configuration. Each value is followed by its source.");
        writer.file();
        let source = if overrides.root.is_some() { COMMAND_LINE } else { DEFAULT };
        writer.comment(&format!("--root {}: {source}", self.config.root.display()));
        writer.all(|path| self.override_source(path, overrides));
        writer.text
    }

    /// The source of a value that overrides a key, if any.
    fn override_source(&self, path: &str, overrides: &Overrides) -> Option<String> {
        let on_command_line = match path {
            "interval" => overrides.interval.is_some(),
            "hostname" => overrides.hostname.is_some(),
            "plugins_directory" => overrides.plugins_directory.is_some(),
            _ => false,
        };
        if on_command_line {
            return Some(COMMAND_LINE.to_owned());
        }
        let name = match path {
            "hostname" => HOSTNAME_VARIABLE,
            "log.level" => LOG_VARIABLE,
            // Among the defaults.
            "cache" if self.places.find(&["cache"]).is_none() => {
                return Some(location::cache_source(variable).to_owned());
            }
            "state_directory" if self.places.find(&["state_directory"]).is_none() => {
                return Some(state::source(variable, geteuid().is_root()).to_owned());
            }
            _ => return None,
        };
        variable(name).map(|_| format!("${name}"))
    }
}

impl Config {
    /// The configuration without sources: parts of it may be of an earlier reading of the files than others.
    pub(crate) fn effective(&self) -> String {
        let mut writer = Writer { config: self, places: None, text: String::new() };
        writer.comment("The configuration in effect.");
        writer.file();
        writer.comment(&format!("--root {}", self.root.display()));
        writer.all(|_| None);
        writer.text
    }
}

impl Writer<'_> {
    fn file(&mut self) {
        let file = self.config.file.as_ref().map_or_else(|| "none".to_owned(), |file| file.display().to_string());
        self.comment(&format!("configuration file: {file}"));
    }

    /// All keys. `overridden` has the sources of those that are overridden.
    fn all(&mut self, overridden: impl Fn(&str) -> Option<String>) {
        let config = self.config;
        let mut table = "";
        for key in KEYS.iter().filter(|key| !key.is_of_named_table()) {
            let is_without_server = key.table == HTTP_TABLE && config.http.is_none();
            if key.table != table {
                table = key.table;
                if is_without_server {
                    let _ = write!(self.text, "\n# {HTTP_TABLE}: no server: {DEFAULT}\n");
                } else {
                    let _ = write!(self.text, "\n[{table}]\n");
                }
            }
            if is_without_server {
                continue;
            }
            let path = key.path();
            self.key(key, key.name, &path, agent_value(config, &path), overridden(&path));
        }
        for (name, sink) in &config.sinks {
            self.sink(name, sink);
        }
        for (name, plugin) in &config.plugins {
            self.plugin(name, plugin);
        }
    }

    fn comment(&mut self, text: &str) {
        self.text.push_str("# ");
        push_escaped(&mut self.text, text);
        self.text.push('\n');
    }

    fn line(&mut self, name: &str, value: &str, source: &str) {
        let _ = write!(self.text, "{name} = {value}");
        if self.places.is_some() {
            self.text.push_str(" # ");
            push_escaped(&mut self.text, source);
        }
        self.text.push('\n');
    }

    /// A key of the table. `path` is its dotted name, and `overridden` what overrides it.
    fn key(&mut self, key: &Key, name: &str, path: &str, value: Option<String>, overridden: Option<String>) {
        match (value, key.default) {
            (Some(value), _) => {
                let source = overridden.unwrap_or_else(|| self.source(path));
                self.line(name, &value, &source);
            }
            (None, DefaultValue::Depends { how, .. }) if !how.starts_with("see ") => {
                self.comment(&format!("{name}: {}: {DEFAULT}", how.replace('`', "")));
            }
            (None, _) if name == "hostname" => self.comment(&format!("{name}: the host's own: {DEFAULT}")),
            (None, _) => self.comment(&format!("{name}: none: {DEFAULT}")),
        }
    }

    /// The place of a key in the files, by its dotted name.
    fn source(&self, path: &str) -> String {
        source(self.places.and_then(|places| places.find_dotted(path)))
    }

    fn sink(&mut self, name: &str, sink: &SinkConfig) {
        let table = format!("sinks.{name}");
        let _ = write!(self.text, "\n[{table}]\n");
        for key in KEYS.iter().filter(|key| key.table == SINK_TABLE) {
            match sink_value(sink, &self.config.client, key.name) {
                SinkValue::Written(value) => {
                    self.key(key, key.name, &format!("{table}.{}", key.name), Some(value), None);
                }
                SinkValue::Default => self.key(key, key.name, &format!("{table}.{}", key.name), None, None),
                SinkValue::OtherKind => {}
            }
        }
    }

    fn plugin(&mut self, name: &str, plugin: &PluginConfig) {
        let table = format!("plugins.{name}");
        let _ = write!(self.text, "\n[{table}]\n");
        for key in KEYS.iter() {
            let (shown, value) = match key.table {
                PLUGIN_TABLE => (key.name.to_owned(), plugin_value(plugin, key.name)),
                PLUGIN_LIMITS_TABLE => {
                    let value = Limit::by_key(key.name).map(|limit| {
                        let value = plugin.limits[limit];
                        if limit.is_size() { toml_text(&written_size(value)) } else { value.to_string() }
                    });
                    (format!("limits.{}", key.name), value)
                }
                PLUGIN_CLIENT_TABLE => {
                    let Some(client) = self.config.plugin_clients.get(name) else { continue };
                    (format!("client.{}", key.name), client.own_value(key.name, &self.config.client))
                }
                _ => continue,
            };
            match (key.table, key.name) {
                (PLUGIN_TABLE, "config") => {
                    self.settings("config", &mut vec!["plugins", name, "config"], &plugin.written_settings());
                }
                (PLUGIN_TABLE, "secrets") => self.secrets(&table, plugin),
                _ => self.key(key, &shown, &format!("{table}.{shown}"), value, None),
            }
        }
    }

    /// Settings, each under its dotted name. `names` are those of the tables and the key in the files.
    fn settings<'v>(&mut self, name: &str, names: &mut Vec<&'v str>, value: &'v Value) {
        match value {
            Value::Object(table) if !table.is_empty() => {
                for (key, value) in table {
                    names.push(key);
                    self.settings(&format!("{name}.{}", toml_key(key)), names, value);
                    names.pop();
                }
            }
            other => self.line(name, &toml_value(other), &source(self.places.and_then(|places| places.find(names)))),
        }
    }

    fn secrets(&mut self, table: &str, plugin: &PluginConfig) {
        for (path, secret) in &plugin.secrets {
            let source = self.source(&format!("{table}.secrets.{path}"));
            self.line(&format!("secrets.{}", toml_text(path)), &toml_text(secret.shown_file()), &source);
        }
        if plugin.secrets.is_empty() {
            self.line("secrets", "{}", DEFAULT);
        }
    }
}

/// A place in the files as the source of a value.
fn source(place: Option<&Place>) -> String {
    place.map_or_else(|| DEFAULT.to_owned(), |place| format!("{}:{}", place.file.display(), place.line))
}

#[cfg(test)]
mod tests {
    use super::super::file::{self, Parsed};
    use super::super::key_places::KeyPlaces;
    use super::super::piece::Piece;
    use super::super::secret::Secret;
    use super::*;

    fn reading(text: &str) -> Reading {
        let read_secret = |_: &str| Ok(Secret::new("hunter2-hunter2-hunter2"));
        let pieces = [Piece::new("gauged.toml", text)];
        let Parsed { written, problems, is_complete } = file::parse(&pieces, None, &read_secret);
        assert_eq!(problems, [], "{text}");
        let config = Config::merge(Some("gauged.toml".into()), written, &Overrides::default(), Vec::new());
        Reading { config, problems, is_complete, places: KeyPlaces::new(&pieces) }
    }

    /// The effective configuration, which has to lead to the same configuration again.
    fn effective(text: &str) -> String {
        let first = reading(text);
        let shown = first.effective(&Overrides::default());
        let again = reading(&shown).config;
        let plugins_directory = again.plugins_directory.as_deref();
        assert_eq!(plugins_directory, std::path::absolute("plugins").ok().as_deref());
        let again = Config { plugins_directory: first.config.plugins_directory.clone(), ..again };
        assert_eq!(again, first.config, "{shown}");
        shown
    }

    #[test]
    fn effective_configuration_is_read_as_the_same() {
        let shown = effective("");
        assert!(shown.contains("\n# http: no server: default\n") && !shown.contains("[http]"), "{shown}");
        for key in KEYS.iter().filter(|key| !key.is_of_named_table() && key.table != HTTP_TABLE) {
            assert!(
                shown.contains(&format!("\n{} = ", key.name)) || shown.contains(&format!("\n# {}: ", key.name)),
                "{shown}"
            );
        }
        let text = "log.level = \"debug\"\nlimits.memory = \"3MiB\"\nlimits.series = 500\n[plugins.a-b]\nenabled = false\n\
                    interval = \"20s\"\nread = [\"/a\\\"b/*\"]\nconnect = [\"unix:/s\"]\n\
                    limits = { text = \"1KiB\", metrics = 7 }\nsecrets = { \"x.0.y\" = \"/run/z\" }\n\
                    [plugins.a-b.config]\n\"d e\" = { f = [1.5, true, { g = \"\\u202e\" }] }\n[[plugins.a-b.config.x]]\nk = 1e300\n";
        let shown = effective(text);
        for line in [
            "level = \"debug\" # gauged.toml:1",
            "series = 500 # gauged.toml:3",
            "enabled = false # gauged.toml:5",
            "limits.text = \"1KiB\" # gauged.toml:9",
            "limits.labels = 16 # default",
            "config.\"d e\".f = [1.5, true, { g = \"\\U0000202e\" }] # gauged.toml:12",
            "secrets.\"x.0.y\" = \"/run/z\" # gauged.toml:10",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
        }
        for Key { name, .. } in KEYS.iter().filter(|key| [PLUGIN_TABLE, PLUGIN_LIMITS_TABLE].contains(&key.table)) {
            let is_shown = [format!("{name} = "), format!("# {name}: "), format!("\n{name}.")];
            assert!(is_shown.iter().any(|form| shown.contains(form)), "{name}");
        }
    }

    #[test]
    fn plugin_client_table_is_read_as_the_same() {
        let text = "[client]\nproxy = \"http://p:1\"\n[plugins.a.client]\ninsecure = true\n[plugins.b]\nclient = { proxy = \"none\" }\n";
        let shown = effective(text);
        for line in [
            "client.insecure = true # gauged.toml:4",
            "# client.proxy: that of the table client: default",
            "client.proxy = \"none\" # gauged.toml:6",
            "client.insecure = false # default",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
        }
    }

    #[test]
    fn http_table_is_read_as_the_same() {
        let text = "[http]\nlisten = [\"unix:/run/g\", \"[::1]:9101\"]\nhosts = [\"a\"]\nexclude = [\"cpu.*{cpu=\\\"0\\\"}\"]\n\
                    max_series = 9\ntoken_file = \"/run/token\"\n";
        let shown = effective(text);
        assert!(shown.contains("[http]\n") && !shown.contains("no server"), "{shown}");
        assert!(shown.contains("listen = [\"unix:/run/g\", \"[::1]:9101\"] # gauged.toml:2\n"), "{shown}");
        assert!(
            shown.contains("token_file = \"/run/token\" # gauged.toml:6\n") && !shown.contains("hunter2"),
            "{shown}"
        );
        let without_sources = reading(text).config.effective();
        assert_eq!(reading(&without_sources).config.http, reading(text).config.http);
        assert!(
            without_sources.contains("max_series = 9\n") && !without_sources.contains("hunter2"),
            "{without_sources}"
        );
    }

    #[test]
    fn network_sinks_are_read_as_the_same() {
        let text = "[client]\nproxy = \"http://p:1\"\n[sinks.a]\nkind = \"remote_write\"\nurl = \"http://h/w\"\njob = \"node\"\n\
                    headers = { X-Team = \"t\" }\nusername = \"me\"\npassword_file = \"/p\"\n[sinks.b]\nkind = \"open_falcon\"\n\
                    transfers = [\"h:1\"]\nheartbeat = [\"h:2\"]\nspool_age = \"1h\"\n";
        let shown = effective(text);
        for line in [
            "[client]",
            "proxy = \"http://p:1\" # gauged.toml:2",
            "url = \"http://h/w\" # gauged.toml:5",
            "# proxy: that of the table client: default",
            "naming = \"open_falcon\" # default",
            "transfers = [\"h:1\"] # gauged.toml:12",
            "spool_age = \"1h\" # gauged.toml:14",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
        }
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn sources_of_names_with_dots_differ() {
        let shown = effective(
            "[plugins.a]\nconfig.\"a.b\" = 1\nconfig.a.b = 2\nsecrets.\"s.t\" = \"/x\"\nsecrets.s.u = \"/y\"\n",
        );
        for line in [
            "config.\"a.b\" = 1 # gauged.toml:2",
            "config.a.b = 2 # gauged.toml:3",
            "secrets.\"s.t\" = \"/x\" # gauged.toml:4",
            "secrets.\"s.u\" = \"/y\" # gauged.toml:5",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
        }
    }

    #[test]
    fn effective_configuration_hides_secrets() {
        let text = "[plugins.a]\nsecrets.p = \"/run/p\"\nconfig = { password = \"pw1\", url = \"http://u:pw2@h\" }\n";
        let shown = reading(text).effective(&Overrides::default());
        assert!(!shown.contains("pw1") && !shown.contains("pw2") && !shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("config.password = \"…\" # gauged.toml:3\n"), "{shown}");
    }
}
