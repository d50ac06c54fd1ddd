//! The values of keys in TOML, by the names of the keys.

use std::path::Path;

use super::super::client::ClientSettings;
use super::super::key::{written_duration, written_size};
use super::super::log::{LogFormat, LogLevel};
use super::super::plugin::PluginConfig;
use super::super::sink::SinkConfig;
use super::super::toml_text::{toml_text, toml_value};
use super::super::{Config, HttpConfig};
use crate::hostname::HostnameSource;

/// The value of a key of the agent in TOML; none if it depends on the host.
pub(super) fn agent_value(config: &Config, path: &str) -> Option<String> {
    let path_text = |path: &Path| toml_text(&path.to_string_lossy());
    match path {
        "interval" => Some(toml_text(&written_duration(config.interval))),
        "hostname" => match &config.hostname {
            HostnameSource::Fixed(name) => Some(toml_text(name)),
            _ => None,
        },
        // The default one is in the working directory.
        "plugins_directory" => config
            .plugins_directory
            .as_deref()
            .map(|path| path_text(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))),
        "cache" => config.cache.as_deref().map(path_text),
        "state_directory" => config.state_directory.as_deref().map(path_text),
        "log.level" => Some(toml_text(level_name(config.log.level))),
        "log.format" => Some(toml_text(match config.log.format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        })),
        "limits.compile_cpu" => Some(toml_text(&written_duration(config.limits.compile_cpu))),
        "limits.compile_cpu_per_hour" => {
            config.limits.compile_cpu_per_hour.map(|limit| toml_text(&written_duration(limit)))
        }
        "limits.memory" => config.limits.memory_bytes.map(|bytes| toml_text(&written_size(bytes))),
        "limits.series" => Some(config.limits.series.to_string()),
        "tags" => {
            let tags = config.tags.iter().map(|(name, value)| format!("{name} = {}", toml_text(value)));
            let tags = tags.collect::<Vec<_>>().join(", ");
            Some(if tags.is_empty() { "{}".to_owned() } else { format!("{{ {tags} }}") })
        }
        "metrics.include" => Some(list(&config.metrics.selection.include)),
        "metrics.exclude" => Some(list(&config.metrics.selection.exclude)),
        "metrics.prefix" => Some(toml_text(&config.metrics.prefix)),
        client if client.starts_with("client.") => {
            config.client.written_value(client.trim_start_matches("client.")).map(|value| toml_text(&value))
        }
        http if http.starts_with("http.") => http_value(config.http.as_deref()?, http),
        "cpu.enabled" => Some(config.cpu.enabled.to_string()),
        "cpu.per_core" => Some(config.cpu.per_core.to_string()),
        "load.enabled" => Some(config.load.enabled.to_string()),
        "memory.enabled" => Some(config.memory.enabled.to_string()),
        "host.enabled" => Some(config.host.enabled.to_string()),
        _ => None,
    }
}

/// The value of a key of the HTTP server in TOML.
fn http_value(http: &HttpConfig, path: &str) -> Option<String> {
    match path {
        "http.listen" => Some(list(&http.listen)),
        "http.naming" => Some(toml_text(http.naming.as_str())),
        "http.include" => Some(list(&http.selection.include)),
        "http.exclude" => Some(list(&http.selection.exclude)),
        "http.max_series" => http.max_series.map(|count| count.to_string()),
        "http.hosts" => Some(list(&http.hosts)),
        "http.token_file" => http.token.as_ref().map(|token| toml_text(&token.file)),
        "http.tls_certificate" => http.tls.as_ref().map(|tls| toml_text(&tls.certificate)),
        "http.tls_key" => http.tls.as_ref().map(|tls| toml_text(&tls.key)),
        "http.tls_client_ca" => http.tls.as_ref()?.client_ca.as_deref().map(toml_text),
        "http.push" => Some(http.push.to_string()),
        _ => None,
    }
}

/// A list of texts.
fn list<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(|item| toml_text(&item.to_string())).collect();
    format!("[{}]", items.join(", "))
}

/// A key of a sink.
pub(super) enum SinkValue {
    /// Its value in TOML.
    Written(String),
    /// It has none, and a default that is no value.
    Default,
    /// It is for another kind of sink.
    OtherKind,
}

pub(super) fn sink_value(sink: &SinkConfig, client: &ClientSettings, name: &str) -> SinkValue {
    let written = match name {
        "kind" => Some(toml_text(sink.kind.name())),
        "include" => Some(list(&sink.selection.include)),
        "exclude" => Some(list(&sink.selection.exclude)),
        "max_series" => sink.max_series.map(|count| count.to_string()),
        "queue_samples" => Some(sink.queue_samples.to_string()),
        "queue_bytes" => Some(toml_text(&written_size(sink.queue_bytes))),
        name => match sink.kind.written_value(name, client) {
            Some(value) => Some(value).filter(|value| !value.is_null()).map(|value| toml_value(&value)),
            None => return SinkValue::OtherKind,
        },
    };
    written.map_or(SinkValue::Default, SinkValue::Written)
}

/// The value of a key of a plugin in TOML, besides limits, settings and secrets.
pub(super) fn plugin_value(plugin: &PluginConfig, name: &str) -> Option<String> {
    match name {
        "enabled" => Some(plugin.enabled.to_string()),
        "file" => plugin.file.as_deref().map(toml_text),
        "interval" => plugin.interval.map(|interval| toml_text(&written_duration(interval))),
        "timeout" => Some(toml_text(&written_duration(plugin.timeout))),
        "memory" => Some(toml_text(&written_size(plugin.memory_bytes))),
        "read" => Some(list(&plugin.read)),
        "usage" => Some(list(&plugin.usage)),
        "connect" => Some(list(&plugin.connect)),
        "fetch" => Some(list(&plugin.fetch)),
        _ => None,
    }
}

fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
    }
}
