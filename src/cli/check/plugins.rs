//! The plugins' part of `gauged check`: each plugin that would be loaded is described and configured with its table, under the
//! limits of the agent and with nothing granted. A setting that it does not accept is an error at its place in the files.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::config::{Config, Place, Problem, Reading};
use crate::plugin::harness::{LoadError, PluginHarness, Purpose, reason};
use crate::plugin::{Failure, InvalidSetting};

/// How long a file may take to be compiled and described: a person waits for the result. The agent gives it more.
const COMPILE_PATIENCE: Duration = Duration::from_secs(20);

/// The errors of the plugins' settings and files, and the notes about them.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) problems: Vec<Problem>,
    /// The plugins that are not checked, with the reasons, and passwords in clear text. No errors.
    pub(super) notes: Vec<String>,
}

/// Checks the plugins that would be loaded.
pub(super) async fn check(reading: &Reading) -> Findings {
    let mut findings = Findings::default();
    let config = &reading.config;
    let Some(directory) = &config.plugins_directory else { return findings };
    if !reading.is_complete {
        findings.note(directory, "no plugin is checked: a part of the configuration is missing, see the errors");
        return findings;
    }
    if config.is_unexamined {
        findings.note(directory, "its file system does not respond; no plugin is checked");
        return findings;
    }
    let harness = match PluginHarness::new(config, Purpose::Serve) {
        Ok(harness) => harness,
        Err(error) => {
            findings.note(directory, &format!("no plugin is checked: {error:#}"));
            return findings;
        }
    };
    let entries = match harness.list(directory).await {
        Ok(entries) => entries,
        // Nothing has to be there: plugins are dropped in later.
        Err(error) if error.kind() == io::ErrorKind::NotFound && config.plugins.is_empty() => return findings,
        Err(error) => {
            findings.note(directory, &format!("cannot be read, and no plugin is checked: {error}"));
            return findings;
        }
    };
    for entry in &entries {
        let path = directory.join(&entry.file);
        match &entry.plugins {
            Ok(names) => {
                for name in names {
                    findings.check_plugin(reading, &harness, name, &path).await;
                }
            }
            Err(why) => findings.note(&path, why),
        }
    }
    findings.note_missing_files(config, directory, |file| entries.iter().any(|entry| entry.file == *file));
    findings.note_clear_texts(config);
    findings
}

impl Findings {
    fn note(&mut self, path: &Path, why: &str) {
        self.notes.push(format!("{}: {why}", path.display()));
    }

    async fn check_plugin(&mut self, reading: &Reading, harness: &PluginHarness, name: &str, path: &Path) {
        let table = reading.config.plugins.get(name);
        if table.is_some_and(|table| !table.enabled) || has_wrong_settings(&reading.problems, name) {
            return;
        }
        let opened = tokio::time::timeout(COMPILE_PATIENCE, harness.open(name, table.cloned(), path)).await;
        let plugin = match opened {
            Ok(Ok(plugin)) => plugin,
            Ok(Err(LoadError { rejection, .. })) if rejection.is_transient() => {
                return self.note(path, &rejection.text());
            }
            Ok(Err(error)) => {
                let message = error.rejection.text();
                return self.problems.push(Problem { file: path.to_owned(), line: None, key: String::new(), message });
            }
            Err(_) => {
                let patience = COMPILE_PATIENCE.as_secs();
                return self.note(
                    path,
                    &format!("is not compiled within {patience}s, and not checked; the agent waits longer"),
                );
            }
        };
        match plugin.configure_without_grants().await {
            // Without a table nobody expects it to run.
            Err(Failure::Disabled(disabled)) if table.is_some() => {
                let problems = disabled.settings.iter().map(|setting| setting_problem(reading, name, path, setting));
                self.problems.extend(problems);
            }
            // Of a missing grant, perhaps.
            Err(failure @ Failure::Fault(_)) => {
                self.note(path, &format!("{name} is not checked: without grants it {}", reason(&failure)));
            }
            // What it measures is missing, or a grant is: neither is of its settings.
            Ok(()) | Err(Failure::Disabled(_) | Failure::Error(_)) => {}
        }
    }

    /// Notes the enabled plugins of the configuration whose file is missing: it may be dropped in later.
    fn note_missing_files(&mut self, config: &Config, directory: &Path, is_there: impl Fn(&String) -> bool) {
        for (name, plugin) in config.plugins.iter().filter(|(_, plugin)| plugin.enabled) {
            let file = plugin.file.clone().unwrap_or_else(|| format!("{name}.wasm"));
            if !is_there(&file) {
                let why = format!("is missing; copy it there, or remove [plugins.{name}]");
                self.note(&directory.join(file), &why);
            }
        }
    }

    fn note_clear_texts(&mut self, config: &Config) {
        for (name, plugin) in &config.plugins {
            for path in plugin.clear_texts() {
                self.notes.push(format!(
                    "plugins.{name}.config has {path} in clear text; write it to a file and name that in secrets"
                ));
            }
        }
    }
}

/// Whether a plugin's settings or secrets are wrong: it is not configured with a part of them.
fn has_wrong_settings(problems: &[Problem], name: &str) -> bool {
    let table = format!("plugins.{name}");
    problems.iter().any(|Problem { key, .. }| {
        *key == table
            || ["config", "secrets"].iter().any(|part| {
                let rest = key.strip_prefix(&*table).and_then(|rest| rest.strip_prefix('.'));
                rest.and_then(|rest| rest.strip_prefix(part))
                    .is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
            })
    })
}

/// The error for a setting, at its place or that of the table that it is missing in.
fn setting_problem(reading: &Reading, name: &str, path: &Path, setting: &InvalidSetting) -> Problem {
    let InvalidSetting { key, message } = setting;
    let table = format!("plugins.{name}");
    let dot = if key.is_empty() || key.starts_with('[') { "" } else { "." };
    let full_key = format!("{table}.config{dot}{key}");
    let secret = format!("{table}.secrets.{}", key.replace('[', ".").replace(']', ""));
    let place = reading.places.find_dotted(&secret).or_else(|| reading.places.nearest(&full_key));
    let (file, line) = match place {
        Some(Place { file, line, .. }) => (file.to_path_buf(), Some(*line)),
        None => (path.to_owned(), None),
    };
    Problem { file, line, key: full_key, message: message.clone() }
}
