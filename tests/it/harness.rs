//! The agent as a child process, in a directory of its own. A test waits for what it wants to see, with a deadline that
//! is only there to end a test that will never see it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Long enough for the slowest machine; a passing test waits for nothing of this.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A directory for one agent: its configuration, its plugins.
pub struct Host {
    directory: tempfile::TempDir,
}

/// One line of output.
pub type Sample = BTreeMap<String, BTreeMap<String, Value>>;

impl Host {
    /// An empty directory with an empty plugins directory in it.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(directory.path().join("plugins")).expect("created");
        Self { directory }
    }

    /// The same, with a configuration.
    pub fn configured(toml: &str) -> Self {
        let host = Self::new();
        std::fs::write(host.path("gauged.toml"), toml).expect("written");
        host
    }

    /// A path in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A path in the plugins directory.
    pub fn plugin(&self, file: &str) -> PathBuf {
        self.path("plugins").join(file)
    }

    /// Where its agents keep what they have compiled: nobody else's cache is touched.
    pub fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    /// The program, in this directory.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gauged"));
        command.args(arguments).current_dir(self.directory.path()).stdin(Stdio::null());
        command.env("CACHE_DIRECTORY", self.cache());
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it runs")
    }

    /// Takes one sample.
    pub fn once(&self) -> (Sample, String) {
        let output = self.run(&["--once"]);
        let log = String::from_utf8(output.stderr).expect("the log is text");
        assert!(output.status.success(), "{log}");
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
    lines: Receiver<String>,
    log: Arc<Mutex<String>>,
    /// Reads the log to its end.
    logging: Option<thread::JoinHandle<()>>,
    seen: Vec<Sample>,
}

impl Agent {
    /// Starts a program that prints samples.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let log = Arc::new(Mutex::new(String::new()));
        let (mut stderr, logged) = (child.stderr.take().expect("piped"), Arc::clone(&log));
        let logging = thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = stderr.read(&mut bytes) {
                logged.lock().expect("not poisoned").push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        Self { child, lines, log, logging: Some(logging), seen: Vec::new() }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("not poisoned").clone()
    }

    /// All samples that were read so far.
    pub fn seen(&self) -> &[Sample] {
        &self.seen
    }

    /// The next sample.
    pub fn next(&mut self) -> Sample {
        let sample = match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => parse(&line),
            Err(error) => panic!("no sample: {error}\n{}", self.log()),
        };
        self.seen.push(sample.clone());
        sample
    }

    /// The next sample that is as wanted.
    pub fn wait(&mut self, wanted: impl Fn(&Sample) -> bool) -> Sample {
        let until = Instant::now() + DEADLINE;
        loop {
            let sample = self.next();
            if wanted(&sample) {
                return sample;
            }
            assert!(Instant::now() < until, "never as wanted; last: {sample:?}\n{}", self.log());
        }
    }

    /// Waits until the log contains a text.
    pub fn wait_log(&mut self, text: &str) {
        let until = Instant::now() + DEADLINE;
        while !self.log().contains(text) {
            assert!(Instant::now() < until, "never logged {text:?}:\n{}", self.log());
            match self.lines.recv_timeout(Duration::from_millis(10)) {
                Ok(line) => self.seen.push(parse(&line)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("ended without logging {text:?}:\n{}", self.log()),
            }
        }
    }

    /// There was a sample for every tick that was read, none was missed, and the natives were in each, as were those of
    /// the guests that work, from their first on.
    pub fn assert_undisturbed(&self, guests: &[&str]) {
        let number = |sample: &Sample, metric: &str| sample["agent"][metric].as_f64().expect("a number");
        for pair in self.seen.windows(2) {
            let since = number(&pair[1], "timestamp") - number(&pair[0], "timestamp");
            let ticks = (since / number(&pair[1], "interval")).round();
            assert!(ticks as u64 == 1, "{since} s from one sample to the next\n{}", self.log());
        }
        for sample in &self.seen {
            assert_eq!(sample["agent"]["missed_ticks_total"], 0, "{}", self.log());
            assert_eq!(sample["agent"]["dropped_samples_total"], 0, "{}", self.log());
            for native in ["cpu", "load", "memory", "swap"] {
                assert!(sample.get(native).is_some_and(|metrics| metrics.len() > 2), "no {native} in {sample:?}");
            }
        }
        for guest in guests {
            let from_its_first = self.seen.iter().skip_while(|sample| value(sample, guest).is_none());
            let there: Vec<bool> = from_its_first.map(|sample| value(sample, guest).is_some()).collect();
            assert!(!there.is_empty() && there.iter().all(|there| *there), "{guest}: {there:?}\n{}", self.log());
        }
    }

    /// The lines that it has logged about a plugin.
    pub fn log_of(&self, plugin: &str) -> Vec<String> {
        let is_about_it = |line: &&str| {
            line.split_once(" plugin ").is_some_and(|(_, rest)| {
                rest.strip_prefix(plugin).is_some_and(|rest| rest.starts_with([' ', ':', ',']))
            })
        };
        self.log().lines().filter(is_about_it).map(str::to_owned).collect()
    }

    /// A figure of its process's status: `VmHWM`, the most memory that it has had at a time, in kB; `Threads`.
    pub fn status(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or_else(|| panic!("{key} in {status}"))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, signal).expect("sent");
    }

    /// Waits for its end, and until its log is complete. Answers how it ended and how long that
    /// took.
    pub fn wait_end(&mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                let took = start.elapsed();
                if let Some(logging) = self.logging.take() {
                    logging.join().expect("it only reads");
                }
                return (status, took);
            }
            assert!(start.elapsed() < DEADLINE, "it does not end:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it as a supervisor does.
    pub fn terminate(&mut self) -> (ExitStatus, Duration) {
        self.signal(Signal::TERM);
        self.wait_end()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // A test that failed leaves it running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads one line of output.
pub fn parse(line: &str) -> Sample {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))
}

/// A metric of the module `agent` that is labelled with a plugin.
pub fn about(sample: &Sample, metric: &str, plugin: &str) -> Option<f64> {
    sample["agent"].get(&format!("{metric}{{plugin=\"{plugin}\"}}"))?.as_f64()
}

/// How often a plugin has had a kind of fault.
pub fn faults(sample: &Sample, plugin: &str, kind: &str) -> f64 {
    let key = format!("plugin_faults_total{{plugin=\"{plugin}\",kind=\"{kind}\"}}");
    sample["agent"].get(&key).and_then(Value::as_f64).unwrap_or(0.0)
}

/// The value of the one metric of a guest's module.
pub fn value(sample: &Sample, module: &str) -> Option<Value> {
    sample.get(module)?.get("value").cloned()
}

/// The directory of this repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
