//! Overrides on the command line for the configuration of one plugin: more grants, other settings.

use serde_json::{Map, Value};

use super::plugin::PluginConfig;
use super::problem_list;
use crate::address::ConnectGrant;
use crate::address::fetch_grant::FetchGrant;
use crate::hostpath::Pattern;

/// A grant or a setting on the command line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PluginOverride {
    /// A path to read and list.
    Read(Pattern),
    /// A path whose file system's usage may be read.
    Usage(Pattern),
    /// An address to connect to.
    Connect(ConnectGrant),
    /// An origin or unix sockets for HTTP requests.
    Fetch(FetchGrant),
    /// A part of the plugin's settings.
    Setting(Map<String, Value>),
}

impl PluginOverride {
    /// Parses a grant, such as `read=/var/lib/app/*`. The keys are those of the configuration.
    pub(crate) fn grant(text: &str) -> Result<Self, String> {
        let form = "write it as read=PATH, usage=PATH, connect=HOST:PORT, fetch=SCHEME://HOST:PORT or fetch=unix:PATH";
        let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} has no =; {form}"))?;
        let pattern = || Pattern::new(value).map_err(str::to_owned);
        let granted = match key {
            "read" => pattern().map(Self::Read),
            "usage" => pattern().map(Self::Usage),
            "connect" => ConnectGrant::parse(value).map(Self::Connect),
            "fetch" => FetchGrant::parse(value).map(Self::Fetch),
            _ => return Err(format!("{key:?} is not a kind of grant; {form}")),
        };
        granted.map_err(|why| format!("{value:?} {why}"))
    }

    /// Parses a setting, such as `db=0` or `auth.user="me"`. A value that is not TOML is a text.
    pub(crate) fn setting(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} has no =; write it as key=value"))?;
        // A JSON string is a TOML string.
        let as_text = || problem_list::line_as_json(&format!("{key} = {}", Value::from(value)));
        let setting = problem_list::line_as_json(&format!("{key} = {value}")).or_else(as_text);
        match setting {
            Some(Value::Object(setting)) => Ok(Self::Setting(setting)),
            _ => Err(format!("{key:?} is not a key; write it as key=value or table.key=value")),
        }
    }
}

impl PluginConfig {
    /// Applies an override from the command line.
    pub(crate) fn apply(&mut self, plugin_override: PluginOverride) {
        match plugin_override {
            PluginOverride::Read(pattern) => self.read.push(pattern),
            PluginOverride::Usage(pattern) => self.usage.push(pattern),
            PluginOverride::Connect(grant) => self.connect.push(grant),
            PluginOverride::Fetch(grant) => self.fetch.push(grant),
            PluginOverride::Setting(setting) => {
                // The settings are always an object.
                let mut config: Map<String, Value> = serde_json::from_str(&self.config).unwrap_or_default();
                merge(&mut config, setting);
                self.config = Value::Object(config).to_string();
            }
        }
    }
}

/// Merges settings: tables are merged, other values are replaced.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(into)), Value::Object(from)) => merge(into, from),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(settings: &[&str]) -> String {
        let mut config = PluginConfig { config: r#"{"a":1,"t":{"x":1,"y":2}}"#.to_owned(), ..PluginConfig::default() };
        for setting in settings {
            config.apply(PluginOverride::setting(setting).expect(setting));
        }
        config.config
    }

    #[test]
    fn settings_are_toml_or_text_and_merged() {
        assert_eq!(configured(&["a=2", "b=[1, 2]", "c=true"]), r#"{"a":2,"b":[1,2],"c":true,"t":{"x":1,"y":2}}"#);
        assert_eq!(configured(&["t.x=\"7\"", "t.z=0.5"]), r#"{"a":1,"t":{"x":"7","y":2,"z":0.5}}"#);
        assert_eq!(configured(&["a=http://h/?x=1", "t="]), r#"{"a":"http://h/?x=1","t":""}"#);
        for wrong in ["a", "=1", "a b=1", "[x]=1"] {
            assert!(PluginOverride::setting(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn grants_on_the_command_line_are_validated() {
        let mut config = PluginConfig::default();
        for grant in
            ["read=/a/*", "usage=/b", "connect=DB:1", "connect=unix:/s", "fetch=http://h:80", "fetch=unix:/s GET POST"]
        {
            config.apply(PluginOverride::grant(grant).expect(grant));
        }
        assert_eq!((config.read.len(), config.usage.len(), config.connect.len(), config.fetch.len()), (1, 1, 2, 2));
        for (wrong, why) in [
            ("read", "has no ="),
            ("write=/a", "is not a kind of grant"),
            ("read=a", "is not absolute"),
            ("connect=db", "has no port"),
            ("fetch=db:1", "does not begin with http"),
        ] {
            let error = PluginOverride::grant(wrong).expect_err(wrong);
            assert!(error.contains(why), "{error}");
        }
    }
}
