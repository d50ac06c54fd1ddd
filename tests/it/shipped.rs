//! Plugins that were built for shipped versions of the WIT and are kept as they are: every later agent must load them. Of a
//! candidate they are kept until the next one. They are in `tests/fixtures/components/<version>`, as components and as the core
//! modules that `cargo build` writes. Existing files never change; `UPDATE_EXPECT=1` adds the files of a new version.

pub mod guests;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::mpsc;

use serde_json::json;

use crate::guest::{Guest, WIT};
use crate::harness::{Sample, Setup, parse, plugin_metric, repository, value};
use crate::http::tls::tls_echo;
use crate::server::{Server, read_request, udp_echo, unix_echo};
use crate::wit;

/// The kept files, each with the first digits of its SHA-256, so that a change is noticed.
const KEPT: [(&str, &str); 26] = [
    ("0.2.0-rc.4/component/asks.wasm", "78e8837b"),
    ("0.2.0-rc.4/component/datagrams.wasm", "3d029aa6"),
    ("0.2.0-rc.4/component/encrypts.wasm", "ea5c8ca0"),
    ("0.2.0-rc.4/component/errors.wasm", "60caa63e"),
    ("0.2.0-rc.4/component/fetches.wasm", "b56badbb"),
    ("0.2.0-rc.4/component/files.wasm", "81546798"),
    ("0.2.0-rc.4/component/keeps.wasm", "b4b53a4f"),
    ("0.2.0-rc.4/component/logs.wasm", "0cacedd4"),
    ("0.2.0-rc.4/component/needs.wasm", "4e9f46a4"),
    ("0.2.0-rc.4/component/talks.wasm", "cf66d594"),
    ("0.2.0-rc.4/component/ticks.wasm", "d03c356f"),
    ("0.2.0-rc.4/component/values.wasm", "b5ac7c6e"),
    ("0.2.0-rc.4/component/wasi.wasm", "4ebb4070"),
    ("0.2.0-rc.4/module/asks.wasm", "ebb88df7"),
    ("0.2.0-rc.4/module/datagrams.wasm", "b52283d9"),
    ("0.2.0-rc.4/module/encrypts.wasm", "17c920a1"),
    ("0.2.0-rc.4/module/errors.wasm", "7e41b430"),
    ("0.2.0-rc.4/module/fetches.wasm", "2b70191b"),
    ("0.2.0-rc.4/module/files.wasm", "b272e13f"),
    ("0.2.0-rc.4/module/keeps.wasm", "c5222813"),
    ("0.2.0-rc.4/module/logs.wasm", "3828cb7e"),
    ("0.2.0-rc.4/module/needs.wasm", "3f5a6e61"),
    ("0.2.0-rc.4/module/talks.wasm", "98ba3331"),
    ("0.2.0-rc.4/module/ticks.wasm", "3dd3f8c0"),
    ("0.2.0-rc.4/module/uptime.wasm", "1463d14b"),
    ("0.2.0-rc.4/module/values.wasm", "31dbd06c"),
];

const FORMS: [&str; 2] = ["component", "module"];

fn directory() -> PathBuf {
    repository().join("tests/fixtures/components")
}

/// Runs the plugin of this name once for each version and form, and checks the sample and the log.
fn check_components(name: &str, configuration: &str, check: impl Fn(&Sample, &str)) {
    let mut runs = 0;
    for (path, hash) in KEPT.iter().filter(|(path, _)| path.ends_with(&format!("/{name}.wasm"))) {
        let setup = Setup::with_config(configuration);
        fs::copy(directory().join(path), setup.plugin(name).with_extension("wasm")).expect("it is kept");
        // Its exit status shows whether the plugin is up.
        let output = setup.run(&["--once"]);
        let [sample, log] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
        assert!(log.contains(hash), "{path} has changed:\n{log}");
        // Quotation marks within a field are escaped.
        check(&parse(&sample), &log.replace("\\\"", "\""));
        runs += 1;
    }
    assert!(runs > 0, "no {name} is kept");
}

fn is_up(sample: &Sample, name: &str) -> bool {
    sample["agent"].get(&format!("plugin_state{{plugin=\"{name}\"}}")) == Some(&json!("up"))
}

#[test]
fn shipped_plugin_returns_every_value_type() {
    check_components("values", "", |sample, log| {
        assert!(is_up(sample, "values"), "{log}");
        let metrics = json!({
            "natural": u64::MAX, "integer": i64::MIN, "number": 0.5, "boolean": true, "text": "ok",
        });
        assert_eq!(json!(sample["values"]), metrics);
        let more = json!({
            "natural{kind=\"a \\\"b\\\"\\n\"}": 7,
            "wait_seconds_bucket{le=\"0.5\"}": 1, "wait_seconds_bucket{le=\"1\"}": 3, "wait_seconds_bucket{le=\"+Inf\"}": 6,
            "wait_seconds_sum": 4.5, "wait_seconds_count": 6,
            "size_bytes{quantile=\"0.5\"}": 2.0, "size_bytes_sum": 9.0, "size_bytes_count": 3,
        });
        assert_eq!(json!(sample["values_more"]), more);
    });
}

#[test]
fn shipped_plugin_receives_time_and_budget() {
    check_components(
        "ticks",
        "interval = \"20s\"\n[plugins.ticks]\ntimeout = \"700ms\"\ninterval = \"40s\"\n",
        |sample, log| {
            let number = |metric: &str| sample["ticks"][metric].as_u64().unwrap_or_else(|| panic!("{sample:?}\n{log}"));
            assert_eq!(number("unix_ms") / 1000, sample["agent"]["timestamp"].as_u64().expect("a number"));
            assert!(number("monotonic_ns") > 0);
            assert!((1..=700).contains(&number("budget_ms")), "{}", number("budget_ms"));
            assert_eq!(number("interval_ms"), 40_000);
            assert_eq!(number("calls"), 2, "one trial call at load, and its memory is kept");
        },
    );
}

#[test]
fn shipped_plugin_messages_are_logged() {
    check_components("logs", "", |sample, log| {
        assert!(is_up(sample, "logs"), "{log}");
        for line in [
            "INFO plugin message plugin=logs text=once",
            "WARN plugin message plugin=logs text=copes",
            "ERROR plugin message plugin=logs text=\"metrics are missing\"",
            "WARN plugin values left out plugin=logs file=/proc/stat line=3 word=x kind=malformed reason=\"x is odd\" \
             left_out=forks remedy=\"update the kernel\"",
        ] {
            assert!(log.contains(line), "{log}");
        }
        assert!(!log.contains("to the author"), "{log}");
    });
}

#[test]
fn shipped_plugin_reads_lists_and_sizes_files() {
    let configuration = "[plugins.files]\nusage = [\"/\"]\nread = [\"/sys/class/net/*\"]\n";
    check_components("files", configuration, |sample, log| {
        let metrics = sample.get("files").unwrap_or_else(|| panic!("{log}"));
        assert_eq!(metrics["content"], fs::read_to_string("/proc/sys/kernel/osrelease").expect("readable"));
        assert_eq!(metrics["piece"], "odev");
        assert_eq!((&metrics["read"], &metrics["second"]), (&json!(2), &metrics["content"]));
        let link = fs::read_link("/sys/class/net/lo").expect("a link");
        assert_eq!(metrics["link"], link.to_str().expect("text"));
        assert_eq!(metrics["inode"], fs::metadata("/proc/stat").expect("it is there").ino());
        assert_eq!(metrics["names"], fs::read_dir("/sys/class/net").expect("readable").count());
        let system = rustix::fs::statvfs("/").expect("it is mounted");
        assert_eq!(metrics["total_bytes"], system.f_blocks * system.f_frsize);
        assert!(metrics["free_bytes"].as_u64() <= metrics["total_bytes"].as_u64());
        assert_eq!(metrics["read_only"], u64::from(system.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY)));
        let errors = ["denied", "invalid", "missing", "wrong"].map(|error| metrics[error].as_u64());
        assert_eq!(errors, [0, 2, 3, 6].map(Some), "by their numbers in the WIT");
    });
}

#[test]
fn shipped_plugin_sends_http_requests() {
    let (sender, received) = mpsc::channel();
    let server = Server::start(move |mut stream| {
        sender.send(read_request(&mut stream)).expect("the test waits");
        let _ = stream.write_all(b"HTTP/1.1 299 Fine\r\nX-Kept: for ever\r\n\r\nanswered");
    });
    let origin = format!("http://{}", server.address);
    let configuration = format!("[plugins.fetches]\nfetch = [{origin:?}]\nconfig = {{ told = \"{origin}/kept\" }}\n");
    check_components("fetches", &configuration, |sample, log| {
        let expected = json!({
            "status": 299, "header": "for ever", "body": "answered", "ordered": 1, "resolved": 0, "handshake": 0,
            "remote": server.address.to_string(), "encrypted": 0, "denied": 0,
        });
        assert_eq!(sample.get("fetches").map(|metrics| json!(metrics)), Some(expected), "{log}");
        let request = received.recv().expect("it was sent");
        assert!(request.starts_with("POST /kept HTTP/1.1\r\n") && request.ends_with("\r\n\r\na body"), "{request}");
        assert!(request.contains("\r\nx-kept: for ever\r\n"), "{request}");
    });
}

#[test]
fn shipped_plugin_uses_connections() {
    let sockets = tempfile::tempdir().expect("a temporary directory");
    let socket = sockets.path().join("echo");
    unix_echo(&socket);
    let server = Server::echo();
    for address in [format!("unix:{}", socket.display()), server.address.to_string()] {
        let configuration = format!("[plugins.talks]\nconnect = [{address:?}]\nconfig = {{ told = {address:?} }}\n");
        check_components("talks", &configuration, |sample, log| {
            let expected = json!({ "answer": "ping", "denied": 0 });
            assert_eq!(sample.get("talks").map(|metrics| json!(metrics)), Some(expected), "{log}");
        });
    }
}

#[cfg(target_os = "linux")]
#[test]
fn shipped_plugin_asks_the_kernel() {
    let server = Server::echo();
    let configuration = "[plugins.asks]\nread = [\"/proc/net/tcp\"]\n";
    check_components("asks", configuration, |sample, log| {
        let metrics = sample.get("asks").unwrap_or_else(|| panic!("{log}"));
        assert!(metrics["count"].as_u64() >= Some(1), "{} listens: {metrics:?}", server.address);
        assert!(metrics["state"].as_str().is_some_and(|state| !state.is_empty()), "{metrics:?}");
        assert!(metrics["port"].as_u64() > Some(0), "{metrics:?}");
        assert!(metrics["tick"].as_u64() > Some(0), "{metrics:?}");
        assert_eq!(metrics["up"], 0x0101, "it is known, and so");
        let errors = ["listeners", "missing", "driver"].map(|error| metrics[error].as_u64());
        assert_eq!(errors, [0, 3, 2].map(Some), "by their numbers in the WIT");
    });
}

#[test]
fn shipped_plugin_keeps_a_state() {
    check_components("keeps", "", |sample, log| {
        // The trial has saved before.
        let expected = json!({ "before": 1, "after": "kept", "large": 2, "limit": 65536 });
        assert_eq!(sample.get("keeps").map(|metrics| json!(metrics)), Some(expected), "{log}");
    });
}

#[test]
fn shipped_plugin_encrypts_a_connection() {
    let setup = Setup::new();
    let server = tls_echo(&setup, 2035);
    let address = server.address.to_string();
    let configuration = format!(
        "[client]\nca_file = {:?}\n[plugins.encrypts]\nconnect = [{address:?}]\nconfig = {{ told = {address:?} }}\n",
        setup.path("authority.pem")
    );
    check_components("encrypts", &configuration, |sample, log| {
        let expected = json!({
            "version": "1.3", "not_before": 1_420_070_400, "not_after": 2_051_308_800_u64, "subject": "CN=localhost",
            "issuer": "CN=Test CA,O=Example\\, Inc.", "end_point_bytes": 32, "answer": "ping",
        });
        assert_eq!(sample.get("encrypts").map(|metrics| json!(metrics)), Some(expected), "{log}");
    });
}

#[test]
fn shipped_plugin_uses_datagrams() {
    let address = format!("udp:{}", udp_echo());
    let configuration = format!("[plugins.datagrams]\nconnect = [{address:?}]\nconfig = {{ told = {address:?} }}\n");
    check_components("datagrams", &configuration, |sample, log| {
        let expected = json!({ "answer": "pin", "length": 4, "denied": 0 });
        assert_eq!(sample.get("datagrams").map(|metrics| json!(metrics)), Some(expected), "{log}");
    });
}

#[test]
fn shipped_plugin_needs_are_reported() {
    check_components("needs", "", |sample, log| {
        assert_eq!(value(sample, "needs"), Some(json!(1)), "it runs all the same");
        for grant in [
            "read = [\"/srv/read\"]",
            "usage = [\"/srv/usage\"]",
            "connect = [\"db.example:5432\"]",
            "fetch = [\"http://web.example:80\"]",
        ] {
            assert!(log.contains("to show that it asks") && log.contains(grant), "{grant} in {log}");
        }
        let unknown = "needs=\"later = [\"/srv/later\"] is nothing that this agent has: it knows read, usage, connect, fetch\" \
                       remedy=\"update the agent, or fix the plugin\"";
        assert!(log.contains(unknown), "{log}");
    });
}

#[test]
fn shipped_plugin_errors_set_its_state() {
    let unsupported = ("disabled", "cannot work on this host: as told");
    let invalid = ("rejected", "does not accept its configuration: told: as told");
    let denied = ("rejected", "is missing the grant read = [\"/srv/denied\"] to show that it asks");
    let unavailable = ("unavailable", "reason=\"as told\"");
    let of_collect = [unsupported, invalid, denied, unavailable, ("failed", "reason=\"as told\"")];
    let of_configure = of_collect;
    for (case, (state, message)) in of_collect.into_iter().chain(of_configure).enumerate() {
        check_components("errors", &format!("[plugins.errors]\nconfig = {{ told = \"{case}\" }}\n"), |sample, log| {
            let key = "plugin_state{plugin=\"errors\"}";
            assert_eq!(sample["agent"].get(key), Some(&json!(state)), "{case}: {log}");
            assert!(log.contains(message), "{case}: {log}");
            assert_eq!(value(sample, "errors"), None);
            let is_counted = plugin_metric(sample, "plugin_errors_total", "errors") >= Some(1.0);
            assert_eq!(is_counted, matches!(state, "unavailable" | "failed"), "{case}: {log}");
        });
    }
}

#[test]
fn shipped_plugin_with_wasi_imports_runs() {
    check_components("wasi", "", |sample, log| assert_eq!(value(sample, "wasi"), Some(json!(1)), "{log}"));
}

/// The core module that cargo built with the SDK of that version.
#[test]
fn shipped_core_module_from_cargo_runs() {
    check_components("uptime", "", |sample, log| {
        let metrics = sample.get("uptime").unwrap_or_else(|| panic!("{log}"));
        let names: Vec<&str> = metrics.keys().map(String::as_str).collect();
        assert_eq!(names, ["idle_seconds_total", "seconds"]);
        assert!(metrics.values().all(|seconds| seconds.as_f64() > Some(0.0)), "{metrics:?}");
    });
}

/// Each shipped version has every guest in both forms, one that imports WASI, and one that cargo built.
#[test]
fn shipped_versions_have_all_components() {
    for version in wit::shipped().iter().map(wit::items::Interface::version_text) {
        let mut wanted = BTreeSet::from(["component/wasi.wasm".to_owned(), "module/uptime.wasm".to_owned()]);
        wanted.extend(guests::all().iter().flat_map(|(name, _)| FORMS.map(|form| format!("{form}/{name}.wasm"))));
        if std::env::var_os("UPDATE_EXPECT").is_some() && WIT.contains(&format!("gauged:plugin@{version};")) {
            add(&version);
        }
        let listed: BTreeSet<String> =
            KEPT.iter().filter_map(|(path, _)| path.strip_prefix(&format!("{version}/")).map(str::to_owned)).collect();
        assert_eq!(listed, wanted, "KEPT has the files of {version}");
        let there: BTreeSet<String> = FORMS
            .iter()
            .flat_map(|form| {
                let entries = fs::read_dir(directory().join(&version).join(form)).expect("a directory");
                entries.map(move |entry| format!("{form}/{}", entry.expect("readable").file_name().display()))
            })
            .collect();
        assert_eq!(there, wanted, "UPDATE_EXPECT=1 adds the files of a new version");
    }
}

/// Writes the missing components of a version.
fn add(version: &str) {
    let write = |path: &str, bytes: &dyn Fn() -> Vec<u8>| {
        let file = directory().join(version).join(path);
        fs::create_dir_all(file.parent().expect("a directory")).expect("created");
        if !file.exists() {
            fs::write(file, bytes()).expect("written");
        }
    };
    for (name, guest) in guests::all() {
        write(&format!("component/{name}.wasm"), &|| guest.component());
        write(&format!("module/{name}.wasm"), &|| guest.module());
    }
    let random = "(if (i64.eq (call $random) (call $random)) (then unreachable))";
    let wasi = || {
        let signature = "(func $random (result i64))";
        let guest = Guest::new("wasi").import("wasi:random/random@0.2.3", "get-random-u64", signature);
        guest.before_collect(random).component_with_wasi()
    };
    write("component/wasi.wasm", &wasi);
    write("module/uptime.wasm", &|| {
        fs::read(repository().join("plugins/uptime.wasm")).expect("plugins/build.sh made it")
    });
}
