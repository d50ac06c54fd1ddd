//! New configurations of running plugins, through the library: the agent itself reads its configuration once. Ticks are made
//! here, so that no test waits for one.

use std::fs;
use std::io;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use gauged::agent::METRICS;
use gauged::clock::schedule::Tick;
use gauged::config::{Config, Overrides};
use gauged::plugin::{Plugins, Settled};
use gauged::sample::{CollectorVersion, Module, ModuleSource, ModuleWriter, Sample, SeriesAccount, Value};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::guest::{CONFIGURE_RESULT, Guest, HOST_RESULT, SECOND_VALUE, VALUE};
use crate::harness::{DEADLINE, Setup};

/// How long a sample waits for a plugin that does not return.
const PATIENCE: Duration = Duration::from_millis(20);

/// The time limit with which a plugin of [`waiting`] waits, in milliseconds.
const WAITING_BUDGET: u64 = 60_000;

/// The log of this process.
static LOG: LazyLock<Mutex<String>> = LazyLock::new(|| {
    tracing_subscriber::fmt().with_writer(|| LogWriter).init();
    Mutex::default()
});

/// Writes to [`LOG`].
struct LogWriter;

impl io::Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LOG.lock().expect("not poisoned").push_str(&String::from_utf8_lossy(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How many lines of the log have this message and are about this plugin.
fn count_lines(message: &str, plugin: &str) -> usize {
    let (message, plugin) = (format!(" {message} "), format!(" plugin=\"{plugin}\""));
    let log = LOG.lock().expect("not poisoned");
    log.lines().filter(|line| line.contains(&message) && line.contains(&plugin)).count()
}

/// A plugin whose values are the time limit of its call in milliseconds, and the length of its own configuration.
fn showing(name: &str) -> Guest {
    Guest::new(name)
        .second("settings_bytes")
        .configure(&format!(
            "(i64.store (i32.const {}) (i64.extend_i32_u (local.get 1))) i32.const {CONFIGURE_RESULT}",
            SECOND_VALUE + 8
        ))
        .before_collect(&format!("(i64.store (i32.const {}) (i64.extend_i32_u (local.get 2)))", VALUE + 8))
}

/// The same plugin, which with a time limit of [`WAITING_BUDGET`] does not return before it can read a file.
fn waiting(name: &str, file: &str) -> Guest {
    let mut guest = showing(name).import("gauged:plugin/files", "read", "(func $read (param i32 i32 i32))");
    let (path, length) = guest.text(file);
    guest.before_collect(&format!(
        "(if (i32.eq (local.get 2) (i32.const {WAITING_BUDGET})) (then (loop $wait
            (global.set $heap (i32.const 0x10000))
            (call $read (i32.const {path}) (i32.const {length}) (i32.const {HOST_RESULT}))
            (br_if $wait (i32.load8_u (i32.const {HOST_RESULT}))))))"
    ))
}

/// One plugin, loaded in this process.
struct Session {
    setup: Setup,
    name: &'static str,
    runtime: Runtime,
    plugins: Plugins,
    /// Writes the agent's metrics about plugins.
    about: ModuleWriter,
    /// The module that it has written last, and where the plugins' metrics are in it.
    last: Option<(Arc<Module>, Range<usize>)>,
    interval: Duration,
    /// The time of the last tick: a multiple of every interval here.
    now: Duration,
}

/// Reads the configuration file of a test.
fn config(setup: &Setup) -> Arc<Config> {
    let overrides = Overrides { file: Some(setup.path("gauged.toml")), ..Overrides::default() };
    Arc::new(Config { cache: Some(setup.cache()), ..Config::load(&overrides).expect("right") })
}

/// The sources of the agent's metrics.
fn about_writer() -> ModuleWriter {
    let (module, collector) = ("agent".into(), CollectorVersion::native("agent"));
    let source = ModuleSource { module, collector, step: Duration::from_secs(10), is_verbatim: false };
    ModuleWriter::new(source, METRICS, &SeriesAccount::standalone())
}

impl Session {
    fn start(name: &'static str, toml: &str) -> Self {
        Self::start_with(Setup::with_config(toml), name, &showing(name))
    }

    fn start_with(setup: Setup, name: &'static str, guest: &Guest) -> Self {
        LazyLock::force(&LOG);
        guest.install(&setup.plugin(&format!("{name}.wasm")));
        // This process cannot compile it.
        setup.once();
        let config = config(&setup);
        let mut plugins = Plugins::new(&config, Arc::default(), Vec::new(), METRICS);
        plugins.start_thread().expect("a thread");
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (interval, now) = (config.interval, Duration::from_secs(900_000));
        let mut session = Self { setup, name, runtime, plugins, about: about_writer(), last: None, interval, now };
        session.settle();
        assert_eq!(session.loads(), (0, 1), "it was in the cache");
        session
    }

    /// Waits until nothing is to be loaded or tried.
    fn settle(&mut self) {
        let settled = self.runtime.block_on(self.plugins.settled(DEADLINE));
        assert_eq!(settled, Settled { missing: Vec::new(), is_complete: true });
    }

    /// Gives the plugins another configuration.
    fn begin_reconfiguration(&mut self, toml: &str) {
        fs::write(self.setup.path("gauged.toml"), toml).expect("written");
        let config = config(&self.setup);
        self.interval = config.interval;
        assert!(self.plugins.reconfigure(config, Vec::new()).expect("there is a thread"), "it has room for a command");
    }

    /// Gives the plugins another configuration, and waits until it was tried.
    fn reconfigure(&mut self, toml: &str) {
        self.begin_reconfiguration(toml);
        self.settle();
    }

    /// Takes the sample of the next tick, which waits for all plugins.
    fn tick(&mut self) -> Sample {
        self.tick_until(None)
    }

    fn tick_until(&mut self, until: Option<Instant>) -> Sample {
        self.now += self.interval;
        let index = u64::try_from(self.now.as_nanos() / self.interval.as_nanos()).expect("few ticks");
        self.plugins.call(Tick { index, previous: None, since_epoch: self.now }, until);
        if self.plugins.is_awaited() {
            let returned = async { timeout(DEADLINE, self.plugins.returned()).await };
            self.runtime.block_on(returned).expect("the round ends");
        }
        let mut sample = Sample { tick: self.now, interval: self.interval, ..Sample::default() };
        self.plugins.deliver(&mut sample);
        sample
    }

    /// Takes samples until one meets a condition. Each has the plugin's module.
    fn tick_until_sample(&mut self, condition: impl Fn(&Sample) -> bool) -> Sample {
        let until = Instant::now() + DEADLINE;
        loop {
            let sample = self.tick();
            assert_eq!(sample.modules.len(), 1, "{sample:?}");
            if condition(&sample) {
                return sample;
            }
            assert!(Instant::now() < until, "no sample meets the condition; last: {sample:?}");
        }
    }

    /// The agent's metrics about plugins, as of the last sample.
    fn about(&mut self, metric: &str) -> Option<u64> {
        let (last, range) = self.last.take().unzip();
        let last = last.as_deref().zip(range);
        let (module, range) = self.about.write(self.now, |values| self.plugins.append_metrics(values, last));
        let number = number(&module, metric);
        self.last = Some((module, range));
        number
    }

    /// The number of one of the plugin's metrics in the module `agent`.
    fn about_plugin(&mut self, metric: &str) -> Option<u64> {
        let key = format!("{metric}{{plugin=\"{}\"}}", self.name);
        self.about(&key)
    }

    /// How many files were compiled, and found in the cache.
    fn loads(&mut self) -> (u64, u64) {
        self.tick();
        let count = |number: Option<u64>| number.expect("counted");
        (count(self.about("compiled_total")), count(self.about("cache_hits_total")))
    }
}

/// The number of a module's metric.
fn number(module: &Module, metric: &str) -> Option<u64> {
    let found = module.metrics().find(|found| found.key().to_string() == metric)?;
    match found.value {
        Value::Unsigned(number) => Some(*number),
        other => panic!("{other:?}"),
    }
}

/// The time limit that the plugin's only module shows.
fn budget(sample: &Sample) -> Option<u64> {
    number(sample.modules.first()?, "value")
}

#[test]
fn changed_settings_take_effect_without_compiling() {
    let mut session = Session::start("shown", "[plugins.shown]\ntimeout = \"1s\"\n");
    assert_eq!(budget(&session.tick()), Some(1000));
    let settings_bytes = |sample: &Sample| number(&sample.modules[0], "settings_bytes").expect("a number");
    let without = settings_bytes(&session.tick());
    session.begin_reconfiguration("[plugins.shown]\ntimeout = \"2s\"\nconfig = { key = \"value\" }\n");
    let sample = session.tick_until_sample(|sample| budget(sample) == Some(2000));
    assert!(settings_bytes(&sample) > without, "{sample:?}");
    session.begin_reconfiguration("");
    let sample = session.tick_until_sample(|sample| budget(sample) == Some(1000));
    assert_eq!(settings_bytes(&sample), without, "without a table");
    assert_eq!(session.loads(), (0, 1), "the file was not loaded again");
    assert_eq!(count_lines("plugin reconfigured", "shown"), 2);
    assert_eq!(count_lines("plugin loaded", "shown"), 1);
}

#[test]
fn rejected_settings_leave_the_old_ones_running() {
    let mut session = Session::start("kept", "[plugins.kept]\ntimeout = \"1s\"\n");
    // Less than the guest's initial memory.
    let small = "[plugins.kept]\ntimeout = \"2s\"\nmemory = \"64KiB\"\n";
    for toml in [small, &small.replace("2s", "3s")] {
        session.reconfigure(toml);
        for _ in 0..3 {
            assert_eq!(budget(&session.tick()), Some(1000));
        }
    }
    assert_eq!(session.about_plugin("plugin_up"), Some(1));
    assert_eq!(count_lines("plugin configuration rejected", "kept"), 2, "one for each configuration");
    assert_eq!(count_lines("plugin reconfigured", "kept"), 0);
    session.reconfigure("[plugins.kept]\ntimeout = \"2s\"\n");
    assert_eq!(budget(&session.tick()), Some(2000));
    assert_eq!(session.loads(), (0, 1));
}

/// The step of the plugin's result in each of so many samples; none without a result.
fn steps(session: &mut Session, samples: usize) -> Vec<Option<u64>> {
    let step = |sample: Sample| sample.modules.first().map(|module| module.step().as_secs());
    (0..samples).map(|_| step(session.tick())).collect()
}

#[test]
fn changed_intervals_change_step_and_due_ticks() {
    let mut session = Session::start("paced", "interval = \"10s\"\n");
    assert_eq!(steps(&mut session, 2), [Some(10), Some(10)]);
    session.now = Duration::from_secs(900_000);
    session.reconfigure("interval = \"10s\"\n[plugins.paced]\ninterval = \"30s\"\n");
    // The first call is at once.
    assert_eq!(steps(&mut session, 6), [Some(30), None, Some(30), None, None, Some(30)]);
    session.reconfigure("interval = \"15s\"\n[plugins.paced]\ninterval = \"30s\"\n");
    // The plugin's own interval has not changed, and goes on.
    assert_eq!(steps(&mut session, 4), [None, Some(30), None, Some(30)]);
    session.reconfigure("interval = \"5s\"\n");
    assert_eq!(steps(&mut session, 3), [Some(5), Some(5), Some(5)], "the agent's interval");
}

#[test]
fn disabled_plugin_is_removed_until_enabled() {
    let mut session = Session::start("off", "[plugins.off]\ntimeout = \"1s\"\n");
    session.reconfigure("[plugins.off]\nenabled = false\n");
    assert!(session.tick().modules.is_empty());
    assert_eq!(session.about_plugin("plugin_up"), None);
    assert_eq!(count_lines("plugin removed", "off"), 1);
    session.reconfigure("[plugins.off]\ntimeout = \"2s\"\n");
    assert_eq!(budget(&session.tick()), Some(2000));
    assert_eq!((session.about_plugin("plugin_up"), session.loads()), (Some(1), (0, 2)));
}

#[test]
fn call_under_way_ends_on_its_own_settings() {
    let setup = Setup::new();
    let file = setup.path("returns");
    let text = file.display().to_string();
    let table = |seconds: u32| format!("[plugins.busy]\ntimeout = \"{seconds}s\"\nread = [{text:?}]\n");
    fs::write(setup.path("gauged.toml"), table(60)).expect("written");
    fs::write(&file, "").expect("written");
    let mut session = Session::start_with(setup, "busy", &waiting("busy", &text));
    assert_eq!(budget(&session.tick()), Some(WAITING_BUDGET));

    fs::remove_file(&file).expect("removed");
    assert_eq!(budget(&session.tick_until(Some(Instant::now() + PATIENCE))), None, "it waits");
    let called_at = session.now;
    session.reconfigure(&table(30));
    for _ in 0..2 {
        assert_eq!(budget(&session.tick()), Some(30_000), "the new settings are in effect");
    }
    fs::write(&file, "").expect("written");
    let sample = session.tick_until_sample(|sample| !sample.superseded.is_empty());
    let results: Vec<_> = sample.results().map(|module| (module.time, number(module, "value"))).collect();
    assert_eq!(results, [(called_at, Some(WAITING_BUDGET)), (session.now, Some(30_000))]);
    assert_eq!(session.about_plugin("plugin_late_total"), Some(1));
    assert_eq!(count_lines("plugin failed", "busy"), 0);
}
