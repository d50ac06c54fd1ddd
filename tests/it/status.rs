//! `gauged status`, and the socket on which a running agent answers it.

mod socket;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::guest::Guest;
use crate::harness::{Agent, Sample, Setup, wait_until};
use crate::http_server::peer::{HttpAgent, own_address};
use crate::plugin_command::CommandOutput;

/// The request for a status.
const REQUEST: &[u8] = b"status/1\n";

/// Makes the directory of the socket. Returns the socket.
fn make_directory(setup: &Setup) -> PathBuf {
    fs::create_dir(setup.path("run")).expect("created");
    setup.path("run/status.sock")
}

/// A setup with a directory for the socket.
fn setup_with(configuration: &str) -> Setup {
    let setup = Setup::with_config(configuration);
    make_directory(&setup);
    setup
}

/// Runs `gauged status …`.
fn status(setup: &Setup, arguments: &[&str]) -> CommandOutput {
    setup.run(&[&["status"], arguments].concat()).into()
}

/// Waits until an agent answers with a status that meets a condition; returns it.
pub fn wait_status(setup: &Setup, agent: &Agent, wanted: &str, condition: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    wait_until(&format!("{wanted}\n{}", agent.log()), || {
        let output = status(setup, &["--json"]);
        if output.code == Some(2) {
            return false;
        }
        last = output.json();
        condition(&last)
    });
    last
}

/// A plugin in a status.
pub fn plugin<'a>(status: &'a Value, name: &str) -> &'a Value {
    let list = status["plugins"]["list"].as_array().expect("a list");
    list.iter().find(|plugin| plugin["name"] == name).unwrap_or(&Value::Null)
}

fn has_states(status: &Value, wanted: &[(&str, &str)]) -> bool {
    !status["agent"]["tick"].is_null() && wanted.iter().all(|(name, state)| plugin(status, name)["state"] == *state)
}

/// Whether a plugin has a problem that is there now, with this reason and remedy.
fn has_problem(status: &Value, name: &str, reason: &str, remedy: &str) -> bool {
    let contains = |value: &Value, text: &str| value.as_str().is_some_and(|value| value.contains(text));
    plugin(status, name)["problems"].as_array().is_some_and(|problems| {
        problems.iter().any(|problem| {
            problem["is_over"] == false && contains(&problem["reason"], reason) && contains(&problem["remedy"], remedy)
        })
    })
}

/// An agent with a plugin in each state.
fn agent_with_all_states() -> (Setup, Agent) {
    let setup = setup_with(
        "interval = \"200ms\"\n[plugins.lost]\n[plugins.off]\nenabled = false\n[plugins.empty]\n[plugins.trap]\n[plugins.slow]\n\
         timeout = \"50ms\"\n[plugins.wrong]\nconfig = { a = 1 }\n[plugins.needy]\n",
    );
    let install = |guest: &Guest, name: &str| guest.install(&setup.plugin(&format!("{name}.wasm")));
    install(&Guest::new("good"), "good");
    install(&Guest::new("off"), "off");
    install(&Guest::new("absent").error(3, "no\u{1b}[31m server\nforged"), "absent");
    install(&Guest::new("broken").error(4, "cannot read it"), "broken");
    install(&Guest::new("bare").error(0, "no such sensor"), "bare");
    install(&Guest::new("idle").denied("read", "/srv/x", "count files"), "idle");
    install(&Guest::new("needy").needs("connect", "db:1", "look"), "needy");
    install(&Guest::new("trap").before_collect("unreachable"), "trap");
    install(&Guest::new("slow").before_collect("(loop $forever (br $forever))"), "slow");
    install(&Guest::new("wrong").configure("unreachable"), "wrong");
    fs::write(setup.plugin("empty.wasm"), "").expect("written");
    fs::write(setup.plugin("stray.wasm"), "").expect("written");
    fs::write(setup.plugin("not a name.wasm"), "x").expect("written");
    let agent = setup.start(&[]);
    (setup, agent)
}

#[test]
fn plugins_are_shown_with_reasons_and_remedies() {
    let (setup, agent) = agent_with_all_states();
    let states = [
        ("good", "up"),
        ("off", "off"),
        ("absent", "unavailable"),
        ("broken", "failed"),
        ("bare", "disabled"),
        ("idle", "idle"),
        ("needy", "up"),
        ("trap", "failed"),
        ("slow", "failed"),
        ("wrong", "rejected"),
        ("empty", "rejected"),
        ("lost", "missing"),
        ("stray", "rejected"),
    ];
    let document = wait_status(&setup, &agent, "all states", |status| has_states(status, &states));
    for (name, reason, remedy) in [
        ("absent", "server", "start what it measures"),
        ("broken", "cannot read it", "fix what the reason names, or the plugin"),
        ("bare", "no such sensor", "none, unless the host changes"),
        ("idle", r#"is missing the grant read = ["/srv/x"]"#, r#"write under [plugins.idle]: read = ["/srv/x"]"#),
        ("trap", "unreachable", "fix the plugin; it is started afresh after a pause"),
        ("slow", "collect took longer", "raise timeout under [plugins.slow], or fix the plugin"),
        ("wrong", "unreachable", "fix the plugin"),
        ("empty", "is empty", "copy it again"),
        ("lost", "is missing", "copy it into the plugins directory, or remove [plugins.lost]"),
    ] {
        assert!(has_problem(&document, name, reason, remedy), "{name}: {:#}", plugin(&document, name));
    }
    assert_eq!(plugin(&document, "good")["problems"], json!([]));
    assert_eq!(plugin(&document, "needy")["missing_grants"], json!([r#"connect = ["db:1"]"#]));
    let files = document["plugins"]["files"].as_array().expect("a list");
    assert_eq!(files.iter().map(|file| &file["file"]).collect::<Vec<_>>(), ["not a name.wasm"]);

    let output = status(&setup, &[]);
    assert_eq!((output.code, &*output.stderr), (Some(1), ""), "{}", output.stdout);
    let text = &output.stdout;
    assert!(text.chars().all(|character| character == '\n' || !character.is_control()), "{text}");
    for expected in [
        "\n  ! trap: its last call: collect failed: wasm trap: wasm `unreachable` instruction executed (trap)\n      remedy: fix the plugin",
        "\n  ! lost: its file is missing\n      remedy: copy it",
        "\n  - absent: its last call: no\\u{1b}[31m server\\nforged\n      remedy: start what it measures",
        "\n  - needy: is missing grants\n      remedy: write under [plugins.needy], and reload the agent\n        connect = [\"db:1\"]\n",
        "\n  - not a name.wasm: is not loaded: its name cannot name a plugin\n      remedy: use letters",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    let list = setup.run(&["plugin", "list", "--running"]);
    let list = CommandOutput::from(list);
    assert_eq!(list.code, Some(0), "{}", list.stderr);
    assert!(states.iter().all(|(name, _)| list.stdout.contains(&format!("\n  {name} "))), "{}", list.stdout);
    let rows = CommandOutput::from(setup.run(&["plugin", "list", "--running", "--json"])).json();
    assert_eq!(rows.as_array().map(Vec::len), Some(states.len()), "{rows}");
}

#[test]
fn status_equals_the_metrics() {
    let (setup, mut agent) = agent_with_all_states();
    let has_failed = |status: &Value| plugin(status, "trap")["faults_total"]["trap"].as_u64() > Some(0);
    let document = wait_status(&setup, &agent, "a fault", has_failed);
    let tick = document["agent"]["tick"]["timestamp_seconds"].as_f64();
    let is_same_tick = |sample: &Sample| sample["agent"]["timestamp"].as_f64() == tick;
    let known = agent.samples().iter().find(|sample| is_same_tick(sample)).cloned();
    let sample = known.unwrap_or_else(|| agent.wait(is_same_tick));
    let metrics = &sample["agent"];
    let own = &document["agent"];
    for name in ["hostname", "version", "missed_ticks_total", "dropped_samples_total", "series", "threads", "open_fds"]
    {
        assert_eq!(own[name], metrics[name], "{name}");
    }
    assert_eq!(own["tick"]["delay_seconds"].as_f64(), metrics["tick_delay_seconds"].as_f64());
    assert_eq!((&own["interval_seconds"], own["pid"].as_u64()), (&json!(0.2), Some(agent.pid().into())));
    for collector in document["collectors"].as_array().expect("a list") {
        let name = collector["name"].as_str().expect("a name");
        let metric = |metric: &str| &metrics[&format!("{metric}{{collector=\"{name}\"}}")];
        assert_eq!(&collector["duration_seconds"], metric("collector_duration_seconds"), "{name}");
        assert_eq!(collector["is_successful"], *metric("collector_success") == 1, "{name}");
    }
    let mut compared = 0;
    for shown in document["plugins"]["list"].as_array().expect("a list") {
        let name = shown["name"].as_str().expect("a name");
        let metric = |metric: &str| metrics.get(&format!("plugin_{metric}{{plugin=\"{name}\"}}"));
        if metric("state").is_none() {
            continue;
        }
        compared += 1;
        for field in
            ["state", "version", "hash", "duration_seconds", "duration_max_seconds", "memory_bytes", "errors_total"]
        {
            assert_eq!(Some(&shown[field]), metric(field).or(Some(&Value::Null)), "{name}: {field}");
        }
        let faults = metric("faults_total").and_then(Value::as_u64);
        let shown_faults = shown["faults_total"].as_object().expect("by kind").values().filter_map(Value::as_u64).sum();
        assert_eq!(faults, Some(shown_faults), "{name}");
    }
    assert_eq!(compared, 11, "all but the missing and the disabled one");
}

#[test]
fn healthy_agent_exits_with_0() {
    let setup = setup_with("interval = \"200ms\"\n");
    Guest::new("good").install(&setup.plugin("good.wasm"));
    let agent = setup.start(&[]);
    wait_status(&setup, &agent, "a plugin", |status| has_states(status, &[("good", "up")]));
    let output = status(&setup, &[]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""), "{}", output.stdout);
    assert!(output.stdout.contains("\nplugins from /") && !output.stdout.contains("problems"), "{}", output.stdout);
    let path = setup.path("gauged.toml").canonicalize().expect("there").display().to_string();
    assert!(output.stdout.contains(&format!("  configuration  {path}, in effect since 2")), "{}", output.stdout);
}

#[test]
fn closed_http_address_is_shown_with_its_remedy() {
    let (open, taken) = (own_address(), own_address());
    let other = TcpListener::bind(taken).expect("free");
    let configuration = |listen: &str| format!("interval = \"200ms\"\n[http]\nlisten = [{listen}]\n");
    let setup = setup_with(&configuration(&format!("\"{open}\", \"{taken}\"")));
    let mut agent = setup.start(&[]);
    agent.wait_log("HTTP address not opened");
    let is_open = |status: &Value| {
        status["addresses"].as_array().map(|all| all.iter().map(|one| one["is_open"].clone()).collect())
    };
    wait_status(&setup, &agent, "both addresses", |status| {
        !status["agent"]["tick"].is_null() && is_open(status) == Some(vec![json!(true), json!(false)])
    });
    let output = status(&setup, &[]);
    assert_eq!(output.code, Some(1), "{}", output.stdout);
    let problem = format!("\n  ! http {taken}: failed to listen: ");
    assert!(
        output.stdout.contains(&problem) && output.stdout.contains("remedy: end the other program"),
        "{}",
        output.stdout
    );
    let server = HttpAgent { setup, agent, address: open };
    let ready = server.get("/ready");
    assert_eq!(ready.status, 503);
    assert!(ready.json()["reasons"][0].as_str().expect("text").starts_with(&format!("address {taken} is not open: ")));

    drop(other);
    let HttpAgent { setup, agent, .. } = server;
    wait_status(&setup, &agent, "an open address", |status| is_open(status) == Some(vec![json!(true); 2]));
    assert_eq!(status(&setup, &[]).code, Some(0));
    fs::write(setup.path("gauged.toml"), configuration(&format!("\"{open}\""))).expect("written");
    agent.signal(Signal::HUP);
    wait_status(&setup, &agent, "one address", |status| is_open(status) == Some(vec![json!(true)]));
}

#[test]
fn reload_is_shown_with_its_problems() {
    let setup = setup_with("interval = \"200ms\"\n");
    Guest::new("good").install(&setup.plugin("good.wasm"));
    let agent = setup.start(&[]);
    wait_status(&setup, &agent, "a plugin", |status| has_states(status, &[("good", "up")]));
    let reload = |toml: &str| {
        fs::write(setup.path("new"), toml).expect("written");
        fs::rename(setup.path("new"), setup.path("gauged.toml")).expect("moved");
        agent.signal(Signal::HUP);
    };

    reload("interval = \"300ms\"\n");
    wait_status(&setup, &agent, "the new interval", |status| {
        let intervals = [&status["agent"], plugin(status, "good")].map(|part| part["interval_seconds"].as_f64());
        intervals == [Some(0.3); 2] && status["agent"]["is_configuration_in_effect"] == true
    });

    reload("interval = \"fast\"\n");
    let is_rejected = |status: &Value| status["agent"]["is_configuration_in_effect"] == false;
    let document = wait_status(&setup, &agent, "a rejected configuration", is_rejected);
    assert_eq!(document["agent"]["interval_seconds"], 0.3);
    let output = status(&setup, &[]);
    assert_eq!(output.code, Some(1), "{}", output.stdout);
    let expected = "gauged.toml:1: interval: \"fast\" is not a duration\n      remedy: write it like";
    assert!(output.stdout.contains(expected), "{}", output.stdout);

    reload("interval = \"300ms\"\n");
    wait_status(&setup, &agent, "the valid configuration", |status| {
        status["agent"]["is_configuration_in_effect"] == true && status["agent"]["configuration_problems"] == json!([])
    });
}

#[test]
fn recovered_plugin_keeps_its_last_error() {
    let setup = setup_with("");
    let file = setup.path("there").display().to_string();
    let table = format!("interval = \"200ms\"\n[plugins.late]\nread = [\"{file}\"]\n");
    fs::write(setup.path("gauged.toml"), table).expect("written");
    Guest::new("late").unavailable_without(&file).install(&setup.plugin("late.wasm"));
    let agent = setup.start(&[]);
    wait_status(&setup, &agent, "an error", |status| has_problem(status, "late", "not yet", "start what it measures"));
    fs::write(file, "").expect("written");
    let document = wait_status(&setup, &agent, "recovery", |status| has_states(status, &[("late", "up")]));
    assert_eq!(plugin(&document, "late")["problems"][0]["is_over"], true, "{document:#}");
    let output = status(&setup, &[]);
    assert_eq!(output.code, Some(0));
    assert!(output.stdout.contains("- late: has passed: its last call: not yet\n"), "{}", output.stdout);
}

#[test]
fn rejected_version_is_shown_beside_the_serving_one() {
    let setup = setup_with("interval = \"200ms\"\n");
    Guest::new("good").install(&setup.plugin("good.wasm"));
    let agent = setup.start(&[]);
    wait_status(&setup, &agent, "a plugin", |status| has_states(status, &[("good", "up")]));
    fs::write(setup.plugin("good.wasm"), "").expect("written");
    let document =
        wait_status(&setup, &agent, "a rejection", |status| has_problem(status, "good", "is empty", "copy it again"));
    assert_eq!(
        (&plugin(&document, "good")["state"], &plugin(&document, "good")["version"]),
        (&json!("up"), &json!("1.0.0"))
    );
    assert_eq!(status(&setup, &[]).code, Some(1));
    fs::remove_file(setup.plugin("good.wasm")).expect("removed");
    wait_status(&setup, &agent, "a removal", |status| plugin(status, "good").is_null());
    assert_eq!(status(&setup, &[]).code, Some(0));
}

#[test]
fn unreadable_kernel_file_is_shown() {
    let setup = setup_with("interval = \"200ms\"\n[load]\nenabled = false\n");
    crate::natives::overlay(
        &crate::harness::repository().join("tests/fixtures/lxcfs-swap-wrapped"),
        &setup.path("root"),
    );
    fs::write(setup.path("root/proc/meminfo"), "nonsense\n").expect("written");
    let root = setup.path("root").display().to_string();
    let agent = setup.start(&["--root", &root]);
    let collector = |status: &Value, name: &str| {
        let collectors = status["collectors"].as_array().expect("a list");
        collectors.iter().find(|collector| collector["name"] == name).expect("there").clone()
    };
    let document = wait_status(&setup, &agent, "a tick", |status| !status["agent"]["tick"].is_null());
    let (memory, load) = (collector(&document, "memory"), collector(&document, "load"));
    assert!(
        memory["problem"]["reason"].as_str().is_some_and(|why| why.contains("/proc/meminfo: failed to parse")),
        "{memory}"
    );
    assert_eq!((&load["is_enabled"], &load["problem"]), (&json!(false), &Value::Null));
    let output = status(&setup, &[]);
    assert_eq!(output.code, Some(1), "{}", output.stdout);
    assert!(output.stdout.contains("\n  load    off "), "{}", output.stdout);
}

#[test]
fn missing_plugins_directory_is_shown() {
    let setup = setup_with("interval = \"200ms\"\n");
    fs::remove_dir(setup.plugin("")).expect("removed");
    let agent = setup.start(&[]);
    let document = wait_status(&setup, &agent, "a problem", |status| !status["plugins"]["directory_problem"].is_null());
    let remedy = &document["plugins"]["directory_problem"]["remedy"];
    assert_eq!(remedy, "create it, or name another with --plugins");
    assert_eq!(status(&setup, &[]).code, Some(1));
    fs::create_dir(setup.plugin("")).expect("created");
    wait_status(&setup, &agent, "no problem", |status| status["plugins"]["directory_problem"].is_null());
}

#[test]
fn status_without_an_agent_exits_with_2() {
    let setup = Setup::new();
    let output = status(&setup, &["--socket", "none.sock"]);
    assert_eq!(output.code, Some(2));
    assert_eq!(output.stderr, "no agent listens at none.sock; start it, or name its socket with --socket\n");
    let output = status(&setup, &[]);
    assert_eq!(output.code, Some(2));
    assert!(output.stderr.contains("run/status.sock or "), "{}", output.stderr);
    fs::write(setup.path("file"), "").expect("written");
    drop(UnixListener::bind(setup.path("dead")).expect("bound"));
    for (arguments, error) in [
        (&["status", "--socket", "file"][..], "no agent listens at file;"),
        (&["status", "--socket", "dead"], "no agent listens at dead;"),
        (&["status", "extra"], "unexpected argument"),
        (&["plugin", "list", "--running", "--socket", "dead"], "no agent listens at dead;"),
        (&["plugin", "list", "--socket", "dead"], "--running"),
        (&["--once", "--socket", "dead"], "cannot be used with"),
    ] {
        let output = CommandOutput::from(setup.run(arguments));
        assert_eq!((output.code, &*output.stdout), (Some(2), ""), "{arguments:?}");
        assert!(output.stderr.contains(error), "{arguments:?}: {}", output.stderr);
    }
}

/// Answers one request with a text, as an agent of another version would.
fn answer_once(listener: UnixListener, text: &'static str) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("connected");
        let mut request = vec![0; REQUEST.len()];
        stream.read_exact(&mut request).expect("a request");
        assert_eq!(request, REQUEST);
        stream.write_all(text.as_bytes()).expect("written");
    })
}

#[test]
fn answers_of_other_versions_are_shown() {
    let setup = Setup::new();
    for (name, text, code, expected) in [
        (
            "newer",
            r#"{"format":2,"agent":{"version":"9.0.0","orbit":1},"plugins":{"is_responding":true,"list":[{"name":"x","state":"up","shape":[]}]},"moons":{}}"#,
            0,
            "gauged 9.0.0 on ?, up 0s; this program is 0.1.0\n",
        ),
        ("other", "{}", 2, "the agent answers with no status"),
        ("garbage", "hello", 2, "garbage answers with no status: "),
        ("silent", "", 2, "silent answers with no status: "),
        ("refusing", r#"{"error":"only root"}"#, 2, "refusing answers with an error: only root"),
    ] {
        let answering = answer_once(UnixListener::bind(setup.path(name)).expect("bound"), text);
        let output = status(&setup, &["--socket", name]);
        assert_eq!(output.code, Some(code), "{name}: {}{}", output.stdout, output.stderr);
        assert!((output.stdout + &output.stderr).contains(expected), "{name}");
        answering.join().expect("no panic");
    }
}

/// Starts `gauged status --watch`.
fn watch(setup: &Setup, arguments: &[&str]) -> Child {
    let mut command = setup.command(&[&["status", "--watch"], arguments].concat());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

#[test]
fn watch_shows_each_tick_until_interrupted() {
    let setup = setup_with("interval = \"200ms\"\n");
    let mut agent = setup.start(&[]);
    agent.next();
    wait_status(&setup, &agent, "a tick", |status| !status["agent"]["tick"].is_null());
    let mut watching = watch(&setup, &["--json"]);
    let mut lines = BufReader::new(watching.stdout.take().expect("piped")).lines();
    let mut tick = || {
        let line = lines.next().expect("a line").expect("text");
        let document: Value = serde_json::from_str(&line).expect("JSON");
        document["agent"]["tick"]["timestamp_seconds"].as_f64().expect("a tick")
    };
    let ticks = [tick(), tick(), tick()];
    assert!(ticks.is_sorted_by(|one, next| one < next), "{ticks:?}");
    kill_process(Pid::from_child(&watching), Signal::INT).expect("sent");
    assert_eq!(watching.wait().expect("it ends").code(), Some(0));

    let mut watching = watch(&setup, &[]);
    let mut lines = BufReader::new(watching.stdout.take().expect("piped")).lines().map_while(Result::ok);
    assert_eq!(lines.by_ref().filter(|line| line.starts_with("gauged 0.1.0 on ")).take(2).count(), 2);
    // It ends with the reader of its output.
    drop(lines);
    assert_eq!(watching.wait().expect("it ends").code(), Some(0));
}

#[test]
fn watch_outlasts_a_restart_of_the_agent() {
    let setup = setup_with("interval = \"200ms\"\n");
    let mut agent = setup.start(&[]);
    let document = wait_status(&setup, &agent, "a tick", |status| !status["agent"]["tick"].is_null());
    let mut watching = watch(&setup, &["--json"]);
    let mut lines = BufReader::new(watching.stdout.take().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.next().is_some());
    assert!(agent.terminate().0.success());
    let mut agent = setup.start(&[]);
    let pid = agent.pid();
    assert_ne!(document["agent"]["pid"], pid);
    let is_new = |line: &String| serde_json::from_str::<Value>(line).expect("JSON")["agent"]["pid"] == pid;
    assert!(lines.any(|line| is_new(&line)));
    agent.terminate();
    let mut errors = BufReader::new(watching.stderr.take().expect("piped")).lines().map_while(Result::ok);
    assert!(errors.any(|line| line.starts_with("no agent listens at ")));
    kill_process(Pid::from_child(&watching), Signal::TERM).expect("sent");
    assert!(watching.wait().expect("it ends").code().is_some());
}

/// Connects and sends a request. Returns the answer.
fn exchange(socket: &PathBuf, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).expect("connected");
    // The agent may close the connection before it has read everything.
    let _ = stream.write_all(request);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}
