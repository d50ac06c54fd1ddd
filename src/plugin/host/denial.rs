//! Denials: the error for the plugin, and one report for the operator with the exact lines to add to the configuration. The
//! plugin names what it wants, so that it may name a secret: the report has none.

use std::fmt::Display;

use crate::escape::printable;
use crate::plugin::accounts::denials::MAX_REPORTED;
use crate::plugin::context::PluginContext;
use crate::plugin::grants::kind::{Denial, Grant, GrantKind, UnknownCapability, grants_line};
use crate::plugin::guest::bindings::gauged::plugin::types::Capability;

impl PluginContext {
    /// The remedy for missing grants: the lines to write, and where.
    pub(crate) fn restart_remedy(&self, missing: &[Grant]) -> String {
        let lines = self.grant_lines(missing);
        format!("write under [plugins.{}]: {}, and reload the agent", self.name, lines.join("; "))
    }

    /// The lines of the plugin's table with the missing grants added to the present ones.
    pub(crate) fn grant_lines(&self, missing: &[Grant]) -> Vec<String> {
        let line = |kind: GrantKind| {
            let mut values = self.configured_values(kind);
            for Grant { value, .. } in missing.iter().filter(|grant| grant.kind == kind) {
                if !values.contains(value) {
                    values.push(value.clone());
                }
            }
            grants_line(kind, &values)
        };
        let is_missing = |kind: &GrantKind| missing.iter().any(|grant| grant.kind == *kind);
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

    /// The grant for a capability, as the configuration has it, without the plugin's secrets. There is no other way from a
    /// capability to a grant.
    ///
    /// # Errors
    ///
    /// When this agent has no such capability.
    pub(crate) fn shown_grant(&self, Capability { kind, target }: Capability) -> Result<Grant, UnknownCapability> {
        let target = self.config.redact(&target);
        match GrantKind::parse(&kind) {
            Some(kind) => Ok(Grant { kind, value: target.into_owned() }),
            None => Err(UnknownCapability { kind: printable(&self.config.redact(&kind)), target: printable(&target) }),
        }
    }

    /// A denial without the plugin's secrets.
    fn shown_denial(&self, denial: Denial) -> Denial {
        let redact = |text: String| self.config.redact(&text).into_owned();
        match denial {
            Denial::Missing(Grant { kind, value }) => Denial::Missing(Grant { kind, value: redact(value) }),
            Denial::Final(why) => Denial::Final(redact(why)),
            Denial::Expected(why) => Denial::Expected(redact(why)),
        }
    }

    /// Reports a denial to the operator, unless it was reported before. Returns it for the guest.
    pub(crate) fn deny(&self, denial: Denial) -> Refusal {
        let refusal = match &denial {
            Denial::Missing(grant) => Refusal::Missing(capability(grant)),
            Denial::Final(why) | Denial::Expected(why) => Refusal::Forbidden(printable(why)),
        };
        if !self.is_being_described && !matches!(denial, Denial::Expected(_)) {
            self.report_denial(self.shown_denial(denial));
        }
        refusal
    }

    /// Reports a missing grant to the operator, unless it was reported before. Returns it for the guest.
    pub(crate) fn deny_without(&self, grant: Grant) -> Capability {
        let missing = capability(&grant);
        self.deny(Denial::Missing(grant));
        missing
    }

    /// Reports a denial without secrets.
    fn report_denial(&self, denial: Denial) {
        let text = denial.to_string();
        if let Some(recorder) = &self.recorder {
            if self.denials.record(&text).is_some() {
                recorder.record_denial(denial);
            }
            return;
        }
        if let Some(missing) = denial.missing() {
            self.denials.record_missing(missing);
        }
        // A denial beyond the allowance of log lines is reported the next time.
        if !self.denials.is_reported(&text, denial.missing())
            && self.accounts.log.take()
            && let Some(is_last) = self.denials.record(&text)
        {
            self.log_denial(&text, denial.missing());
            if is_last {
                tracing::warn!(plugin = &*self.name, count = MAX_REPORTED, "further denials not reported");
            }
        }
    }

    fn log_denial(&self, text: &str, missing: Option<&Grant>) {
        let plugin = &*self.name;
        match missing.map(|missing| self.restart_remedy(std::slice::from_ref(missing))) {
            Some(remedy) if self.is_configured => tracing::warn!(plugin, remedy, "access denied"),
            // A plugin without a table runs without the grant.
            Some(remedy) => tracing::info!(plugin, remedy, "access denied"),
            None => {
                tracing::warn!(plugin, reason = text, remedy = "fix the plugin: no grant allows it", "access denied");
            }
        }
    }
}

/// A denial for the guest.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    /// This grant is missing.
    Missing(Capability),
    /// No grant allows it; the reason.
    Forbidden(String),
}

fn capability(grant: &Grant) -> Capability {
    Capability { kind: grant.kind.name().to_owned(), target: grant.value.clone() }
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
    use crate::plugin::offload::pool::OffloadPool;

    fn plugin(config: PluginConfig) -> PluginContext {
        let pool = OffloadPool::start().expect("threads");
        PluginContext::new("needy", Arc::new(config), Grants::none(), &pool)
    }

    #[test]
    fn remedy_lines_are_valid_configuration() {
        let none = plugin(PluginConfig::default());
        let remedy = |plugin: &PluginContext, key, value: &str| plugin.restart_remedy(&[Grant::new(key, value)]);
        assert_eq!(
            remedy(&none, GrantKind::Read, "/a\n\"b\""),
            r#"write under [plugins.needy]: read = ["/a\\n\"b\""], and reload the agent"#
        );
        let read = vec![Pattern::new("/etc/*").expect("a pattern")];
        let some = plugin(PluginConfig { read, ..PluginConfig::default() });
        assert_eq!(
            remedy(&some, GrantKind::Read, "/a"),
            r#"write under [plugins.needy]: read = ["/etc/*", "/a"], and reload the agent"#
        );
        assert_eq!(
            remedy(&some, GrantKind::Connect, "db:1"),
            r#"write under [plugins.needy]: connect = ["db:1"], and reload the agent"#
        );
        let missing = Capability { kind: "read".to_owned(), target: "/a".to_owned() };
        assert_eq!(some.deny(Denial::Missing(Grant::new(GrantKind::Read, "/a"))), Refusal::Missing(missing));
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
        let missing = missing.map(|(kind, value)| Grant::new(kind, value));
        assert_eq!(plugin.grant_lines(&missing), [r#"read = ["/etc/*", "/a"]"#, r#"connect = ["db:1"]"#]);
        assert_eq!(plugin.grant_lines(&[]), [""; 0]);
    }

    #[test]
    fn denials_within_a_reported_need_are_not_reported() {
        let plugin = plugin(PluginConfig::default());
        plugin.denials.record_need(&Grant::new(GrantKind::Read, "/proc/*/stat"));
        let is_reported = |kind, path: &str| {
            let grant = Grant::new(kind, path);
            plugin.denials.is_reported(&grant.to_string(), Some(&grant))
        };
        assert!(is_reported(GrantKind::Read, "/proc/12/stat") && is_reported(GrantKind::Read, "/proc"));
        let others =
            [(GrantKind::Read, "/proc/12/status"), (GrantKind::Read, "/"), (GrantKind::Usage, "/proc/12/stat")];
        assert!(others.into_iter().all(|(key, path)| !is_reported(key, path)));
    }

    #[test]
    fn expected_denials_are_not_reported() {
        let plugin = plugin(PluginConfig::default());
        let expected = Refusal::Forbidden("it is so".to_owned());
        assert_eq!(plugin.deny(Denial::Expected("it is so".to_owned())), expected);
        assert!(!plugin.denials.is_reported("it is so", None));
        plugin.deny(Denial::Final("it is so".to_owned()));
        assert!(plugin.denials.is_reported("it is so", None));
    }
}
