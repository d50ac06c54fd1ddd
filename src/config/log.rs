//! The table `[log]`: level and format of the log.

/// The configuration of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// The least severe level that is logged. `$GAUGED_LOG` overrides it.
    pub level: LogLevel,
    /// The format of a line.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: LogLevel::Info, format: LogFormat::Text }
    }
}

/// The level of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Metrics or samples are being lost.
    Error,
    /// There is something to fix.
    Warn,
    /// An event that happens once: a plugin was loaded, the agent ends.
    Info,
    /// Details for authors of plugins and developers of the agent.
    Debug,
}

/// The format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `time LEVEL message field=value`.
    Text,
    /// A JSON object.
    Json,
}

impl LogLevel {
    /// Parses the name of a level.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match &*text.to_ascii_lowercase() {
            "error" => Ok(Self::Error),
            "warn" => Ok(Self::Warn),
            "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            _ => Err(format!("{text:?} is not a level; use error, warn, info or debug")),
        }
    }
}

impl LogFormat {
    /// Parses the name of a format.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("{text:?} is not a format; use text or json")),
        }
    }
}
