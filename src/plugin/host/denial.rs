//! Denials: the error for the plugin, and one report for the operator with the exact lines to add to the configuration.

use std::fmt::Display;

use crate::escape::printable;
use crate::plugin::accounts::denials::MAX_REPORTED;
use crate::plugin::context::PluginContext;
use crate::plugin::grants::kind::{GrantKind, grant_line, grants_line};
use crate::plugin::recorder::RecordedDenial;

/// Why an operation of a plugin was denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denial {
    /// The grant with this value is missing.
    Missing(GrantKind, String),
    /// No grant allows it; the reason.
    Final(String),
    /// No grant allows it, and the plugin could not know; the reason. It is not reported.
    Expected(String),
}

impl PluginContext {
    /// The remedy for missing grants: the lines to write, and where.
    pub(crate) fn restart_remedy(&self, missing: &[(GrantKind, String)]) -> String {
        let lines = self.grant_lines(missing);
        format!("write under [plugins.{}]: {}, and restart the agent", self.name, lines.join("; "))
    }

    /// Records that a need is reported to the operator: a later denial of it is not reported again. Returns whether it was not
    /// reported before.
    pub(crate) fn record_need(&self, key: GrantKind, value: &str) -> bool {
        self.denials.record_need(key, value)
    }

    /// The lines of the plugin's table with the missing grants added to the present ones.
    pub(crate) fn grant_lines(&self, missing: &[(GrantKind, String)]) -> Vec<String> {
        let line = |key: GrantKind| {
            let mut values = self.configured_values(key);
            for (_, value) in missing.iter().filter(|(kind, _)| *kind == key) {
                if !values.contains(value) {
                    values.push(value.clone());
                }
            }
            grants_line(key, &values)
        };
        let is_missing = |key: &GrantKind| missing.iter().any(|(kind, _)| kind == key);
        GrantKind::ALL.into_iter().filter(is_missing).map(line).collect()
    }

    /// The grants of one kind in the configuration.
    fn configured_values(&self, key: GrantKind) -> Vec<String> {
        match key {
            GrantKind::Read => to_strings(&self.config.read),
            GrantKind::Usage => to_strings(&self.config.usage),
            GrantKind::Connect => to_strings(&self.config.connect),
            GrantKind::Fetch => to_strings(&self.config.fetch),
        }
    }

    /// Reports a denial to the operator, unless it was reported before. Returns the error text for the guest.
    pub(crate) fn deny(&self, denial: Denial) -> String {
        let (text, missing) = match denial {
            Denial::Missing(key, value) => (grant_line(key, &value), Some((key, value))),
            Denial::Final(why) => (printable(&why), None),
            Denial::Expected(why) => return printable(&why),
        };
        if self.is_being_described {
            return text;
        }
        if let Some(recorder) = &self.recorder {
            if self.denials.record(&text).is_some() {
                let denial = match missing {
                    Some((key, value)) => RecordedDenial::Missing(key, value),
                    None => RecordedDenial::Final(text.clone()),
                };
                recorder.record_denial(denial);
            }
            return text;
        }
        let path = missing.as_ref().map(|(key, value)| (*key, value.as_str()));
        // A denial beyond the allowance of log lines is reported the next time.
        if !self.denials.is_reported(&text, path)
            && self.log.take()
            && let Some(is_last) = self.denials.record(&text)
        {
            self.log_denial(&text, missing);
            if is_last {
                tracing::warn!(plugin = &*self.name, count = MAX_REPORTED, "further denials not reported");
            }
        }
        text
    }

    fn log_denial(&self, text: &str, missing: Option<(GrantKind, String)>) {
        let plugin = &*self.name;
        match missing.map(|missing| self.restart_remedy(&[missing])) {
            Some(remedy) if self.is_configured => tracing::warn!(plugin, remedy, "access denied"),
            // A plugin without a table runs without the grant.
            Some(remedy) => tracing::info!(plugin, remedy, "access denied"),
            None => {
                tracing::warn!(plugin, reason = text, remedy = "fix the plugin: no grant allows it", "access denied");
            }
        }
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
    use crate::hostpath::Pattern;
    use crate::plugin::grants::Grants;

    fn plugin(config: PluginConfig) -> PluginContext {
        PluginContext::new("needy", Arc::new(config), Grants::none())
    }

    #[test]
    fn remedy_lines_are_valid_configuration() {
        let none = plugin(PluginConfig::default());
        let remedy = |plugin: &PluginContext, key, value: &str| plugin.restart_remedy(&[(key, value.to_owned())]);
        assert_eq!(
            remedy(&none, GrantKind::Read, "/a\n\"b\""),
            r#"write under [plugins.needy]: read = ["/a\\n\"b\""], and restart the agent"#
        );
        let read = vec![Pattern::new("/etc/*").expect("a pattern")];
        let some = plugin(PluginConfig { read, ..PluginConfig::default() });
        assert_eq!(
            remedy(&some, GrantKind::Read, "/a"),
            r#"write under [plugins.needy]: read = ["/etc/*", "/a"], and restart the agent"#
        );
        assert_eq!(
            remedy(&some, GrantKind::Connect, "db:1"),
            r#"write under [plugins.needy]: connect = ["db:1"], and restart the agent"#
        );
        assert_eq!(some.deny(Denial::Missing(GrantKind::Read, "/a".to_owned())), r#"read = ["/a"]"#);
    }

    #[test]
    fn grant_lines_merge_missing_and_present_grants() {
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
    fn denials_within_a_reported_need_are_not_reported() {
        let plugin = plugin(PluginConfig::default());
        plugin.record_need(GrantKind::Read, "/proc/*/stat");
        let is_reported =
            |key: GrantKind, path: &str| plugin.denials.is_reported(&grant_line(key, path), Some((key, path)));
        assert!(is_reported(GrantKind::Read, "/proc/12/stat") && is_reported(GrantKind::Read, "/proc"));
        let others =
            [(GrantKind::Read, "/proc/12/status"), (GrantKind::Read, "/"), (GrantKind::Usage, "/proc/12/stat")];
        assert!(others.into_iter().all(|(key, path)| !is_reported(key, path)));
    }

    #[test]
    fn expected_denials_are_not_reported() {
        let plugin = plugin(PluginConfig::default());
        assert_eq!(plugin.deny(Denial::Expected("it is so".to_owned())), "it is so");
        assert!(!plugin.denials.is_reported("it is so", None));
        plugin.deny(Denial::Final("it is so".to_owned()));
        assert!(plugin.denials.is_reported("it is so", None));
    }
}
