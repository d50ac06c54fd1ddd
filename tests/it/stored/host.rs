//! An agent that measures everything it can, in all the ways that times can differ: plugins that take longer than a tick, or than several,
//! plugins with a longer interval, and points that programs push with times of their own.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::plugins::{clock, numbers, waiting_clock};
use super::points::{NAME, Points, Unknown};
use super::truth::{Target, Truth};
use crate::exposition::machines::PLUGINS;
use crate::first_party::built;
use crate::guest::{Guest, install};
use crate::harness::{Agent, Setup};
use crate::http_server::peer::{Response, connect, own_address};
use crate::server::{Server, read_request};

/// The host name.
pub const HOST: &str = "web-1";

/// The tag of the configuration.
pub const TAG: (&str, &str) = ("dc", "fra1");

/// How long the server of `late` takes: its results come with the sample after the next.
const LATE: Duration = Duration::from_millis(1300);

/// How long that of `very_late` takes: its module is absent from more samples than its series outlast.
const VERY_LATE: Duration = Duration::from_millis(4300);

/// The plugins whose value is the time that they were called for.
pub const CLOCKS: [&str; 4] = ["late", "very_late", "unsteady", "seldom"];

/// How many results of each of them a test waits for.
const RESULTS: usize = 3;

/// How many seconds each have a point in the first push.
const PUSHED_SECONDS: u64 = 12;

/// The agent, and what it depends on.
pub struct Host {
    pub agent: Agent,
    setup: Setup,
    address: SocketAddr,
    pushed: Vec<Pushed>,
}

/// A point that was pushed.
struct Pushed {
    metric: &'static str,
    tags: &'static str,
    is_counter: bool,
    second: u64,
    value: f64,
}

/// Everything that an agent has measured.
pub struct Measured {
    pub truth: Truth,
    pushed: Vec<Pushed>,
    pub log: String,
}

/// The moment, in seconds since the Unix epoch.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

/// A server that takes so long for each request of this number.
fn slow_server(delay: impl Fn(usize) -> Duration + Send + Sync + 'static) -> Server {
    let requests = AtomicUsize::new(0);
    Server::start(move |mut stream| {
        read_request(&mut stream);
        thread::sleep(delay(requests.fetch_add(1, Ordering::Relaxed)));
        // The agent may have ended.
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    })
}

impl Host {
    /// Starts an agent with these sinks, and waits until each plugin that can measure this host does.
    pub fn start(sinks: &str) -> Self {
        let (setup, address) = (Setup::new(), own_address());
        let late = slow_server(|_| LATE);
        let very_late = slow_server(|_| VERY_LATE);
        // A late result and the next one are in one sample.
        let unsteady = slow_server(|request| if request % 2 == 0 { LATE } else { Duration::ZERO });
        let mut plugins = String::new();
        for (name, server) in [("late", &late), ("very_late", &very_late), ("unsteady", &unsteady)] {
            let url = format!("http://{}", server.address);
            waiting_clock(name, &url).install(&setup.plugin(name).with_extension("wasm"));
            writeln!(plugins, "[plugins.{name}]\ntimeout = \"60s\"\nfetch = [\"{url}\"]").expect("a string grows");
        }
        for (name, guest) in [("seldom", clock("seldom")), ("gone", Guest::new("gone")), ("numbers", numbers())] {
            guest.install(&setup.plugin(name).with_extension("wasm"));
        }
        for name in PLUGINS {
            install(&built(name), &setup.plugin(name).with_extension("wasm"));
        }
        let (tag, tag_value) = TAG;
        let text = format!(
            "interval = \"1s\"\nhostname = \"{HOST}\"\ntags = {{ {tag} = \"{tag_value}\" }}\ncpu.per_core = true\n\
             [http]\nlisten = [\"{address}\"]\npush = true\n\
             [sinks.lines]\nkind = \"stdout\"\n\
             [sinks.truth]\nkind = \"file\"\npath = \"{}\"\n\
             [plugins.seldom]\ninterval = \"3s\"\n{plugins}{sinks}",
            file(&setup).display(),
        );
        std::fs::write(setup.path("gauged.toml"), text).expect("written");
        let agent = setup.start(&[]);
        let mut host = Self { agent, setup, address, pushed: Vec::new() };
        let is_settled = |state: Option<&Value>| {
            state.and_then(Value::as_str).is_some_and(|state| matches!(state, "up" | "disabled" | "idle"))
        };
        host.agent.wait(|sample| {
            let state = |name: &&str| sample["agent"].get(&format!("plugin_state{{plugin=\"{name}\"}}"));
            PLUGINS.iter().chain(&CLOCKS).chain(&["gone", "numbers"]).all(|name| is_settled(state(name)))
        });
        host
    }

    /// Pushes points, and waits until there are several results of each plugin.
    pub fn measure(&mut self) {
        self.push_past();
        for name in CLOCKS {
            let mut results = 0;
            while results < RESULTS {
                results += usize::from(self.agent.next().contains_key(name));
            }
        }
        // Of another program: the first one's series go on.
        let second = now() as u64;
        self.push(vec![Pushed { metric: "pushed.other", tags: "", is_counter: false, second, value: 0.25 }]);
        self.agent.wait(|sample| sample.get("push_60").is_some_and(|points| points.contains_key("pushed.other")));
    }

    /// Pushes points with times of the past.
    fn push_past(&mut self) {
        let last = now() as u64;
        let mut points = Vec::new();
        for second in last - PUSHED_SECONDS + 1..=last {
            let value = second as f64 + 0.5;
            points.push(Pushed { metric: "pushed.past", tags: "", is_counter: false, second, value });
            if second == last {
                points.push(Pushed { metric: "alone", tags: "", is_counter: false, second, value: -1e300 });
            }
            if second % 3 == 0 {
                let tags = "job=batch,instance=i-1";
                points.push(Pushed { metric: "pushed_total", tags, is_counter: true, second, value: value.floor() });
            }
        }
        self.push(points);
        self.agent.wait(|sample| sample.contains_key("push_60"));
    }

    fn push(&mut self, points: Vec<Pushed>) {
        let point = |point: &Pushed| {
            let kind = if point.is_counter { "COUNTER" } else { "GAUGE" };
            json!({
                "metric": point.metric, "timestamp": point.second, "step": 60, "value": point.value,
                "counterType": kind, "tags": point.tags,
            })
        };
        let body = Value::from(points.iter().map(point).collect::<Vec<_>>()).to_string();
        let mut stream = connect(self.address);
        write!(
            stream,
            "POST /v1/push HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len(),
        )
        .expect("sent");
        let response = Response::read(&mut stream);
        assert_eq!(response.json()["accepted"], points.len(), "{}", response.text());
        self.pushed.extend(points);
    }

    /// Removes the plugin `gone`, and waits until samples are without it.
    pub fn remove_plugin(&mut self) {
        std::fs::remove_file(self.setup.plugin("gone.wasm")).expect("removed");
        self.agent.wait(|sample| !sample.contains_key("gone"));
    }

    /// Ends the agent, and returns what it has measured.
    pub fn end(mut self) -> Measured {
        let (status, _) = self.agent.terminate();
        let log = self.agent.log();
        assert!(status.success(), "{log}");
        Measured { truth: Truth::read(&file(&self.setup)), pushed: self.pushed, log }
    }
}

impl Measured {
    /// Adds the pushed points: lines have those of the newest time only.
    pub fn add_pushed(&self, to: &mut Points, target: &Target<'_>, name: impl Fn(&str) -> String) {
        for point in &self.pushed {
            let pairs = point.tags.split(',').filter_map(|tag| tag.split_once('='));
            let labels = pairs.map(|(name, value)| gauged::sample::Label {
                name: name.to_owned().into(),
                value: value.to_owned().into(),
            });
            let mut labels = target.labels(&labels.collect::<Vec<_>>());
            labels.insert(NAME.to_owned(), name(point.metric));
            to.expect("push_60", labels, point.second.cast_signed() * 1000, point.value, false);
        }
    }

    /// Whether a point that no line has is right: that of a result that came with a newer one of its plugin.
    pub fn is_superseded(&self, unknown: &Unknown<'_>) -> bool {
        let Some(module) = unknown.module else { return false };
        let is_clock = CLOCKS.contains(&module) && unknown.labels[NAME].ends_with("value");
        self.truth.is_superseded(module, unknown.millis) && (!is_clock || unknown.value == unknown.millis as f64)
    }

    /// Asserts that no receiver has refused anything, and that nothing was dropped or left out.
    pub fn assert_delivered(&self) {
        let is_problem = |line: &&str| {
            let is_severe = line.contains(" WARN ") || line.contains("ERROR ");
            is_severe && (line.contains(" sink=") || line.contains("not sent"))
        };
        let problems: Vec<&str> = self.log.lines().filter(is_problem).collect();
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
}

/// The file of the sink whose lines are the truth.
fn file(setup: &Setup) -> PathBuf {
    setup.path("truth.ndjson")
}
