//! What a plugin is told when it lacks a grant, and what the operator is told: once, with the exact lines to write.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use super::super::context::PluginContext;
use super::super::recorder::RecordedDenial;
use crate::escape::printable;
use crate::hostpath::Pattern;

/// How many different grants that one plugin lacks are told to the operator: a plugin that asks for more is not asking
/// for grants.
const MAX_REPORTED: usize = 100;

/// The key of the configuration that a grant belongs under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum GrantKind {
    Read,
    Usage,
    Connect,
    Fetch,
}

impl GrantKind {
    const ALL: [Self; 4] = [Self::Read, Self::Usage, Self::Connect, Self::Fetch];

    pub(in super::super) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Usage => "usage",
            Self::Connect => "connect",
            Self::Fetch => "fetch",
        }
    }
}

/// Why a plugin may not do what it asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Denial {
    /// This is not granted.
    Missing(GrantKind, String),
    /// No grant would help; why.
    Final(String),
    /// No grant would help, and the plugin could not know; why. Nobody has to do anything about it.
    Expected(String),
}

/// What the operator has been told of one plugin's denials.
#[derive(Default)]
pub(in super::super) struct ReportedDenials {
    /// Behind a lock because a version and its successor may both be at work for a moment.
    reported: Mutex<Reported>,
}

#[derive(Default)]
struct Reported {
    lines: HashSet<String>,
    /// The paths of needs among them: what is denied of these is not news.
    needs: Vec<(GrantKind, Pattern)>,
}

impl ReportedDenials {
    /// Notes that the operator is told this. Answers whether that is news, and whether it is the last.
    fn record(&self, line: &str) -> Option<bool> {
        let mut told = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = told.lines.len() < MAX_REPORTED && told.lines.insert(line.to_owned());
        is_news.then_some(told.lines.len() == MAX_REPORTED)
    }

    /// Notes that the operator is told what a plugin needs.
    fn record_need(&self, key: GrantKind, value: &str) {
        let is_news = self.record(&grant_line(key, value)).is_some();
        if let (true, GrantKind::Read | GrantKind::Usage, Ok(pattern)) = (is_news, key, Pattern::new(value)) {
            self.reported.lock().unwrap_or_else(PoisonError::into_inner).needs.push((key, pattern));
        }
    }

    /// Whether the operator knows this line, or a need of which it is a part.
    fn is_reported(&self, line: &str, part: Option<(GrantKind, &str)>) -> bool {
        let told = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let is_part = |(key, path): (GrantKind, &str)| {
            told.needs.iter().any(|(of, need)| *of == key && (need.matches(path) || need.opens(path)))
        };
        told.lines.len() >= MAX_REPORTED || told.lines.contains(line) || part.is_some_and(is_part)
    }
}

/// The line of configuration that would give a missing grant: what a guest is told.
pub(in super::super) fn grant_line(key: GrantKind, value: &str) -> String {
    grants_line(key, &[value.to_owned()])
}

fn grants_line(key: GrantKind, values: &[String]) -> String {
    // A JSON text is a TOML text.
    let values: Vec<String> =
        values.iter().map(|value| serde_json::Value::from(printable(value)).to_string()).collect();
    format!("{} = [{}]", key.name(), values.join(", "))
}

impl PluginContext {
    /// What to write where so that the plugin is granted this besides what it is granted already. The operator is taken to
    /// know it from then on.
    pub(in super::super) fn remedy(&self, key: GrantKind, value: &str) -> String {
        self.record_need(key, value);
        self.remedy_for(&[(key, value.to_owned())])
    }

    /// The same for several grants, which are recorded already.
    pub(in super::super) fn remedy_for(&self, missing: &[(GrantKind, String)]) -> String {
        let lines = self.grant_lines(missing);
        format!("write under [plugins.{}]: {}", self.name, lines.join("; "))
    }

    /// Records that the operator knows of a need: a denial of it later is no news.
    pub(in super::super) fn record_need(&self, key: GrantKind, value: &str) {
        self.denials.record_need(key, value);
    }

    /// The lines of the plugin's table that grant it all of this besides what they grant already.
    pub(in super::super) fn grant_lines(&self, missing: &[(GrantKind, String)]) -> Vec<String> {
        let line = |key: GrantKind| {
            let mut values = self.configured_values(key);
            for (_, value) in missing.iter().filter(|(of, _)| *of == key) {
                if !values.contains(value) {
                    values.push(value.clone());
                }
            }
            grants_line(key, &values)
        };
        let is_missing = |key: &GrantKind| missing.iter().any(|(of, _)| of == key);
        GrantKind::ALL.into_iter().filter(is_missing).map(line).collect()
    }

    /// What the configuration grants.
    fn configured_values(&self, key: GrantKind) -> Vec<String> {
        match key {
            GrantKind::Read => to_strings(&self.config.read),
            GrantKind::Usage => to_strings(&self.config.usage),
            GrantKind::Connect => to_strings(&self.config.connect),
            GrantKind::Fetch => to_strings(&self.config.fetch),
        }
    }

    /// Reports a denial to the operator, unless that was done before. Returns the text for the guest.
    pub(super) fn deny(&self, denial: Denial) -> String {
        let (text, remedy, part) = match denial {
            Denial::Missing(key, value) => {
                (grant_line(key, &value), self.remedy_for(&[(key, value.clone())]), Some((key, value)))
            }
            Denial::Final(why) => (printable(&why), printable(&why), None),
            Denial::Expected(why) => return printable(&why),
        };
        if self.is_being_described {
            return text;
        }
        if let Some(recorder) = &self.recorder {
            if self.denials.record(&text).is_some() {
                recorder.record_denial(
                    part.map_or(RecordedDenial::Final(remedy), |(key, value)| RecordedDenial::Missing(key, value)),
                );
            }
            return text;
        }
        let is_missing = part.is_some();
        let part = part.as_ref().map(|(key, value)| (*key, value.as_str()));
        // A denial that exceeds the allowance of log lines is reported the next time.
        if !self.denials.is_reported(&text, part)
            && self.log.take()
            && let Some(is_last) = self.denials.record(&text)
        {
            let plugin = &*self.name;
            match (is_missing, self.is_configured) {
                (true, true) => {
                    tracing::warn!(plugin, remedy = format!("{remedy}, and restart the agent"), "access denied");
                }
                // A plugin that was only dropped in does without.
                (true, false) => {
                    tracing::info!(plugin, remedy = format!("{remedy}, and restart the agent"), "access denied");
                }
                (false, _) => {
                    tracing::warn!(
                        plugin,
                        reason = remedy,
                        remedy = "fix the plugin: no grant allows it",
                        "access denied"
                    );
                }
            }
            if is_last {
                tracing::warn!(plugin, count = MAX_REPORTED, "further denials not reported");
            }
        }
        text
    }
}

fn to_strings<T: Display>(grants: &[T]) -> Vec<String> {
    grants.iter().map(T::to_string).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::PluginConfig;
    use crate::plugin::grants::Grants;

    fn plugin(config: PluginConfig) -> PluginContext {
        PluginContext::new("needy", Arc::new(config), Grants::none())
    }

    #[test]
    fn lines_are_to_be_written_as_they_are() {
        let none = plugin(PluginConfig::default());
        assert_eq!(none.remedy(GrantKind::Read, "/a\n\"b\""), r#"write under [plugins.needy]: read = ["/a\\n\"b\""]"#);
        let read = vec![Pattern::new("/etc/*").expect("a pattern")];
        let some = plugin(PluginConfig { read, ..PluginConfig::default() });
        assert_eq!(some.remedy(GrantKind::Read, "/a"), r#"write under [plugins.needy]: read = ["/etc/*", "/a"]"#);
        assert_eq!(some.remedy(GrantKind::Connect, "db:1"), r#"write under [plugins.needy]: connect = ["db:1"]"#);
        assert_eq!(some.deny(Denial::Missing(GrantKind::Read, "/a".to_owned())), r#"read = ["/a"]"#);
    }

    #[test]
    fn a_table_has_each_key_once_with_what_it_had_before() {
        let read = vec![Pattern::new("/etc/*").expect("a pattern")];
        let plugin = plugin(PluginConfig { read, ..PluginConfig::default() });
        let missing = [
            (GrantKind::Connect, "db:1"),
            (GrantKind::Read, "/a"),
            (GrantKind::Read, "/etc/*"),
            (GrantKind::Read, "/a"),
        ];
        let missing = missing.map(|(key, value)| (key, value.to_owned()));
        assert_eq!(plugin.grant_lines(&missing), [r#"read = ["/etc/*", "/a"]"#, r#"connect = ["db:1"]"#]);
        assert_eq!(plugin.grant_lines(&[]), [""; 0]);
    }

    #[test]
    fn each_denial_is_told_once_and_not_more_than_some() {
        let denials = ReportedDenials::default();
        assert_eq!(denials.record("0"), Some(false));
        assert_eq!(denials.record("0"), None);
        let news: Vec<bool> = (0..1000).filter_map(|number| denials.record(&number.to_string())).collect();
        assert_eq!(news.len(), MAX_REPORTED - 1);
        assert_eq!(news.iter().position(|&is_last| is_last), Some(MAX_REPORTED - 2));
        assert!(denials.is_reported("5000", None), "there is no room for it");
    }

    #[test]
    fn what_is_denied_of_a_need_that_was_told_is_not_news() {
        let plugin = plugin(PluginConfig::default());
        plugin.remedy(GrantKind::Read, "/proc/*/stat");
        let knows = |key: GrantKind, path: &str| plugin.denials.is_reported(&grant_line(key, path), Some((key, path)));
        assert!(knows(GrantKind::Read, "/proc/12/stat") && knows(GrantKind::Read, "/proc"));
        assert!(
            !knows(GrantKind::Read, "/proc/12/status")
                && !knows(GrantKind::Read, "/")
                && !knows(GrantKind::Usage, "/proc/12/stat")
        );
    }

    #[test]
    fn what_a_plugin_could_not_know_is_told_to_it_alone() {
        let plugin = plugin(PluginConfig::default());
        assert_eq!(plugin.deny(Denial::Expected("it is so".to_owned())), "it is so");
        assert!(!plugin.denials.is_reported("it is so", None));
        plugin.deny(Denial::Final("it is so".to_owned()));
        assert!(plugin.denials.is_reported("it is so", None));
    }
}
