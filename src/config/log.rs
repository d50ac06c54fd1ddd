//! The table `[log]`: how much is logged, and in which form.

/// The agent's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// The least severe level that is logged. `$GAUGED_LOG` overrides the file.
    pub level: LogLevel,
    /// The form of a line.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: LogLevel::Info, format: LogFormat::Text }
    }
}

/// How severe an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Metrics or samples are being lost.
    Error,
    /// Something to fix.
    Warn,
    /// Once in the life of something: a plugin was loaded, the agent shuts down.
    Info,
    /// For authors of plugins and developers of the agent.
    Debug,
}

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `time LEVEL message field=value`.
    Text,
    /// One JSON object.
    Json,
}

impl LogLevel {
    /// Reads a level by its name.
    ///
    /// # Errors
    ///
    /// The names that exist.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "error" => Ok(Self::Error),
            "warn" => Ok(Self::Warn),
            "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            _ => Err(format!("{text:?} is not a level; use error, warn, info or debug")),
        }
    }
}

impl LogFormat {
    /// Reads a format by its name.
    ///
    /// # Errors
    ///
    /// The names that exist.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("{text:?} is not a format; use text or json")),
        }
    }
}
