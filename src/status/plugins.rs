//! The plugins in the view: texts that change rarely. Their numbers are in the sample.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::problem::Problem;

/// All plugins, and the files that make none. It is made again when something in it changes.
#[derive(Debug, Default)]
pub(crate) struct PluginList {
    /// The plugins directory; none where it was refused.
    pub(crate) directory: Option<String>,
    /// Why the directory cannot be read.
    pub(crate) directory_problem: Option<Problem>,
    /// By name.
    pub(crate) plugins: Vec<Arc<PluginStatus>>,
    /// The number of plugins that are left out: they never served and have no table.
    pub(crate) omitted_plugins: u64,
    /// The files that make no plugin.
    pub(crate) files: Vec<FileStatus>,
    /// The number of such files that are left out.
    pub(crate) omitted_files: u64,
}

/// One plugin.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PluginStatus {
    pub(crate) name: String,
    /// The name of its file in the plugins directory.
    pub(crate) file: String,
    /// The value of the metric `plugin_state`; or `off` if it is not enabled, or `missing` if its table has no file.
    pub(crate) state: Cow<'static, str>,
    /// Whether the configuration has a table for it.
    pub(crate) is_configured: bool,
    /// The version that serves.
    pub(crate) version: Option<String>,
    /// The first digits of its file's SHA-256.
    pub(crate) hash: Option<String>,
    /// The time between two of its calls.
    pub(crate) interval_seconds: f64,
    /// Its problems, those that have passed last.
    pub(crate) problems: Vec<Problem>,
    /// The lines for its table that grant what it was denied or needs.
    pub(crate) missing_grants: Vec<String>,
}

/// A file of the plugins directory that makes no plugin.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct FileStatus {
    /// Its name.
    pub(crate) file: String,
    pub(crate) problem: Problem,
}
