//! `gauged plugin list`: what a plugins directory has, each file loaded and tried once as the agent would load it now. What
//! a running agent has is in its samples, and `sampled`'s business.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::columns::columns;
use super::{Form, Trouble, show, show_json, size};
use crate::config::{Config, Overrides};
use crate::plugin::Failure;
use crate::plugin::workbench::{Granted, Piece, Workbench, reason};

/// One plugin, or a file that makes none.
#[derive(Default)]
struct Row {
    /// None where the file makes no plugin.
    name: Option<String>,
    file: String,
    /// As the agent has it in `plugin_state`; `missing` where the configuration names a file that is not there, `ignored`
    /// where a file makes no plugin.
    state: &'static str,
    version: Option<String>,
    hash: Option<String>,
    file_bytes: Option<u64>,
    description: Option<String>,
    /// Why it is in no better state, or what it lacks.
    reason: Option<String>,
}

/// Loads all plugins of the configuration's directory, one by one, and shows them.
pub(super) async fn run(overrides: &Overrides, form: Form) -> Result<ExitCode, Trouble> {
    let config = Config::load(overrides).map_err(Trouble::Misconfigured)?;
    let bench = Workbench::new(&config)?;
    let directory = &config.plugins_directory;
    let entries = bench.list(directory).map_err(|error| {
        let directory = directory.display();
        anyhow::anyhow!("failed to read the plugins directory {directory}: {error}; name another, or create it")
    })?;
    let mut rows = Vec::new();
    for entry in &entries {
        match &entry.plugins {
            Ok(names) => {
                for name in names {
                    rows.push(row(&bench, &config, name, &entry.file).await);
                }
            }
            Err(why) => rows.push(Row {
                file: entry.file.clone(),
                state: "ignored",
                reason: Some(why.clone()),
                ..Row::default()
            }),
        }
    }
    for (name, plugin) in &config.plugins {
        let file = plugin.file.clone().unwrap_or_else(|| format!("{name}.wasm"));
        if !entries.iter().any(|entry| entry.file == file) {
            let reason = Some(format!("is not there; copy it there, or remove [plugins.{name}]"));
            rows.push(Row { name: Some(name.clone()), file, state: "missing", reason, ..Row::default() });
        }
    }
    match form {
        Form::Text if rows.is_empty() => show(&format!("{} has no plugins\n", directory.display()))?,
        Form::Text => show(&text(&rows))?,
        Form::Json => show_json(&rows.iter().map(Row::json).collect())?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn row(bench: &Workbench, config: &Config, name: &str, file: &str) -> Row {
    let own = config.plugins.get(name).cloned().unwrap_or_default();
    let path: PathBuf = config.plugins_directory.join(file);
    let row = Row { name: Some(name.to_owned()), file: file.to_owned(), ..Row::default() };
    match bench.open(name, own, &path).await {
        Err(unfit) => Row { state: "rejected", hash: unfit.hash, reason: Some(unfit.reason), ..row },
        Ok(mut piece) => {
            let (state, reason) = state(&mut piece).await;
            Row {
                state,
                version: Some(piece.about.version.clone()),
                hash: Some(piece.hash()[..8].to_owned()),
                file_bytes: Some(piece.file_bytes),
                description: Some(piece.about.description),
                reason,
                ..row
            }
        }
    }
}

/// What the agent would make of it, and why.
async fn state(piece: &mut Piece) -> (&'static str, Option<String>) {
    let failed = |failure: Failure, of_fault| {
        let state = match failure {
            Failure::Unavailable(_) => "unavailable",
            Failure::PutAside(_) => "rejected",
            Failure::Fault(_) => of_fault,
        };
        (state, Some(reason(&failure)))
    };
    let needs = match piece.configure().await {
        Ok(needs) => needs,
        Err(failure) => return failed(failure, "rejected"),
    };
    if let Err(failure) = piece.measure().await.result {
        failed(failure, "failed")
    } else {
        let lacking: Vec<String> = needs
            .iter()
            .filter(|need| matches!(need.granted, Granted::No | Granted::Never(_)))
            .map(|need| need.grant.to_string())
            .collect();
        ("up", (!lacking.is_empty()).then(|| format!("lacks {}", lacking.join(", "))))
    }
}

fn text(rows: &[Row]) -> String {
    let titles = ["name", "file", "state", "version", "hash", "size", ""].map(str::to_uppercase);
    let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let row = |row: &Row| {
        let said = row.description.iter().filter(|description| !description.is_empty()).chain(&row.reason);
        let size = row.file_bytes.map_or_else(|| "-".to_owned(), |bytes| size(bytes).to_string());
        let (name, version, hash) = (shown(&row.name), shown(&row.version), shown(&row.hash));
        let said: Vec<&str> = said.map(String::as_str).collect();
        vec![name, row.file.clone(), row.state.to_owned(), version, hash, size, said.join(" · ")]
    };
    columns([titles.to_vec()].into_iter().chain(rows.iter().map(row)))
}

impl Row {
    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "file": self.file,
            "state": self.state,
            "version": self.version,
            "hash": self.hash,
            "file_bytes": self.file_bytes,
            "description": self.description,
            "reason": self.reason,
        })
    }
}
