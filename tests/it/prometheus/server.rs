//! Prometheus and `VictoriaMetrics` on loopback addresses, each with its data in a temporary directory. They scrape, or store what is sent
//! to them.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::wait_until;
use crate::http_server::peer::{Response, connect, own_address};
use crate::requirement::Program;
use crate::services::Daemon;

/// How exactly `VictoriaMetrics` stores numbers: it makes decimal ones of them, of a dozen digits.
pub const VICTORIA_METRICS_PRECISION: f64 = 1e-9;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Prometheus,
    VictoriaMetrics,
}

/// A configuration file, in a directory that the server has its data in as well.
pub struct Configuration {
    directory: tempfile::TempDir,
    file: PathBuf,
}

impl Configuration {
    /// A file with this text.
    pub fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::write(directory.path().join("configuration.yml"), text).expect("written");
        Self::file_in(directory, "configuration.yml")
    }

    /// A file of a directory.
    pub fn file_in(directory: tempfile::TempDir, name: &str) -> Self {
        let file = directory.path().join(name);
        Self { directory, file }
    }
}

/// A server that runs until it is dropped.
pub struct Server {
    kind: Kind,
    _daemon: Daemon,
    address: SocketAddr,
    log: PathBuf,
    _directory: tempfile::TempDir,
}

impl Server {
    /// Starts Prometheus with this configuration.
    pub fn prometheus(program: &Program, configuration: Configuration) -> Self {
        Self::prometheus_with(program, configuration, &[])
    }

    /// Starts Prometheus without scrapes, as a receiver of remote write.
    pub fn prometheus_receiver(program: &Program) -> Self {
        Self::prometheus_with(program, Configuration::new("global: {}\n"), &["--web.enable-remote-write-receiver"])
    }

    fn prometheus_with(program: &Program, configuration: Configuration, arguments: &[&str]) -> Self {
        let file = configuration.file.clone();
        Self::start(Kind::Prometheus, program, configuration, |command, address, directory| {
            command.arg(format!("--config.file={}", file.display()));
            command.arg(format!("--storage.tsdb.path={}", directory.join("data").display()));
            command.arg(format!("--web.listen-address={address}")).args(arguments);
        })
    }

    /// Starts `VictoriaMetrics` with this configuration of scrapes.
    pub fn victoria_metrics(program: &Program, configuration: Configuration) -> Self {
        Self::victoria_metrics_with(program, configuration, &[])
    }

    /// Starts `VictoriaMetrics` without scrapes. Queries are about this moment: by default they are about the one 30 s ago.
    pub fn victoria_metrics_receiver(program: &Program) -> Self {
        Self::victoria_metrics_with(program, Configuration::new("{}\n"), &["-search.latencyOffset=1ms"])
    }

    fn victoria_metrics_with(program: &Program, configuration: Configuration, arguments: &[&str]) -> Self {
        let file = configuration.file.clone();
        Self::start(Kind::VictoriaMetrics, program, configuration, |command, address, directory| {
            command.arg(format!("-promscrape.config={}", file.display()));
            // It knows no rules.
            command.arg("-promscrape.config.strictParse=false");
            command.arg(format!("-storageDataPath={}", directory.join("data").display()));
            command.arg(format!("-httpListenAddr={address}")).args(arguments);
        })
    }

    fn start(
        kind: Kind,
        program: &Program,
        configuration: Configuration,
        arguments: impl Fn(&mut Command, SocketAddr, &Path),
    ) -> Self {
        let directory = configuration.directory;
        let (address, log) = (own_address(), directory.path().join("log"));
        let file = File::create(&log).expect("created");
        let mut command = program.command();
        command.stdout(file.try_clone().expect("a second handle")).stderr(file).current_dir(directory.path());
        arguments(&mut command, address, directory.path());
        let server = Self { kind, _daemon: Daemon::start(command, address), address, log, _directory: directory };
        let (path, text) = match kind {
            Kind::Prometheus => ("/-/ready", "Ready."),
            Kind::VictoriaMetrics => ("/health", "OK"),
        };
        wait_until("the server is ready", || server.get(path, &[]).contains(text));
        server
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The text at a path, with these parameters.
    pub fn get(&self, path: &str, parameters: &[(&str, &str)]) -> String {
        let encoded = |text: &str| -> String {
            let encode = |byte: u8| match byte {
                _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
                _ => format!("%{byte:02X}"),
            };
            text.bytes().map(encode).collect()
        };
        let query: Vec<String> =
            parameters.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        let mut stream = connect(self.address);
        write!(stream, "GET {path}?{} HTTP/1.0\r\n\r\n", query.join("&")).expect("sent");
        let mut response = Vec::new();
        let read = stream.read_to_end(&mut response);
        assert!(read.is_ok(), "{read:?}\n{}", self.log());
        Response::parse(&response).text().to_owned()
    }

    /// The same as JSON.
    pub fn json(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let text = self.get(path, parameters);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}\n{}", self.log()))
    }

    /// The response to a query at this moment.
    pub fn query(&self, expression: &str) -> Value {
        self.json("/api/v1/query", &[("query", expression)])
    }

    /// The number of scrapes of a job that are stored, failed ones included.
    pub fn scrapes(&self, job: &str) -> usize {
        self.flush();
        let response = self.query(&format!("count_over_time(up{{job=\"{job}\"}}[10m])"));
        let count = response["data"]["result"][0]["value"][1].as_str();
        count.map_or(0, |count| count.parse().expect("a number"))
    }

    /// Lets queries see what was stored last.
    pub fn flush(&self) {
        if self.kind == Kind::VictoriaMetrics {
            self.get("/internal/force_flush", &[]);
        }
    }

    /// The warnings and errors in its log.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.log();
        let lines = log.lines().filter(|line| {
            let line = line.to_ascii_lowercase();
            let is_complaint =
                |level: &&str| line.contains(&format!("level={level} ")) || line.contains(&format!("\t{level}\t"));
            ["warn", "error", "panic", "fatal"].iter().any(is_complaint)
        });
        lines.map(str::to_owned).collect()
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("text")
    }
}
