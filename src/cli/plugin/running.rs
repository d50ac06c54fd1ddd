//! `gauged plugin list --sample`: what an agent had, by one of its samples: what it tells of each plugin in the module
//! `agent`. Samples are read as the agent writes them, the last one of a log or a single one on several lines.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::cli::error::CommandError;
use crate::cli::output::{OutputFormat, print, print_json, size, table};

/// What stands for standard input.
const STDIN: &str = "-";

/// The longest line, and the longest sample on several lines: more than a hundred thousand metrics.
const SAMPLE_BYTES: u64 = 64 << 20;

/// What the metrics about plugins begin with.
const PREFIX: &str = "plugin_";

/// Shows what the last sample of a file tells of plugins.
pub(super) fn run(file: &Path, json: bool) -> Result<ExitCode, CommandError> {
    let last = if file == Path::new(STDIN) {
        last_sample(io::stdin().lock())
    } else {
        File::open(file).and_then(|file| last_sample(BufReader::new(file)))
    };
    let sample = last.map_err(|error| anyhow::anyhow!("failed to read {}: {error}", file.display()))?;
    let Some(sample) = sample else {
        let file = file.display();
        return Err(CommandError::Other(anyhow::anyhow!("{file} has no sample; give it what the agent prints")));
    };
    let plugins = plugins(&sample);
    match OutputFormat::new(json) {
        OutputFormat::Text => print(&text(&sample, &plugins))?,
        OutputFormat::Json => print_json(&plugins.into_values().map(Value::Object).collect())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The module `agent` of the last sample that there is: of the last line that is one, otherwise of all lines together.
fn last_sample(mut from: impl BufRead) -> io::Result<Option<Map<String, Value>>> {
    let (mut last, mut all, mut line) = (None, Vec::new(), Vec::new());
    loop {
        line.clear();
        if (&mut from).take(SAMPLE_BYTES).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if let Some(sample) = agent(&line) {
            last = Some(sample);
            all.clear();
        } else if (all.len() + line.len()) as u64 <= SAMPLE_BYTES {
            all.extend_from_slice(&line);
        }
    }
    Ok(last.or_else(|| agent(&all)))
}

fn agent(text: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice::<Map<String, Value>>(text).ok()?.remove("agent") {
        Some(Value::Object(agent)) => Some(agent),
        _ => None,
    }
}

/// What there is about each plugin, by its name: the metrics without their prefix, faults by kind.
fn plugins(agent: &Map<String, Value>) -> BTreeMap<String, Map<String, Value>> {
    let mut plugins = BTreeMap::new();
    for (key, value) in agent {
        // Names of plugins and of kinds have nothing in them that is escaped.
        let Some((metric, labels)) = key.strip_prefix(PREFIX).and_then(|key| key.split_once("{plugin=\"")) else {
            continue;
        };
        let Some((name, others)) = labels.split_once('"') else { continue };
        let of = || Map::from_iter([("name".to_owned(), name.into())]);
        let plugin: &mut Map<String, Value> = plugins.entry(name.to_owned()).or_insert_with(of);
        match others.strip_prefix(",kind=\"").and_then(|kind| kind.strip_suffix("\"}")) {
            Some(kind) => {
                if let Value::Object(faults) = plugin.entry(metric).or_insert_with(|| json!({})) {
                    faults.insert(kind.to_owned(), value.clone());
                }
            }
            None => {
                plugin.insert(metric.to_owned(), value.clone());
            }
        }
    }
    plugins
}

fn text(agent: &Map<String, Value>, plugins: &BTreeMap<String, Map<String, Value>>) -> String {
    let said = |key: &str| agent.get(key).and_then(Value::as_str).unwrap_or("?").replace(char::is_control, "\u{fffd}");
    let since_epoch =
        agent.get("timestamp").and_then(Value::as_f64).and_then(|at| Duration::try_from_secs_f64(at).ok());
    let when = since_epoch
        .and_then(|since| UNIX_EPOCH.checked_add(since))
        .map_or_else(|| "?".to_owned(), |at| humantime::format_rfc3339_seconds(at).to_string());
    let (host, version, count) = (said("hostname"), said("version"), plugins.len());
    let titles = ["name", "state", "version", "hash", "last call", "longest", "memory", "faults", "skipped", "dropped"];
    let rows = plugins.values().map(|plugin| {
        let text = |key: &str| plugin.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
        let shown = |key: &str, show: &dyn Fn(f64) -> String| {
            plugin.get(key).and_then(Value::as_f64).map_or_else(|| "-".to_owned(), show)
        };
        let milliseconds = |seconds: f64| format!("{:.3} ms", seconds * 1000.0);
        let whole = |number: f64| format!("{number:.0}");
        let faults = plugin
            .get("faults_total")
            .and_then(Value::as_object)
            .map(|kinds| kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(", "));
        let is_rejected = plugin.get("file_rejected").and_then(Value::as_f64) == Some(1.0);
        let state = text("state") + if is_rejected && text("state") != "rejected" { ", new file rejected" } else { "" };
        vec![
            text("name"),
            state,
            text("version"),
            text("hash"),
            shown("duration_seconds", &milliseconds),
            shown("duration_max_seconds", &milliseconds),
            plugin
                .get("memory_bytes")
                .and_then(Value::as_u64)
                .map_or_else(|| "-".to_owned(), |bytes| size(bytes).to_string()),
            faults.unwrap_or_else(|| "-".to_owned()),
            shown("skipped_total", &whole),
            shown("dropped_metrics_total", &whole),
        ]
    });
    let titles = titles.map(str::to_uppercase).to_vec();
    format!("{host}, gauged {version}, at {when}: {count} plugins\n{}", table([titles].into_iter().chain(rows)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timestamp(text: &str) -> Option<u64> {
        last_sample(text.as_bytes()).expect("memory can be read")?["timestamp"].as_u64()
    }

    #[test]
    fn the_last_sample_is_found_in_whatever_the_agent_wrote() {
        let one = |at: u64| json!({ "agent": { "timestamp": at }, "cpu": {} });
        assert_eq!(timestamp(&format!("{}\n{}\n", one(1), one(2))), Some(2));
        assert_eq!(timestamp(&format!("{}\n{{\"agent\":{{\"torn\n\n{}", one(1), one(2))), Some(2));
        assert_eq!(timestamp(&format!("{}\n{{\"agent\":{{\"torn", one(1))), Some(1));
        assert_eq!(timestamp(&format!("{:#}\n", one(3))), Some(3));
        for none in ["", "\n", "[]", "{\"agent\":1}", "{}", "text"] {
            assert_eq!(timestamp(none), None, "{none}");
        }
    }

    #[test]
    fn faults_are_by_kind_and_metrics_by_plugin() {
        let agent = json!({
            "timestamp": 1, "plugin_up{plugin=\"a\"}": 1, "plugin_state{plugin=\"b-1\"}": "failed",
            "plugin_faults_total{plugin=\"a\",kind=\"trap\"}": 2, "plugin_faults_total{plugin=\"a\",kind=\"load\"}": 1,
            "plugin_of_none": 1, "plugin_broken{plugin=\"": 1,
            // No agent writes this.
            "plugin_name{plugin=\"a\",kind=\"trap\"}": 1,
        });
        let plugins = plugins(agent.as_object().expect("an object"));
        let expected = json!({
            "a": { "name": "a", "up": 1, "faults_total": { "trap": 2, "load": 1 } },
            "b-1": { "name": "b-1", "state": "failed" },
        });
        assert_eq!(json!(plugins), expected);
    }
}
