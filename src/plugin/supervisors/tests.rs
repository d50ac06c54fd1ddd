//! Tests of all plugins of a guest thread together: files and configurations that change.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::clock::schedule::Tick;
use crate::config::{Config, Overrides};
use crate::plugin::build::cache::Cache;
use crate::plugin::build::sealed::Sealed;
use crate::plugin::guest::engine_options::Purpose;
use crate::plugin::guest::fixture;
use crate::sample::Value;
use crate::state_directory::plugin_states::PluginStates;
use crate::status::{PluginList, ProblemKind};

/// Steps until the condition holds.
async fn step_until(all: &mut Supervisors, condition: impl Fn(&Supervisors) -> bool) {
    let stepping = async {
        while !condition(all) {
            all.step().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), stepping).await.expect("the condition holds in the end");
}

/// The plugins of a configuration.
fn supervisors(config: Config, suspensions: BTreeMap<Arc<str>, Suspension>) -> Supervisors {
    let setup = Setup::new(Arc::new(config), Arc::default(), Vec::new(), &[], PluginStates::default());
    let pool = setup.pool().expect("threads");
    let engine = Engine::new(Purpose::Serve).expect("this machine runs guests");
    Supervisors::new(&Arc::new(setup), "/".into(), suspensions, engine, pool, &Arc::default())
}

/// The plugins of a directory, whose artifacts are in the cache already.
struct Directory {
    path: TempDir,
    all: Supervisors,
    ticks: u64,
}

impl Directory {
    /// Loads a copy of the component `ticks` for each file, with this configuration file.
    async fn load(files: &[&str], config: &str) -> Self {
        let mut directory = Self::prepare(files, config, BTreeMap::new()).await;
        directory.settle().await;
        directory
    }

    async fn prepare(files: &[&str], config: &str, suspensions: BTreeMap<Arc<str>, Suspension>) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("plugins")).expect("created");
        fs::create_dir(path("cache")).expect("created");
        fs::set_permissions(path("cache"), PermissionsExt::from_mode(0o700)).expect("private");
        let (component, artifact) = fixture::compiled("ticks");
        for file in files {
            fs::write(path("plugins").join(file), &component).expect("written");
        }
        let all = supervisors(read(&directory, config), suspensions);
        let engine = Engine::new(Purpose::Serve).expect("this machine runs guests");
        let pool = all.contexts.setup.pool().expect("threads");
        let cache = Cache::new(Some(path("cache")), engine, pool, Arc::default());
        cache.put(Sealed::copy(&*component).expect("copied").hash(), artifact).await;
        Self { path: directory, all, ticks: 0 }
    }

    /// Steps until nothing is to be loaded or tried.
    async fn settle(&mut self) {
        step_until(&mut self.all, Supervisors::is_settled).await;
        assert_eq!(self.all.contexts.setup.loads.compilations.started(), 0, "all is in the cache");
    }

    async fn reconfigure(&mut self, config: &str) {
        self.begin_reconfiguration(config);
        self.settle().await;
    }

    fn begin_reconfiguration(&mut self, config: &str) {
        let setup = self.setup(config);
        self.all.reconfigure(&setup);
    }

    /// Prepares another configuration. Returns it, and the plugins that were rejected.
    async fn prepare_configuration(&mut self, config: &str) -> (Arc<Setup>, Vec<String>) {
        let setup = self.setup(config);
        let (reply, mut prepared) = oneshot::channel();
        self.all.prepare(&setup, reply);
        loop {
            if let Ok(rejected) = prepared.try_recv() {
                return (setup, rejected);
            }
            self.all.step().await;
        }
    }

    /// The setup with another configuration.
    fn setup(&self, config: &str) -> Arc<Setup> {
        let before = &self.all.contexts.setup;
        Arc::new(before.with_config(Arc::new(read(&self.path, config)), Arc::clone(&before.natives)))
    }

    /// Takes the plugins' part of the next sample.
    async fn part(&mut self) -> Box<Part> {
        self.ticks += 1;
        let (interval, previous) = (self.all.contexts.setup.config.interval, (self.ticks > 1).then(|| self.ticks - 1));
        let since_epoch = interval * u32::try_from(self.ticks).expect("few ticks");
        let tick = Tick { index: self.ticks, previous, since_epoch };
        self.all.open_round(Round { tick, until: None, skipped: 0, spent: Box::default() }).await;
        loop {
            if let Some(part) = self.all.end_round().await {
                return part;
            }
            self.all.step().await;
        }
    }

    /// The metric of a plugin's only module in the next sample; none without the module.
    async fn metric(&mut self, name: &str) -> Option<u64> {
        let part = self.part().await;
        let module = part.modules.first()?;
        match module.metrics().find(|metric| metric.name() == name).expect("the metric").value {
            Value::Unsigned(number) => Some(*number),
            other => panic!("{other:?}"),
        }
    }

    /// The plugins in the status with the next sample.
    async fn list(&mut self) -> Arc<PluginList> {
        self.part().await.list.clone().expect("it serves plugins")
    }

    fn supervisor(&self, plugin: &str) -> &Supervisor {
        self.all.plugins.get(plugin).expect("the plugin is there")
    }

    fn generation(&self, plugin: &str) -> u64 {
        self.supervisor(plugin).generation()
    }

    fn names(&self) -> Vec<&str> {
        self.all.plugins.keys().map(|name| &**name).collect()
    }
}

/// Reads a configuration with the directories of a test.
fn read(directory: &TempDir, config: &str) -> Config {
    let file = directory.path().join("gauged.toml");
    let cache = directory.path().join("cache");
    fs::write(&file, format!("cache = {cache:?}\n{config}")).expect("written");
    let plugins_directory = Some(directory.path().join("plugins"));
    Config::load(&Overrides { file: Some(file), plugins_directory, ..Overrides::default() }).expect("valid")
}

#[tokio::test]
async fn file_removed_while_read_leaves_no_plugin() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("gone.wasm");
    fs::write(&file, "anything").expect("written");
    let overrides = Overrides { plugins_directory: Some(directory.path().to_owned()), ..Overrides::default() };
    let mut all = supervisors(Config::load(&overrides).expect("nothing is wrong"), BTreeMap::new());
    // The load has not read anything yet: its task was not polled.
    step_until(&mut all, |all| !all.loader.is_empty()).await;
    fs::remove_file(&file).expect("removed");
    step_until(&mut all, |all| all.loader.is_empty()).await;
    assert!(all.plugins.contains_key("gone"));
    all.rescan();
    step_until(&mut all, |all| all.is_settled() && all.plugins.is_empty()).await;
}

#[tokio::test]
async fn changed_settings_take_effect_without_a_gap() {
    let mut directory = Directory::load(&["ticks.wasm"], "[plugins.ticks]\ntimeout = \"1s\"").await;
    assert_eq!(directory.metric("budget_ms").await, Some(1000));
    directory.begin_reconfiguration("[plugins.ticks]\ntimeout = \"2s\"");
    assert_eq!(directory.metric("budget_ms").await, Some(1000), "the trial has not ended");
    directory.settle().await;
    assert_eq!((directory.metric("budget_ms").await, directory.generation("ticks")), (Some(2000), 2));
    directory.reconfigure("[plugins.ticks]\ntimeout = \"2s\"").await;
    assert_eq!(directory.generation("ticks"), 2, "its table is the same");
    directory.reconfigure("").await;
    assert_eq!((directory.metric("budget_ms").await, directory.generation("ticks")), (Some(1000), 3), "the default");
    assert_eq!(directory.all.contexts.setup.loads.cache_hits.load(Ordering::Relaxed), 1, "the file was loaded once");
}

#[tokio::test]
async fn rejected_settings_leave_the_old_ones_running() {
    let mut directory = Directory::load(&["ticks.wasm"], "[plugins.ticks]\ntimeout = \"1s\"").await;
    let calls = directory.metric("calls").await.expect("a result");
    // The guest needs four pages of memory to start.
    directory.reconfigure("[plugins.ticks]\ntimeout = \"2s\"\nmemory = \"64KiB\"").await;
    assert_eq!(
        (directory.metric("calls").await, directory.generation("ticks")),
        (Some(calls + 1), 1),
        "the same instance"
    );
    assert_eq!(directory.metric("budget_ms").await, Some(1000));
    assert_eq!(directory.supervisor("ticks").faults().total(), 1);
    directory.reconfigure("[plugins.ticks]\ntimeout = \"2s\"").await;
    assert_eq!((directory.metric("budget_ms").await, directory.supervisor("ticks").faults().total()), (Some(2000), 1));
}

#[tokio::test]
async fn rejected_file_is_loaded_with_new_settings() {
    let mut directory = Directory::load(&["ticks.wasm"], "[plugins.ticks]\nmemory = \"64KiB\"").await;
    assert_eq!((directory.metric("calls").await, directory.all.missing()), (None, vec!["ticks".to_owned()]));
    directory.reconfigure("[plugins.ticks]\nmemory = \"8MiB\"").await;
    assert_eq!((directory.metric("calls").await, directory.all.missing()), (Some(2), vec![]));
}

#[tokio::test]
async fn changed_interval_is_followed_from_the_next_tick() {
    let mut directory = Directory::load(&["ticks.wasm"], "[plugins.ticks]\ninterval = \"10s\"").await;
    assert_eq!(directory.part().await.modules[0].step(), Duration::from_secs(10));
    directory.reconfigure("[plugins.ticks]\ninterval = \"30s\"").await;
    // The first call is at once, the others at the multiples of 30 s.
    let mut steps = Vec::new();
    for _ in 2..=6 {
        steps.push(directory.part().await.modules.first().map(|module| module.step().as_secs()));
    }
    assert_eq!(steps, [Some(30), Some(30), None, None, Some(30)]);
    directory.reconfigure("interval = \"5s\"").await;
    assert_eq!(directory.part().await.modules[0].step(), Duration::from_secs(5), "the agent's interval");
}

#[tokio::test]
async fn plugin_is_turned_off_and_on_again() {
    let mut directory = Directory::load(&["ticks.wasm"], "").await;
    assert_eq!(directory.metric("calls").await, Some(2), "the trial was the first call");
    directory.reconfigure("[plugins.ticks]\nenabled = false").await;
    assert!(directory.all.plugins.is_empty() && directory.part().await.modules.is_empty());
    directory.reconfigure("[plugins.ticks]").await;
    assert_eq!(directory.metric("calls").await, Some(2), "a new instance");
}

#[tokio::test]
async fn plugin_moves_to_the_file_of_its_table() {
    let mut directory = Directory::load(&["ticks.wasm", "other.wasm"], "").await;
    assert_eq!(directory.names(), ["other", "ticks"]);
    directory.reconfigure("[plugins.ticks]\nfile = \"other.wasm\"\n[plugins.third]\nfile = \"other.wasm\"").await;
    assert_eq!(directory.names(), ["third", "ticks"]);
    assert_eq!(directory.supervisor("ticks").file, "other.wasm");
    directory.reconfigure("").await;
    assert_eq!(directory.names(), ["other", "ticks"]);
    assert!(directory.all.plugins.values().all(|supervisor| supervisor.is_serving()));
}

#[tokio::test]
async fn file_changed_during_a_trial_is_loaded_afterwards() {
    let mut directory = Directory::load(&["ticks.wasm"], "").await;
    directory.begin_reconfiguration("[plugins.ticks]\ntimeout = \"2s\"");
    let file = directory.path.path().join("plugins/ticks.wasm");
    fs::write(&file, "no plugin").expect("written");
    directory.all.rescan();
    let has_rejected = |all: &Supervisors| all.plugins["ticks"].has_rejected_file();
    step_until(&mut directory.all, has_rejected).await;
    assert_eq!(directory.metric("budget_ms").await, Some(2000), "the version goes on with the new settings");
}

#[tokio::test]
async fn file_changed_before_the_commit_is_loaded_afterwards() {
    let mut directory = Directory::load(&["ticks.wasm"], "").await;
    let (setup, rejected) = directory.prepare_configuration("[plugins.ticks]\ntimeout = \"2s\"").await;
    assert!(rejected.is_empty(), "{rejected:?}");
    fs::write(directory.path.path().join("plugins/ticks.wasm"), "no plugin").expect("written");
    directory.all.handle_change(Change::Present("ticks.wasm".to_owned()));
    directory.settle().await;
    assert!(!directory.supervisor("ticks").has_rejected_file(), "it is not loaded yet");
    assert_eq!(directory.metric("budget_ms").await, Some(1000), "the settings are not in effect yet");
    directory.all.reconfigure(&setup);
    step_until(&mut directory.all, |all| all.plugins["ticks"].has_rejected_file()).await;
    assert_eq!(directory.metric("budget_ms").await, Some(2000));
    assert_eq!(directory.generation("ticks"), 2, "the settings took effect once");
}

#[tokio::test]
async fn plugin_removed_during_a_preparation_ends_it() {
    let mut directory = Directory::load(&["ticks.wasm", "other.wasm"], "").await;
    let setup = directory.setup("[plugins.ticks]\ntimeout = \"2s\"");
    let (reply, mut prepared) = oneshot::channel();
    directory.all.prepare(&setup, reply);
    directory.all.handle_change(Change::Removed("ticks.wasm".to_owned()));
    assert_eq!(prepared.try_recv(), Ok(Vec::new()));
}

#[tokio::test]
async fn rejected_settings_are_tried_at_each_reload() {
    let mut directory = Directory::load(&["ticks.wasm", "other.wasm"], "").await;
    let refused = "[plugins.ticks]\nmemory = \"64KiB\"\ntimeout = \"2s\"";
    for _ in 0..2 {
        let (setup, rejected) = directory.prepare_configuration(refused).await;
        assert_eq!(rejected, ["ticks"]);
        directory.all.reconfigure(&setup);
        directory.settle().await;
    }
    assert_eq!(directory.generation("ticks"), 1, "it goes on as before");
    let (setup, rejected) = directory.prepare_configuration("").await;
    assert!(rejected.is_empty(), "{rejected:?}");
    directory.all.reconfigure(&setup);
    directory.settle().await;
    assert!(!directory.supervisor("ticks").has_rejected_configuration());
    assert_eq!(directory.generation("ticks"), 1, "the settings of before never ended");
}

#[tokio::test]
async fn refused_plugin_follows_another_interval() {
    let mut directory = Directory::load(&["ticks.wasm"], "[plugins.ticks]\ninterval = \"20s\"").await;
    assert_eq!(directory.supervisor("ticks").interval(), Some(2));
    let table = "interval = \"5s\"\n[plugins.ticks]\ninterval = \"1m\"\nmemory = \"64KiB\"";
    let (setup, rejected) = directory.prepare_configuration(table).await;
    assert_eq!(rejected, ["ticks"]);
    directory.all.reconfigure(&setup);
    directory.settle().await;
    assert_eq!(directory.supervisor("ticks").interval(), Some(4), "20 s, as before");
}

#[tokio::test]
async fn refused_file_is_loaded_when_there_is_capacity() {
    let mut directory = Directory::load(&["first.wasm"], "").await;
    directory.all.files.capacity.plugins = 1;
    let path = |name: &str| directory.path.path().join("plugins").join(name);
    fs::copy(path("first.wasm"), path("second.wasm")).expect("copied");
    directory.all.rescan();
    step_until(&mut directory.all, |all| all.files.surplus.contains("second.wasm")).await;
    fs::remove_file(path("first.wasm")).expect("removed");
    directory.all.rescan();
    step_until(&mut directory.all, |all| all.plugins.contains_key("second")).await;
    directory.settle().await;
    assert!(directory.supervisor("second").is_serving() && directory.all.files.surplus.is_empty());
}

#[tokio::test]
async fn suspended_plugin_is_loaded_after_its_pause() {
    let until = Instant::now() + Duration::from_millis(50);
    let suspensions = [("ticks".into(), Suspension::Until(until)), ("other".into(), Suspension::Disabled)].into();
    let mut directory = Directory::prepare(&["ticks.wasm", "other.wasm", "third.wasm"], "", suspensions).await;
    step_until(&mut directory.all, |all| all.plugins.get("third").is_some_and(|plugin| plugin.is_serving())).await;
    step_until(&mut directory.all, |all| all.plugins["ticks"].is_serving()).await;
    assert!(Instant::now() >= until && !directory.supervisor("other").is_serving());
    // Only another file, or another configuration, ends that.
    directory.begin_reconfiguration("[plugins.other]\ntimeout = \"2s\"");
    step_until(&mut directory.all, |all| all.plugins["other"].is_serving()).await;
}

#[tokio::test]
async fn status_list_is_made_again_on_changes() {
    let mut directory = Directory::load(&["ticks.wasm"], "[plugins.ticks]\ntimeout = \"1s\"").await;
    let first = directory.list().await;
    assert_eq!((first.plugins.len(), &*first.plugins[0].state), (1, "up"));
    let second = directory.list().await;
    assert!(Arc::ptr_eq(&first, &second), "nothing has changed");
    directory
        .reconfigure(
            "[plugins.ticks]\ntimeout = \"2s\"\nmemory = \"64KiB\"\n[plugins.lost]\n[plugins.off]\nenabled = false",
        )
        .await;
    let list = directory.list().await;
    let states: Vec<_> = list.plugins.iter().map(|plugin| (&*plugin.name, &*plugin.state)).collect();
    assert_eq!(states, [("lost", "missing"), ("off", "off"), ("ticks", "up")]);
    let problem = &list.plugins[2].problems[0];
    assert!(problem.kind == ProblemKind::Configuration && problem.is_wrong, "{problem:?}");
    assert!(problem.reason.contains("memory") && problem.since_seconds > 0.0, "{problem:?}");
    directory.reconfigure("").await;
    let list = directory.list().await;
    assert_eq!((list.plugins.len(), list.plugins[0].problems.len()), (1, 0), "{list:?}");
}

#[tokio::test]
async fn status_names_plugins_that_threads_hung_in() {
    let suspensions = BTreeMap::from([("ticks".into(), Suspension::Disabled)]);
    let mut directory = Directory::prepare(&["ticks.wasm"], "", suspensions).await;
    directory.settle().await;
    let list = directory.list().await;
    let (plugin, problem) = (&list.plugins[0], &list.plugins[0].problems[0]);
    assert_eq!((&*plugin.state, problem.kind, problem.is_wrong), ("disabled", ProblemKind::Thread, true));
    assert!(problem.remedy.starts_with("replace the plugin"), "{problem:?}");
}
