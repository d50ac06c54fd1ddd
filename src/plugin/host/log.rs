//! The capability `log`: a guest's messages in the agent's log, under the plugin's name. A plugin can neither flood the log,
//! even by restarts, nor forge lines.

use crate::escape::printable;
use crate::plugin::guest::bindings::gauged::plugin::log::{Host, Level};
use crate::plugin::host::state::HostState;

impl Host for HostState {
    async fn log(&mut self, level: Level, message: String) {
        if let Some(recorder) = &self.plugin.recorder {
            return recorder.record_message(level_name(level), printable(&message));
        }
        // A message that the log level suppresses takes nothing from the allowance.
        let is_off = matches!(level, Level::Debug) && !tracing::enabled!(tracing::Level::DEBUG);
        if is_off || !self.plugin.accounts.log.take() {
            return;
        }
        let (plugin, text) = (&*self.plugin.name, printable(&message));
        match level {
            Level::Error => tracing::error!(plugin, text, "plugin message"),
            Level::Warn => tracing::warn!(plugin, text, "plugin message"),
            Level::Info => tracing::info!(plugin, text, "plugin message"),
            Level::Debug => tracing::debug!(plugin, text, "plugin message"),
        }
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}
