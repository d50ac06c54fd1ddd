//! The defaults of the settings: the table that operators see is also what a configuration without a setting means.

use std::borrow::Cow;

use crate::Setting;
use crate::json::reader::{Malformed, Reader, Token};

/// The configuration with the declared defaults of what it does not have: at its top, and in each element of a list of tables. A table
/// that is there replaces all of its defaults.
pub(crate) fn filled(json: &str, settings: &[Setting]) -> String {
    let mut writer = Writer { settings, path: String::new(), json: String::new() };
    let mut reader = Reader::new(json);
    // What is not JSON is reported when it is read.
    match writer.copy(&mut reader) {
        Ok(()) => writer.json,
        Err(Malformed { .. }) => json.to_owned(),
    }
}

struct Writer<'s> {
    settings: &'s [Setting],
    /// The key of the value that is copied, as in the table of settings.
    path: String,
    json: String,
}

impl Writer<'_> {
    fn copy(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        reader.peek();
        let start = reader.at();
        match reader.token()? {
            Token::List => {
                self.json.push('[');
                let mut is_first = true;
                while reader.has_next(b']', is_first)? {
                    self.separate();
                    is_first = false;
                    self.within("[]", |writer| writer.copy(reader))?;
                }
                reader.expect(b']')?;
                self.json.push(']');
            }
            Token::Table => {
                self.json.push('{');
                let mut keys = Vec::new();
                while reader.has_next(b'}', keys.is_empty())? {
                    self.separate();
                    reader.peek();
                    let start = reader.at();
                    let key = reader.string()?;
                    self.json.push_str(reader.since(start));
                    reader.expect(b':')?;
                    self.json.push(':');
                    self.within(&key, |writer| writer.copy(reader))?;
                    keys.push(key);
                }
                reader.expect(b'}')?;
                if self.path.is_empty() || self.path.ends_with("[]") {
                    self.fill(keys);
                }
                self.json.push('}');
            }
            _ => self.json.push_str(reader.since(start)),
        }
        Ok(())
    }

    /// Writes the defaults of a table that has these keys.
    fn fill(&mut self, mut keys: Vec<Cow<'_, str>>) {
        for setting in self.settings {
            let below = match self.path.as_str() {
                "" => Some(setting.key),
                path => setting.key.strip_prefix(path).and_then(|rest| rest.strip_prefix('.')),
            };
            let Some(below) = below.filter(|below| !below.starts_with('*')) else { continue };
            let end = below.bytes().position(|byte| matches!(byte, b'.' | b'[')).unwrap_or(below.len());
            let (name, rest) = below.split_at_checked(end).unwrap_or((below, ""));
            if keys.iter().any(|key| key == name) {
                continue;
            }
            if rest.is_empty() {
                keys.push(name.into());
                if let Some(default) = setting.default {
                    self.key(name);
                    self.json.push_str(default);
                }
            } else if rest.starts_with('.') && setting.default.is_some() {
                keys.push(name.into());
                self.key(name);
                self.json.push('{');
                self.within(name, |writer| writer.fill(Vec::new()));
                self.json.push('}');
            }
        }
    }

    fn key(&mut self, name: &str) {
        self.separate();
        for part in ["\"", name, "\":"] {
            self.json.push_str(part);
        }
    }

    /// Writes a comma unless the next part is the first.
    fn separate(&mut self) {
        if !matches!(self.json.as_bytes().last(), Some(b'{' | b'[')) {
            self.json.push(',');
        }
    }

    /// Calls `act` with the path of a part.
    fn within<T>(&mut self, part: &str, act: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if !self.path.is_empty() && part != "[]" {
            self.path.push('.');
        }
        self.path.push_str(part);
        let result = act(self);
        self.path.truncate(length);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::settings! {
        /// A text.
        "text": "text" = "\"a\"";
        /// A number.
        "number": "integer", required;
        /// Patterns.
        "names.include": "list" = "[]";
        /// Patterns.
        "names.exclude": "list" = r#"["x"]"#;
        /// A table deep below.
        "deep.er.still": "boolean" = "true";
        /// Servers.
        "servers": "list of tables" = r#"[{"address": "b"}]"#;
        /// Address.
        "servers[].address": "text", required;
        /// Port.
        "servers[].port": "integer" = "80";
        /// Headers.
        "servers[].headers": "table" = "{}";
        /// A header.
        "servers[].headers.*": "text" = "\"none\"";
    }

    #[test]
    fn missing_settings_have_their_defaults() {
        let names = r#""names":{"include":[],"exclude":["x"]}"#;
        let deep = r#""deep":{"er":{"still":true}}"#;
        for (json, expected) in [
            ("{}", format!(r#"{{"text":"a",{names},{deep},"servers":[{{"address": "b"}}]}}"#)),
            (
                r#" { "servers" : [ { "address" : "c" } , {"port": 1, "headers": {"k": "v"}} ] , "text" : null }"#,
                format!(
                    r#"{{"servers":[{{"address":"c","port":80,"headers":{{}}}},{{"port":1,"headers":{{"k":"v"}}}}],"text":null,{names},{deep}}}"#
                ),
            ),
            (
                r#"{"names": {}, "deep": {"er": {}}, "servers": [], "text": "[\"{", "more": [[{}]]}"#,
                r#"{"names":{},"deep":{"er":{}},"servers":[],"text":"[\"{","more":[[{}]]}"#.to_owned(),
            ),
            ("[", "[".to_owned()),
            ("{\"text\"", "{\"text\"".to_owned()),
        ] {
            assert_eq!(filled(json, SETTINGS), expected, "{json}");
        }
    }
}
