//! `gauged plugin list --sample`: the plugins of a running agent, from the metrics of the module `agent` in its output. The
//! input is lines of JSON, of which the last sample counts, or a single sample on several lines.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::cli::error::CommandError;
use crate::cli::output::{OutputFormat, print, print_json, size, table};

/// The file name that stands for standard input.
const STDIN: &str = "-";

/// The longest line, and the longest sample on several lines: enough for a hundred thousand metrics.
const SAMPLE_BYTES: u64 = 64 << 20;

/// The prefix of the metrics about plugins.
const PREFIX: &str = "plugin_";

/// Shows the plugins of the last sample in a file.
pub(in crate::cli::plugin) fn run(file: &Path, json: bool) -> Result<ExitCode, CommandError> {
    let last = if file == Path::new(STDIN) {
        last_sample(io::stdin().lock())
    } else {
        File::open(file).and_then(|file| last_sample(BufReader::new(file)))
    };
    let sample = last.map_err(|error| anyhow::anyhow!("failed to read {}: {error}", file.display()))?;
    let Some(sample) = sample else {
        let file = file.display();
        return Err(CommandError::Other(anyhow::anyhow!("{file} has no sample; use the output of the agent")));
    };
    let plugins = plugins(&sample);
    match OutputFormat::new(json) {
        OutputFormat::Text => print(&text(&sample, &plugins))?,
        OutputFormat::Json => print_json(&plugins.into_values().map(Value::Object).collect())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The module `agent` of the last sample: of the last line that is a sample, otherwise of all lines together.
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

/// The metrics of each plugin by its name, without their prefix, and with an object for the faults of each kind.
fn plugins(agent: &Map<String, Value>) -> BTreeMap<String, Map<String, Value>> {
    let mut plugins = BTreeMap::new();
    for (key, value) in agent {
        // Names of plugins and of kinds have no characters that are escaped.
        let Some((metric, labels)) = key.strip_prefix(PREFIX).and_then(|key| key.split_once("{plugin=\"")) else {
            continue;
        };
        let Some((name, others)) = labels.split_once('"') else { continue };
        let named = || Map::from_iter([("name".to_owned(), name.into())]);
        let plugin: &mut Map<String, Value> = plugins.entry(name.to_owned()).or_insert_with(named);
        match others.strip_prefix(",kind=\"").and_then(|kind| kind.strip_suffix("\"}")) {
            Some(kind) => {
                if let Value::Object(faults) = plugin.entry(metric).or_insert_with(|| json!({})) {
                    faults.insert(kind.to_owned(), value.clone());
                }
            }
            // The sum of all kinds, of which there may be none.
            None if metric == "faults_total" => {
                plugin.entry(metric).or_insert_with(|| json!({}));
            }
            None => {
                plugin.insert(metric.to_owned(), value.clone());
            }
        }
    }
    plugins
}

fn text(agent: &Map<String, Value>, plugins: &BTreeMap<String, Map<String, Value>>) -> String {
    let text = |key: &str| agent.get(key).and_then(Value::as_str).unwrap_or("?").replace(char::is_control, "\u{fffd}");
    let since_epoch =
        agent.get("timestamp").and_then(Value::as_f64).and_then(|at| Duration::try_from_secs_f64(at).ok());
    let when = since_epoch
        .and_then(|since| UNIX_EPOCH.checked_add(since))
        .map_or_else(|| "?".to_owned(), |at| humantime::format_rfc3339_seconds(at).to_string());
    let (host, version, count) = (text("hostname"), text("version"), plugins.len());
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
            .map(|kinds| kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(", "))
            .map(|faults| if faults.is_empty() { "0".to_owned() } else { faults });
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
        last_sample(text.as_bytes()).expect("reading memory does not fail")?["timestamp"].as_u64()
    }

    #[test]
    fn last_sample_is_found_in_any_output() {
        let sample = |at: u64| json!({ "agent": { "timestamp": at }, "cpu": {} });
        assert_eq!(timestamp(&format!("{}\n{}\n", sample(1), sample(2))), Some(2));
        assert_eq!(timestamp(&format!("{}\n{{\"agent\":{{\"torn\n\n{}", sample(1), sample(2))), Some(2));
        assert_eq!(timestamp(&format!("{}\n{{\"agent\":{{\"torn", sample(1))), Some(1));
        assert_eq!(timestamp(&format!("{:#}\n", sample(3))), Some(3));
        for none in ["", "\n", "[]", "{\"agent\":1}", "{}", "text"] {
            assert_eq!(timestamp(none), None, "{none}");
        }
    }

    #[test]
    fn metrics_are_grouped_by_plugin_and_fault_kind() {
        let agent = json!({
            "timestamp": 1, "plugin_up{plugin=\"a\"}": 1, "plugin_faults_total{plugin=\"a\"}": 3,
            "plugin_faults_total{plugin=\"b-1\"}": 0, "plugin_faults_total{kind=\"trap\"}": 2, "plugin_state{plugin=\"b-1\"}": "failed",
            "plugin_faults_total{plugin=\"a\",kind=\"trap\"}": 2, "plugin_faults_total{plugin=\"a\",kind=\"load\"}": 1,
            "plugin_of_none": 1, "plugin_broken{plugin=\"": 1,
            // An invalid combination.
            "plugin_name{plugin=\"a\",kind=\"trap\"}": 1,
        });
        let plugins = plugins(agent.as_object().expect("an object"));
        let expected = json!({
            "a": { "name": "a", "up": 1, "faults_total": { "trap": 2, "load": 1 } },
            "b-1": { "name": "b-1", "state": "failed", "faults_total": {} },
        });
        assert_eq!(json!(plugins), expected);
    }
}
