//! The agent as a child process, in a temporary directory of its own. Tests wait for conditions; the deadline only ends a
//! test whose condition is never met.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use gauged::agent::ConfigLoader;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::Value;

use crate::process_state;

/// How long a test waits for a condition: long enough for a machine on which compilers, which are nice, get little time.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// How many ticks a call must last for a test to require that some of them were during it, and for how many a module must be absent
/// for it to be disturbed: a busy machine may miss one or two.
const HELD_TICKS: f64 = 3.0;

/// How late a sample may be on a busy machine. A plugin that stalls the agent stalls it for longer.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// The user and group that have no permissions of their own.
pub const NOBODY: u32 = 65534;

/// A directory for an agent: its configuration, its plugins, its cache.
pub struct Setup {
    directory: tempfile::TempDir,
}

/// One line of output.
pub type Sample = BTreeMap<String, BTreeMap<String, Value>>;

impl Setup {
    /// A directory with an empty plugins directory, and without a configuration.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("plugins")).expect("created");
        Self { directory }
    }

    /// A directory with a configuration file.
    pub fn with_config(toml: &str) -> Self {
        let setup = Self::new();
        fs::write(setup.path("gauged.toml"), toml).expect("written");
        setup
    }

    /// A path in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A path in the plugins directory.
    pub fn plugin(&self, file: &str) -> PathBuf {
        self.path("plugins").join(file)
    }

    /// The directory of compiled plugins; the cache of whoever runs the tests is not touched.
    pub fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    /// A command that runs the agent in this directory.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_gauged")), arguments)
    }

    /// A command that runs another program instead, such as a copy of the agent.
    pub fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.directory.path()).stdin(Stdio::null());
        // The status socket is opened once the test has made its directory, and that of whoever runs the tests is not touched.
        command.env("CACHE_DIRECTORY", self.cache()).env("RUNTIME_DIRECTORY", self.path("run"));
        for name in ["http_proxy", "https_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        command.env("STATE_DIRECTORY", self.path("state"));
        command
    }

    /// A command that runs the agent as a user who is subject to file permissions, even where root runs the tests.
    pub fn command_without_root(&self, arguments: &[&str]) -> Command {
        if !geteuid().is_root() {
            return self.command(arguments);
        }
        // That user may not be allowed to reach the build directory.
        fs::set_permissions(self.path(""), fs::Permissions::from_mode(0o755)).expect("set");
        let mut command = self.command_of(&self.copy_agent(), arguments);
        command.uid(NOBODY).gid(NOBODY);
        command
    }

    /// Copies the agent's program into the directory. Another process does it: a child that another test starts meanwhile
    /// would inherit the open copy, and a program that is open for writing cannot be run.
    pub fn copy_agent(&self) -> PathBuf {
        let copy = self.path("gauged");
        let status = Command::new("cp").arg(env!("CARGO_BIN_EXE_gauged")).arg(&copy).status().expect("it runs");
        assert!(status.success(), "cp: {status}");
        copy
    }

    /// Runs the agent until it exits.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it runs")
    }

    /// Takes one sample with `--once`; returns it and the log.
    pub fn once(&self) -> (Sample, String) {
        self.once_with(&[])
    }

    /// Takes one sample with `--once` and more arguments. A plugin with a table that does not serve makes that a failure,
    /// with a sample all the same.
    pub fn once_with(&self, arguments: &[&str]) -> (Sample, String) {
        let output = self.run(&[&["--once"], arguments].concat());
        let log = String::from_utf8(output.stderr).expect("the log is text");
        assert!(matches!(output.status.code(), Some(0 | 1)), "{log}");
        (parse(&String::from_utf8(output.stdout).expect("JSON is text")), log)
    }

    /// Starts the agent.
    pub fn start(&self, arguments: &[&str]) -> Agent {
        Agent::start(self.command(arguments))
    }
}

/// A running agent.
pub struct Agent {
    child: Child,
    /// Samples that were printed and not read by the test yet.
    lines: Receiver<String>,
    log: Arc<Log>,
    /// Reads the log to its end.
    log_reader: Option<thread::JoinHandle<()>>,
    samples: Vec<Sample>,
}

/// The whole lines that an agent has logged.
#[derive(Default)]
struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Default)]
struct LogState {
    text: String,
    /// Whether the agent has closed its log.
    is_complete: bool,
}

impl Log {
    fn read(&self, stderr: impl std::io::Read) {
        let (mut stderr, mut line) = (BufReader::new(stderr), Vec::new());
        while stderr.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            self.state.lock().expect("not poisoned").text.push_str(&String::from_utf8_lossy(&line));
            self.changed.notify_all();
            line.clear();
        }
        self.state.lock().expect("not poisoned").is_complete = true;
        self.changed.notify_all();
    }

    /// Waits until the log yields something, which `wanted` names; an error has the log that never did.
    fn wait<T>(&self, find: impl Fn(&str) -> Option<T>) -> Result<T, String> {
        let until = Instant::now() + DEADLINE;
        let mut state = self.state.lock().expect("not poisoned");
        loop {
            if let Some(found) = find(&state.text) {
                return Ok(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            if state.is_complete || left.is_zero() {
                return Err(state.text.clone());
            }
            state = self.changed.wait_timeout(state, left).expect("not poisoned").0;
        }
    }
}

impl Agent {
    /// Starts a command that runs the agent.
    pub fn start(command: Command) -> Self {
        Self::start_with_output(command, Stdio::piped())
    }

    /// Starts a command that runs the agent with another standard output than a pipe to this test, which then gets no
    /// samples.
    pub fn start_with_output(mut command: Command, stdout: Stdio) -> Self {
        let mut child = command.stdout(stdout).stderr(Stdio::piped()).spawn().expect("it starts");
        let (sender, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            let stdout = BufReader::new(stdout);
            thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        }
        let log = Arc::new(Log::default());
        let (stderr, written) = (child.stderr.take().expect("piped"), Arc::clone(&log));
        let log_reader = thread::spawn(move || written.read(stderr));
        Self { child, lines, log, log_reader: Some(log_reader), samples: Vec::new() }
    }

    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The lines that were logged so far. A line about a sample may come later than the sample: wait for it with
    /// [`Self::wait_log`] or [`Self::wait_log_lines`].
    pub fn log(&self) -> String {
        self.log.state.lock().expect("not poisoned").text.clone()
    }

    /// All samples that were read so far.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The next sample.
    pub fn next(&mut self) -> Sample {
        let sample = match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => parse(&line),
            Err(error) => panic!("no sample: {error}\n{}", self.log()),
        };
        self.samples.push(sample.clone());
        sample
    }

    /// Whether the agent has closed its output without a sample.
    pub fn has_no_sample(&mut self) -> bool {
        self.samples.is_empty() && self.lines.recv_timeout(DEADLINE) == Err(mpsc::RecvTimeoutError::Disconnected)
    }

    /// Waits for the next sample that meets a condition.
    pub fn wait(&mut self, condition: impl Fn(&Sample) -> bool) -> Sample {
        let until = Instant::now() + DEADLINE;
        loop {
            let sample = self.next();
            if condition(&sample) {
                return sample;
            }
            assert!(Instant::now() < until, "no sample meets the condition; last: {sample:?}\n{}", self.log());
        }
    }

    /// Waits until the log contains a text.
    pub fn wait_log(&mut self, text: &str) {
        self.wait_log_for(text, |log| log.contains(text).then_some(()));
    }

    /// Waits until at least so many lines of the log contain a text; returns all that do.
    pub fn wait_log_lines(&mut self, text: &str, count: usize) -> Vec<String> {
        self.wait_log_for(&format!("{count} lines with {text:?}"), |log| {
            let lines: Vec<String> = log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect();
            (lines.len() >= count).then_some(lines)
        })
    }

    /// Waits until at least so many lines of the log are about a plugin; returns all that are.
    pub fn wait_plugin_log(&mut self, plugin: &str, count: usize) -> Vec<String> {
        self.wait_log_for(&format!("{count} lines about {plugin}"), |log| {
            let lines = lines_about(log, plugin);
            (lines.len() >= count).then_some(lines)
        })
    }

    /// Waits until the log yields something, which `wanted` names. Samples that are printed meanwhile count as read.
    pub fn wait_log_for<T>(&mut self, wanted: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let found = self.log.wait(find).unwrap_or_else(|log| panic!("never logged: {wanted}\n{log}"));
        self.samples.extend(self.lines.try_iter().map(|line| parse(&line)));
        found
    }

    /// The lines that were logged so far about a plugin.
    pub fn plugin_log(&self, plugin: &str) -> Vec<String> {
        lines_about(&self.log(), plugin)
    }

    /// Asserts that there was one sample for each tick, except for ticks that were counted as missed.
    pub fn assert_no_gaps(&self) {
        let number = |sample: &Sample, metric: &str| sample["agent"][metric].as_f64().expect("a number");
        for pair in self.samples.windows(2) {
            let since = number(&pair[1], "timestamp") - number(&pair[0], "timestamp");
            let missed = number(&pair[1], "missed_ticks_total") - number(&pair[0], "missed_ticks_total");
            let ticks = (since / number(&pair[1], "interval")).round();
            assert!(ticks == 1.0 + missed, "{since} s between samples, and {missed} missed ticks\n{}", self.log());
        }
    }

    /// Asserts that the module of a plugin was in every sample since it first was in one.
    pub fn assert_never_absent(&self, module: &str) {
        assert!(self.absences(module).is_empty(), "{module} was absent\n{}", self.log());
    }

    /// For how many samples in a row the module of a plugin was absent, each time, since it first was in one.
    fn absences(&self, module: &str) -> Vec<usize> {
        let present: Vec<bool> = (self.samples.iter().map(|sample| value(sample, module).is_some()))
            .skip_while(|is_present| !is_present)
            .collect();
        assert!(!present.is_empty(), "{module} is in no sample\n{}", self.log());
        present.split(|&is_present| is_present).map(<[bool]>::len).filter(|&absent| absent > 0).collect()
    }

    /// Asserts that no sample is missing or late, that each has the native modules, that native metrics were read at the ticks during
    /// long calls, before these returned, and that the modules of these plugins were never absent for long. A plugin with long calls must
    /// be due at each tick.
    pub fn assert_undisturbed(&self, modules: &[&str]) {
        self.assert_no_gaps();
        let held = ticks_without_reading(&self.samples);
        assert!(held.is_empty(), "{held:#?}\n{}", self.log());
        let number = |sample: &Sample, metric: &str| sample["agent"][metric].as_f64().expect("a number");
        for pair in self.samples.windows(2) {
            let late = number(&pair[1], "timestamp") - number(&pair[0], "timestamp") - number(&pair[1], "interval");
            assert!(late < MAX_DELAY.as_secs_f64(), "a sample was {late} s late\n{}", self.log());
        }
        for sample in &self.samples {
            assert_eq!(sample["agent"]["dropped_samples_total"], 0, "{}", self.log());
            for native in ["cpu", "load", "memory", "swap"] {
                assert!(sample.get(native).is_some_and(|metrics| metrics.len() > 2), "no {native} in {sample:?}");
            }
        }
        for module in modules {
            let absences = self.absences(module);
            let is_brief = |&absent: &usize| (absent as f64) < HELD_TICKS;
            assert!(absences.iter().all(is_brief), "{module} was absent: {absences:?}\n{}", self.log());
        }
    }

    /// A number of the process's status: `VmHWM` is the most memory that it has had, in kB; `Threads`.
    pub fn status(&self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or_else(|| panic!("{key} in {status}"))
    }

    /// The size of the files in memory that the agent has mapped, such as native code, in kB.
    pub fn mapped_memory_files_kb(&self) -> u64 {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid())).expect("it runs");
        let size = |range: &str| {
            let (start, end) = range.split_once('-')?;
            Some(u64::from_str_radix(end, 16).ok()? - u64::from_str_radix(start, 16).ok()?)
        };
        let files = maps.lines().filter(|line| line.contains("/memfd:"));
        files.filter_map(|line| size(line.split(' ').next()?)).sum::<u64>() / 1024
    }

    /// Sends a signal to the agent.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("sent");
    }

    /// Waits until the agent exits and its log is complete; returns how it exited and how long that took.
    pub fn wait_exit(&mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                let took = start.elapsed();
                if let Some(log_reader) = self.log_reader.take() {
                    log_reader.join().expect("it only reads");
                }
                return (status, took);
            }
            assert!(
                start.elapsed() < DEADLINE,
                "the agent does not exit:\n{}{}",
                self.log(),
                process_state::describe(self.pid())
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the agent with SIGTERM, as a service manager does.
    pub fn terminate(&mut self) -> (ExitStatus, Duration) {
        self.signal(Signal::TERM);
        self.wait_exit()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // A failed test leaves it running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a log that are about a plugin.
pub fn lines_about(log: &str, plugin: &str) -> Vec<String> {
    let field = format!(" plugin={plugin}");
    let names_it =
        |line: &&str| line.split_once(&field).is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with(' '));
    log.lines().filter(names_it).map(str::to_owned).collect()
}

/// Parses one line of output.
pub fn parse(line: &str) -> Sample {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))
}

/// A metric of the module `agent` with the label of a plugin.
pub fn plugin_metric(sample: &Sample, metric: &str, plugin: &str) -> Option<f64> {
    sample["agent"].get(&format!("{metric}{{plugin=\"{plugin}\"}}"))?.as_f64()
}

/// The number of a plugin's faults of one kind.
pub fn fault_count(sample: &Sample, plugin: &str, kind: &str) -> f64 {
    let key = format!("plugin_faults_total{{plugin=\"{plugin}\",kind=\"{kind}\"}}");
    sample["agent"].get(&key).and_then(Value::as_f64).unwrap_or(0.0)
}

/// The number of all faults of all plugins.
pub fn all_faults(sample: &Sample) -> f64 {
    let totals = sample["agent"].iter().filter(|(key, _)| key.starts_with("plugin_faults_total{kind="));
    totals.map(|(_, count)| count.as_f64().expect("a number")).sum()
}

/// The metric `value` of a module, which is the only one of most guests.
pub fn value(sample: &Sample, module: &str) -> Option<Value> {
    sample.get(module)?.get("value").cloned()
}

/// The number of ticks at which native metrics were read while a call of a plugin had not returned. The agent counts a tick at
/// which it cannot call the plugin, or the guest thread does not respond, when it has read them, and the sample of such a tick is
/// delivered during the call.
pub fn ticks_during_calls(sample: &Sample, plugin: &str) -> f64 {
    plugin_metric(sample, "plugin_skipped_total", plugin).unwrap_or(0.0)
}

/// The plugins with a long call during which fewer ticks were read than it lasted.
fn ticks_without_reading(samples: &[Sample]) -> Vec<String> {
    let Some(last) = samples.last() else { return Vec::new() };
    let number = |sample: &Sample, metric: &str| sample["agent"][metric].as_f64().expect("a number");
    let most = |value: &dyn Fn(&Sample) -> Option<f64>| samples.iter().filter_map(value).fold(0.0, f64::max);
    let longest = "plugin_duration_max_seconds";
    let key = format!("{longest}{{plugin=\"");
    let plugins: BTreeSet<&str> = (samples.iter())
        .flat_map(|sample| sample["agent"].keys())
        .filter_map(|metric| metric.strip_prefix(&key)?.strip_suffix("\"}"))
        .collect();
    let problem = |plugin: &str| {
        let seconds = most(&|sample| plugin_metric(sample, longest, plugin));
        let ticks = (seconds / number(last, "interval")).floor();
        let read = most(&|sample| Some(ticks_during_calls(sample, plugin)));
        // A call begins after its tick, and may return just before another one.
        let expected = (ticks - 1.0 - number(last, "missed_ticks_total")).max(1.0);
        (ticks >= HELD_TICKS && read < expected)
            .then(|| format!("a call of {plugin} lasted {seconds} s, during which {read} of {ticks} ticks were read"))
    };
    plugins.into_iter().filter_map(problem).collect()
}

#[test]
fn ticks_missing_during_a_call_are_noticed() {
    let sample = |longest: f64, skipped: u32, missed: u32| {
        parse(&format!(
            r#"{{"agent":{{"interval":0.25,"missed_ticks_total":{missed},"plugin_skipped_total{{plugin=\"bad\"}}":{skipped},
                "plugin_duration_max_seconds{{plugin=\"bad\"}}":{longest},"plugin_duration_max_seconds{{plugin=\"able\"}}":0.001}}}}"#
        ))
    };
    let is_well = |longest, skipped, missed| ticks_without_reading(&[sample(longest, skipped, missed)]).is_empty();
    assert!(is_well(0.7, 0, 0), "a short call");
    assert!(is_well(1.1, 3, 0) && is_well(1.1, 4, 0) && is_well(1.1, 2, 1));
    assert!(!is_well(1.1, 0, 0), "no sample until the call returned");
    assert!(!is_well(1.1, 0, 4), "the ticks were missed");
    assert!(!is_well(1.1, 2, 0));
    // The file was replaced meanwhile, and the durations begin again.
    assert!(!ticks_without_reading(&[sample(1.1, 0, 0), sample(0.001, 0, 0)]).is_empty());
}

/// Waits until a condition holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < until, "never: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Reads a configuration for an agent in this process, which is never asked to.
pub fn unchanged() -> ConfigLoader {
    Arc::new(|| Err(Vec::new()))
}

/// The directory of this repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
