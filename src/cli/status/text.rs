//! A status as text: the agent, its collectors and plugins as tables, then what is wrong, each with its remedy.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use crate::cli::output::{size, table};
use crate::escape::{printable, push_escaped};
use crate::status::{
    AddressStatus, AgentDocument, CollectorDocument, Document, Finding, PluginDocument, SinkDocument, TickDocument,
    findings,
};

/// The text of a status.
pub(in crate::cli) fn status_text(document: &Document) -> String {
    let mut text = agent(&document.agent);
    text.push_str("\ncollectors\n");
    text.push_str(&table(collectors(&document.collectors)));
    if !document.sinks.is_empty() {
        text.push_str("\nsinks\n");
        text.push_str(&table(sinks(&document.sinks)));
    }
    if !document.addresses.is_empty() {
        text.push_str("\nHTTP addresses\n");
        text.push_str(&table(addresses(&document.addresses)));
    }
    text.push('\n');
    text.push_str(&plugins_text(document));
    let findings = findings(document);
    if !findings.is_empty() {
        text.push_str("\nproblems\n");
        for finding in &findings {
            push_finding(&mut text, finding);
        }
    }
    text
}

/// The plugins of a status as a table, below a line about all of them.
pub(in crate::cli) fn plugins_text(document: &Document) -> String {
    let plugins = &document.plugins;
    let mut title = "plugins".to_owned();
    if let Some(directory) = &plugins.directory {
        let _ = write!(title, " from {}", printable(directory));
    }
    if let Some(age) = plugins.age_seconds {
        let _ = write!(title, ", as of {} ago", seconds(age));
    }
    if let Some(bytes) = plugins.memory_bytes {
        let _ = write!(title, ", {}", size(bytes));
    }
    if let Some(bytes) = plugins.memory_limit_bytes {
        let _ = write!(title, " of {}", size(bytes));
    }
    let mut text = format!("{title}\n");
    if plugins.list.is_empty() {
        text.push_str("  none\n");
    } else {
        text.push_str(&table(rows(&plugins.list)));
    }
    for (count, things) in
        [(plugins.omitted, "plugins that never served"), (plugins.omitted_files, "files that make no plugin")]
    {
        if count > 0 {
            let _ = writeln!(text, "  and {count} more {things}");
        }
    }
    text
}

fn agent(agent: &AgentDocument) -> String {
    let own = env!("CARGO_PKG_VERSION");
    let (version, host) = (printable(&agent.version), agent.hostname.as_deref().unwrap_or("?"));
    let mut text = format!("gauged {version} on {}, up {}", printable(host), seconds(agent.uptime_seconds));
    if agent.version != own {
        let _ = write!(text, "; this program is {own}");
    }
    text.push('\n');
    let row = |key: &str, value: String| vec![key.to_owned(), value];
    let mut rows = vec![
        row("process", agent.pid.to_string()),
        row("configuration", configuration(agent)),
        row("interval", seconds(agent.interval_seconds)),
    ];
    rows.extend(match &agent.tick {
        Some(tick) => ticks(agent, tick),
        None => vec![row("last tick", "none yet".to_owned())],
    });
    let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), |bytes| size(bytes).to_string());
    let number = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    rows.push(row(
        "resources",
        format!(
            "{} resident, {} of processor time, {} threads, {} descriptors, {} series",
            bytes(agent.resident_memory_bytes),
            agent.cpu_seconds_total.map_or_else(|| "?".to_owned(), seconds),
            number(agent.threads),
            number(agent.open_fds),
            number(agent.series),
        ),
    ));
    text + &table(rows)
}

/// The configuration file, and since when its content is in effect.
fn configuration(agent: &AgentDocument) -> String {
    let file = agent.configuration.clone().unwrap_or_else(|| "none".to_owned());
    let at = agent.configured_at_seconds.and_then(|at| UNIX_EPOCH.checked_add(Duration::from_secs(at)));
    let since = at.map(|at| format!(", in effect since {}", humantime::format_rfc3339_seconds(at)));
    let partly = if agent.is_configuration_in_effect == Some(false) { ", and not as it was read last" } else { "" };
    format!("{}{}{partly}", printable(&file), since.unwrap_or_default())
}

fn ticks(agent: &AgentDocument, tick: &TickDocument) -> Vec<Vec<String>> {
    let moment =
        Duration::try_from_secs_f64(tick.timestamp_seconds).ok().and_then(|since| UNIX_EPOCH.checked_add(since));
    let moment = moment.map_or_else(|| "?".to_owned(), |at| humantime::format_rfc3339_seconds(at).to_string());
    let overdue = if tick.is_overdue { ", overdue" } else { "" };
    let row = |key: &str, value: String| vec![key.to_owned(), value];
    vec![
        row("last tick", format!("{moment}, {} ago{overdue}", seconds(tick.age_seconds))),
        row(
            "tick delay",
            format!("{}, at most {}", milliseconds(tick.delay_seconds), milliseconds(tick.longest_delay_seconds)),
        ),
        row(
            "lost",
            format!("{} ticks missed, {} samples dropped", agent.missed_ticks_total, agent.dropped_samples_total),
        ),
    ]
}

fn collectors(collectors: &[CollectorDocument]) -> Vec<Vec<String>> {
    let titles = ["name", "state", "duration", "skipped lines"].map(str::to_uppercase).to_vec();
    let row = |collector: &CollectorDocument| {
        let state = match (collector.is_enabled, collector.is_successful) {
            (false, _) => "off",
            (true, Some(true)) => "ok",
            (true, Some(false)) => "incomplete",
            (true, None) => "-",
        };
        vec![
            collector.name.clone(),
            state.to_owned(),
            collector.duration_seconds.map_or_else(|| "-".to_owned(), milliseconds),
            collector.skipped_lines_total.map_or_else(|| "-".to_owned(), |lines| lines.to_string()),
        ]
    };
    [titles].into_iter().chain(collectors.iter().map(row)).collect()
}

fn sinks(sinks: &[SinkDocument]) -> Vec<Vec<String>> {
    let titles =
        ["name", "kind", "state", "delivered", "dropped", "waiting", "last success", "duration", "errors", "left out"];
    let row = |sink: &SinkDocument| {
        let of_kinds = |kinds: &BTreeMap<String, u64>| counts(kinds.iter().map(|(kind, count)| (*count, &**kind)));
        let last = sink.last_success_seconds.and_then(|at| Duration::try_from_secs_f64(at).ok());
        let last = last.and_then(|since| UNIX_EPOCH.checked_add(since));
        vec![
            sink.name.clone(),
            sink.kind.clone(),
            (if sink.is_up { "up" } else { "down" }).to_owned(),
            sink.delivered_samples_total.to_string(),
            of_kinds(&sink.dropped_samples_total),
            waiting(sink),
            last.map_or_else(|| "-".to_owned(), |at| humantime::format_rfc3339_seconds(at).to_string()),
            sink.duration_seconds.map_or_else(|| "-".to_owned(), milliseconds),
            of_kinds(&sink.errors_total),
            sink.left_out_series.to_string(),
        ]
    };
    [titles.map(str::to_uppercase).to_vec()].into_iter().chain(sinks.iter().map(row)).collect()
}

/// The samples that wait for a sink, and for how long where that is known.
fn waiting(sink: &SinkDocument) -> String {
    match &sink.behind {
        Some(behind) if behind.samples > 0 => {
            format!("{} for {}", sink.queue_samples + behind.samples, seconds(behind.seconds.round()))
        }
        _ => sink.queue_samples.to_string(),
    }
}

fn addresses(addresses: &[AddressStatus]) -> Vec<Vec<String>> {
    let titles = ["address", "state"].map(str::to_uppercase).to_vec();
    let row = |address: &AddressStatus| {
        vec![address.address.clone(), (if address.is_open { "open" } else { "closed" }).to_owned()]
    };
    [titles].into_iter().chain(addresses.iter().map(row)).collect()
}

fn rows(plugins: &[PluginDocument]) -> Vec<Vec<String>> {
    let titles = [
        "name",
        "state",
        "version",
        "hash",
        "interval",
        "last call",
        "longest",
        "memory",
        "faults",
        "errors",
        "lost",
        "left out",
    ];
    let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let time = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), milliseconds);
    let row = |plugin: &PluginDocument| {
        let status = &plugin.status;
        let faults = plugin.faults_total.iter().map(|(kind, count)| (*count, &**kind));
        let lost = [(plugin.skipped_total, "skipped"), (plugin.late_total, "late")];
        let left_out = [
            (plugin.skipped_lines_total, "lines"),
            (plugin.dropped_metrics_total, "metrics"),
            (plugin.dropped_messages_total, "messages"),
        ];
        let interval = if status.interval_seconds > 0.0 { seconds(status.interval_seconds) } else { "-".to_owned() };
        vec![
            status.name.clone(),
            status.state.to_string(),
            shown(&status.version),
            shown(&status.hash),
            interval,
            time(plugin.duration_seconds),
            time(plugin.duration_max_seconds),
            plugin.memory_bytes.map_or_else(|| "-".to_owned(), |bytes| size(bytes).to_string()),
            counts(faults),
            plugin.errors_total.to_string(),
            counts(lost),
            counts(left_out),
        ]
    };
    [titles.map(str::to_uppercase).to_vec()].into_iter().chain(plugins.iter().map(row)).collect()
}

/// The counts that are not 0, each with its kind.
fn counts<'a>(counts: impl IntoIterator<Item = (u64, &'a str)>) -> String {
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, kind)| format!("{kind} {count}")).collect();
    if counts.is_empty() { "0".to_owned() } else { counts.join(", ") }
}

fn push_finding(text: &mut String, finding: &Finding) {
    let Finding { part, reason, remedy, lines, is_wrong } = finding;
    let mark = if *is_wrong { "!" } else { "-" };
    let _ = writeln!(text, "  {mark} {}: {}", printable(part), printable(reason));
    if !remedy.is_empty() {
        let _ = writeln!(text, "      remedy: {}", printable(remedy));
    }
    for line in lines {
        text.push_str("        ");
        // Whole, whatever its length: it is to be copied.
        push_escaped(text, line);
        text.push('\n');
    }
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.3} ms", seconds * 1000.0)
}

/// A time to the second, or to the millisecond where it is short.
fn seconds(seconds: f64) -> String {
    let Ok(time) = Duration::try_from_secs_f64(seconds) else { return "?".to_owned() };
    let rounded = if time < Duration::from_secs(10) {
        Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    } else {
        Duration::from_secs(time.as_secs())
    };
    humantime::format_duration(rounded).to_string()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::status::{FileStatus, PluginStatus, Problem, ProblemKind};

    fn document() -> Document {
        let agent = AgentDocument {
            version: "0.0.9".to_owned(),
            pid: 42,
            hostname: Some("web-1".to_owned()),
            uptime_seconds: 93_784.2,
            interval_seconds: 10.0,
            configuration: Some("/etc/gauged/gauged.toml".to_owned()),
            tick: Some(TickDocument {
                timestamp_seconds: 1_763_877_600.0,
                age_seconds: 3.21,
                delay_seconds: 0.000_213,
                longest_delay_seconds: 0.004,
                ..TickDocument::default()
            }),
            missed_ticks_total: 2,
            cpu_seconds_total: Some(12.5),
            resident_memory_bytes: Some(20 << 20),
            threads: Some(12),
            ..AgentDocument::default()
        };
        let collectors = vec![
            CollectorDocument {
                name: "cpu".to_owned(),
                is_enabled: true,
                is_successful: Some(true),
                duration_seconds: Some(0.000_12),
                skipped_lines_total: Some(1),
                problem: None,
            },
            CollectorDocument { name: "load".to_owned(), ..CollectorDocument::default() },
        ];
        let redis = PluginStatus {
            name: "redis".to_owned(),
            state: "failed".into(),
            is_configured: true,
            version: Some("1.2.3".to_owned()),
            hash: Some("e4e626c0".to_owned()),
            interval_seconds: 30.0,
            problems: vec![Problem {
                fault: Some("trap".to_owned()),
                is_wrong: true,
                ..Problem::new(ProblemKind::Call, "collect\u{1b}[31m failed", "fix the plugin")
            }],
            missing_grants: vec!["connect = [\"db:1\"]".to_owned()],
            ..PluginStatus::default()
        };
        let mut document = Document { agent, collectors, ..Document::default() };
        document.plugins.is_responding = true;
        document.plugins.directory = Some("/etc/gauged/plugins".to_owned());
        document.plugins.age_seconds = Some(3.21);
        document.plugins.memory_bytes = Some(3 << 20);
        document.plugins.list = vec![PluginDocument {
            status: redis,
            duration_seconds: Some(0.000_3),
            memory_bytes: Some(1 << 20),
            faults_total: BTreeMap::from([("trap".to_owned(), 3)]),
            late_total: 1,
            skipped_lines_total: 5,
            ..PluginDocument::default()
        }];
        let problem = Problem::new(ProblemKind::File, "is a directory", "put a .wasm file there");
        document.plugins.files = vec![FileStatus { file: "folder.wasm".to_owned(), problem }];
        document.plugins.omitted_files = 7;
        let problem =
            Problem::new(ProblemKind::Address, "failed to listen: in use", "end the other program").wrong_if(true);
        document.addresses = vec![
            AddressStatus { address: "127.0.0.1:9101".to_owned(), is_open: true, problem: None },
            AddressStatus { address: "unix:/run/s".to_owned(), is_open: false, problem: Some(problem) },
        ];
        document
    }

    #[test]
    fn status_is_shown_as_tables_and_problems() {
        let text = status_text(&document()).replace(env!("CARGO_PKG_VERSION"), "VERSION");
        expect![[r#"
            gauged 0.0.9 on web-1, up 1day 2h 3m 4s; this program is VERSION
              process        42
              configuration  /etc/gauged/gauged.toml
              interval       10s
              last tick      2025-11-23T06:00:00Z, 3s 210ms ago
              tick delay     0.213 ms, at most 4.000 ms
              lost           2 ticks missed, 0 samples dropped
              resources      20.0 MiB resident, 12s of processor time, 12 threads, ? descriptors, ? series

            collectors
              NAME  STATE  DURATION  SKIPPED LINES
              cpu   ok     0.120 ms  1
              load  off    -         -

            HTTP addresses
              ADDRESS         STATE
              127.0.0.1:9101  open
              unix:/run/s     closed

            plugins from /etc/gauged/plugins, as of 3s 210ms ago, 3.0 MiB
              NAME   STATE   VERSION  HASH      INTERVAL  LAST CALL  LONGEST  MEMORY   FAULTS  ERRORS  LOST    LEFT OUT
              redis  failed  1.2.3    e4e626c0  30s       0.300 ms   -        1.0 MiB  trap 3  0       late 1  lines 5
              and 7 more files that make no plugin

            problems
              ! http unix:/run/s: failed to listen: in use
                  remedy: end the other program
              ! redis: its last call: collect\u{1b}[31m failed (trap)
                  remedy: fix the plugin
              - redis: is missing grants
                  remedy: write under [plugins.redis], and reload the agent
                    connect = ["db:1"]
              - folder.wasm: is a directory
                  remedy: put a .wasm file there
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn starting_agent_has_no_tick_yet() {
        let text = status_text(&Document::default());
        assert!(text.contains("  last tick      none yet\n") && text.ends_with("\nplugins\n  none\n"), "{text}");
    }

    #[test]
    fn absurd_times_are_unknown() {
        assert_eq!([seconds(-1.0), seconds(f64::NAN), seconds(0.25), seconds(75.9)], ["?", "?", "250ms", "1m 15s"]);
    }
}
