//! The keys of the configuration, as one table. Messages about unknown keys, the tables of docs/configuration.md (`reference`),
//! deploy/gauged.toml and `gauged check --effective` are made from it.

use std::sync::LazyLock;

use super::agent_limits::{
    DEFAULT_COMPILE_CPU, DEFAULT_COMPILE_CPU_PER_HOUR, DEFAULT_SERIES, MAX_COMPILE_CPU, MAX_COMPILE_CPU_PER_HOUR,
    MAX_SERIES, MAX_TOTAL_MEMORY_BYTES, MIN_COMPILE_CPU, MIN_COMPILE_CPU_PER_HOUR, MIN_SERIES, MIN_TOTAL_MEMORY_BYTES,
};
use super::duration::{DEFAULT_INTERVAL, MAX_INTERVAL, MIN_INTERVAL};
use super::key::{DefaultValue, Key, PLUGIN_LIMITS_TABLE, PLUGIN_TABLE, Reload, Values};
use super::limits::Limit;
use super::plugin::{
    DEFAULT_MEMORY_BYTES, DEFAULT_TIMEOUT, MAX_MEMORY_BYTES, MAX_TIMEOUT, MIN_MEMORY_BYTES, MIN_TIMEOUT,
};
use super::{client, http, metrics, sink};

/// The names of a table's keys, and of the tables in it, for messages.
pub(super) fn known_keys(table: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for key in KEYS.iter() {
        let name = if key.table == table {
            Some(key.name)
        } else {
            let inner = if table.is_empty() { Some(key.table) } else { key.table.strip_prefix(table) };
            let inner = inner.map(|inner| inner.trim_start_matches('.')).filter(|inner| !inner.is_empty());
            inner.and_then(|inner| inner.split('.').next())
        };
        names.extend(name.filter(|name| !names.contains(name)));
    }
    names.join(", ")
}

/// All keys, in the order of the documents.
pub(super) static KEYS: LazyLock<Vec<Key>> = LazyLock::new(keys);

fn keys() -> Vec<Key> {
    let key =
        |table, name, values, default, meaning| Key { table, name, values, default, meaning, reload: Reload::Applied };
    let depends = |how, example| DefaultValue::Depends { how, example };
    let mut keys = vec![
        key(
            "",
            "interval",
            Values::Duration(MIN_INTERVAL, MAX_INTERVAL),
            DefaultValue::Duration(DEFAULT_INTERVAL),
            "time between samples; they are taken at the wall clock's multiples of it",
        ),
        key(
            "",
            "hostname",
            Values::Text("1 to 253 characters without spaces"),
            depends("see [Host name](#host-name)", "\"web-1\""),
            "the host name in samples",
        ),
        key(
            "",
            "tags",
            Values::Table("a table of texts"),
            DefaultValue::EmptyTable,
            "labels of every series of `/metrics` and of numeric sinks, such as `{ dc = \"fra1\" }`; a metric's own label wins",
        ),
        Key {
            reload: Reload::Restart,
            ..key(
                "",
                "plugins_directory",
                Values::Text("an absolute path"),
                depends("see [Plugins directory](#plugins-directory)", "\"/opt/gauged/plugins\""),
                "directory whose `*.wasm` files are the plugins",
            )
        },
        Key {
            reload: Reload::Restart,
            ..key(
                "",
                "cache",
                Values::Text("an absolute path"),
                depends("see [Cache](#cache)", "\"/var/cache/gauged\""),
                "directory for compiled plugins, owned by the agent's user with mode 700",
            )
        },
        Key {
            reload: Reload::Restart,
            ..key(
                "",
                "state_directory",
                Values::Text("an absolute path"),
                depends("see [State](#state)", "\"/var/lib/gauged\""),
                "directory for what outlasts the agent, which is made with mode 700",
            )
        },
        key(
            "log",
            "level",
            Values::Words(&["error", "warn", "info", "debug"]),
            DefaultValue::Word("info"),
            "least severe level that is logged; `$GAUGED_LOG` wins",
        ),
        key("log", "format", Values::Words(&["text", "json"]), DefaultValue::Word("text"), "form of a log line"),
        key(
            "limits",
            "compile_cpu",
            Values::Duration(MIN_COMPILE_CPU, MAX_COMPILE_CPU),
            DefaultValue::Duration(DEFAULT_COMPILE_CPU),
            "processor time for compiling one file, in whole seconds; in ten times as long by the clock it is given up, and \
             retried",
        ),
        key(
            "limits",
            "compile_cpu_per_hour",
            Values::Duration(MIN_COMPILE_CPU_PER_HOUR, MAX_COMPILE_CPU_PER_HOUR),
            DefaultValue::Duration(DEFAULT_COMPILE_CPU_PER_HOUR),
            "processor time for compiling all files, in any hour; files wait when it is used up",
        ),
        key(
            "limits",
            "memory",
            Values::Size(MIN_TOTAL_MEMORY_BYTES, MAX_TOTAL_MEMORY_BYTES),
            depends("half of the host's, or of the control group's limit", "\"1GiB\""),
            "memory of all plugins together",
        ),
        key(
            "limits",
            "series",
            Values::Count(MIN_SERIES as u64, MAX_SERIES as u64),
            DefaultValue::Count(DEFAULT_SERIES as u64),
            "different series of all collectors; beyond it metrics of plugins are dropped",
        ),
    ];
    keys.extend(metrics::keys());
    keys.extend(native_keys());
    keys.extend(client::keys());
    keys.extend(sink::keys());
    keys.extend(http::keys());
    keys.extend(plugin_keys());
    keys
}

fn native_keys() -> Vec<Key> {
    let key =
        |table, name, values, default, meaning| Key { table, name, values, default, meaning, reload: Reload::Applied };
    let collector = |table, meaning| key(table, "enabled", Values::Switch, DefaultValue::Switch(true), meaning);
    vec![
        collector("cpu", "measure the module `cpu`"),
        key(
            "cpu",
            "per_core",
            Values::Switch,
            DefaultValue::Switch(false),
            "report each CPU beside all of them together, as `percent{cpu=\"0\"}` and so on",
        ),
        collector("load", "measure the module `load`"),
        collector("memory", "measure the modules `memory` and `swap`"),
        collector("host", "measure the module `host`"),
    ]
}

fn plugin_keys() -> Vec<Key> {
    let key = |name, values, default, meaning| Key {
        table: PLUGIN_TABLE,
        name,
        values,
        default,
        meaning,
        reload: Reload::Applied,
    };
    let depends = |how, example| DefaultValue::Depends { how, example };
    let mut keys = vec![
        key(
            "enabled",
            Values::Switch,
            DefaultValue::Switch(true),
            "load it; `false` [turns it off](#turn-a-plugin-off)",
        ),
        key(
            "file",
            Values::Text("a file name that ends in `.wasm`"),
            depends("the table's name and `.wasm`", "\"redis.wasm\""),
            "its file, directly in the plugins directory; two tables may share one",
        ),
        key(
            "interval",
            Values::Duration(MIN_INTERVAL, MAX_INTERVAL),
            depends("the agent's", "\"60s\""),
            "time between its calls, a whole multiple of the agent's interval",
        ),
        key(
            "timeout",
            Values::Duration(MIN_TIMEOUT, MAX_TIMEOUT),
            DefaultValue::Duration(DEFAULT_TIMEOUT),
            "how long one call may take; [time without a processor](plugins.md#time-limit) is left out",
        ),
        key(
            "memory",
            Values::Size(MIN_MEMORY_BYTES, MAX_MEMORY_BYTES),
            DefaultValue::Size(DEFAULT_MEMORY_BYTES),
            "all that an instance holds with its code: linear memories, tables, state, types, native code. A version that is \
             tried beside the one that serves may have as much",
        ),
    ];
    keys.extend(Limit::all().map(|(limit, name, default)| {
        let (values, default) = if limit.is_size() {
            (Values::Size(1, limit.ceiling()), DefaultValue::Size(default))
        } else {
            (Values::Count(1, limit.ceiling()), DefaultValue::Count(default))
        };
        Key { table: PLUGIN_LIMITS_TABLE, name, values, default, meaning: limit.meaning(), reload: Reload::Applied }
    }));
    keys.extend([
        key(
            "read",
            Values::List("list of absolute paths, with `*`"),
            DefaultValue::EmptyList,
            "paths that it may read and list besides the kernel's counters",
        ),
        key(
            "usage",
            Values::List("list of absolute paths, with `*`"),
            DefaultValue::EmptyList,
            "paths whose file system it may size besides the roots of mounts",
        ),
        key(
            "connect",
            Values::List("list of `HOST:PORT`, `unix:PATH` and `udp:HOST:PORT`"),
            DefaultValue::EmptyList,
            "addresses that it may connect to",
        ),
        key(
            "fetch",
            Values::List("list of `SCHEME://HOST:PORT` and `unix:PATH`, the latter with methods or without"),
            DefaultValue::EmptyList,
            "HTTP servers that it may send requests to; see [Grants](#grants) for the methods of unix sockets",
        ),
        key(
            "config",
            Values::Table("a table"),
            DefaultValue::EmptyTable,
            "its own settings, handed to it as JSON; the plugin's README lists them",
        ),
        key(
            "secrets",
            Values::Table("a table of files"),
            DefaultValue::EmptyTable,
            "settings that are read from files, each with its path in `config`; see [Secrets](#secrets)",
        ),
    ]);
    keys.extend(client::plugin_keys());
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_keys_have_inner_tables() {
        assert_eq!(known_keys("log"), "level, format");
        assert_eq!(known_keys("load"), "enabled");
        assert!(known_keys("").starts_with(
            "interval, hostname, tags, plugins_directory, cache, state_directory, log, limits, metrics, cpu, load, memory, host, client, \
             sinks"
        ));
        assert!(known_keys(PLUGIN_TABLE).starts_with("enabled, file, interval, timeout, memory, limits, read"));
    }
}
