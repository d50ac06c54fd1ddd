//! The fuzz target of the configuration: a text is either valid, with all values within their bounds, or gives a list of
//! problems.

use std::path::Path;
use std::time::Duration;

use super::agent_limits::{
    MAX_COMPILE_CPU, MAX_COMPILE_CPU_PER_HOUR, MAX_SERIES, MAX_TOTAL_MEMORY_BYTES, MIN_COMPILE_CPU,
    MIN_COMPILE_CPU_PER_HOUR, MIN_SERIES, MIN_TOTAL_MEMORY_BYTES,
};
use super::duration::{MAX_INTERVAL, MIN_INTERVAL};
use super::file::parse;
use super::plugin::{MAX_MEMORY_BYTES, MAX_TIMEOUT, MIN_MEMORY_BYTES, MIN_TIMEOUT, is_plugin_name};
use super::{Config, Overrides};

/// The fuzz target: parses a file with and without an interval on the command line.
pub(crate) fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for interval in [None, Some(Duration::from_secs(2))] {
        let path = Path::new("gauged.toml");
        let written = match parse(&text, path, interval) {
            Ok(written) => written,
            Err(problems) => {
                assert!(!problems.is_empty(), "an error has problems");
                assert!(problems.is_sorted_by_key(|problem| problem.line), "in the order of the file");
                let lines = text.split('\n').count();
                for problem in problems {
                    assert!(
                        problem.line.is_none_or(|line| (1..=lines).contains(&line)),
                        "{problem} has a line outside the file"
                    );
                    let shown = problem.to_string();
                    assert!(!shown.contains(char::is_control), "{shown:?} has control characters");
                }
                continue;
            }
        };
        let overrides = Overrides { interval, ..Overrides::default() };
        let config = Config::merge(Some(path.to_owned()), written, &overrides, Vec::new());
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
