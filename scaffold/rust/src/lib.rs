//! The module `PLUGIN_MODULE`: processes that were started, run and wait, from `/proc/stat`.

use gauged_plugin::kernel::File;
use gauged_plugin::{About, Error, Need, Plugin, Sample, Tick};

// What is measured. The comments are what operators see.
gauged_plugin::metrics! {
    module "PLUGIN_MODULE";
    /// Processes and threads that were started since boot.
    FORKS: counter "forks_total" in "{process}" from "processes";
    /// Processes that run or could.
    RUNNING: gauge "running" in "{process}" from "procs_running";
    /// Processes that wait for a disk or another device.
    BLOCKED: gauge "blocked" in "{process}" from "procs_blocked";
}

/// What an operator can set: `config = { file = "…" }` under `[plugins.PLUGIN_NAME]`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// The file that is read.
    file: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { file: "/proc/stat".to_owned() }
    }
}

struct Processes {
    settings: Settings,
}

impl Plugin for Processes {
    const ABOUT: About = About {
        version: env!("CARGO_PKG_VERSION"),
        description: "Processes that were started, run and wait.",
        metrics: METRICS,
    };
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        Ok(Self { settings })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::read(self.settings.file.as_str(), "count processes")]
    }

    fn collect(&mut self, _tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let file = File::read(&self.settings.file)?;
        let mut found = 0;
        for line in file.lines() {
            let (key, mut values) = line.key_values();
            if let Some(metric) = METRICS.iter().find(|metric| metric.source == key) {
                sample.set(*metric, values.number::<u64>("how many")?);
                found += 1;
            }
        }
        // A file in which there is nothing of it will not have it later.
        if found == 0 { Err(Error::Unsupported(file.error("has no process counts").to_string())) } else { Ok(()) }
    }
}

gauged_plugin::export!(Processes);

#[cfg(test)]
mod tests {
    use gauged_plugin::testing::{Host, Harness, assert_readme_metrics};

    use super::*;

    fn processes(stat: &str) -> Harness<Processes> {
        let mut host = Host::new();
        host.file("/proc/stat", stat);
        Harness::start(host, "{}").expect("the defaults are right")
    }

    #[test]
    fn finds_what_it_measures_among_other_lines() {
        let mut processes = processes("cpu 1 2 3\nctxt 9\nprocesses 1500\nprocs_running 3\nprocs_blocked 1\n");
        let expected = "PLUGIN_MODULE.blocked 1\nPLUGIN_MODULE.forks_total 1500\nPLUGIN_MODULE.running 3\n";
        assert_eq!(processes.tick().expect("a sample").render(), expected);
    }

    #[test]
    fn says_what_it_does_not_understand() {
        let error = processes("processes many\n").tick().expect_err("no number");
        assert_eq!(error, Error::Internal("/proc/stat line 1: many is not a number (how many)".to_owned()));
        assert!(matches!(processes("cpu 1 2 3\n").tick(), Err(Error::Unsupported(_))));
    }

    #[test]
    fn another_file_is_read_where_that_is_set() {
        let mut host = Host::new();
        host.file("/srv/stat", "processes 7\n");
        let mut processes = Harness::<Processes>::start(host, r#"{"file": "/srv/stat"}"#).expect("a file");
        assert_eq!(processes.tick().expect("a sample")["PLUGIN_MODULE.forks_total"], 7);
    }

    #[test]
    fn the_readme_has_all_metrics() {
        assert_readme_metrics::<Processes>();
    }
}
