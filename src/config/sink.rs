//! The table `[sinks.NAME]`, validated: one output of samples.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeValue;

use super::client::ClientSettings;
use super::count::parse_count;
use super::key::{DefaultValue, Key, PATTERNS, Reload, SINK_TABLE, Values};
use super::plugin::is_plugin_name;
use super::problem_list::ProblemList;
use super::secret::ReadSecret;
use super::sink_file::{self, FileKeys, FileSettings};
use super::sink_network::parsing::NetworkKeys;
use super::sink_network::{NetworkSettings, rows};
use super::size::parse_size;
use super::word::word;
use crate::selection::{Selection, SeriesPattern};

/// The default of `queue_samples`: the samples of ten minutes at the default interval.
const DEFAULT_QUEUE_SAMPLES: usize = 60;

/// The most: an hour at ten samples a second.
const MAX_QUEUE_SAMPLES: usize = 36_000;

/// The default of `queue_bytes`: sixty samples with ten thousand series each.
const DEFAULT_QUEUE_BYTES: u64 = 16 << 20;

/// The least: one sample of a small host.
const MIN_QUEUE_BYTES: u64 = 64 << 10;

/// The most: more belongs on a disk.
const MAX_QUEUE_BYTES: u64 = 1 << 30;

/// The most of `max_series`: as many as the agent may have.
pub(super) const MAX_SINK_SERIES: usize = 10_000_000;

/// How many sinks there may be: each has a thread of its own.
const MAX_SINKS: usize = 32;

/// The name of the sink that there is without any table.
pub(crate) const DEFAULT_SINK: &str = "stdout";

/// The values of `kind`.
const KINDS: &[&str] = &["stdout", "file", "remote_write", "otlp", "open_falcon", "influx"];

/// The values of `on_closed`.
const ON_CLOSED: &[&str] = &["end", "continue"];

/// An output of samples.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkConfig {
    /// Its target, with the settings of the target's kind.
    pub kind: SinkKind,
    /// Its own selection of series, within the agent's.
    pub selection: Selection,
    /// How many series it may have; none for all.
    pub max_series: Option<usize>,
    /// How many samples wait for it at most.
    pub queue_samples: usize,
    /// How much memory these samples have at most.
    pub queue_bytes: u64,
}

/// The target of a sink.
#[derive(Debug, Clone, PartialEq)]
pub enum SinkKind {
    /// A line of JSON for each sample on standard output.
    Stdout(OnClosed),
    /// A line of JSON for each sample at the end of a file.
    File(FileSettings),
    /// Numbers to a receiver in the network.
    Network(Arc<NetworkSettings>),
}

/// The identity by which a sink is the same one after a change of its configuration: it keeps its queue, and what it has open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SinkTarget<'a> {
    Stdout,
    File(&'a Path),
    /// Its spool has this name and protocol. The receiver may be another one.
    Network {
        name: &'a str,
        protocol: &'static str,
    },
}

/// The effect of a reader of standard output that has closed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnClosed {
    /// The agent ends.
    End,
    /// The agent goes on; the samples of this sink are lost and counted.
    Continue,
}

impl SinkKind {
    /// The value of `kind`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Stdout(_) => "stdout",
            Self::File(_) => "file",
            Self::Network(settings) => settings.protocol.name(),
        }
    }

    /// The target of the sink with this name. No two sinks have the same one.
    pub(crate) fn target<'a>(&'a self, name: &'a str) -> SinkTarget<'a> {
        match self {
            Self::Stdout(_) => SinkTarget::Stdout,
            Self::File(settings) => SinkTarget::File(&settings.path),
            Self::Network(settings) => SinkTarget::Network { name, protocol: settings.protocol.name() },
        }
    }

    /// The value of a key that only some kinds of sinks have, as it is written; null where it has its default, and that is no value. None
    /// for the keys of other kinds. `client` has the defaults of network sinks.
    pub(super) fn written_value(&self, name: &str, client: &ClientSettings) -> Option<serde_json::Value> {
        match (self, name) {
            (Self::Stdout(on_closed), "on_closed") => Some(on_closed.name().into()),
            (Self::Stdout(_), _) => None,
            (Self::File(settings), name) => sink_file::written_value(settings, name),
            (Self::Network(settings), name) => settings.written_value(name, client),
        }
    }
}

impl OnClosed {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Continue => "continue",
        }
    }
}

impl SinkConfig {
    /// The sink that there is without any table.
    pub(crate) fn stdout() -> Self {
        Self {
            kind: SinkKind::Stdout(OnClosed::End),
            selection: Selection::default(),
            max_series: None,
            queue_samples: DEFAULT_QUEUE_SAMPLES,
            queue_bytes: DEFAULT_QUEUE_BYTES,
        }
    }
}

/// Parses the table `sinks`, in which each table has these keys. `client` has the defaults of network sinks.
pub(super) fn parse(
    problems: &mut ProblemList<'_>,
    value: Spanned<DeValue<'_>>,
    known_keys: &str,
    client: &ClientSettings,
    read_secret: &ReadSecret<'_>,
) -> BTreeMap<String, SinkConfig> {
    let (mut sinks, mut targets) = (BTreeMap::new(), Vec::<(String, SinkKind, usize)>::new());
    for (name, value) in problems.table("sinks", value).unwrap_or_default() {
        let key = format!("sinks.{}", name.get_ref());
        let span = name.span();
        if !is_plugin_name(name.get_ref()) {
            let message = "not a sink's name; use letters, digits, - and _, at most 128 of them";
            problems.add(span, &key, message.to_owned());
        } else if sinks.len() == MAX_SINKS {
            problems.add(span, &key, format!("is one sink too many; at most {MAX_SINKS} are allowed"));
        } else if let Some(sink) = parse_sink(problems, &key, span.clone(), value, known_keys, client, read_secret) {
            let same = targets.iter().find(|(other, kind, _)| kind.target(other) == sink.kind.target(name.get_ref()));
            if let Some(&(_, _, other)) = same {
                problems.add_second(span, &key, "is a second sink with the same target", other);
            } else {
                targets.push((name.get_ref().to_string(), sink.kind.clone(), span.start));
                sinks.insert(name.get_ref().to_string(), sink);
            }
        }
    }
    sinks
}

fn parse_sink(
    problems: &mut ProblemList<'_>,
    table_key: &str,
    span: Range<usize>,
    value: Spanned<DeValue<'_>>,
    known_keys: &str,
    client: &ClientSettings,
    read_secret: &ReadSecret<'_>,
) -> Option<SinkConfig> {
    let mut sink = SinkConfig::stdout();
    let (mut kind, mut has_kind, mut on_closed, mut file) = (None, false, OnClosed::End, FileKeys::new());
    let mut network = NetworkKeys::default();
    // The keys that some kinds of sinks have.
    let mut own_keys: Vec<(Range<usize>, String, &[&str])> = Vec::new();
    for (name, value) in problems.table(table_key, value)? {
        let key = format!("{table_key}.{}", name.get_ref());
        let at = name.span();
        match &**name.get_ref() {
            "kind" => {
                has_kind = true;
                kind = problems.parsed(&key, value, |text| word(text, KINDS));
            }
            "include" => sink.selection.include = problems.parsed_list(&key, value, SeriesPattern::parse),
            "exclude" => sink.selection.exclude = problems.parsed_list(&key, value, SeriesPattern::parse),
            "max_series" => sink.max_series = problems.parsed(&key, value, parse_max_series),
            "queue_samples" => {
                let bounded = |text: &str| parse_count(text, 1, MAX_QUEUE_SAMPLES);
                sink.queue_samples = problems.parsed(&key, value, bounded).unwrap_or(sink.queue_samples);
            }
            "queue_bytes" => {
                let bounded = |text: &str| parse_size(text, MIN_QUEUE_BYTES, MAX_QUEUE_BYTES);
                sink.queue_bytes = problems.parsed(&key, value, bounded).unwrap_or(sink.queue_bytes);
            }
            "on_closed" => {
                if problems.parsed(&key, value, |text| word(text, ON_CLOSED)) == Some("continue") {
                    on_closed = OnClosed::Continue;
                }
                own_keys.push((at, key, &["stdout"]));
            }
            other => match file.parse(problems, other, &key, value) {
                None => own_keys.push((at, key, &["file"])),
                Some(value) => match network.parse(problems, other, &key, &at, value, read_secret) {
                    None => own_keys.push((at, key, rows::kinds(other))),
                    Some(_) => problems.unknown(at, &key, known_keys),
                },
            },
        }
    }
    let Some(kind) = kind else {
        // One that is wrong is among the problems.
        if !has_kind {
            problems.add(
                span,
                table_key,
                format!("has no kind; write kind = \"stdout\", or one of {}", KINDS[1..].join(", ")),
            );
        }
        return None;
    };
    for (at, key, owners) in own_keys.into_iter().filter(|(_, _, owners)| !owners.contains(&kind)) {
        let remedy = match owners {
            [owner] => format!("set kind = \"{owner}\""),
            _ => "set another kind".to_owned(),
        };
        let owners = owners.join(", ");
        let message =
            format!("is for sinks of kind {owners}, and this one is of kind {kind}; remove the key, or {remedy}");
        problems.add(at, &key, message);
    }
    sink.kind = match kind {
        "stdout" => SinkKind::Stdout(on_closed),
        "file" => SinkKind::File(file.finish(problems, table_key, span)?),
        _ => SinkKind::Network(Arc::new(network.finish(problems, kind, table_key, span, client)?)),
    };
    Some(sink)
}

/// The number of series that an output may have.
pub(super) fn parse_max_series(text: &str) -> Result<usize, String> {
    parse_count(text, 1, MAX_SINK_SERIES)
}

/// The rows of these keys in the table of all keys.
pub(super) fn keys() -> Vec<Key> {
    let key = |name, values, default, meaning| Key {
        table: SINK_TABLE,
        name,
        values,
        default,
        meaning,
        reload: Reload::Applied,
    };
    let depends = |how, example| DefaultValue::Depends { how, example };
    let mut keys = vec![
        key("kind", Values::Words(KINDS), depends("none; it is required", "\"stdout\""), "target of the samples"),
        key(
            "include",
            Values::List(PATTERNS),
            DefaultValue::EmptyList,
            "[series](#series) that the sink has, of those that there are in any output; all if it is empty",
        ),
        key("exclude", Values::List(PATTERNS), DefaultValue::EmptyList, "series that the sink does not have"),
        key(
            "max_series",
            Values::Count(1, MAX_SINK_SERIES as u64),
            depends("all", "10000"),
            "how many series the sink has; those that came first stay, and the number of the others is a metric",
        ),
        key(
            "queue_samples",
            Values::Count(1, MAX_QUEUE_SAMPLES as u64),
            DefaultValue::Count(DEFAULT_QUEUE_SAMPLES as u64),
            "samples that wait for the sink; beyond it the oldest is dropped",
        ),
        key(
            "queue_bytes",
            Values::Size(MIN_QUEUE_BYTES, MAX_QUEUE_BYTES),
            DefaultValue::Size(DEFAULT_QUEUE_BYTES),
            "memory of these samples; beyond it the oldest is dropped, the newest never",
        ),
        key(
            "on_closed",
            Values::Words(ON_CLOSED),
            DefaultValue::Word("end"),
            "of kind `stdout`: what follows when the reader of standard output has closed it",
        ),
    ];
    keys.extend(sink_file::keys(SINK_TABLE));
    keys.extend(rows::keys(SINK_TABLE));
    keys
}
