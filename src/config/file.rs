//! The configuration's files, with all pieces as one document: parsed from TOML with spans. Parsing continues after an error, so
//! that one run reports all errors, each with file, line, key and remedy.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::agent_limits::AgentLimits;
use super::client::{CLIENT_TABLE, ClientSettings};
use super::document;
use super::duration::{DEFAULT_INTERVAL, parse_duration, parse_interval};
use super::http::HttpConfig;
use super::key::{PLUGIN_CLIENT_TABLE, PLUGIN_LIMITS_TABLE, PLUGIN_TABLE, SINK_TABLE};
use super::keys::known_keys;
use super::limits::Limit;
use super::log::{LogConfig, LogFormat, LogLevel};
use super::metrics::{MetricsConfig, parse_tags};
use super::native::{CpuConfig, NativeConfig};
use super::piece::Piece;
use super::plugin::{
    DEFAULT_TIMEOUT, MAX_MEMORY_BYTES, MAX_TIMEOUT, MIN_MEMORY_BYTES, MIN_TIMEOUT, PluginConfig, is_plugin_name,
};
use super::problem::Problem;
use super::problem_list::ProblemList;
use super::secret::ReadSecret;
use super::sink::{self, SinkConfig};
use super::size::parse_size;
use crate::address::ConnectGrant;
use crate::address::fetch_grant::FetchGrant;
use crate::hostname;
use crate::hostpath::Pattern;

/// The content of the files.
#[derive(Debug, Default, PartialEq)]
pub(super) struct FileConfig {
    pub(super) interval: Option<Duration>,
    pub(super) hostname: Option<String>,
    pub(super) log: LogConfig,
    pub(super) limits: AgentLimits,
    pub(super) plugins_directory: Option<PathBuf>,
    pub(super) cache: Option<PathBuf>,
    pub(super) state_directory: Option<PathBuf>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) metrics: MetricsConfig,
    pub(super) sinks: BTreeMap<String, SinkConfig>,
    pub(super) client: ClientSettings,
    pub(super) http: Option<HttpConfig>,
    pub(super) cpu: CpuConfig,
    pub(super) load: NativeConfig,
    pub(super) memory: NativeConfig,
    pub(super) host: NativeConfig,
    pub(super) plugins: BTreeMap<String, PluginConfig>,
    /// Those with a table `client`, with what it inherits.
    pub(super) plugin_clients: BTreeMap<String, ClientSettings>,
}

/// The values of all pieces, as far as they are valid, and all problems.
pub(super) struct Parsed {
    pub(super) written: FileConfig,
    pub(super) problems: Vec<Problem>,
    /// Whether all pieces are in the values: each can be read, and is TOML.
    pub(super) is_complete: bool,
}

/// Parses all pieces. `interval` is the one on the command line, if any: the plugins' intervals have to be multiples of the
/// agent's. `read_secret` reads the file that a value of `secrets` names.
pub(super) fn parse(pieces: &[Piece], interval: Option<Duration>, read_secret: &ReadSecret<'_>) -> Parsed {
    let mut problems = ProblemList::new(pieces);
    let (merged, is_complete) = document::merge(pieces, &mut problems);

    let mut written = FileConfig::default();
    let (mut plugins, mut sinks) = (None, None);
    let mut is_interval_known = is_complete;
    for (key, value) in merged {
        match &**key.get_ref() {
            "interval" => {
                written.interval = problems.parsed("interval", value, parse_interval);
                is_interval_known = written.interval.is_some();
            }
            "hostname" => {
                let checked = |text: &str| hostname::check(text).map(|()| text.to_owned());
                written.hostname = problems.parsed("hostname", value, checked);
            }
            "plugins_directory" => {
                let checked = |text: &str| parse_directory(text, "/opt/gauged/plugins");
                written.plugins_directory = problems.parsed("plugins_directory", value, checked);
            }
            "cache" => {
                written.cache = problems.parsed("cache", value, |text| parse_directory(text, "/var/cache/gauged"));
            }
            "state_directory" => {
                let checked = |text: &str| parse_directory(text, "/var/lib/gauged");
                written.state_directory = problems.parsed("state_directory", value, checked);
            }
            "log" => {
                for (name, value) in problems.table("log", value).unwrap_or_default() {
                    let key = format!("log.{}", name.get_ref());
                    match &**name.get_ref() {
                        "level" => {
                            written.log.level =
                                problems.parsed(&key, value, LogLevel::parse).unwrap_or(written.log.level);
                        }
                        "format" => {
                            written.log.format =
                                problems.parsed(&key, value, LogFormat::parse).unwrap_or(written.log.format);
                        }
                        _ => problems.unknown(name.span(), &key, &known_keys("log")),
                    }
                }
            }
            "cpu" => {
                for (name, value) in problems.table("cpu", value).unwrap_or_default() {
                    let key = format!("cpu.{}", name.get_ref());
                    match &**name.get_ref() {
                        "enabled" => written.cpu.enabled = problems.switch(&key, value, true),
                        "per_core" => written.cpu.per_core = problems.switch(&key, value, false),
                        _ => problems.unknown(name.span(), &key, &known_keys("cpu")),
                    }
                }
            }
            "http" => {
                written.http = HttpConfig::parse(&mut problems, key.span(), value, read_secret, &known_keys("http"));
            }
            "limits" => written.limits = AgentLimits::parse(&mut problems, value, &known_keys("limits")),
            "tags" => written.tags = parse_tags(&mut problems, value),
            "metrics" => written.metrics = MetricsConfig::parse(&mut problems, value, &known_keys("metrics")),
            "sinks" => sinks = Some(value),
            CLIENT_TABLE => {
                written.client =
                    ClientSettings::parse(&mut problems, key.span(), value, read_secret, &known_keys(CLIENT_TABLE));
            }
            "load" => written.load = native(&mut problems, "load", value),
            "memory" => written.memory = native(&mut problems, "memory", value),
            "host" => written.host = native(&mut problems, "host", value),
            "plugins" => plugins = Some(value),
            other => problems.unknown(key.span(), other, &known_keys("")),
        }
    }
    // Inherited ones may be below them.
    if let Some(value) = sinks {
        written.sinks = sink::parse(&mut problems, value, &known_keys(SINK_TABLE), &written.client, read_secret);
    }
    // With an invalid interval the plugins' intervals cannot be checked: all are multiples of a millisecond.
    let default = if is_interval_known { DEFAULT_INTERVAL } else { Duration::from_millis(1) };
    let interval = interval.or(written.interval).unwrap_or(default);
    if let Some(tables) = plugins.and_then(|value| problems.table("plugins", value)) {
        for (name, value) in tables {
            let key = format!("plugins.{}", name.get_ref());
            let is_valid = is_plugin_name(name.get_ref());
            if !is_valid {
                let message = "not a plugin's name; use letters, digits, - and _, at most 128 of them";
                problems.add(name.span(), &key, message.to_owned());
            }
            if let Some(mut table) = problems.table(&key, value) {
                if let Some((inner, value)) = table.remove_entry(CLIENT_TABLE) {
                    let (span, known) = (inner.span(), known_keys(PLUGIN_CLIENT_TABLE));
                    let own = ClientSettings::parse_of_plugin(&mut problems, &key, span, value, read_secret, &known);
                    written.plugin_clients.insert(name.get_ref().to_string(), own.or(&written.client));
                }
                let plugin = plugin(&mut problems, &key, table, interval, read_secret);
                if is_valid {
                    written.plugins.insert(name.get_ref().to_string(), plugin);
                }
            }
        }
    }
    Parsed { written, problems: problems.in_order(), is_complete }
}

fn native(problems: &mut ProblemList<'_>, table_key: &str, value: Spanned<DeValue<'_>>) -> NativeConfig {
    let mut native = NativeConfig::default();
    for (name, value) in problems.table(table_key, value).unwrap_or_default() {
        let key = format!("{table_key}.{}", name.get_ref());
        match &**name.get_ref() {
            "enabled" => native.enabled = problems.switch(&key, value, true),
            _ => problems.unknown(name.span(), &key, &known_keys(table_key)),
        }
    }
    native
}

fn plugin(
    problems: &mut ProblemList<'_>,
    table_key: &str,
    table: DeTable<'_>,
    interval: Duration,
    read_secret: &ReadSecret<'_>,
) -> PluginConfig {
    let (mut plugin, mut secrets) = (PluginConfig::default(), None);
    for (name, value) in table {
        let key = format!("{table_key}.{}", name.get_ref());
        match &**name.get_ref() {
            "enabled" => plugin.enabled = problems.switch(&key, value, true),
            "file" => plugin.file = problems.parsed(&key, value, parse_file_name),
            "interval" => {
                let multiple = |text: &str| parse_multiple(text, interval);
                plugin.interval = problems.parsed(&key, value, multiple);
            }
            "timeout" => {
                let bounded = |text: &str| parse_duration(text, MIN_TIMEOUT, MAX_TIMEOUT);
                plugin.timeout = problems.parsed(&key, value, bounded).unwrap_or(DEFAULT_TIMEOUT);
            }
            "memory" => plugin.memory_bytes = problems.parsed(&key, value, parse_memory).unwrap_or(plugin.memory_bytes),
            "limits" => {
                for (name, value) in problems.table(&key, value).unwrap_or_default() {
                    let key = format!("{key}.{}", name.get_ref());
                    match Limit::by_key(name.get_ref()) {
                        Some(limit) => {
                            if let Some(value) = problems.parsed(&key, value, |text| parse_limit(text, limit)) {
                                plugin.limits.set(limit, value);
                            }
                        }
                        None => problems.unknown(name.span(), &key, &known_keys(PLUGIN_LIMITS_TABLE)),
                    }
                }
            }
            "read" => plugin.read = problems.parsed_list(&key, value, pattern),
            "usage" => plugin.usage = problems.parsed_list(&key, value, pattern),
            "connect" => plugin.connect = problems.parsed_list(&key, value, ConnectGrant::parse),
            "fetch" => plugin.fetch = problems.parsed_list(&key, value, FetchGrant::parse),
            "config" => plugin.config = problems.json_object(&key, value),
            "secrets" => secrets = Some(value),
            _ => problems.unknown(name.span(), &key, &known_keys(PLUGIN_TABLE)),
        }
    }
    // They have to fit into `config`, wherever it is written.
    if let Some(value) = secrets {
        plugin.parse_secrets(problems, &format!("{table_key}.secrets"), value, read_secret);
    }
    plugin
}

fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::new(text).map_err(str::to_owned)
}

fn parse_file_name(text: &str) -> Result<String, String> {
    let stem = text.strip_suffix(".wasm").unwrap_or_default();
    if stem.is_empty() || stem.starts_with('.') || text.contains(['/', '\0']) {
        return Err(format!("{text:?} is not a plugin's file; name a .wasm file directly in the plugins directory"));
    }
    Ok(text.to_owned())
}

fn parse_directory(text: &str, example: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if !path.is_absolute() || text.contains('\0') {
        return Err(format!("{text:?} is not an absolute path; write it like {example:?}"));
    }
    Ok(path)
}

fn parse_multiple(text: &str, interval: Duration) -> Result<Duration, String> {
    let duration = parse_interval(text)?;
    if duration.as_millis() % interval.as_millis() != 0 {
        let agent = humantime::format_duration(interval);
        return Err(format!("{text:?} is not a whole multiple of the agent's interval of {agent}; make it one"));
    }
    Ok(duration)
}

fn parse_memory(text: &str) -> Result<u64, String> {
    parse_size(text, MIN_MEMORY_BYTES, MAX_MEMORY_BYTES)
}

fn parse_limit(text: &str, limit: Limit) -> Result<u64, String> {
    let valid = if limit.is_size() {
        format!("a size up to {}", bytesize::ByteSize(limit.ceiling()))
    } else {
        format!("a whole number up to {}", limit.ceiling())
    };
    let number = if limit.is_size() {
        text.parse().ok().map(|size: bytesize::ByteSize| size.as_u64())
    } else {
        text.parse().ok()
    };
    number
        .filter(|number| (1..=limit.ceiling()).contains(number))
        .ok_or_else(|| format!("{text:?} is out of bounds; write {valid}, and at least 1"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::key_places::KeyPlaces;
    use super::super::limits::Limits;
    use super::super::secret::Secret;
    use super::super::sensitive::SensitiveForms;
    use super::*;

    fn parsed_with(text: &str, interval: Option<Duration>) -> Result<FileConfig, Vec<Problem>> {
        let Parsed { written, problems, .. } =
            parse(&[Piece::new("gauged.toml", text)], interval, &|_| Err(String::new()));
        if problems.is_empty() { Ok(written) } else { Err(problems) }
    }

    fn parsed(text: &str) -> Result<FileConfig, Vec<Problem>> {
        parsed_with(text, None)
    }

    #[test]
    fn plugin_tables_are_parsed_with_defaults() {
        let text = r#"
            interval = "5s"
            [plugins.full]
            enabled = false
            file = "other.wasm"
            interval = "30s"
            timeout = "250ms"
            memory = "8MiB"
            limits = { metrics = 5, text = "1KiB" }
            read = ["/etc/*"]
            usage = ["/data"]
            connect = ["DB:5432", "unix:/run/*.sock"]
            fetch = ["http://localhost:80", "unix:/run/a.sock POST"]
            config = { a = [1, 2.5, true, "x"] }
            [plugins.empty]
        "#;
        let written = parsed(text).expect("valid");
        assert_eq!(written.interval, Some(Duration::from_secs(5)));
        let pattern = |path: &str| Pattern::new(path).expect(path);
        let mut limits = Limits::default();
        limits.set(Limit::Metrics, 5);
        limits.set(Limit::Text, 1024);
        let full = PluginConfig {
            enabled: false,
            file: Some("other.wasm".to_owned()),
            interval: Some(Duration::from_secs(30)),
            timeout: Duration::from_millis(250),
            memory_bytes: 8 << 20,
            limits,
            read: vec![pattern("/etc/*")],
            usage: vec![pattern("/data")],
            connect: ["db:5432", "unix:/run/*.sock"].map(|text| ConnectGrant::parse(text).expect(text)).into(),
            fetch: ["http://localhost", "unix:/run/a.sock POST"]
                .map(|text| FetchGrant::parse(text).expect(text))
                .into(),
            config: r#"{"a":[1,2.5,true,"x"]}"#.to_owned(),
            secrets: BTreeMap::new(),
            sensitive_forms: SensitiveForms::default(),
        };
        assert_eq!(written.plugins["full"], full);
        assert_eq!(written.plugins["empty"], PluginConfig::default());
    }

    #[test]
    fn collectors_and_plugins_are_enabled_by_default() {
        for text in ["", "[cpu]\n[load]\n[memory]\n[host]\n[plugins.a]", "load.enabled = true"] {
            let written = parsed(text).expect(text);
            let FileConfig { cpu, load, memory, host, plugins, .. } = written;
            assert!(cpu.enabled && load.enabled && memory.enabled && host.enabled, "{text}");
            assert!(plugins.values().all(|plugin| plugin.enabled), "{text}");
        }
        let written = parsed("cpu.enabled = false\n[memory]\nenabled = false\n").expect("valid");
        assert_eq!((written.cpu.enabled, written.load.enabled, written.memory.enabled), (false, true, false));
    }

    #[test]
    fn agent_limits_are_parsed_with_defaults() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let limits = |text| parsed(text).expect(text).limits;
        let default = AgentLimits {
            compile_cpu: minutes(2),
            compile_cpu_per_hour: Some(minutes(20)),
            memory_bytes: None,
            series: 1_000_000,
        };
        assert_eq!((limits(""), limits("[limits]")), (default, default));
        let full =
            "[limits]\ncompile_cpu = \"10m\"\ncompile_cpu_per_hour = \"1500ms\"\nmemory = \"512MiB\"\nseries = 5000";
        let expected = AgentLimits {
            compile_cpu: minutes(10),
            compile_cpu_per_hour: Some(Duration::from_millis(1500)),
            memory_bytes: Some(512 << 20),
            series: 5000,
        };
        assert_eq!(limits(full), expected);
    }

    #[test]
    fn plugin_intervals_follow_the_command_line() {
        let text = "[plugins.a]\ninterval = \"15s\"";
        assert!(parsed(text).is_err(), "not a multiple of 10s");
        let agent = Duration::from_secs(5);
        let written = parsed_with(text, Some(agent)).expect("a multiple of 5s");
        assert_eq!((written.plugins["a"].ticks(agent), PluginConfig::default().ticks(agent)), (3, 1));
    }

    #[test]
    fn problems_are_single_printable_lines() {
        let problems = parsed("[plugins.\"a\\nb\"]\n\"c\\u001b[31m\" = 1").expect_err("two invalid keys");
        assert_eq!(problems.len(), 2);
        for problem in problems {
            let shown = problem.to_string();
            assert!(!shown.contains(char::is_control), "{shown:?}");
        }
    }

    /// Lines with full keys, of which none is given twice.
    const LINES: [&str; 14] = [
        "interval = \"5s\"",
        "hostname = \"h\"",
        "log.level = \"debug\"",
        "log.format = \"json\"",
        "limits.series = 500",
        "cpu.per_core = true",
        "plugins.a.interval = \"15s\"",
        "plugins.a.limits.metrics = 5",
        "plugins.a.limits.text = \"1KiB\"",
        "plugins.a.config.servers = [{ address = \"x:1\" }]",
        "plugins.a.config.t.x = 1",
        "plugins.a.config.t.y = 2.5",
        "plugins.a.secrets.\"servers.0.password\" = \"/run/x\"",
        "plugins.b.read = [\"/a\"]",
    ];

    fn pieces(texts: &[String]) -> Vec<Piece> {
        texts.iter().enumerate().map(|(number, text)| Piece::new(&format!("{number}.toml"), text)).collect()
    }

    fn all(texts: &[String]) -> Parsed {
        parse(&pieces(texts), None, &|value| Ok(Secret::new(value)))
    }

    proptest! {
        /// Also with their lines in another order. A line that is in two pieces is an error with both places.
        #[test]
        fn pieces_equal_the_whole_file(
            places in prop::collection::vec(0..3_usize, LINES.len()),
            is_reversed in any::<bool>(),
            twice in prop::option::of((0..LINES.len(), 0..3_usize)),
        ) {
            let whole = all(&[LINES.join("\n")]);
            prop_assert_eq!(&whole.problems, &[]);
            let mut split = vec![Vec::new(); 3];
            for (line, place) in LINES.iter().zip(&places) {
                split[*place].push(*line);
            }
            if is_reversed {
                split = split.into_iter().map(|lines| lines.into_iter().rev().collect()).collect();
            }
            let texts = |split: &[Vec<&str>]| split.iter().map(|lines| lines.join("\n")).collect::<Vec<_>>();
            let merged = all(&texts(&split));
            prop_assert_eq!(&merged.problems, &[]);
            prop_assert_eq!(&merged.written, &whole.written);
            for (key, place) in KeyPlaces::new(&pieces(&texts(&split))).dotted() {
                let line = split[place.piece][place.line - 1];
                let last = key.rsplit('.').next().unwrap_or_default();
                prop_assert!(line.contains(last.split('[').next().unwrap_or_default()), "{} is not in {}", key, line);
            }
            if let Some((line, piece)) = twice.filter(|(line, piece)| places[*line] != *piece) {
                split[piece].push(LINES[line]);
                let problems = all(&texts(&split)).problems;
                prop_assert!(!problems.is_empty());
                for problem in problems {
                    let (first, second) = (piece.min(places[line]), piece.max(places[line]));
                    let shown = problem.to_string();
                    prop_assert!(shown.starts_with(&format!("{second}.toml:")), "{}", shown);
                    prop_assert!(shown.contains(&format!(" is given twice, also in {first}.toml:")), "{}", shown);
                }
            }
        }

        #[test]
        fn arbitrary_text_is_valid_or_has_problems(text in any::<String>()) {
            crate::config::fuzzing::config(text.as_bytes());
        }

        /// Nearly valid texts: the lines of all problems are within the file.
        #[test]
        fn arbitrary_keys_and_values_do_not_panic(
            lines in prop::collection::vec(
                ("(interval|load|plugins|plugins\\.ä|plugins\\.a\\.(enabled|file|interval|memory|read|connect|fetch|config))",
                 "(\"[0-9a-zü/*.]{0,6}\"|[0-9.-]{1,4}|\\[\"[/a*.]{0,4}\"\\]|\\{ x = [0-9a-f]{1,3} \\})"),
                0..5,
            ),
        ) {
            let text: Vec<String> = lines.iter().map(|(key, value)| format!("{key} = {value}")).collect();
            let text = text.join("\n");
            if let Err(problems) = parsed(&text) {
                prop_assert!(!problems.is_empty());
                for problem in problems {
                    prop_assert!(problem.line.is_none_or(|line| (1..=lines.len() + 1).contains(&line)), "{problem}");
                }
            }
        }
    }
}
