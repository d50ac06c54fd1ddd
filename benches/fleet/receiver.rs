//! The receivers: real programs that are started, stopped and asked.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long a receiver may take to start, and to answer a query about all points.
const PATIENCE: Duration = Duration::from_secs(120);

/// Times in `/proc/PID/stat` are in hundredths of a second on every system that matters.
const TICK: Duration = Duration::from_millis(10);

/// The names of all series.
const NAMES: &str = "/api/v1/label/__name__/values";

/// A program that takes remote write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    VictoriaMetrics,
    Prometheus,
}

impl Program {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::VictoriaMetrics => "victoria-metrics",
            Self::Prometheus => "prometheus",
        }
    }

    /// Where it is: of Debian's newest suite, which `.ci/servers` fetches, or installed.
    fn path(self) -> Option<PathBuf> {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
        let installed = std::env::var_os("PATH").unwrap_or_default();
        let places = [cache.join("gauged/servers/newest/usr/bin")].into_iter().chain(std::env::split_paths(&installed));
        places.map(|place| place.join(self.name())).find(|path| path.is_file())
    }

    /// The path that says whether it is ready.
    fn ready(self) -> &'static str {
        match self {
            Self::VictoriaMetrics => "/health",
            Self::Prometheus => "/-/ready",
        }
    }

    fn arguments(self, port: u16, data: &Path) -> Vec<String> {
        let data = data.display();
        match self {
            Self::VictoriaMetrics => vec![
                format!("-httpListenAddr=127.0.0.1:{port}"),
                format!("-storageDataPath={data}"),
                // A request whose response was lost is sent again: the same point twice counts as one.
                "-dedup.minScrapeInterval=1ms".to_owned(),
                "-search.latencyOffset=0s".to_owned(),
                "-search.maxUniqueTimeseries=10000000".to_owned(),
                "-search.maxQueryDuration=2m".to_owned(),
            ],
            Self::Prometheus => vec![
                format!("--web.listen-address=127.0.0.1:{port}"),
                format!("--storage.tsdb.path={data}"),
                format!("--config.file={data}.yml"),
                "--web.enable-remote-write-receiver".to_owned(),
                "--query.max-samples=1000000000".to_owned(),
                // Its default is 512, and hosts keep theirs.
                "--web.max-connections=100000".to_owned(),
            ],
        }
    }
}

/// What a program has used.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    pub(super) cpu: Duration,
    pub(super) resident_bytes: u64,
}

/// A receiver.
pub(super) struct Receiver {
    program: Program,
    path: PathBuf,
    port: u16,
    data: PathBuf,
    /// None while it is away.
    child: Option<Child>,
}

impl Receiver {
    /// Starts one with empty data below this directory.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) fn start_new(program: Program, directory: &Path) -> Result<Self, String> {
        let path = program.path().ok_or("it is not installed; run .ci/servers")?;
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
        let port = free.local_addr().map_err(|error| error.to_string())?.port();
        drop(free);
        let data = directory.join("data");
        fs::write(directory.join("data.yml"), "").map_err(|error| error.to_string())?;
        let mut receiver = Self { program, path, port, data, child: None };
        receiver.start();
        let until = Instant::now() + PATIENCE;
        while !receiver.is_ready() {
            if Instant::now() > until {
                return Err("it does not start".to_owned());
            }
            sleep(Duration::from_millis(50));
        }
        Ok(receiver)
    }

    pub(super) fn name(&self) -> &'static str {
        self.program.name()
    }

    /// Where it takes remote write.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/api/v1/write", self.port)
    }

    pub(super) fn start(&mut self) {
        let mut command = Command::new(&self.path);
        command.args(self.program.arguments(self.port, &self.data));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.child = Some(child.expect("started"));
    }

    pub(super) fn is_ready(&self) -> bool {
        self.get(self.program.ready(), Duration::from_secs(1)).is_some()
    }

    /// Asks it to end, and waits until it has.
    pub(super) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = kill_process(Pid::from_child(&child), Signal::TERM);
            let _ = child.wait();
        }
    }

    pub(super) fn usage(&self) -> Usage {
        let read = || {
            let root = PathBuf::from(format!("/proc/{}", self.child.as_ref()?.id()));
            let stat = fs::read_to_string(root.join("stat")).ok()?;
            let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
            let ticks = fields[11].parse::<u32>().ok()? + fields[12].parse::<u32>().ok()?;
            let status = fs::read_to_string(root.join("status")).ok()?;
            let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
            let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
            Some(Usage { cpu: TICK * ticks, resident_bytes: kib << 10 })
        };
        read().unwrap_or_default()
    }

    /// How many points of each host it has.
    pub(super) fn stored_points(&self) -> BTreeMap<String, u64> {
        if self.program == Program::VictoriaMetrics {
            self.get("/internal/force_flush", PATIENCE).expect("a response");
        }
        let mut points = BTreeMap::new();
        for name in self.ask(NAMES)["data"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            // One name at a time: Prometheus does not count series that differ in their names only.
            let query = format!("sum by (instance) (count_over_time({name}{{job=\"gauged\"}}[3h]))");
            let mut path = "/api/v1/query?query=".to_owned();
            for byte in query.bytes() {
                let _ = write!(path, "%{byte:02x}");
            }
            let answer = self.ask(&path);
            for result in answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{answer}")) {
                let host = result["metric"]["instance"].as_str().unwrap_or_default();
                let number = result["value"][1].as_str().and_then(|number| number.parse::<u64>().ok());
                *points.entry(host.to_owned()).or_default() += number.unwrap_or_default();
            }
        }
        points
    }

    fn ask(&self, path: &str) -> Value {
        let answer = self.get(path, PATIENCE).unwrap_or_else(|| panic!("{} does not answer {path}", self.name()));
        serde_json::from_str(&answer).expect("JSON")
    }

    /// The body of a successful response.
    fn get(&self, path: &str, patience: Duration) -> Option<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        stream.set_read_timeout(Some(patience)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut response = String::new();
        stream.read_to_string(&mut response).ok()?;
        let (head, body) = response.split_once("\r\n\r\n")?;
        head.lines().next()?.contains(" 200 ").then(|| body.to_owned())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop();
    }
}
