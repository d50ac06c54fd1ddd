//! The fuzz target of the configuration: a text is either valid, with all values within their bounds, or gives a list of
//! problems. Split into pieces, it is the same.

use std::path::Path;
use std::time::Duration;

use super::agent_limits::{
    MAX_COMPILE_CPU, MAX_COMPILE_CPU_PER_HOUR, MAX_SERIES, MAX_TOTAL_MEMORY_BYTES, MIN_COMPILE_CPU,
    MIN_COMPILE_CPU_PER_HOUR, MIN_SERIES, MIN_TOTAL_MEMORY_BYTES,
};
use super::duration::{MAX_INTERVAL, MIN_INTERVAL};
use super::file::{Parsed, parse};
use super::piece::Piece;
use super::plugin::{MAX_MEMORY_BYTES, MAX_TIMEOUT, MIN_MEMORY_BYTES, MIN_TIMEOUT, is_plugin_name};
use super::secret::Secret;
use super::{Config, Overrides, Problem};

/// Between two pieces of an input.
const BETWEEN: &str = "\n# next piece\n";

/// The fuzz target: parses the pieces with and without an interval on the command line.
pub(crate) fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let names = (0..).map(|number| format!("{number}.toml"));
    let pieces: Vec<Piece> = text.split(BETWEEN).zip(names).map(|(text, name)| Piece::new(&name, text)).collect();
    for interval in [None, Some(Duration::from_secs(2))] {
        let config = match parsed(&pieces, interval) {
            Ok(config) => config,
            Err(problems) => {
                check_problems(&problems, &pieces);
                continue;
            }
        };
        check_split(&pieces, interval, &config);
        assert!((MIN_INTERVAL..=MAX_INTERVAL).contains(&config.interval));
        assert!(!config.summary().contains('\n'));
        let limits = config.limits;
        assert!((MIN_COMPILE_CPU..=MAX_COMPILE_CPU).contains(&limits.compile_cpu), "{limits:?}");
        let in_bounds = |cpu: Duration| (MIN_COMPILE_CPU_PER_HOUR..=MAX_COMPILE_CPU_PER_HOUR).contains(&cpu);
        assert!(limits.compile_cpu_per_hour.is_some_and(in_bounds), "{limits:?}");
        let is_bounded = |bytes| (MIN_TOTAL_MEMORY_BYTES..=MAX_TOTAL_MEMORY_BYTES).contains(&bytes);
        assert!(limits.memory_bytes.is_none_or(is_bounded), "{limits:?}");
        assert!((MIN_SERIES..=MAX_SERIES).contains(&limits.series), "{limits:?}");
        for (name, plugin) in &config.plugins {
            assert!(is_plugin_name(name), "{name:?}");
            assert!((MIN_TIMEOUT..=MAX_TIMEOUT).contains(&plugin.timeout), "{plugin:?}");
            assert!((MIN_MEMORY_BYTES..=MAX_MEMORY_BYTES).contains(&plugin.memory_bytes), "{plugin:?}");
            let every = u32::try_from(plugin.ticks(config.interval)).expect("a day has few ticks");
            assert!(every >= 1 && config.interval * every <= MAX_INTERVAL.max(config.interval), "{plugin:?}");
            assert!(
                plugin
                    .file
                    .as_ref()
                    .is_none_or(|file| Path::new(file).extension() == Some("wasm".as_ref()) && !file.contains('/')),
                "{plugin:?}"
            );
            let own: Result<serde_json::Value, _> = serde_json::from_str(&plugin.config);
            assert!(own.is_ok_and(|own| own.is_object()), "{plugin:?}");
        }
    }
}

/// Parses pieces whose secrets can all be read.
fn parsed(pieces: &[Piece], interval: Option<Duration>) -> Result<Config, Vec<Problem>> {
    let read_secret = |value: &str| Ok(Secret::new(&format!("secret of {value}")));
    let Parsed { written, problems, .. } = parse(pieces, interval, &read_secret);
    let overrides = Overrides { interval, ..Overrides::default() };
    let config = Config::merge(Some(Path::new("gauged.toml").to_owned()), written, &overrides, Vec::new());
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

fn check_problems(problems: &[Problem], pieces: &[Piece]) {
    assert!(!problems.is_empty(), "an error has problems");
    let number = |problem: &Problem| pieces.iter().position(|piece| *piece.path == *problem.file).expect("a piece");
    assert!(problems.is_sorted_by_key(|problem| (number(problem), problem.line)), "in the order of the pieces");
    for problem in problems {
        let lines = pieces[number(problem)].text.as_ref().map_or(0, |text| text.split('\n').count());
        assert!(problem.line.is_none_or(|line| (1..=lines).contains(&line)), "{problem} has a line outside the file");
        let shown = problem.to_string();
        assert!(!shown.contains(char::is_control), "{shown:?} has control characters");
    }
}

/// Splits a valid text of whole lines, each with its full key, into two pieces, which lead to the same configuration.
fn check_split(pieces: &[Piece], interval: Option<Duration>, config: &Config) {
    let [Piece { text: Ok(text), .. }] = pieces else { return };
    let is_whole = |line: &str| !line.trim_start().starts_with('[') && toml::de::DeTable::parse(line).is_ok();
    if !text.lines().all(is_whole) {
        return;
    }
    let half = |rest: usize| {
        let lines = text.lines().enumerate().filter(|(number, _)| number % 2 == rest).map(|(_, line)| line);
        Piece::new(&format!("{rest}.toml"), &lines.collect::<Vec<_>>().join("\n"))
    };
    let split = parsed(&[half(0), half(1)], interval);
    assert_eq!(split.as_ref(), Ok(config), "{text}");
}
