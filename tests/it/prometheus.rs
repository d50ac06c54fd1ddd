//! The agent, with the native collectors and all plugins that measure hosts, scraped once a second for a minute by Prometheus and
//! `VictoriaMetrics`, each in an old and a new version, while the host is busy: no scrape fails, the servers log no complaint, and they
//! store exactly what the agent has printed.

mod lines; // the agent's lines, as the series of a scrape
pub mod server; // Prometheus and VictoriaMetrics
mod stored; // the series that a server has stored

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use self::lines::{INTERVAL, Lines};
use self::server::{Configuration, Server};
use self::stored::{Scrape, prometheus_scrapes, victoria_metrics_scrapes};
use crate::exposition::machines::PLUGINS;
use crate::first_party::built;
use crate::guest::install;
use crate::harness::{Agent, Setup, parse, repository, wait_until};
use crate::http_server::peer::{HttpAgent, own_address};
use crate::node_exporter::load::Load;
use crate::prometheus_rules::copied_with_examples;
use crate::prometheus_rules::dashboard::Dashboard;
use crate::prometheus_rules::golden;
use crate::requirement;
use crate::server::{Server as Relay, read_request};

/// A minute of scrapes.
const SCRAPES: usize = 60;

/// The job of the example configuration, which the alerts name; its scrapes are in the format that the server likes best.
const JOB: &str = "gauged";

/// The job whose scrapes are in the text format.
const TEXT_JOB: &str = "gauged-text";

/// Rows of the dashboard that have data on every host, except for panels that have none where all is well.
const ROWS_WITH_DATA: [&str; 6] = ["Overview", "Load", "Memory", "Agent", "Plugins", "Sinks"];

/// A busy host with an agent.
struct Host {
    /// Ends first, since it writes files in the directory.
    load: Load,
    agent: Agent,
    setup: Setup,
    address: SocketAddr,
}

impl Host {
    /// Starts the agent, and waits until each plugin that can measure this host does.
    fn start() -> Self {
        let address = own_address();
        let setup = Setup::with_config(&format!(
            "interval = \"{INTERVAL}s\"\n[sinks.lines]\nkind = \"stdout\"\n[http]\nlisten = [\"{address}\"]\n"
        ));
        for name in PLUGINS {
            install(&built(name), &setup.plugin(name).with_extension("wasm"));
        }
        let mut agent = setup.start(&[]);
        let is_settled = |state: Option<&Value>| {
            state.and_then(Value::as_str).is_some_and(|state| matches!(state, "up" | "disabled" | "idle"))
        };
        agent.wait(|sample| {
            let state = |name: &&str| sample["agent"].get(&format!("plugin_state{{plugin=\"{name}\"}}"));
            PLUGINS.iter().all(|name| is_settled(state(name)))
        });
        let load = Load::start(&setup.path(""));
        Self { load, agent, setup, address }
    }

    /// Ends it, and returns the agent's lines, up to one of a tick from now on.
    fn end(mut self) -> Lines {
        drop(self.load);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
        self.agent.wait(|line| line["agent"]["timestamp"].as_f64() > Some(now));
        let lines = Lines::new(self.agent.samples());
        drop(self.setup);
        lines
    }
}

/// Passes requests on to the agent in the name of a scraper that knows the text format only.
fn text_relay(agent: SocketAddr) -> Relay {
    Relay::start(move |mut client| {
        let request = read_request(&mut client);
        let path = request.split(' ').nth(1).unwrap_or("/");
        // The scraper reports it where the agent is gone.
        let Ok(mut stream) = TcpStream::connect(agent) else { return };
        let head = format!("GET {path} HTTP/1.1\r\nHost: {agent}\r\nAccept: text/plain\r\nConnection: close\r\n\r\n");
        let sent = std::io::Write::write_all(&mut stream, head.as_bytes());
        let _ = sent.and_then(|()| std::io::copy(&mut stream, &mut client));
    })
}

/// The problems of everything that a server has stored for a job.
fn problems(scrapes: &[Scrape], lines: &Lines, precision: f64) -> Vec<String> {
    let mut problems = Vec::new();
    for Scrape { time, own, series } in scrapes {
        if own.get("up") != Some(&1.0) {
            problems.push(format!("the scrape at {time} failed: {own:?}"));
            continue;
        }
        let took = own["scrape_duration_seconds"];
        problems.extend(lines.compare(*time, took, series, precision).err().unwrap_or_default());
    }
    problems.truncate(20);
    problems
}

/// Compares the types and units that Prometheus knows of a job with the golden list.
fn check_metadata(server: &Server, job: &str, is_open_metrics: bool) {
    let metadata = server.json("/api/v1/targets/metadata", &[("match_target", &format!("{{job=\"{job}\"}}"))]);
    let known: BTreeMap<String, (String, String)> = (metadata["data"].as_array().expect("a list").iter())
        .map(|metric| {
            let text = |key: &str| metric[key].as_str().expect("text").to_owned();
            assert!(!text("help").is_empty(), "{metric}");
            (text("metric"), (text("type"), text("unit")))
        })
        .collect();
    assert!(known.len() > 200, "{job}: {known:?}");
    let names = golden::names();
    let mut expected = BTreeMap::new();
    for (name, metric) in &names {
        let family = if is_open_metrics { name.strip_suffix("_total").unwrap_or(name) } else { name };
        let unit = if is_open_metrics && family.ends_with(&format!("_{}", metric.unit)) { &*metric.unit } else { "" };
        expected.insert(family.to_owned(), (metric.kind.clone(), unit.to_owned()));
    }
    for (family, is) in known {
        assert_eq!(Some(&is), expected.get(&family), "{job}: {family}");
    }
}

/// Asserts that all rules could be evaluated, and that no alert about the agent is even pending.
fn check_rules(server: &Server) {
    let evaluated = || server.json("/api/v1/rules", &[]);
    let rules = |rules: &Value| -> Vec<(String, Value)> {
        let groups = rules["data"]["groups"].as_array().expect("a list").clone();
        let rules = |group: Value| {
            let name = group["name"].as_str().expect("a name").to_owned();
            group["rules"].as_array().expect("a list").clone().into_iter().map(move |rule| (name.clone(), rule))
        };
        groups.into_iter().flat_map(rules).collect()
    };
    wait_until("each rule is evaluated", || rules(&evaluated()).iter().all(|(_, rule)| rule["health"] != "unknown"));
    let rules = rules(&evaluated());
    assert!(rules.len() > 30, "{rules:?}");
    for (group, rule) in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        assert!(group == "gauged-hosts" || rule["state"] == "inactive", "{rule}");
    }
}

/// Asserts that the queries of the dashboard are valid, and have results where each host has.
fn check_dashboard(server: &Server, instance: &str) {
    let dashboard = Dashboard::read();
    let mut without_data = Vec::new();
    for query in dashboard.queries() {
        let expression = query.substituted(JOB, instance, "10s");
        let response = server.query(&expression);
        assert_eq!(response["status"], "success", "{expression}: {response}");
        let has_data = response["data"]["result"].as_array().is_some_and(|result| !result.is_empty());
        let needs_data = ROWS_WITH_DATA.contains(&&*query.row) && !query.expression.contains("> 0");
        if needs_data && !has_data {
            without_data.push(format!("{}, {}: {expression}", query.row, query.panel));
        }
    }
    // A kernel without pressure stall information, a host without a memory limit for plugins.
    let is_excused = |query: &String| ["gauged_pressure_", "memory_limit_bytes"].iter().any(|of| query.contains(of));
    without_data.retain(|query| !is_excused(query));
    assert!(without_data.is_empty(), "{}", without_data.join("\n"));
}

#[test]
fn prometheus_stores_what_the_agent_prints() {
    let Some([old, new]) = requirement::old_and_new("prometheus") else { return };
    let host = Host::start();
    let (relay, agent) = (text_relay(host.address), host.address);
    let rules = repository().join("deploy/prometheus/gauged.rules.yml");
    // The old version cannot be asked for a format.
    let configuration = |text_target: SocketAddr, text_setting: &str| {
        Configuration::new(&format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 2s }}\n\
             rule_files: ['{rules}']\n\
             scrape_configs:\n\
             - {{ job_name: {JOB}, static_configs: [{{ targets: ['{agent}'] }}] }}\n\
             - {{ job_name: {TEXT_JOB}, static_configs: [{{ targets: ['{text_target}'] }}]{text_setting} }}\n",
            rules = rules.display(),
        ))
    };
    let servers = [
        Server::prometheus(&old, configuration(relay.address, "")),
        Server::prometheus(&new, configuration(agent, ", scrape_protocols: [PrometheusText0.0.4]")),
    ];
    for (server, job) in servers.iter().flat_map(|server| [JOB, TEXT_JOB].map(|job| (server, job))) {
        wait_until("a minute of scrapes is stored", || server.scrapes(job) >= SCRAPES);
    }
    for server in &servers {
        check_metadata(server, JOB, true);
        check_metadata(server, TEXT_JOB, false);
        check_rules(server);
        check_dashboard(server, &agent.to_string());
        assert_eq!(server.complaints(), Vec::<String>::new());
    }
    let stored = servers.each_ref().map(|server| [JOB, TEXT_JOB].map(|job| prometheus_scrapes(server, job)));
    let lines = host.end();
    for scrapes in stored.iter().flatten() {
        let problems = problems(scrapes, &lines, 0.0);
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
}

#[test]
fn victoria_metrics_stores_what_the_agent_prints() {
    let Some(versions) = requirement::old_and_new("victoria-metrics") else { return };
    let host = Host::start();
    let configuration = format!(
        "global: {{ scrape_interval: 1s }}\n\
         scrape_configs:\n\
         - {{ job_name: {JOB}, static_configs: [{{ targets: ['{}'] }}] }}\n",
        host.address
    );
    let servers = versions.map(|version| Server::victoria_metrics(&version, Configuration::new(&configuration)));
    for server in &servers {
        wait_until("a minute of scrapes is stored", || server.scrapes(JOB) >= SCRAPES);
        assert_eq!(server.complaints(), Vec::<String>::new());
    }
    let stored = servers.each_ref().map(|server| victoria_metrics_scrapes(server, JOB));
    let lines = host.end();
    for scrapes in &stored {
        let problems = problems(scrapes, &lines, server::VICTORIA_METRICS_PRECISION);
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
}

#[test]
fn example_configurations_scrape_with_token_and_tls() {
    let Some(prometheus) = requirement::old_and_new("prometheus") else { return };
    let Some(victoria_metrics) = requirement::old_and_new("victoria-metrics") else { return };
    let (setup, address) = (Setup::new(), own_address());
    let certificate = rcgen::generate_simple_self_signed([address.ip().to_string()]).expect("a certificate");
    let files = [
        ("gauged.token", "0123456789abcdef".repeat(2)),
        ("gauged-ca.pem", certificate.cert.pem()),
        ("prometheus.pem", certificate.cert.pem()),
        ("prometheus.key", certificate.signing_key.serialize_pem()),
    ];
    for (name, content) in &files {
        fs::write(setup.path(name), content).expect("written");
        fs::set_permissions(setup.path(name), Permissions::from_mode(0o600)).expect("set");
    }
    let path = |name: &str| setup.path(name).display().to_string();
    let keys = format!(
        "token_file = \"{}\"\ntls_certificate = \"{}\"\ntls_key = \"{}\"\ntls_client_ca = \"{}\"",
        path("gauged.token"),
        path("gauged-ca.pem"),
        path("prometheus.key"),
        path("prometheus.pem"),
    );
    let mut agent = HttpAgent::configure(&setup, address, &keys).start(&[]);
    agent.next();
    let configuration = |name: &str| {
        let copy = copied_with_examples(&files);
        for file in [name, "targets/hosts.yml"] {
            let text = fs::read_to_string(copy.path().join(file)).expect("readable");
            let text = text.replace("127.0.0.1:9101", &address.to_string()).replace("          - web-1:9101\n", "");
            fs::write(copy.path().join(file), text).expect("written");
        }
        Configuration::file_in(copy, name)
    };
    let names = ["prometheus.yml", "prometheus-file-sd.yml"];
    let servers: Vec<Server> = (names.iter())
        .flat_map(|name| prometheus.iter().map(|version| Server::prometheus(version, configuration(name))))
        .chain(victoria_metrics.iter().map(|version| Server::victoria_metrics(version, configuration(names[0]))))
        .collect();
    for server in &servers {
        wait_until("a scrape is stored", || server.scrapes(JOB) > 0);
        let up = server.query("up{job=\"gauged\"}");
        assert_eq!(up["data"]["result"][0]["value"][1], "1", "{up}\n{}\n{}", server.log(), agent.log());
    }
    // By its relabelling.
    let ticks = servers[2].query("gauged_agent_timestamp_seconds");
    assert_eq!(ticks["data"]["result"][0]["metric"]["instance"], address.ip().to_string(), "{ticks}");
}

#[test]
fn differences_from_lines_are_noticed() {
    let line = |tick: u32, value: u32| {
        parse(&format!(r#"{{"agent":{{"timestamp":{tick},"threads":{value}}},"load":{{"1min":0.5}}}}"#))
    };
    let without = |tick: u32| parse(&format!(r#"{{"agent":{{"timestamp":{tick},"threads":9}}}}"#));
    let lines = Lines::new(&[line(10, 7), line(11, 8), without(12), without(13)]);
    let compare = |time: f64, tick: u32, threads: u32, load: Option<f64>| {
        let load = load.map(|load| ("gauged_load_1min", load));
        let series =
            [("gauged_agent_timestamp_seconds", f64::from(tick)), ("gauged_agent_threads", f64::from(threads))];
        let series = series.into_iter().chain(load);
        let named = |name: &str| BTreeMap::from([("__name__".to_owned(), name.to_owned())]);
        lines.compare(time, 0.1, &series.map(|(name, value)| (named(name), value)).collect(), 0.0)
    };
    let is_equal = |time, tick, threads, load| compare(time, tick, threads, load).is_ok();
    assert!(is_equal(10.5, 10, 7, Some(0.5)));
    assert!(is_equal(11.02, 10, 7, Some(0.5)), "the tick at 11 was not complete yet");
    assert!(is_equal(10.95, 11, 8, Some(0.5)), "the tick at 11 was complete before the response");
    assert!(is_equal(12.5, 12, 9, Some(0.5)), "the latest result of a module is of an earlier tick");
    assert!(is_equal(13.5, 13, 9, None), "two intervals after the last result");
    assert!(!is_equal(13.5, 13, 9, Some(0.5)), "two intervals after the last result");
    assert!(!is_equal(10.5, 10, 8, Some(0.5)), "another value");
    assert!(!is_equal(10.5, 10, 7, None), "a series is missing");
    assert!(!is_equal(12.5, 10, 7, Some(0.5)), "an old tick");
    assert!(!is_equal(10.5, 11, 8, Some(0.5)), "a tick of the future");
    assert!(!is_equal(10.5, 9, 7, Some(0.5)), "a tick without a line");
    let names: BTreeSet<String> = golden::names().into_keys().collect();
    assert!(names.contains("gauged_agent_threads") && names.contains("gauged_load_1min"));
}
