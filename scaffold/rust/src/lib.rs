//! The module `PLUGIN_MODULE`: started, runnable and blocked processes, from `/proc/stat`.

use gauged_plugin::skipped::Skipped;
use gauged_plugin::{About, Error, Need, Plugin, Sample, Tick, about};

// The metrics. Operators see the comments as descriptions.
gauged_plugin::metrics! {
    module "PLUGIN_MODULE" since boot;
    /// Processes and threads started since boot.
    FORKS: counter "forks_total" in "{process}" from "processes";
    /// Runnable processes.
    RUNNING: gauge "running" in "{process}" from "procs_running";
    /// Processes blocked by a disk or another device.
    BLOCKED: gauge "blocked" in "{process}" from "procs_blocked";
}

// The settings as operators see them, with their defaults in JSON, which hold without a setting.
gauged_plugin::settings! {
    /// Path of the file to read.
    "file": "text" = r#""/proc/stat""#;
}

/// The settings: `config = { file = "…" }` under `[plugins.PLUGIN_NAME]`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The path of the file to read.
    file: String,
}

struct Processes {
    settings: Settings,
    skipped: Skipped,
}

impl Plugin for Processes {
    const ABOUT: About = about!("Started, runnable and blocked processes.");
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        Ok(Self { settings, skipped: Skipped::default() })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::read(self.settings.file.as_str(), "count processes")]
    }

    fn collect(&mut self, _tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        // A file, line or number that cannot be read costs its own metrics only, and the operator is told once.
        let Self { settings, skipped } = self;
        let Some(file) = skipped.read(&settings.file, "all metrics") else { return skipped.finish(sample) };
        for line in file.lines() {
            let (key, mut values) = line.key_values();
            if let Some(metric) = METRICS.iter().find(|metric| metric.source == key) {
                sample.set(*metric, skipped.keep(values.number::<u64>(key), metric.name));
            }
        }
        skipped.finish(sample)?;
        // A file without these lines will not have them later.
        if sample.is_empty() { Err(Error::Unsupported(file.error("has no process counts").to_string())) } else { Ok(()) }
    }
}

gauged_plugin::export!(Processes);

#[cfg(test)]
mod tests {
    use gauged_plugin::testing::{Harness, Host, assert_readme, assert_settings};

    use super::*;

    fn processes(stat: &str) -> Harness<Processes> {
        let mut host = Host::new();
        host.file("/proc/stat", stat);
        Harness::start(host, "{}").expect("valid defaults")
    }

    #[test]
    fn metrics_are_found_among_other_lines() {
        let mut processes = processes("cpu 1 2 3\nctxt 9\nprocesses 1500\nprocs_running 3\nprocs_blocked 1\n");
        let expected = "PLUGIN_MODULE.blocked 1\nPLUGIN_MODULE.forks_total 1500\nPLUGIN_MODULE.running 3\n";
        assert_eq!(processes.tick().expect("a sample").render(), expected);
    }

    #[test]
    fn malformed_number_costs_only_its_metric() {
        let mut damaged = processes("processes many\nprocs_running 3\n");
        assert_eq!(damaged.tick().expect("a sample").render(), "PLUGIN_MODULE.running 3\n");
        let why = "/proc/stat line 1 is malformed: many is not a number (processes)";
        assert_eq!(damaged.host().warnings(), [format!("WARN without forks_total: {why}")]);
        let error = processes("processes many\n").tick().expect_err("nothing is left");
        assert_eq!(error, Error::Failed("/proc/stat line 1: many is not a number (processes)".to_owned()));
        assert!(matches!(processes("cpu 1 2 3\n").tick(), Err(Error::Unsupported(_))));
    }

    #[test]
    fn file_setting_selects_another_file() {
        let mut host = Host::new();
        host.file("/srv/stat", "processes 7\n");
        let mut processes = Harness::<Processes>::start(host, r#"{"file": "/srv/stat"}"#).expect("a file");
        assert_eq!(processes.tick().expect("a sample")["PLUGIN_MODULE.forks_total"], 7);
    }

    #[test]
    fn settings_are_declared_with_their_defaults() {
        assert_settings::<Processes>("{}");
    }

    #[test]
    fn readme_lists_metrics_and_settings() {
        assert_readme::<Processes>();
    }
}
