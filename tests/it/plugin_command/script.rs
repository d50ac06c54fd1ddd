//! `gauged plugin test --script`: hosts in files, and golden samples.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use expect_test::expect;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{CommandOutput, plugin, write_plugin};
use crate::capabilities::file_guest;
use crate::guest::Guest;
use crate::harness::{Setup, repository, wait_until};
use crate::http::Fetch;
use crate::many_files::batch_guest;
use crate::net::ping_guest_as;

/// Tests a plugin of this repository by a script, with further arguments.
fn scripted(setup: &Setup, name: &str, script: &str, arguments: &[&str]) -> CommandOutput {
    fs::write(setup.path("host.toml"), script).expect("written");
    let file = repository().join("plugins").join(name).with_extension("wasm");
    let file = file.to_str().expect("text");
    plugin(setup, &[&["test", file, "--script", "host.toml"], arguments].concat())
}

/// Tests a guest by a script, and writes the golden file.
pub fn test_guest(setup: &Setup, guest: &Guest, file: &str, script: &str) -> CommandOutput {
    write_plugin(setup, guest, file);
    fs::write(setup.path("host.toml"), script).expect("written");
    plugin(setup, &["test", file, "--script", "host.toml", "--update"])
}

pub fn golden(setup: &Setup) -> String {
    fs::read_to_string(setup.path("host.golden")).expect("written")
}

const UPTIME: &str = r#"
[[run]]
files = { "/proc/uptime" = "10.5 20.0\n" }

[[run]]
files = { "/proc/uptime" = "20.5 39.0\n" }

[[run]]
after = "1m"
files = { "/proc/uptime" = { error = "timeout" } }

[[run]]
files = { "/proc/uptime" = { error = "not-found" } }
"#;

#[test]
fn scripted_runs_equal_their_golden_file() {
    let setup = Setup::new();
    let missing = scripted(&setup, "uptime", UPTIME, &[]);
    assert_eq!(missing.code, Some(1), "{}", missing.stdout);
    assert!(missing.stdout.contains("host.golden does not exist; write it by --update"), "{}", missing.stdout);

    let written = scripted(&setup, "uptime", UPTIME, &["--update"]);
    assert_eq!(written.code, Some(0), "{}{}", written.stdout, written.stderr);
    expect![[r"
        # run 1, 0s after the first
        uptime.idle_seconds_total 20.0
        uptime.seconds 10.5
        # run 2, 10s after the first
        uptime.idle_seconds_total 39.0
        uptime.seconds 20.5
        # run 3, 1m 10s after the first
        ! has nothing to measure: /proc/uptime did not respond in time
        # run 4, 1m 20s after the first
        ! has nothing to measure: /proc/uptime does not exist
    "]]
    .assert_eq(&golden(&setup));
    let equal = scripted(&setup, "uptime", UPTIME, &[]);
    assert_eq!(equal.code, Some(0), "{}", equal.stdout);

    let json = scripted(&setup, "uptime", &UPTIME.replace("39.0", "38.0"), &["--json"]).json();
    assert_eq!(json["passed"], false, "{json}");
    let difference = json!(["- uptime.idle_seconds_total 39.0", "+ uptime.idle_seconds_total 38.0"]);
    assert_eq!(json["script"], json!({ "golden": "different", "difference": difference, "deviations": [] }));
}

#[test]
fn script_plays_web_servers() {
    let setup = Setup::new();
    let page =
        "Active connections: 3 \\nserver accepts handled requests\\n 9 9 20 \\nReading: 0 Writing: 1 Waiting: 2 \\n";
    let script = format!(
        r#"
        grants = ["fetch=http://web.example:8080"]
        config = {{ urls = ["http://web.example:8080/status"] }}
        [[run]]
        http = {{ "http://web.example:8080/status" = {{ body = "{page}" }} }}
        [[run]]
        http = {{ "http://web.example:8080/status" = {{ status = 503 }} }}
        [[run]]
        http = {{ "http://web.example:8080/status" = {{ error = "refused" }} }}
        [[run]]
        http = {{ "http://web.example:8080/status" = {{ error = "resolve" }} }}
        [[run]]
        http = {{ "http://web.example:8080/status" = {{ error = "closed" }} }}
        "#
    );
    let output = scripted(&setup, "nginx", &script, &["--update"]);
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    let golden = golden(&setup);
    let failures: Vec<&str> = golden.lines().filter(|line| line.contains("nginx.failure{")).collect();
    let words: Vec<&str> = failures.iter().filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(words, ["\"status\"", "\"connect\"", "\"resolve\"", "\"protocol\""], "{golden}");
    assert!(golden.contains("nginx.requests_total{url=\"http://web.example:8080/status\"} 20\n"), "{golden}");
}

#[test]
fn script_has_times_certificates_and_sockets() {
    let setup = Setup::new();
    let script = r#"
        grants = ["fetch=https://shop.example", "fetch=unix:/run/docker.sock"]
        config = { targets = [
            { name = "shop", url = "https://shop.example/" },
            { name = "docker", url = "http://docker/_ping", unix_socket = "/run/docker.sock" },
        ] }
        [[run]]
        [run.http."https://shop.example/"]
        times = { resolve = "2ms", tls = "30ms", total = "60ms" }
        remote = "192.0.2.7:443"
        tls = { version = "1.2", not_before = "2026-09-20T00:00:00Z", not_after = "2026-09-22T00:00:00Z" }
        [run.http."unix:/run/docker.sock http://docker/_ping"]
        body = "OK"
        [[run]]
        [run.http."unix:/run/docker.sock http://docker/_ping"]
        error = "refused"
        "#;
    let output = scripted(&setup, "http_check", script, &["--update"]);
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    let golden = golden(&setup);
    expect![[r#"
        # run 1, 0s after the first
        http_check.certificate_age_seconds{target="shop"} 137600
        http_check.certificate_expires_in_seconds{target="shop"} 35200
        http_check.certificate_issuer{target="shop"} "CN=Script CA"
        http_check.certificate_subject{target="shop"} "CN=shop.example"
        http_check.connect_seconds{target="docker"} 0.001
        http_check.connect_seconds{target="shop"} 0.001
        http_check.first_byte_seconds{target="docker"} 0.001
        http_check.first_byte_seconds{target="shop"} 0.001
        http_check.receive_seconds{target="docker"} 0.001
        http_check.receive_seconds{target="shop"} 0.026
        http_check.remote_address{target="docker"} "unix:/run/docker.sock"
        http_check.remote_address{target="shop"} "192.0.2.7:443"
        http_check.resolve_seconds{target="shop"} 0.002
        http_check.response_bytes{target="docker"} 2
        http_check.response_bytes{target="shop"} 0
        http_check.status_code{target="docker"} 200
        http_check.status_code{target="shop"} 200
        http_check.tls_seconds{target="shop"} 0.03
        http_check.tls_version{target="shop"} "1.2"
        http_check.total_seconds{target="docker"} 0.003
        http_check.total_seconds{target="shop"} 0.06
        http_check.up{target="docker"} true
        http_check.up{target="shop"} true
        # run 2, 10s after the first
        http_check.certificate_age_seconds{target="shop"} 137610
        http_check.certificate_expires_in_seconds{target="shop"} 35190
        http_check.certificate_issuer{target="shop"} "CN=Script CA"
        http_check.certificate_subject{target="shop"} "CN=shop.example"
        http_check.connect_seconds{target="shop"} 0.001
        http_check.failures_total{target="docker",reason="connect"} 1
        http_check.failure{target="docker"} "connect"
        http_check.first_byte_seconds{target="shop"} 0.001
        http_check.receive_seconds{target="shop"} 0.026
        http_check.remote_address{target="shop"} "192.0.2.7:443"
        http_check.resolve_seconds{target="shop"} 0.002
        http_check.response_bytes{target="shop"} 0
        http_check.status_code{target="shop"} 200
        http_check.tls_seconds{target="shop"} 0.03
        http_check.tls_version{target="shop"} "1.2"
        http_check.total_seconds{target="shop"} 0.06
        http_check.up{target="docker"} false
        http_check.up{target="shop"} true
    "#]]
    .assert_eq(&golden);
    let equal = scripted(&setup, "http_check", script, &[]);
    assert_eq!(equal.code, Some(0), "the same at each test: {}", equal.stdout);
    let post = script.replace("unix_socket = ", "method = \"POST\", unix_socket = ");
    let denied = scripted(&setup, "http_check", &post, &[]);
    assert!(denied.stdout.contains("fetch = [\"unix:/run/docker.sock POST\"]"), "{}", denied.stdout);
}

#[test]
fn script_plays_conversations() {
    let setup = Setup::new();
    let script = |received: &str| {
        format!(
            r#"
            grants = ["connect=redis.example:6379"]
            config = {{ servers = [{{ address = "redis.example:6379" }}] }}
            [[run]]
            [[run.connection]]
            address = "redis.example:6379"
            steps = [
                {{ receive = "{received}" }},
                {{ send = "$36\r\nredis_version:7.4.1\r\nused_memory:7\r\n\r\n" }},
                {{ receive-hex = "2a 31" }},
            ]
            [[run]]
            [[run.connection]]
            address = "redis.example:6379"
            error = "refused"
            "#
        )
    };
    let output = scripted(&setup, "redis", &script("*1\\r\\n$4\\r\\nINFO\\r\\n"), &["--update"]);
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    let golden = golden(&setup);
    let (first, second) = golden.split_once("# run 2").expect("two runs");
    assert!(first.contains("} 7\n") && first.contains("redis.up{"), "{golden}");
    assert!(second.contains("redis.up{") && second.contains("false"), "{golden}");

    let output = scripted(&setup, "redis", &script("PING"), &["--update"]);
    assert_eq!(output.code, Some(1), "{}", output.stdout);
    assert!(output.stdout.contains("redis.example:6379: the plugin sent \"*1\\r\\n"), "{}", output.stdout);
}

#[test]
fn script_has_a_fixture_machine() {
    let setup = Setup::new();
    let file = setup.path("web-1/proc/uptime");
    fs::create_dir_all(file.parent().expect("has one")).expect("created");
    fs::write(file, "1.5 2.5\n").expect("written");
    let output = scripted(&setup, "uptime", "root = \"web-1\"\n[[run]]\n", &["--update"]);
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    assert!(golden(&setup).contains("uptime.seconds 1.5\n"), "{}", golden(&setup));
}

#[test]
fn links_of_the_machine_lead_nowhere_else() {
    let setup = Setup::new();
    fs::create_dir_all(setup.path("outside")).expect("created");
    fs::create_dir_all(setup.path("web-1/var")).expect("created");
    for name in ["kept", "removed"] {
        fs::write(setup.path("outside").join(name), "mine").expect("written");
    }
    // As `/var/run` leads to `/run`.
    symlink(setup.path("outside"), setup.path("web-1/var/run")).expect("linked");
    symlink(setup.path("outside/kept"), setup.path("web-1/var/file")).expect("linked");
    let script = "root = \"web-1\"\ngrants = [\"connect=unix:/var/run/socket\"]\n[[run]]\nfiles = { \"/var/run/kept\" = \"1\", \
        \"/var/file\" = \"1\", \"/var/run/removed\" = { error = \"not-found\" } }\n\
        [[run.connection]]\naddress = \"unix:/var/run/socket\"\nsteps = []\n";
    test_guest(&setup, &Guest::new("decent"), "decent.wasm", script);
    assert!(golden(&setup).contains("decent.value 1\n"), "{}", golden(&setup));
    let outside: Vec<(OsString, String)> = fs::read_dir(setup.path("outside"))
        .expect("listed")
        .map(|entry| entry.expect("one"))
        .map(|entry| (entry.file_name(), fs::read_to_string(entry.path()).expect("text")))
        .collect();
    assert!(outside.len() == 2 && outside.iter().all(|(_, text)| text == "mine"), "{outside:?}");
}

#[test]
fn no_directory_is_left_behind() {
    let setup = Setup::with_config("[plugins.caller]\ntimeout = \"60s\"\n");
    let temporary = setup.path("tmp");
    fs::create_dir(&temporary).expect("created");
    let left = || fs::read_dir(&temporary).expect("listed").count();
    let address = "slow.example:1";
    write_plugin(&setup, &ping_guest_as("caller", address, None), "caller.wasm");
    let start = |script: &str| {
        fs::write(setup.path("host.toml"), script).expect("written");
        let mut command = setup.command(&["plugin", "test", "caller.wasm", "--script", "host.toml"]);
        command.env("TMPDIR", &temporary).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
    };
    for script in ["[[run]]\n", "root = \"missing\"\n[[run]]\n"] {
        assert_eq!(start(script).wait().expect("waited").code(), Some(1), "{script}");
        assert_eq!(left(), 0, "{script}");
    }
    let silent = format!(
        "grants = [\"connect={address}\"]\n[[run]]\n[[run.connection]]\naddress = {address:?}\nsteps = [{{ wait = true }}]\n"
    );
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut child = start(&silent);
        wait_until("the host has its directory", || left() == 1);
        kill_process(Pid::from_child(&child), signal).expect("sent");
        let mut status = None;
        wait_until("the command ends", || {
            status = child.try_wait().expect("it can be waited for");
            status.is_some()
        });
        assert_eq!((status.and_then(|status| status.code()), left()), (Some(1), 0));
    }
}

#[test]
fn scripts_need_no_proxy() {
    let configured = Setup::with_config("[client]\nproxy = \"http://127.0.0.1:9\"\n");
    for (setup, variables) in [(Setup::new(), &[("http_proxy", "127.0.0.1:9")][..]), (configured, &[])] {
        write_plugin(&setup, &Fetch::get("http://web.example:8080/").guest(), "fetcher.wasm");
        let script =
            "grants = [\"fetch=http://web.example:8080\"]\n[[run]]\nhttp.\"http://web.example:8080/\".body = \"ok\"\n";
        fs::write(setup.path("host.toml"), script).expect("written");
        let arguments = ["plugin", "test", "fetcher.wasm", "--script", "host.toml", "--update"];
        let output = setup.command(&arguments).envs(variables.iter().copied()).output().expect("it runs");
        let golden = golden(&setup);
        assert!(golden.contains("fetcher.case 200\n"), "{golden}{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn script_fails_batches_states_and_links() {
    let setup = Setup::new();
    let script = r#"
        grants = ["read=/data/*"]
        [[run]]
        files = { "/data/a" = "one", "/data/b" = { error = "io" }, "/data/c" = "three" }
        [[run]]
        files = { "/data/b" = { error = "not-permitted" } }
    "#;
    let run = |guest: &Guest| {
        let output = test_guest(&setup, guest, "reader.wasm", script);
        let golden = golden(&setup);
        let values: Vec<String> =
            golden.lines().filter_map(|line| line.strip_prefix("reader.value ")).map(str::to_owned).collect();
        assert_eq!(values.len(), 2, "{golden}{}{}", output.stdout, output.stderr);
        values
    };
    let paths = ["/data/a", "/data/b", "/data/c", "/none"];
    // 9 is the error `io`, and 4 `not-permitted`.
    for (shown, values) in (0..).zip([["\"one\""; 2], ["9", "4"], ["\"three\""; 2], ["\"/none\""; 2]]) {
        assert_eq!(run(&batch_guest(&paths, 4096, shown)), values, "{shown}");
    }
    for function in ["stat", "read-link", "list"] {
        assert_eq!(run(&file_guest(function, "/data/b")), ["9", "4"], "{function}");
    }
}

#[test]
fn invalid_scripts_are_usage_errors() {
    let setup = Setup::new();
    for (script, reason) in [("[[run]]\nfile = 1\n", "unknown field `file`"), ("", "missing field `run`")] {
        let output = scripted(&setup, "uptime", script, &[]);
        assert_eq!(output.code, Some(2), "{}", output.stderr);
        assert!(output.stderr.contains("host.toml") && output.stderr.contains(reason), "{}", output.stderr);
    }
    assert_eq!(plugin(&setup, &["test", "x.wasm", "--script", "none.toml"]).code, Some(1));
}
