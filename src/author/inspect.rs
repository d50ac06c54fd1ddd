//! `gauged plugin inspect`: what a file is, what it measures, what it needs, and the lines that grant it that.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::columns::columns;
use super::{Form, Opened, Subject, Trouble, indented, needs, show, show_json, size, table};
use crate::plugin::Failure;
use crate::plugin::workbench::{Denial, Described, Grant, Granted, Need, Piece, reason};
use crate::sample::Kind;

/// Loads, describes and configures the plugin, and shows what is known of it then. One that does not start as configured
/// is shown all the same.
pub(super) async fn run(subject: Subject, form: Form) -> Result<ExitCode, Trouble> {
    let file = subject.file.display().to_string();
    let Opened { name, config, mut piece } = subject.open().await?;
    let started = piece.configure().await;
    let lines = grants(&piece, started.as_deref().unwrap_or_default());
    let known = Known { file, name, config: config.config, piece, started, lines };
    match form {
        Form::Text => show(&known.text())?,
        Form::Json => show_json(&known.json())?,
    }
    Ok(ExitCode::SUCCESS)
}

struct Known {
    file: String,
    name: String,
    config: String,
    piece: Piece,
    started: Result<Vec<Need>, Failure>,
    /// What grants it all that it needs and not every plugin may.
    lines: Vec<String>,
}

/// The lines of its table that grant what it needs, or was denied while it started, and not every plugin may.
fn grants(piece: &Piece, needs: &[Need]) -> Vec<String> {
    let mut grants: Vec<Grant> = Vec::new();
    let of_all = |need: &&Need| matches!(need.granted, Granted::No | Granted::ByConfiguration);
    grants.extend(needs.iter().filter(of_all).map(|need| need.grant.clone()));
    grants.extend(piece.seen().denied.into_iter().filter_map(|denial| match denial {
        Denial::Missing(grant) => Some(grant),
        Denial::Final(_) => None,
    }));
    piece.lines(&grants)
}

impl Known {
    fn text(&self) -> String {
        let Self { file, name, config, piece, started, lines } = self;
        let about = &piece.about;
        let configured = match started {
            Ok(_) => format!("with {config}"),
            Err(failure) => format!("no: with {config} it {}", reason(failure)),
        };
        let description = if about.description.is_empty() { "no description" } else { &about.description };
        let mut text = format!("{name} {}: {description}\n\n", about.version);
        text += &columns(
            [
                ("file", format!("{file}, {}", size(piece.file_bytes))),
                ("SHA-256", piece.hash()),
                ("artifact", size(piece.artifact_bytes()).to_string()),
                ("imports", imports(piece.imports())),
                ("configured", configured),
            ]
            .map(|(what, value)| vec![what.to_owned(), value]),
        );
        text += "\nmetrics\n";
        text += &columns(about.metrics.iter().map(|Described { module, name, kind, unit, description }| {
            vec![format!("{module}.{name}"), kind_name(*kind).to_owned(), unit.clone(), description.clone()]
        }));
        if about.metrics.is_empty() {
            text += "  none is described\n";
        }
        match started {
            Ok(all) if all.is_empty() => text += "\nneeds nothing that is not granted to all\n",
            Ok(all) => {
                let _ = write!(text, "\nneeds\n{}", needs(all));
            }
            Err(_) => text += "\nneeds: not known before it is configured\n",
        }
        if !lines.is_empty() {
            let table = indented(name, lines);
            let _ =
                write!(text, "\nwhat is not granted to all is granted by these lines of the configuration\n\n{table}");
        }
        text
    }

    fn json(&self) -> Value {
        let Self { file, name, config, piece, started, lines } = self;
        let metric = |Described { module, name, kind, unit, description }: &Described| json!({ "module": module, "name": name, "kind": kind_name(*kind), "unit": unit, "description": description });
        json!({
            "name": name,
            "version": piece.about.version,
            "description": piece.about.description,
            "file": file,
            "file_bytes": piece.file_bytes,
            "sha256": piece.hash(),
            "artifact_bytes": piece.artifact_bytes(),
            "imports": piece.imports(),
            "config": serde_json::from_str::<Value>(config).unwrap_or_default(),
            "error": started.as_ref().err().map(reason),
            "metrics": piece.about.metrics.iter().map(metric).collect::<Vec<_>>(),
            "needs": started.as_ref().ok().map(|needs| needs.iter().map(need_json).collect::<Vec<_>>()),
            "configuration": table(name, lines),
        })
    }
}

/// Of WASI it is enough to know that it is there: it does nothing.
fn imports(all: Vec<String>) -> String {
    let (wasi, mut others): (Vec<String>, Vec<String>) = all.into_iter().partition(|name| name.starts_with("wasi:"));
    if !wasi.is_empty() {
        others.push(format!("{} interfaces of WASI, which do nothing", wasi.len()));
    }
    if others.is_empty() { "nothing".to_owned() } else { others.join(", ") }
}

/// What a plugin needs, for machines.
pub(super) fn need_json(Need { grant, reason, granted }: &Need) -> Value {
    let (granted, why) = match granted {
        Granted::ToAll => ("all", None),
        Granted::ByConfiguration => ("configuration", None),
        Granted::No => ("no", None),
        Granted::Never(why) => ("never", Some(why)),
    };
    json!({ "key": grant.key(), "value": grant.value(), "reason": reason, "granted": granted, "why": why })
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Gauge => "gauge",
        Kind::Counter => "counter",
    }
}
