//! The log lines about one plugin, and the reports about its file, which its owner logs.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::plugin::context::PluginContext;
use crate::plugin::guest::fault::{CallError, CallErrorKind, Disabled, Fault};
use crate::plugin::rejection::Rejection;
use crate::plugin::report::{Report, ReportKind};
use crate::plugin::shortage::{Shortage, explain};
use crate::plugin::supervisor::file_status::FileStatus;
use crate::plugin::supervisor::state::PluginState;
use crate::plugin::version::Version;
use crate::sample::Module;

pub(crate) fn log_loaded(plugin: &PluginContext, version: &Version) {
    let (plugin, version, hash) = (&*plugin.name, &*version.name, &*version.digits);
    tracing::info!(plugin, version, hash, "plugin loaded");
}

pub(crate) fn log_replaced(plugin: &PluginContext, version: &Version, previous: &Version) {
    let (plugin, version, hash) = (&*plugin.name, &*version.name, &*version.digits);
    tracing::info!(plugin, version, hash, previous = %previous, "plugin replaced");
}

pub(crate) fn log_reconfigured(plugin: &PluginContext, version: &Version) {
    let (plugin, version, hash) = (&*plugin.name, &*version.name, &*version.digits);
    tracing::info!(plugin, version, hash, "plugin reconfigured");
}

pub(crate) fn log_configuration_rejected(plugin: &PluginContext, version: &Version, rejection: &Rejection) {
    let (plugin, version, hash) = (&*plugin.name, &*version.name, &*version.digits);
    let (reason, remedy) = (&rejection.reason, rejection.full_remedy());
    let consequence = "the previous configuration continues";
    tracing::warn!(plugin, version, hash, reason, remedy, consequence, "plugin configuration rejected");
}

pub(crate) fn log_available_again(plugin: &PluginContext) {
    tracing::info!(plugin = &*plugin.name, "plugin available again");
}

/// `pause` is that before it is started again; none if it is called again at its next tick.
pub(crate) fn log_error(plugin: &PluginContext, CallError { kind, reason }: &CallError, pause: Option<Duration>) {
    let (plugin, remedy) = (&*plugin.name, call_error_remedy(*kind));
    let consequence = match pause {
        None => "its metrics are missing until a call succeeds; it is called again at its next tick".to_owned(),
        Some(pause) => {
            let pause = humantime::format_duration(pause);
            format!(
                "its metrics are missing until it can be configured; it is started again after {pause}, then less often"
            )
        }
    };
    match kind {
        CallErrorKind::Unavailable => {
            tracing::warn!(plugin, reason, remedy, consequence, "plugin unavailable");
        }
        CallErrorKind::Failed => {
            tracing::warn!(plugin, reason, remedy, consequence, "plugin returned an error");
        }
    }
}

/// The remedy for an error that a plugin returned.
pub(crate) fn call_error_remedy(kind: CallErrorKind) -> &'static str {
    match kind {
        CallErrorKind::Unavailable => "start what it measures",
        CallErrorKind::Failed => "fix what the reason names, or the plugin",
    }
}

pub(crate) fn log_disabled(plugin: &PluginContext, disabled: &Disabled) {
    let Disabled { reason, remedy, .. } = disabled;
    let (plugin, consequence) =
        (&*plugin.name, "not called until its file or configuration changes, or the agent restarts");
    tracing::warn!(plugin, reason, remedy, consequence, "plugin disabled");
}

pub(crate) fn log_failed(plugin: &PluginContext, version: &Version, fault: &Fault, restart_after: &str) {
    let (plugin, version, hash) = (&*plugin.name, &*version.name, &*version.digits);
    let (reason, remedy) = fault.reason_and_remedy();
    let fault = fault.kind.name();
    tracing::warn!(plugin, version, hash, fault, reason, remedy, restart_after, "plugin failed");
}

/// `version` is none when the call panicked.
pub(crate) fn log_replaced_failed(plugin: &PluginContext, version: Option<&Version>, fault: &Fault) {
    let version = version.map(|version| version.name.to_string());
    let (reason, remedy) = fault.reason_and_remedy();
    let (plugin, fault) = (&*plugin.name, fault.kind.name());
    tracing::warn!(plugin, version, fault, reason, remedy, "replaced plugin version failed");
}

pub(crate) fn log_metrics_dropped(plugin: &PluginContext, version: &Version, reason: &str) {
    let (plugin, version, hash) = (&*plugin.name, &*version.name, &*version.digits);
    let remedy = "fix the plugin; plugin_dropped_metrics_total counts the others";
    tracing::warn!(plugin, version, hash, reason, remedy, "metrics dropped");
}

/// `version` is the one that serves now.
pub(crate) fn log_module_dropped(plugin: &PluginContext, version: &Version, module: &Module) {
    let (plugin, version, hash) = (&*plugin.name, &*version.name, &*version.digits);
    let (module, reason) = (&**module.name(), "another collector has the module");
    let remedy = "rename the module in one of them, or remove one";
    tracing::warn!(plugin, version, hash, module, reason, remedy, "module dropped");
}

/// The file of a plugin, for reports.
pub(crate) struct PluginFile<'a> {
    pub(crate) plugin: &'a PluginContext,
    pub(crate) path: &'a Path,
    /// Whether a version serves meanwhile.
    pub(crate) is_serving: bool,
}

impl PluginFile<'_> {
    /// The report of its rejection; none when it was not rejected.
    pub(crate) fn rejection(&self, status: &FileStatus) -> Option<(ReportKind, Report)> {
        let rejected = status.rejected()?;
        let kind = match status.state(self.plugin) {
            PluginState::Idle if !self.is_serving => ReportKind::Idle,
            PluginState::Disabled if !self.is_serving => ReportKind::Disabled,
            _ => ReportKind::Rejected,
        };
        let (version, hash) = (rejected.version.clone(), Some(rejected.hash.to_string()));
        let report = self.report(rejected.reason.clone(), rejected.full_remedy());
        Some((kind, Report { version, hash, ..report }))
    }

    /// The report of a read error.
    pub(crate) fn read_error(&self, error: &io::Error) -> (ReportKind, Report) {
        let (reason, remedy) = explain(error, read_remedy(error));
        let retried = match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound => "",
            _ if Shortage::classify(error).is_some() => "; the file is read again every second",
            _ => "; the file is read again every 30 s",
        };
        (ReportKind::Rejected, self.report(format!("cannot be read: {reason}"), format!("{remedy}{retried}")))
    }

    fn report(&self, reason: String, remedy: String) -> Report {
        Report {
            plugin: Some(Arc::clone(&self.plugin.name)),
            file: self.path.display().to_string(),
            version: None,
            hash: None,
            reason,
            remedy,
            consequence: if self.is_serving { "the previous version continues" } else { "no version is running" },
        }
    }
}

/// The remedy for a file that cannot be read.
fn read_remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "none, if it was removed",
        io::ErrorKind::PermissionDenied => "allow the agent to read it",
        io::ErrorKind::TimedOut => "check the file system",
        _ => "check the disk or the mount",
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn remedies_fit_the_read_error() {
        let remedy = |errno: Errno| read_remedy(&io::Error::from(errno));
        assert!(remedy(Errno::ACCESS).starts_with("allow") && remedy(Errno::IO).starts_with("check the disk"));
    }
}
